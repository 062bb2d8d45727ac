//! Patterns against the documentation's examples, hostile ones, and random ones against simpler oracles.

use super::*;
use serde_json::json;
use std::fmt::Write as _;
use std::time::Instant;

fn pattern(pattern: &Value) -> Pattern {
    Pattern::parse(&pattern.to_string()).unwrap_or_else(|e| panic!("{pattern}: {e}"))
}

fn matches(given: Value, event: Value) -> bool {
    pattern(&given).matches(&event)
}

fn reason(text: &str) -> String {
    Pattern::parse(text).expect_err(text).reason
}

/// Does a single comparison match a single value?
fn fits(comparison: Value, value: Value) -> bool {
    matches(json!({"a": [comparison]}), json!({"a": value}))
}

#[test]
fn exact_values() {
    assert!(fits(json!("x"), json!("x")) && !fits(json!("x"), json!("X")) && !fits(json!("1"), json!(1)));
    assert!(fits(json!(""), json!("")) && !fits(json!(""), json!(null)));
    assert!(fits(json!(null), json!(null)) && !fits(json!(null), json!("null")));
    assert!(fits(json!(true), json!(true)) && !fits(json!(true), json!(false)) && !fits(json!(true), json!("true")));
    assert!(fits(json!(300), json!(300)) && fits(json!(300), json!(3.0e2)) && !fits(json!(300), json!(301)));
    assert!(!fits(json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64)));
    assert!(fits(json!("::1"), json!("0:0:0:0:0:0:0:1")) && !fits(json!("::1"), json!("::2")));
}

#[test]
fn texts() {
    assert!(fits(json!({"prefix": "us-"}), json!("us-east-1")) && !fits(json!({"prefix": "us-"}), json!("eu-us-")));
    assert!(fits(json!({"prefix": {"equals-ignore-case": "EventB"}}), json!("eVENTbridge")));
    assert!(fits(json!({"suffix": ".png"}), json!(".png")) && !fits(json!({"suffix": ".png"}), json!(".PNG")));
    assert!(fits(json!({"suffix": {"equals-ignore-case": ".PnG"}}), json!("a.pNg")));
    assert!(fits(json!({"equals-ignore-case": "ÄlIce"}), json!("äLiCE")));
    assert!(!fits(json!({"prefix": ""}), json!(1)) && fits(json!({"prefix": ""}), json!("")));
}

