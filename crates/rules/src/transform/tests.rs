//! Paths and templates against the documentation's examples, and against random texts.

use super::*;
use serde_json::json;

const OCCASION: Occasion<'static> = Occasion { rule_arn: "arn:r", rule_name: "r", ingested: "2026-01-01T00:00:00Z" };

fn event() -> Value {
    json!({
        "source": "aws.ec2", "resources": ["a", "b"],
        "detail": {"instance-id": "i-1", "state": "RUNNING", "quote": "say \"hi\"", "n": 5, "list": [{"x": 1}, {"x": 2}, {}]},
    })
}

fn fill(paths: &[(&str, &str)], template: &str) -> String {
    let paths = paths.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
    Transformer::parse(&paths, template).expect(template).apply(&event(), &OCCASION).expect("short")
}

#[test]
fn paths_lead_to_parts() {
    let find = |path: &str| Path::parse(path).expect(path).find(&event());
    assert_eq!(find("$"), Some(event()));
    assert_eq!(find("$.detail.instance-id"), Some(json!("i-1")));
    assert_eq!(find("$['detail'][\"state\"]"), Some(json!("RUNNING")));
    assert_eq!((find("$.resources[1]"), find("$.resources[2]"), find("$.nowhere.x")), (Some(json!("b")), None, None));
    assert_eq!(find("$.detail.list[*].x"), Some(json!([1, 2])));
    for path in ["", "detail", "$detail", "$.", "$..x", "$.a[", "$.a[x]", "$.a['b", "$.a[-1]", "$.a b", "$.*"] {
        assert!(Path::parse(path).is_err(), "{path}");
    }
}

#[test]
fn templates_are_filled() {
    let paths = [
        ("instance", "$.detail.instance-id"),
        ("state", "$.detail.state"),
        ("all", "$.detail.list"),
        ("no", "$.x"),
        ("q", "$.detail.quote"),
    ];
    assert_eq!(fill(&paths, r#""instance <instance> is in <state>""#), r#""instance i-1 is in RUNNING""#);
    assert_eq!(
        fill(&paths, r#"{"i": <instance>, "s": "<state>!", "l": <all>}"#),
        r#"{"i": "i-1", "s": "RUNNING!", "l": [{"x":1},{"x":2},{}]}"#
    );
    assert_eq!(
        fill(&paths, r#"{"a": <no>, "b": "<no>", "c": "<q>", "d": "\"<state>\""}"#),
        r#"{"a": null, "b": "", "c": "say \"hi\"", "d": "\"RUNNING\""}"#
    );
    assert_eq!(fill(&paths, r#""x \<state> < y <all>""#), r#""x <state> < y [{\"x\":1},{\"x\":2},{}]""#);
    assert_eq!(
        fill(
            &[],
            r#"{"r": "<aws.events.rule-name>", "a": <aws.events.rule-arn>, "t": <aws.events.event.ingestion-time>}"#
        ),
        r#"{"r": "r", "a": "arn:r", "t": "2026-01-01T00:00:00Z"}"#
    );
    let whole: Value = serde_json::from_str(&fill(&[], "<aws.events.event.json>")).expect("JSON");
    assert_eq!(whole, event());
    let without: Value = serde_json::from_str(&fill(&[], r#"{"e": <aws.events.event>}"#)).expect("JSON");
    assert_eq!(without, json!({"e": {"source": "aws.ec2", "resources": ["a", "b"]}}));
}

#[test]
fn what_cannot_be_filled_is_refused() {
    let none = BTreeMap::new();
    assert_eq!(Transformer::parse(&none, "\"<x>\"").expect_err("unknown"), TransformError::Placeholder("x".into()));
    let bad = BTreeMap::from([("x".to_owned(), "x".to_owned())]);
    assert_eq!(Transformer::parse(&bad, "\"<x>\"").expect_err("bad"), TransformError::Path("x".into()));
    let large = json!({"x": "y".repeat(500_000)});
    let twice = BTreeMap::from([("x".to_owned(), "$.x".to_owned())]);
    let transformer = Transformer::parse(&twice, &"<x>".repeat(2_000)).expect("a template");
    assert_eq!(transformer.apply(&large, &OCCASION), Err(TransformError::TooLong));
}

/// Whatever texts are put in: a JSON template stays JSON.
#[test]
fn values_cannot_break_out() {
    let paths = BTreeMap::from([("x".to_owned(), "$.x".to_owned())]);
    let transformer = Transformer::parse(&paths, r#"{"a": <x>, "b": "<x>", "c": "-<x>-"}"#).expect("a template");
    for text in ["", "\"", "\\", "\\\"", "\u{0}\n", "<x>", "\"}, {\"", "é\u{1f600}"] {
        for value in [json!(text), json!({text: [text]}), json!(null), json!(1.5)] {
            let filled = transformer.apply(&json!({"x": value}), &OCCASION).expect("short");
            let read: Value = serde_json::from_str(&filled).expect(&filled);
            assert_eq!(read["a"], value);
            let wanted = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(read["b"].as_str(), Some(wanted.as_str()));
        }
    }
}
