//! Events through each form and back, and what none of them may be.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn event() -> CloudEvent {
    CloudEvent {
        id: "A234-1234".into(),
        source: "/mycontext/4?x=1".into(),
        kind: "com.example.someevent".into(),
        subject: Some("Euro € 😀 \"x\" 100%".into()),
        time: Some("2018-04-05T17:31:00.5+02:00".into()),
        content_type: Some("application/json".into()),
        schema: Some("https://example.com/schema".into()),
        extensions: BTreeMap::from([("traceparent".to_owned(), json!("00-ab"))]),
        data: Data::Json(json!({"much": "wow"})),
    }
}

fn from_binary(headers: &[(&str, &str)], body: &str) -> Result<CloudEvent, Invalid> {
    CloudEvent::from_binary(headers.iter().map(|(k, v)| (*k, v.as_bytes())), body.as_bytes())
}

#[test]
fn both_forms_say_the_same() {
    let event = event();
    assert_eq!(CloudEvent::from_json(event.to_json()), Ok(event.clone()));
    let (headers, body) = event.to_binary();
    let subject = headers.iter().find(|(name, _)| name == "ce-subject").map(|(_, value)| value.as_str());
    assert_eq!(subject, Some("Euro%20%E2%82%AC%20%F0%9F%98%80%20%22x%22%20100%25"), "the binding's own example");
    let read = CloudEvent::from_binary(headers.iter().map(|(k, v)| (k.as_str(), v.as_bytes())), &body);
    assert_eq!(read, Ok(event));
}

#[test]
fn data_is_what_its_type_says() {
    let minimal = [("Ce-SpecVersion", "1.0"), ("CE-Id", "1"), ("ce-source", "a"), ("ce-type", "t")];
    let with = |kind: &'static str, body: &str| {
        let headers: Vec<_> = minimal.into_iter().chain([("content-type", kind)]).collect();
        from_binary(&headers, body).map(|event| event.data)
    };
    assert_eq!(from_binary(&minimal, "").map(|e| e.data), Ok(Data::None));
    assert_eq!(from_binary(&minimal, "{}").map(|e| e.data), Ok(Data::Json(json!({}))));
    assert_eq!(with("application/vnd.x+json; charset=utf-8", "[1]"), Ok(Data::Json(json!([1]))));
    assert_eq!(with("text/plain", "{}"), Ok(Data::Text("{}".into())));
    assert_eq!(with("application/xml", "<a/>"), Ok(Data::Base64("PGEvPg==".into())));
    assert!(with("application/json", "{").is_err());
    let json = |more: Value| {
        let mut whole = json!({"specversion": "1.0", "id": "1", "source": "a", "type": "t"});
        whole.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        CloudEvent::from_json(whole).map(|event| event.data)
    };
    assert_eq!(json(json!({"data": "x"})), Ok(Data::Json(json!("x"))));
    assert_eq!(json(json!({"data": "x", "datacontenttype": "text/xml"})), Ok(Data::Text("x".into())));
    assert_eq!(json(json!({"data_base64": "AAE="})), Ok(Data::Base64("AAE=".into())));
    assert!(json(json!({"data_base64": "?"})).is_err() && json(json!({"data": 1, "data_base64": "AA=="})).is_err());
}

#[test]
fn what_is_not_an_event_is_told_why() {
    let good = json!({"specversion": "1.0", "id": "1", "source": "a", "type": "t"});
    assert!(CloudEvent::from_json(good.clone()).is_ok());
    for (name, value, why) in [
        ("specversion", json!("0.3"), "not 1.0"),
        ("specversion", Value::Null, "missing"),
        ("id", json!(""), "empty"),
        ("id", json!(7), "not a string"),
        ("id", json!("a\u{0}"), "control"),
        ("source", json!("a b"), "URI"),
        ("source", json!("%zz"), "URI"),
        ("type", Value::Null, "missing"),
        ("time", json!("yesterday"), "RFC 3339"),
        ("time", json!("2018-04-05T17:31:00"), "RFC 3339"),
        ("time", json!("2018-04-05T17:31:00Z[UTC]"), "RFC 3339"),
        ("dataschema", json!("relative/path"), "absolute"),
        ("datacontenttype", json!("json"), "media type"),
        ("subject", json!(""), "empty"),
        ("my-ext", json!("x"), "lower-case"),
        ("ext", json!({"a": 1}), "no string"),
        ("ext", json!(3_000_000_000_u64), "no string"),
        ("ext", json!(1.5), "no string"),
    ] {
        let mut bad = good.clone();
        bad[name] = value.clone();
        if name == "specversion" && value.is_null() {
            bad.as_object_mut().expect("an object").remove(name);
        }
        let told = CloudEvent::from_json(bad).expect_err(name).0;
        assert!(told.contains(why), "{name} {value}: {told}");
    }
    let batch = |n: usize| CloudEvent::batch(Value::from(vec![good.clone(); n]), 3).map(|events| events.len());
    assert_eq!((batch(0), batch(3)), (Ok(0), Ok(3)));
    assert!(batch(4).is_err() && CloudEvent::batch(good.clone(), 3).is_err());
    let twice = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-id", "2"), ("ce-source", "a"), ("ce-type", "t")];
    assert!(from_binary(&twice, "").is_err());
}

#[test]
fn a_bus_keeps_what_it_was_told() {
    let scope = base::Scope::new(base::AccountId::development(), base::Region::parse("us-east-1").expect("a region"));
    let data = [
        Data::None,
        Data::Json(json!({"a": 1})),
        Data::Json(json!({"data": 1})),
        Data::Json(json!([1])),
        Data::Json(json!("x")),
        Data::Base64("AAE=".into()),
    ];
    for data in data {
        let event = CloudEvent { data, ..event() };
        let told = told(event.clone(), &scope, base::Timestamp(0));
        assert_eq!((&told["time"], &told["detail-type"]), (&json!("2018-04-05T15:31:00Z"), &json!(event.kind)));
        assert_eq!(untold(&told), Some(Ok(event)));
    }
    let text = CloudEvent { data: Data::Text("<a/>".into()), content_type: Some("text/xml".into()), ..event() };
    assert_eq!(untold(&told(text.clone(), &scope, base::Timestamp(0))), Some(Ok(text)));
    let own = json!({"id": "1", "source": "s", "detail-type": "t", "detail": {}, "resources": ["r"], "time": "2018-04-05T15:31:00Z"});
    let event = untold(&own).expect("an event").expect("valid");
    assert_eq!((event.subject.as_deref(), event.data), (Some("r"), Data::Json(json!({}))));
    assert_eq!(untold(&json!({"some": "input"})), None);
}

proptest! {
    #[test]
    fn any_text_survives_headers(text in "\\PC{1,40}") {
        let mut event = event();
        event.subject = Some(text);
        let (headers, body) = event.to_binary();
        prop_assert!(headers.iter().all(|(_, value)| value.bytes().all(|b| (b'!'..=b'~').contains(&b))));
        let read = CloudEvent::from_binary(headers.iter().map(|(k, v)| (k.as_str(), v.as_bytes())), &body);
        prop_assert_eq!(read, Ok(event));
    }

    #[test]
    fn nothing_panics(name in "ce-[a-z]{1,12}", value in proptest::collection::vec(any::<u8>(), 0..40), body in any::<Vec<u8>>()) {
        let _ = CloudEvent::from_binary([(name.as_str(), &value[..]), ("ce-specversion", b"1.0")].into_iter(), &body);
    }
}