#[test]
fn wildcards() {
    let wild = |w: &str, text: &str| fits(json!({"wildcard": w}), json!(text));
    assert!(wild("*/lib/*", "/usr/lib/x") && wild("*/lib/*", "/lib/") && !wild("*/lib/*", "/usr/bin/x"));
    assert!(wild("a*b", "ab") && wild("a*b", "a*b") && !wild("a*b", "abc") && !wild("ab*ba", "aba"));
    assert!(wild("*", "") && wild("dir/*.png", "dir/dir/.png") && wild("no", "no") && !wild("no", "not"));
    assert!(wild(r"a\*b*", "a*bc") && !wild(r"a\*b", "axb") && wild(r"a\\*", r"a\b"));
    assert_eq!(reason(r#"{"a": [{"wildcard": "x**"}]}"#), "Consecutive wildcard characters at pos 1");
    assert_eq!(reason(r#"{"a": [{"wildcard": "x\\n"}]}"#), "Invalid escape character at pos 1");
}

#[test]
fn anything_but() {
    let but = |what: Value, value: Value| fits(json!({"anything-but": what}), value);
    assert!(!but(json!("x"), json!("x")) && but(json!("x"), json!("y")) && but(json!("x"), json!(null)));
    assert!(!but(json!([100, 200]), json!(2e2)) && but(json!([100, 200]), json!(300)));
    assert!(!but(json!({"prefix": "us-"}), json!("us-east-1")) && but(json!({"prefix": "us-"}), json!("eu")));
    assert!(!but(json!({"suffix": [".png", ".jpg"]}), json!("a.jpg")) && but(json!({"suffix": ".png"}), json!("a.b")));
    assert!(!but(json!({"equals-ignore-case": ["a", "b"]}), json!("B")));
    assert!(!but(json!({"wildcard": "*/lib/*"}), json!("/lib/")) && but(json!({"wildcard": ["*/lib/*"]}), json!("/")));
    // The field must be there, and one element of an array is enough.
    assert!(!matches(json!({"a": [{"anything-but": "x"}]}), json!({"b": 1})));
    assert!(but(json!("x"), json!(["x", "y"])) && !but(json!("x"), json!(["x"])));
}

#[test]
fn numbers_and_addresses() {
    let numeric = |terms: Value, value: Value| fits(json!({"numeric": terms}), value);
    assert!(numeric(json!([">", 0, "<=", 5]), json!(5)) && !numeric(json!([">", 0, "<=", 5]), json!(0)));
    assert!(numeric(json!(["=", 3.018e2]), json!(301.8)) && numeric(json!(["<", -1]), json!(-1.5)));
    assert!(numeric(json!([">=", 0]), json!([-1, 7])) && !numeric(json!([">=", 0]), json!("7")));
    let cidr = |net: &str, value: &str| fits(json!({"cidr": net}), json!(value));
    assert!(cidr("10.0.0.0/24", "10.0.0.255") && !cidr("10.0.0.0/24", "10.0.1.0") && !cidr("10.0.0.0/24", "x"));
    assert!(cidr("0.0.0.0/0", "9.9.9.9") && cidr("2001:db8::/33", "2001:db8:7fff::") && !cidr("::/0", "1.2.3.4"));
    assert!(!cidr("2001:db8::/33", "2001:db8:8000::"));
}

#[test]
fn existence() {
    let there = json!({"a": {"b": [{"exists": true}]}});
    let absent = json!({"a": {"b": [{"exists": false}]}});
    for (event, exists) in [
        (json!({"a": {"b": 1}}), true),
        (json!({"a": {"b": null}}), true),
        (json!({"a": {"b": ["x"]}}), true),
        (json!({"a": {"b": []}}), false),
        (json!({"a": {"b": {"c": 1}}}), false),
        (json!({"a": 1}), false),
        (json!({}), false),
        (json!({"a": [{"c": 1}, {"b": 1}]}), true),
        (json!({"a": [{"c": 1}]}), false),
    ] {
        assert_eq!(matches(there.clone(), event.clone()), exists, "{event}");
        assert_eq!(matches(absent.clone(), event.clone()), !exists, "{event}");
    }
    let or_five = json!({"a": [{"exists": false}, 5]});
    assert!(matches(or_five.clone(), json!({})) && matches(or_five.clone(), json!({"a": 5})));
    assert!(!matches(or_five, json!({"a": 6})));
}

#[test]
fn arrays_agree_within_an_element() {
    let people = json!({"people": [{"first": "Ann", "last": "Lee"}, {"first": "Bob", "last": "Ray"}]});
    let asks = |first: &str, last: &str| json!({"people": {"first": [first], "last": [last]}});
    assert!(matches(asks("Bob", "Ray"), people.clone()) && !matches(asks("Bob", "Lee"), people));
    assert!(matches(json!({"a": ["x"]}), json!({"a": [["y", ["x"]]]})));
}

#[test]
fn alternatives() {
    let either = json!({"source": ["s"], "$or": [{"n": [{"numeric": [">", 9]}]}, {"m": ["y"], "k": [1]}]});
    assert!(matches(either.clone(), json!({"source": "s", "n": 10})));
    assert!(matches(either.clone(), json!({"source": "s", "n": 1, "m": "y", "k": 1})));
    assert!(!matches(either.clone(), json!({"source": "s", "m": "y"})));
    assert!(!matches(either, json!({"n": 10})));
    let nested = json!({"a": {"$or": [{"$or": [{"b": [1]}, {"c": [2]}]}, {"d": [3]}]}});
    assert!(matches(nested.clone(), json!({"a": {"c": 2}})) && matches(nested.clone(), json!({"a": {"d": 3}})));
    assert!(!matches(nested, json!({"a": {"d": 2}})));
}

#[test]
fn what_is_wrong() {
    for (text, wanted) in [
        ("[]", "Filter is not an object"),
        ("{}", "Empty objects are not allowed"),
        (r#"{"a": {}}"#, "Empty objects are not allowed"),
        (r#"{"a": []}"#, "Empty arrays are not allowed"),
        (r#"{"a": "x"}"#, "\"a\" must be an object or an array"),
        (r#"{"a": [["x"]]}"#, "Match value must be String, number, true, false, or null"),
        (r#"{"a": [{}]}"#, "Match expression name not found"),
        (r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#, "Only one key allowed in match expression"),
        (r#"{"a": [{"prefix": 1}]}"#, "prefix match pattern must be a string"),
        (r#"{"a": [{"suffix": {"x": "y"}}]}"#, "Unsupported suffix pattern: x"),
        (r#"{"a": [{"like": "x"}]}"#, "Unrecognized match type like"),
        (r#"{"a": [{"exists": 1}]}"#, "exists match pattern must be either true or false."),
        (r#"{"a": [{"numeric": 1}]}"#, "Value of numeric must be an array."),
        (r#"{"a": [{"numeric": []}]}"#, "Invalid member in numeric match: ]"),
        (r#"{"a": [{"numeric": ["=", "1"]}]}"#, "Value of equals must be numeric"),
        (r#"{"a": [{"numeric": ["!", 1]}]}"#, "Unrecognized numeric range operator: !"),
        (r#"{"a": [{"numeric": ["<", 1, 2]}]}"#, "Too many elements in numeric expression"),
        (r#"{"a": [{"numeric": [">", 1, ">", 2]}]}"#, "Bad numeric range operator: >"),
        (r#"{"a": [{"numeric": [">", 2, "<", 1]}]}"#, "Bottom must be less than top"),
        (r#"{"a": [{"cidr": "10.0.0.0"}]}"#, "Malformed CIDR, one '/' required"),
        (r#"{"a": [{"cidr": "10.0.0.0/33"}]}"#, "IPv4 mask bits must be <= 32"),
        (
            r#"{"a": [{"anything-but": [1, "x"]}]}"#,
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        ),
        (r#"{"a": [{"anything-but": {"prefix": ""}}]}"#, "Null prefix/suffix not allowed"),
        (r#"{"a": [{"anything-but": {"cidr": "x"}}]}"#, "Unsupported anything-but pattern: cidr"),
        (r#"{"$or": {"a": [1]}}"#, "It must be an Array followed with $or."),
        (r#"{"$or": [{"a": [1]}]}"#, "There must have at least 2 Objects in $or relationship."),
        (r#"{"$or": [1, 2]}"#, "Only JSON object is allowed in array of $or relationship."),
        (
            r#"{"$or": [{"prefix": [1]}, {"a": [1]}]}"#,
            "prefix is Ruler reserved fieldName which cannot be used inside $or.",
        ),
    ] {
        assert_eq!(reason(text), wanted, "{text}");
    }
    assert!(Pattern::parse("{").expect_err("cut off").to_string().starts_with("Event pattern is not valid. Reason: "));
}

#[test]
fn hostile_patterns_are_bounded() {
    let started = Instant::now();
    for open in [r#"{"a":"#, r#"{"$or":[{"a":[1]},"#, "["] {
        assert!(Pattern::parse(&open.repeat(10_000)).is_err());
    }
    assert!(Pattern::parse(&format!(r#"{{"a": ["{}"]}}"#, "x".repeat(BYTES_MAX))).is_err());
    let wild = pattern(&json!({"a": [{"wildcard": format!("{}b", "a*".repeat(10_000))}]}));
    assert!(!wild.matches(&json!({"a": "a".repeat(1 << 20)})));
    // Two to the twentieth combinations of alternatives, of which none is tried twice.
    let mut fields = json!({"z": [1]});
    for i in 0..20 {
        fields = json!({"$or": [{"a": [i]}, {"b": [i]}], "n": fields});
    }
    assert!(!pattern(&fields).matches(&json!({"a": 0, "b": 19})));
    // Absence is looked up once, not once an element.
    let many: Vec<Value> = (0..100_000).map(|i| json!({"x": i})).collect();
    let absent = pattern(&json!({"a": {"y": [{"exists": false}], "x": [-1]}}));
    assert!(!absent.matches(&json!({"a": many})));
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

/// xorshift64: the same run every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn text(&mut self, letters: &[char], len: usize) -> String {
        (0..self.below(len)).map(|_| letters[self.below(letters.len())]).collect()
    }
}

#[test]
fn wildcards_agree_with_the_policies() {
    let mut random = Random(7);
    for _ in 0..20_000 {
        let wild = random.text(&['a', 'b', '*'], 8);
        if wild.contains("**") {
            continue;
        }
        let text = random.text(&['a', 'b'], 10);
        let wanted = crate::policy::like(&wild, &text);
        assert_eq!(fits(json!({"wildcard": wild}), json!(text)), wanted, "{wild} {text}");
    }
}

#[test]
fn an_index_finds_what_a_scan_finds() {
    let mut random = Random(11);
    let names = ["source", "detail-type", "id"];
    for _ in 0..200 {
        let patterns: Vec<Value> = (0..20)
            .map(|_| {
                let value = |r: &mut Random| match r.below(4) {
                    0 => json!({"prefix": "a"}),
                    1 => json!({"exists": false}),
                    _ => json!(r.text(&['a', 'b'], 3)),
                };
                let name = names[random.below(3)];
                let leaf: Vec<Value> = (0..=random.below(2)).map(|_| value(&mut random)).collect();
                json!({name: leaf, "detail": {names[random.below(3)]: [value(&mut random)]}})
            })
            .collect();
        let index = Index::new(patterns.iter().enumerate().map(|(i, p)| (pattern(p), i)));
        for _ in 0..20 {
            let mut text = || random.text(&['a', 'b'], 3);
            let event =
                json!({"source": text(), "detail-type": text(), "detail": [{"id": text()}, {"source": [text()]}]});
            let scan: Vec<usize> = (0..20).filter(|i| pattern(&patterns[*i]).matches(&event)).collect();
            assert_eq!(index.matches(&event).into_iter().copied().collect::<Vec<_>>(), scan, "{event}");
        }
    }
}

#[test]
fn ten_thousand_rules_cost_little_more_than_one() {
    let rule = |i: usize| {
        pattern(&json!({"source": ["shop"], "detail-type": ["order"], "detail": {"shop": [format!("s{i}")]}}))
    };
    let one = Index::new([(rule(77), 77)]);
    let many = Index::new((0..10_000).map(|i| (rule(i), i)));
    let event =
        json!({"source": "shop", "detail-type": "order", "detail": {"shop": "s77", "total": 12, "lines": [1, 2]}});
    assert_eq!((one.matches(&event), many.matches(&event)), (vec![&77], vec![&77]));
    assert_eq!(many.candidates(&event), [77], "as many comparisons as with one rule");
}

#[test]
fn random_texts_are_answered() {
    let mut random = Random(3);
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"$or\"",
        "\"prefix\"",
        "\"numeric\"",
        "\"anything-but\"",
        "\"cidr\"",
        "\"exists\"",
        "\"wildcard\"",
        "\"*\"",
        "1",
        "-1e999",
        "null",
        "true",
        "\"10.0.0.0/8\"",
        "\">\"",
        "\"é\"",
    ];
    let mut parsed = 0;
    for _ in 0..100_000 {
        let mut text = String::from("{\"a\":[");
        for _ in 0..random.below(9) {
            let _ = write!(text, "{}", pieces[random.below(pieces.len())]);
        }
        text.push_str("]}");
        if let Ok(pattern) = Pattern::parse(&text) {
            parsed += 1;
            pattern.matches(&json!({"a": ["*", 1, null, {"a": "10.1.1.1"}]}));
        }
    }
    assert!(parsed > 100, "{parsed}");
}
