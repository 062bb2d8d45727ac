//! Topics and subscriptions themselves.

use super::*;

#[tokio::test]
async fn topics_come_and_go() {
    let rig = Rig::new().await;
    let made = rig.ok("CreateTopic", json!({"Name": "t", "Attributes": {"DisplayName": "Shop"}})).await;
    assert_eq!(made["TopicArn"], T);
    // The same again is the same; less is, too; another is not.
    rig.ok("CreateTopic", json!({"Name": "t", "Attributes": {"DisplayName": "Shop"}})).await;
    rig.topic("t").await;
    let other = json!({"Name": "t", "Attributes": {"DisplayName": "Stall"}});
    rig.refused("CreateTopic", other, "InvalidParameter", "already exists with different attributes").await;
    let tagged = json!({"Name": "t", "Tags": [{"Key": "a", "Value": "b"}]});
    rig.refused("CreateTopic", tagged, "InvalidParameter", "already exists with different tags").await;
    rig.refused("CreateTopic", json!({"Name": "a b"}), "InvalidParameter", "Topic Name").await;
    rig.refused("CreateTopic", json!({"Name": "t.fifo"}), "InvalidParameter", "Topic Name").await;
    let fifo = json!({"Name": "x", "Attributes": {"FifoTopic": "true"}});
    rig.refused("CreateTopic", fifo, "InvalidParameter", "must end with .fifo").await;
    let hidden = json!({"Name": "x", "DataProtectionPolicy": "{\"a\": 1}"});
    rig.refused("CreateTopic", hidden, "InvalidParameter", "Wadi does not have DataProtectionPolicy").await;

    let got = rig.ok("GetTopicAttributes", json!({"TopicArn": T})).await["Attributes"].clone();
    assert_eq!((&got["DisplayName"], &got["Owner"]), (&json!("Shop"), &json!("000000000000")));
    assert!(got["Policy"].as_str().expect("text").contains("__default_statement_ID"));
    let set = json!({"TopicArn": T, "AttributeName": "SignatureVersion", "AttributeValue": "2"});
    rig.ok("SetTopicAttributes", set).await;
    assert_eq!(rig.ok("GetTopicAttributes", json!({"TopicArn": T})).await["Attributes"]["SignatureVersion"], "2");
    let bad = json!({"TopicArn": T, "AttributeName": "Colour", "AttributeValue": "2"});
    rig.refused("SetTopicAttributes", bad, "InvalidParameter", "AttributeName").await;

    rig.subscribe(T, "sqs", Q, json!({})).await;
    for _ in 0..2 {
        rig.ok("DeleteTopic", json!({"TopicArn": T})).await;
    }
    rig.refused("GetTopicAttributes", json!({"TopicArn": T}), "NotFound", "Topic does not exist").await;
    rig.refused("Publish", json!({"TopicArn": T, "Message": "x"}), "NotFound", "Topic does not exist").await;
    rig.topic("t").await;
    assert_eq!(rig.ok("ListSubscriptions", json!({})).await["Subscriptions"], json!([]), "they went with the topic");
}

#[tokio::test]
async fn lists_have_pages() {
    let rig = Rig::new().await;
    for n in 0..101 {
        rig.topic(&format!("t{n:03}")).await;
        rig.subscribe(&format!("{T}000"), "sqs", &format!("{Q}{n}"), json!({})).await;
    }
    for (operation, name, input) in [
        ("ListTopics", "Topics", json!({})),
        ("ListSubscriptions", "Subscriptions", json!({})),
        ("ListSubscriptionsByTopic", "Subscriptions", json!({"TopicArn": format!("{T}000")})),
    ] {
        let first = rig.ok(operation, input.clone()).await;
        assert_eq!(first[name].as_array().expect("a list").len(), 100, "{operation}");
        let mut input = input;
        input["NextToken"] = first["NextToken"].clone();
        let second = rig.ok(operation, input.clone()).await;
        assert_eq!((second[name].as_array().expect("a list").len(), second.get("NextToken")), (1, None), "{operation}");
        input["NextToken"] = "x".into();
        rig.refused(operation, input, "InvalidParameter", "NextToken").await;
    }
}

