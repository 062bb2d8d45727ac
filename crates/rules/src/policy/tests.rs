//! Policies as AddPermission writes them, IAM's rules of matching, and a property test over hostile documents.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:thumbs";

fn ask(statements: Value, principal: Principal<'_>, action: &str, context: &[(&str, &str)]) -> Decision {
    let text = json!({"Version": "2012-10-17", "Id": "default", "Statement": statements}).to_string();
    let policy = Policy::parse(&text).expect("a valid policy");
    policy.evaluate(&Request { principal, action, resource: FUNCTION, context })
}

fn bucket_may_invoke() -> Value {
    json!([{
        "Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction", "Resource": FUNCTION,
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": "000000000000"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::photos*"},
        },
    }])
}

#[test]
fn a_bucket_that_was_given_permission_may_invoke() {
    let s3 = Principal::Service("s3.amazonaws.com");
    let from = |arn| [("aws:SourceArn", arn), ("aws:SourceAccount", "000000000000")];
    let check =
        |principal, context: &[(&str, &str)]| ask(bucket_may_invoke(), principal, "lambda:InvokeFunction", context);
    assert_eq!(check(s3, &from("arn:aws:s3:::photos-1")), Decision::Allow);
    assert_eq!(check(s3, &from("arn:aws:s3:::other")), Decision::None);
    assert_eq!(check(s3, &[("aws:SourceArn", "arn:aws:s3:::photos")]), Decision::None, "the account is missing");
    assert_eq!(check(Principal::Service("sns.amazonaws.com"), &from("arn:aws:s3:::photos")), Decision::None);
    assert_eq!(check(Principal::Anonymous, &from("arn:aws:s3:::photos")), Decision::None);
    assert_eq!(ask(bucket_may_invoke(), s3, "lambda:GetFunction", &from("arn:aws:s3:::photos")), Decision::None);
}

#[test]
fn an_explicit_deny_wins() {
    let statements = json!([
        {"Effect": "Allow", "Principal": "*", "Action": "lambda:*", "Resource": "*"},
        {"Effect": "Deny", "Principal": {"AWS": "111111111111"}, "NotAction": "lambda:Get*", "Resource": "*"},
    ]);
    let of = |account| Principal::Identity { arn: "arn:aws:iam::111111111111:user/x", account };
    assert_eq!(ask(statements.clone(), of("111111111111"), "lambda:InvokeFunction", &[]), Decision::Deny);
    assert_eq!(ask(statements.clone(), of("111111111111"), "lambda:GetFunction", &[]), Decision::Allow);
    assert_eq!(ask(statements, of("222222222222"), "LAMBDA:invokefunction", &[]), Decision::Allow);
}

#[test]
fn operators() {
    let check = |condition: Value, context: &[(&str, &str)], holds: bool| {
        let statements =
            json!([{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*", "Condition": condition}]);
        let expect = if holds { Decision::Allow } else { Decision::None };
        assert_eq!(ask(statements, Principal::Anonymous, "a:B", context), expect, "{condition} {context:?}");
    };
    let none: &[(&str, &str)] = &[];
    check(json!({"StringEquals": {"k": ["a", "b"]}}), &[("K", "b")], true);
    check(json!({"StringEquals": {"k": "a"}}), none, false);
    check(json!({"StringEqualsIfExists": {"k": "a"}}), none, true);
    check(json!({"StringNotEquals": {"k": "a"}}), none, true);
    check(json!({"StringNotEquals": {"k": ["a", "b"]}}), &[("k", "b")], false);
    check(json!({"StringLike": {"k": "a?c*"}}), &[("k", "abcdef")], true);
    check(json!({"ArnLike": {"k": "arn:aws:s3:*:*:b*"}}), &[("k", "arn:aws:s3:::bucket")], true);
    check(json!({"ArnLike": {"k": "arn:*"}}), &[("k", "arn:aws:s3:::bucket")], false);
    check(json!({"ArnEquals": {"k": "arn:aws:s3:::bucket"}}), &[("k", "arn:aws:s3:::bucket")], true);
    check(json!({"ArnNotLike": {"k": "arn:aws:s3:::b*"}}), &[("k", "arn:aws:s3:::bucket")], false);
    check(json!({"Bool": {"k": true}}), &[("k", "true")], true);
    check(json!({"Bool": {"k": "false"}}), &[("k", "true")], false);
    check(json!({"Null": {"k": "true"}}), none, true);
    check(json!({"Null": {"k": "true"}}), &[("k", "x")], false);
    check(json!({"NumericLessThan": {"k": 10}}), &[("k", "9.5")], true);
    check(json!({"NumericGreaterThanEquals": {"k": "10"}}), &[("k", "9.5")], false);
}

#[test]
fn what_is_not_understood_is_refused() {
    let base = json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"});
    for (member, value) in [
        ("Condition", json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})),
        ("Condition", json!({"ForAllValues:StringEquals": {"k": "v"}})),
        ("Condition", json!({"StringEquals": {"k": []}})),
        ("Resource", json!("arn:aws:s3:::${aws:username}")),
        ("Effect", json!("allow")),
        ("Unknown", json!("x")),
        ("Principal", json!("someone")),
        ("NotAction", json!("x")),
    ] {
        let mut statement = base.clone();
        statement[member] = value;
        let text = json!({"Statement": [statement]}).to_string();
        assert!(Policy::parse(&text).is_err(), "{text}");
    }
    assert!(Policy::parse(&" ".repeat(DOCUMENT_BYTES_MAX + 1)).is_err());
    assert!(Policy::parse(&"[".repeat(60_000)).is_err());
}

/// The plainest matcher there is, for comparison.
fn like_slowly(p: &[char], t: &[char]) -> bool {
    match (p.split_first(), t.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) if like_slowly(rest, t) => true,
        (Some(('*', _)), Some((_, t))) => like_slowly(p, t),
        (Some((c, p)), Some((d, t))) => (*c == '?' || c == d) && like_slowly(p, t),
        _ => false,
    }
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|n| json!(n)),
        "[a-z*?:${}]{0,8}".prop_map(Value::String),
        Just(json!("*")),
        Just(json!("Allow")),
    ];
    let name = prop_oneof![
        Just("Statement"),
        Just("Effect"),
        Just("Principal"),
        Just("Action"),
        Just("Resource"),
        Just("Condition"),
        Just("StringEquals"),
        Just("ArnLike"),
        Just("AWS"),
        Just("Version"),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn wildcards_agree_with_the_plain_matcher(p in "[ab*?]{0,10}", t in "[ab]{0,12}") {
        let (pc, tc): (Vec<char>, Vec<char>) = (p.chars().collect(), t.chars().collect());
        prop_assert_eq!(like(&p, &t), like_slowly(&pc, &tc));
    }

    #[test]
    fn any_document_parses_or_is_refused(value in document(), text in ".{0,200}") {
        let context = [("aws:SourceArn", text.as_str())];
        let request =
            Request { principal: Principal::Anonymous, action: &text, resource: &text, context: &context };
        for document in [value.to_string(), json!({"Statement": value}).to_string(), text.clone()] {
            if let Ok(policy) = Policy::parse(&document) {
                policy.evaluate(&request);
            }
        }
    }
}
