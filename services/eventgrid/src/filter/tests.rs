//! What each filter asks for.

use super::*;
use rules::cloudevent::CloudEvent;
use serde_json::json;

fn published(data: Value) -> Published {
    let event = CloudEvent {
        id: "e-1".into(),
        source: "/shop".into(),
        kind: "Order.Placed".into(),
        subject: Some("/Orders/7.json".into()),
        data: Data::Json(data),
        extensions: [("tenant".to_owned(), json!("Blue"))].into(),
        ..CloudEvent::default()
    };
    Published { event, version: "2.0".into() }
}

fn wants(filter: Value, data: Value) -> bool {
    let filter: Filter = serde_json::from_value(filter).expect("a filter");
    filter.check().expect("within bounds");
    let topic = crate::store::Topic {
        name: "orders".into(),
        id: "/subscriptions/s/topics/orders".into(),
        scope: base::Scope::new(base::AccountId::development(), base::Region::parse("us-east-1").expect("one")),
        location: String::new(),
        schema: crate::model::Schema::EventGridSchema,
        tags: Default::default(),
        created: base::Timestamp(0),
        keys: ::store::Seal::new(&[[7; 32]], std::sync::Arc::new(kit::Seeded::new(1))).seal("", b""),
    };
    filter.wants(&published(data), &topic)
}

#[test]
fn filters_ask_for_types_and_subjects() {
    let wants = |filter: Value| wants(filter, Value::Null);
    assert!(wants(json!({})));
    assert!(wants(json!({"includedEventTypes": ["All"]})) && wants(json!({"includedEventTypes": ["order.placed"]})));
    assert!(!wants(json!({"includedEventTypes": ["Order"]})) && !wants(json!({"includedEventTypes": []})));
    assert!(wants(json!({"subjectBeginsWith": "/orders", "subjectEndsWith": ".JSON"})));
    assert!(!wants(json!({"subjectBeginsWith": "/orders", "isSubjectCaseSensitive": true})));
    assert!(!wants(json!({"subjectEndsWith": ".xml"})));
}

/// Whether a filter on `data.x` wants an event with this there; with arrays looked into and not.
fn asks(operator: &str, values: Value, x: Value) -> (bool, bool) {
    let name = if values.is_array() { "values" } else { "value" };
    let mut filter = json!({"operatorType": operator, "key": "data.x"});
    if !values.is_null() {
        filter[name] = values;
    }
    let of = |on: bool| {
        let filter = json!({"advancedFilters": [filter.clone()], "enableAdvancedFilteringOnArrays": on});
        wants(filter, json!({"x": x}))
    };
    (of(true), of(false))
}

#[test]
fn each_operator_compares_as_its_name_says() {
    let check = |operator: &str, values: Value, yes: &[Value], no: &[Value]| {
        yes.iter().for_each(|x| assert_eq!(asks(operator, values.clone(), x.clone()), (true, true), "{operator} {x}"));
        no.iter().for_each(|x| assert_eq!(asks(operator, values.clone(), x.clone()), (false, false), "{operator} {x}"));
    };
    let nothing = [Value::Null, json!({"a": 1}), json!("1"), json!(true)];
    let (one, two, half) = (json!(1), json!(2), json!(1.5));
    check(
        "NumberIn",
        json!([1, 2.5]),
        &[one.clone(), json!(1.0), json!(2.5)],
        &[two.clone(), nothing[0].clone(), nothing[2].clone()],
    );
    check(
        "NumberNotIn",
        json!([1, 2.5]),
        &[two.clone(), nothing[0].clone(), nothing[2].clone()],
        &[one.clone(), json!(2.5)],
    );
    check("NumberLessThan", json!(1.5), std::slice::from_ref(&one), &[half.clone(), two.clone(), nothing[0].clone()]);
    check("NumberLessThanOrEquals", json!(1.5), &[one.clone(), half.clone()], &[two.clone(), nothing[3].clone()]);
    check(
        "NumberGreaterThan",
        json!(1.5),
        std::slice::from_ref(&two),
        &[half.clone(), one.clone(), nothing[1].clone()],
    );
    check("NumberGreaterThanOrEquals", json!(1.5), &[two.clone(), half.clone()], &[one.clone(), nothing[0].clone()]);
    check(
        "NumberGreaterThan",
        json!(9_007_199_254_740_992_i64),
        &[json!(9_007_199_254_740_993_i64)],
        &[json!(9_007_199_254_740_992_i64)],
    );
    check(
        "NumberInRange",
        json!([[1, 1.6], [7, 9]]),
        &[one.clone(), half.clone(), json!(9)],
        &[two.clone(), json!(10), nothing[0].clone()],
    );
    check(
        "NumberNotInRange",
        json!([[1, 1.6], [7, 9]]),
        &[two.clone(), json!(10)],
        &[one.clone(), json!(8), nothing[0].clone()],
    );
    check("BoolEquals", json!(true), &[json!(true)], &[json!(false), json!("true"), nothing[0].clone()]);
    let texts = json!(["Red", "blue"]);
    check("StringIn", texts.clone(), &[json!("red"), json!("BLUE")], &[json!("reds"), json!(1), nothing[0].clone()]);
    check("StringNotIn", texts.clone(), &[json!("reds"), json!(1), nothing[0].clone()], &[json!("red")]);
    check("StringContains", texts.clone(), &[json!("a red one")], &[json!("green"), nothing[0].clone()]);
    check("StringNotContains", texts.clone(), &[json!("green")], &[json!("a red one"), nothing[0].clone(), json!(1)]);
    check("StringBeginsWith", texts.clone(), &[json!("redder")], &[json!("a red one"), nothing[0].clone()]);
    check("StringNotBeginsWith", texts.clone(), &[json!("a red one")], &[json!("redder"), nothing[0].clone()]);
    check("StringEndsWith", texts.clone(), &[json!("infrared")], &[json!("redder"), nothing[0].clone()]);
    check("StringNotEndsWith", texts, &[json!("redder")], &[json!("infrared"), nothing[0].clone()]);
    check("IsNullOrUndefined", Value::Null, &[Value::Null], &[json!(0), json!(""), json!([])]);
    check("IsNotNull", Value::Null, &[json!(0), json!(""), json!(false), json!([])], &[Value::Null]);
}