#[tokio::test]
async fn subscriptions() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    let raw = json!({"RawMessageDelivery": "true"});
    let arn = rig.subscribe(T, "sqs", Q, raw.clone()).await;
    assert_eq!(rig.subscribe(T, "sqs", Q, raw).await, arn, "the same again");
    assert_eq!(rig.subscribe(T, "sqs", Q, json!({})).await, arn);
    let other = json!({"TopicArn": T, "Protocol": "sqs", "Endpoint": Q, "Attributes": {"RawMessageDelivery": "false"}});
    rig.refused("Subscribe", other, "InvalidParameter", "already exists with different attributes").await;
    let nowhere = json!({"TopicArn": format!("{T}x"), "Protocol": "sqs", "Endpoint": Q});
    rig.refused("Subscribe", nowhere, "NotFound", "Topic does not exist").await;
    let mail = json!({"TopicArn": T, "Protocol": "email", "Endpoint": "a@b.c"});
    rig.refused("Subscribe", mail, "InvalidParameter", "Wadi does not have subscriptions with the protocol email")
        .await;
    let broken =
        json!({"TopicArn": T, "Protocol": "sqs", "Endpoint": format!("{Q}2"), "Attributes": {"FilterPolicy": "{"}});
    let expect = "Invalid parameter: Attributes Reason: FilterPolicy: failed to parse JSON.";
    rig.refused("Subscribe", broken, "InvalidParameter", expect).await;

    let got = rig.ok("GetSubscriptionAttributes", json!({"SubscriptionArn": arn})).await["Attributes"].clone();
    for (name, value) in [
        ("Endpoint", Q),
        ("Protocol", "sqs"),
        ("PendingConfirmation", "false"),
        ("RawMessageDelivery", "true"),
        ("ConfirmationWasAuthenticated", "true"),
    ] {
        assert_eq!(got[name], value, "{name}");
    }
    let set = |name: &str, value: &str| json!({"SubscriptionArn": arn, "AttributeName": name, "AttributeValue": value});
    rig.ok("SetSubscriptionAttributes", set("FilterPolicy", "{\"a\": [1]}")).await;
    let got = rig.ok("GetSubscriptionAttributes", json!({"SubscriptionArn": arn})).await["Attributes"].clone();
    assert_eq!(
        (&got["FilterPolicy"], &got["FilterPolicyScope"]),
        (&json!("{\"a\": [1]}"), &json!("MessageAttributes"))
    );
    let nested = set("FilterPolicy", "{\"a\": {\"b\": [1]}}");
    rig.refused("SetSubscriptionAttributes", nested, "InvalidParameter", "does not support nested").await;
    rig.refused("SetSubscriptionAttributes", set("Colour", "x"), "InvalidParameter", "AttributeName").await;

    for _ in 0..2 {
        rig.ok("Unsubscribe", json!({"SubscriptionArn": arn})).await;
    }
    rig.refused("GetSubscriptionAttributes", json!({"SubscriptionArn": arn}), "NotFound", "Subscription does not")
        .await;
    rig.refused("Unsubscribe", json!({"SubscriptionArn": "x"}), "InvalidParameter", "SubscriptionArn").await;
    let topic = rig.ok("GetTopicAttributes", json!({"TopicArn": T})).await["Attributes"].clone();
    assert_eq!((&topic["SubscriptionsConfirmed"], &topic["SubscriptionsDeleted"]), (&json!("0"), &json!("1")));
}

#[tokio::test]
async fn a_topic_has_so_many_filters() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    let filter = json!({"FilterPolicy": "{\"a\": [1]}"});
    for n in 0..200 {
        rig.subscribe(T, "sqs", &format!("{Q}{n}"), filter.clone()).await;
    }
    let one_more = json!({"TopicArn": T, "Protocol": "sqs", "Endpoint": Q, "Attributes": filter});
    rig.refused("Subscribe", one_more, "FilterPolicyLimitExceeded", "200").await;
    let arn = rig.subscribe(T, "sqs", Q, json!({})).await;
    let set = json!({"SubscriptionArn": arn, "AttributeName": "FilterPolicy", "AttributeValue": "{\"a\": [1]}"});
    rig.refused("SetSubscriptionAttributes", set, "FilterPolicyLimitExceeded", "200").await;
}

#[tokio::test]
async fn tags_and_permissions() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    let tags = |n: usize| (0..n).map(|n| json!({"Key": format!("k{n}"), "Value": "v"})).collect::<Vec<_>>();
    rig.ok("TagResource", json!({"ResourceArn": T, "Tags": tags(2)})).await;
    rig.ok("UntagResource", json!({"ResourceArn": T, "TagKeys": ["k0"]})).await;
    let got = rig.ok("ListTagsForResource", json!({"ResourceArn": T})).await;
    assert_eq!(got["Tags"], json!([{"Key": "k1", "Value": "v"}]));
    rig.refused("TagResource", json!({"ResourceArn": T, "Tags": tags(51)}), "TagLimitExceeded", "tag quota").await;
    let twice = json!([{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]);
    rig.refused("TagResource", json!({"ResourceArn": T, "Tags": twice}), "InvalidParameter", "Duplicated").await;
    let nowhere = json!({"ResourceArn": format!("{T}x")});
    rig.refused("ListTagsForResource", nowhere, "ResourceNotFound", "Resource does not exist").await;

    let grant = json!({"TopicArn": T, "Label": "l", "AWSAccountId": ["111122223333"], "ActionName": ["Publish"]});
    rig.ok("AddPermission", grant.clone()).await;
    rig.refused("AddPermission", grant, "InvalidParameter", "Statement already exists").await;
    let policy = async || {
        let got = rig.ok("GetTopicAttributes", json!({"TopicArn": T})).await;
        serde_json::from_str::<Value>(got["Attributes"]["Policy"].as_str().expect("text")).expect("JSON")
    };
    assert_eq!(policy().await["Statement"][1]["Sid"], "l");
    rig.ok("RemovePermission", json!({"TopicArn": T, "Label": "l"})).await;
    assert_eq!(policy().await["Statement"].as_array().map(Vec::len), Some(1));
}
