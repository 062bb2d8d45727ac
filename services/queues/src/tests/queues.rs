//! Queues themselves.

use super::*;

#[tokio::test]
async fn a_queue_is_made_found_listed_and_deleted() {
    let s = setting();
    assert_eq!(s.create("work", json!({"VisibilityTimeout": "5"})).await, url("work"));
    assert_eq!(s.ok("GetQueueUrl", json!({"QueueName": "work"})).await["QueueUrl"], url("work"));
    // The same again is the same; another with this name is not.
    assert_eq!(s.create("work", json!({"VisibilityTimeout": "5"})).await, url("work"));
    assert_eq!(s.create("work", json!({})).await, url("work"));
    let other = json!({"QueueName": "work", "Attributes": {"VisibilityTimeout": "6"}});
    let message = s.fails("CreateQueue", other, "QueueNameExists").await;
    assert!(message.ends_with("attribute VisibilityTimeout"), "{message}");
    for name in ["wa", "wb", "x"] {
        s.create(name, json!({})).await;
    }
    let all = s.ok("ListQueues", json!({"QueueNamePrefix": "w"})).await;
    assert_eq!(all, json!({"QueueUrls": [url("wa"), url("wb"), url("work")]}));
    let page = s.ok("ListQueues", json!({"MaxResults": 3})).await;
    assert_eq!(page["QueueUrls"].as_array().expect("URLs").len(), 3);
    let rest = s.ok("ListQueues", json!({"MaxResults": 3, "NextToken": page["NextToken"]})).await;
    assert_eq!(rest, json!({"QueueUrls": [url("x")]}));
    s.send("work", "lost").await;
    s.ok("DeleteQueue", json!({"QueueUrl": url("work")})).await;
    s.fails("GetQueueUrl", json!({"QueueName": "work"}), "QueueDoesNotExist").await;
    s.fails("SendMessage", json!({"QueueUrl": url("work"), "MessageBody": "x"}), "QueueDoesNotExist").await;
    s.fails("DeleteQueue", json!({"QueueUrl": url("work")}), "QueueDoesNotExist").await;
    s.fails("CreateQueue", json!({"QueueName": "work"}), "QueueDeletedRecently").await;
    s.pass(60);
    s.create("work", json!({})).await;
    assert_eq!(s.bodies("work").await, [""; 0]);
    // Nothing of the first one stays behind.
    s.pass(200);
    s.queues.sweep().await.expect("sweeps");
    s.queues.sweep().await.expect("sweeps");
    let all = ::store::Key::of("queues/message");
    assert_eq!(s.store.scan(all.as_bytes(), &all.end(), 10).await.expect("reads").len(), 0);
}

#[tokio::test]
async fn attributes_are_set_and_read() {
    let s = setting();
    s.create("q", json!({"DelaySeconds": "1"})).await;
    let get = |names: Value| s.ok("GetQueueAttributes", json!({"QueueUrl": url("q"), "AttributeNames": names}));
    let all = get(json!(["All"])).await;
    assert_eq!(all["Attributes"]["QueueArn"], arn("q"));
    assert_eq!(all["Attributes"]["DelaySeconds"], "1");
    assert_eq!(all["Attributes"]["MaximumMessageSize"], "1048576");
    assert_eq!(all["Attributes"]["CreatedTimestamp"], (NOW / 1000).to_string());
    s.pass(5);
    let set = json!({"DelaySeconds": "0", "MessageRetentionPeriod": "60"});
    s.ok("SetQueueAttributes", json!({"QueueUrl": url("q"), "Attributes": set})).await;
    let some = get(json!(["DelaySeconds", "LastModifiedTimestamp"])).await;
    let expect = json!({"DelaySeconds": "0", "LastModifiedTimestamp": (NOW / 1000 + 5).to_string()});
    assert_eq!(some["Attributes"], expect);
    assert_eq!(get(json!([])).await, json!({}));
    s.fails("GetQueueAttributes", json!({"QueueUrl": url("q"), "AttributeNames": ["X"]}), "InvalidAttributeName").await;
    let set = |name: &str, value: &str| json!({"QueueUrl": url("q"), "Attributes": {name: value}});
    s.fails("SetQueueAttributes", set("VisibilityTimeout", "x"), "InvalidAttributeValue").await;
    s.fails("SetQueueAttributes", set("Colour", "red"), "InvalidAttributeName").await;
    s.fails("SetQueueAttributes", set("FifoQueue", "true"), "InvalidAttributeValue").await;
    s.fails("CreateQueue", json!({"QueueName": "a.b"}), "InvalidParameterValue").await;
}

#[tokio::test]
async fn tags_and_permissions() {
    let s = setting();
    s.ok("CreateQueue", json!({"QueueName": "q", "tags": {"team": "photos"}})).await;
    s.ok("TagQueue", json!({"QueueUrl": url("q"), "Tags": {"a": "1", "b": ""}})).await;
    s.ok("UntagQueue", json!({"QueueUrl": url("q"), "TagKeys": ["a", "none"]})).await;
    let tags = s.ok("ListQueueTags", json!({"QueueUrl": url("q")})).await;
    assert_eq!(tags, json!({"Tags": {"b": "", "team": "photos"}}));
    let grant = json!({
        "QueueUrl": url("q"), "Label": "one", "AWSAccountIds": ["111122223333"], "Actions": ["SendMessage"],
    });
    s.ok("AddPermission", grant.clone()).await;
    s.fails("AddPermission", grant, "InvalidParameterValue").await;
    let all = s.ok("GetQueueAttributes", json!({"QueueUrl": url("q"), "AttributeNames": ["Policy"]})).await;
    assert!(text(&all["Attributes"]["Policy"]).contains("SQS:SendMessage"));
    s.ok("RemovePermission", json!({"QueueUrl": url("q"), "Label": "one"})).await;
    s.fails("RemovePermission", json!({"QueueUrl": url("q"), "Label": "one"}), "InvalidParameterValue").await;
}

#[tokio::test]
async fn a_purge_takes_all_and_is_not_repeated_at_once() {
    let s = setting();
    s.create("q", json!({})).await;
    for body in ["a", "b", "c"] {
        s.send("q", body).await;
    }
    let got = s.receive("q", json!({"MaxNumberOfMessages": 1})).await;
    s.ok("PurgeQueue", json!({"QueueUrl": url("q")})).await;
    s.fails("PurgeQueue", json!({"QueueUrl": url("q")}), "PurgeQueueInProgress").await;
    assert_eq!(s.counts("q").await, (0, 0, 0));
    s.send("q", "after").await;
    // What was received before is gone; saying so again does no harm.
    s.delete("q", &got[0]).await;
    assert_eq!(s.bodies("q").await, ["after"]);
    s.pass(61);
    s.ok("PurgeQueue", json!({"QueueUrl": url("q")})).await;
    assert_eq!(s.bodies("q").await, [""; 0]);
}