#[test]
fn arrays_are_looked_into_where_that_is_asked_for() {
    assert_eq!(asks("StringIn", json!(["a", "b"]), json!(["x", "B"])), (true, false), "any of them");
    assert_eq!(asks("StringNotIn", json!(["a", "b"]), json!(["x", "B"])), (false, true), "an array is no text");
    assert_eq!(asks("StringNotContains", json!(["a"]), json!(["x", "y"])), (true, false), "none of them");
    assert_eq!(asks("StringNotContains", json!(["a"]), json!(["x", "ya"])), (false, false));
    assert_eq!(asks("NumberLessThan", json!(3), json!([7, 2])), (true, false));
    assert_eq!(asks("NumberNotInRange", json!([[1, 5]]), json!([7, 2])), (false, false));
    assert_eq!(asks("NumberIn", json!([1]), json!([{"n": 1}])), (false, false), "nor is an object");
}

#[test]
fn keys_name_attributes_and_members() {
    let has = |key: &str, value: &str| {
        let filter = json!({"operatorType": "StringIn", "key": key, "values": [value]});
        wants(json!({"advancedFilters": [filter]}), json!({"a": {"b": {"c": "deep"}}, "x.y": "dotted"}))
    };
    for (key, value) in [
        ("Id", "e-1"),
        ("EventId", "e-1"),
        ("source", "/shop"),
        ("Topic", "/subscriptions/s/topics/orders"),
        ("subject", "/orders/7.json"),
        ("EventType", "order.placed"),
        ("type", "Order.Placed"),
        ("DataVersion", "2.0"),
        ("tenant", "blue"),
        ("Data.a.b.c", "deep"),
    ] {
        assert!(has(key, value), "{key}");
    }
    for key in ["data.a.b", "data.A.b.c", "data.a.b.c.d", "data.x.y", "id.a", "nothing", "data"] {
        assert!(!has(key, "deep") && !has(key, "dotted"), "{key}");
    }
}

#[test]
fn all_filters_are_to_agree() {
    let more = |least: u32| {
        json!({"advancedFilters": [
            {"operatorType": "NumberGreaterThan", "key": "data.total", "value": least},
            {"operatorType": "NumberLessThan", "key": "data.total", "value": 10},
        ]})
    };
    assert!(
        wants(more(5), json!({"total": 7}))
            && !wants(more(8), json!({"total": 7}))
            && !wants(more(5), json!({"total": 12}))
    );
}

#[test]
fn bounds_are_azures() {
    let check = |filters: Vec<Value>| {
        let filter: Result<Filter> = serde_json::from_value(json!({"advancedFilters": filters})).map_err(Error::bad);
        filter.and_then(|filter| filter.check()).map_err(|why| why.to_string())
    };
    let texts = |n: usize| json!({"operatorType": "StringIn", "key": "subject", "values": vec!["v"; n]});
    let null = json!({"operatorType": "IsNotNull", "key": "subject"});
    assert!(check(vec![texts(25)]).is_ok() && check(vec![null.clone(); 25]).is_ok());
    assert!(check(vec![texts(24), texts(1), null.clone()]).is_ok());
    assert!(check(vec![texts(24), texts(2)]).expect_err("too many").contains("25 values at most"));
    assert!(check(vec![null; 26]).expect_err("too many").contains("25 at most"));
    assert!(check(vec![texts(0)]).expect_err("none").contains("no values"));
    let long = |n: usize| json!({"operatorType": "StringIn", "key": "subject", "values": ["€".repeat(n)]});
    assert!(check(vec![long(512)]).is_ok() && check(vec![long(513)]).expect_err("long").contains("512"));
    for wrong in [
        json!({"operatorType": "StringLike", "key": "a", "values": ["a"]}),
        json!({"operatorType": "StringIn", "key": "a", "value": "a"}),
        json!({"operatorType": "NumberIn", "key": "a", "values": ["1"]}),
        json!({"operatorType": "StringIn", "values": ["a"]}),
        json!({"operatorType": "IsNotNull", "key": "a", "values": []}),
        json!({"operatorType": "NumberInRange", "key": "a", "values": [[1]]}),
    ] {
        assert!(check(vec![wrong.clone()]).is_err(), "{wrong}");
    }
}
