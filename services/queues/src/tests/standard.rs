//! Messages of standard queues.

use super::*;

#[tokio::test]
async fn a_message_goes_through() {
    let s = setting();
    s.create("q", json!({})).await;
    let attributes = json!({
        "colour": {"DataType": "String", "StringValue": "red"},
        "timestamp": {"DataType": "Number", "StringValue": "1493147359900"},
    });
    let trace =
        json!({"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}});
    let sent = s
        .ok(
            "SendMessage",
            json!({
                "QueueUrl": url("q"), "MessageBody": "hello world", "MessageAttributes": attributes,
                "MessageSystemAttributes": trace, "MessageGroupId": "tenant",
            }),
        )
        .await;
    assert_eq!(sent["MD5OfMessageBody"], "5eb63bbbe01eeed093cb22bb8f5acdc3");
    assert!(sent["MD5OfMessageSystemAttributes"].is_string() && sent["SequenceNumber"].is_null());
    s.pass(1);
    let got = s.receive("q", json!({})).await;
    assert_eq!(got.len(), 1);
    let message = &got[0];
    assert_eq!((&message["Body"], &message["MessageId"]), (&json!("hello world"), &sent["MessageId"]));
    assert_eq!(message["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    assert_eq!(message["MessageAttributes"]["colour"], json!({"DataType": "String", "StringValue": "red"}));
    let expect = json!({
        "SenderId": "000000000000", "SentTimestamp": NOW.to_string(), "ApproximateReceiveCount": "1",
        "ApproximateFirstReceiveTimestamp": (NOW + 1000).to_string(), "MessageGroupId": "tenant",
        "AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793",
    });
    assert_eq!(message["Attributes"], expect);
    // Asked for one attribute, its sum is of that one.
    s.pass(30);
    let again = s.receive("q", json!({"MessageAttributeNames": ["time*"], "MessageSystemAttributeNames": []})).await;
    assert_eq!(again[0]["MD5OfMessageAttributes"], "235c5c510d26fb653d073faed50ae77c");
    assert!(again[0]["Attributes"].is_null());
    s.delete("q", &again[0]).await;
    s.pass(60);
    assert_eq!(s.bodies("q").await, [""; 0]);
}

#[tokio::test]
async fn visibility() {
    let s = setting();
    s.create("q", json!({"VisibilityTimeout": "10"})).await;
    s.send("q", "a").await;
    let first = s.receive("q", json!({})).await;
    assert_eq!(s.bodies("q").await, [""; 0]);
    assert_eq!(s.counts("q").await, (0, 1, 0));
    s.pass(10);
    let second = s.receive("q", json!({"VisibilityTimeout": 100})).await;
    assert_eq!(second[0]["Attributes"]["ApproximateReceiveCount"], "2");
    // An old handle is taken and does nothing.
    s.delete("q", &first[0]).await;
    assert_eq!(s.counts("q").await, (0, 1, 0));
    let change = |m: &Value, seconds: i64| json!({"QueueUrl": url("q"), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": seconds});
    s.ok("ChangeMessageVisibility", change(&second[0], 0)).await;
    let third = s.receive("q", json!({})).await;
    assert_eq!(third.len(), 1);
    s.fails("ChangeMessageVisibility", change(&second[0], 5), "MessageNotInflight").await;
    let message = s.fails("ChangeMessageVisibility", change(&third[0], 43_201), "InvalidParameterValue").await;
    assert!(message.contains("43201"), "{message}");
    s.pass(5);
    let message = s.fails("ChangeMessageVisibility", change(&third[0], 43_200), "InvalidParameterValue").await;
    assert!(message.contains("Total VisibilityTimeout"), "{message}");
    s.delete("q", &third[0]).await;
    s.fails("ChangeMessageVisibility", change(&third[0], 5), "InvalidParameterValue").await;
    for bad in ["", "x", "AQEB"] {
        let input = json!({"QueueUrl": url("q"), "ReceiptHandle": bad});
        s.fails("DeleteMessage", input, "ReceiptHandleIsInvalid").await;
    }
}

#[tokio::test]
async fn delays_and_retention() {
    let s = setting();
    s.create("q", json!({"DelaySeconds": "5", "MessageRetentionPeriod": "60"})).await;
    s.send("q", "later").await;
    s.ok("SendMessage", json!({"QueueUrl": url("q"), "MessageBody": "now", "DelaySeconds": 0})).await;
    assert_eq!(s.counts("q").await, (1, 0, 1));
    assert_eq!(s.bodies("q").await, ["now"]);
    s.pass(5);
    assert_eq!(s.bodies("q").await, ["later"]);
    s.pass(56);
    // Visible again, and past its time: nobody sees it, swept or not.
    assert_eq!(s.bodies("q").await, [""; 0]);
    assert_eq!(s.counts("q").await, (0, 0, 0));
    for n in 0..30 {
        s.send("q", &n.to_string()).await;
    }
    s.pass(70);
    s.queues.sweep().await.expect("sweeps");
    assert_eq!(s.counts("q").await, (0, 0, 0));
    let left = s.store.scan(b"queues/", b"queues0", 100).await.expect("reads");
    assert_eq!(left.len(), 1, "the queue alone");
}

#[tokio::test]
async fn a_backlog_larger_than_the_window() {
    let s = setting();
    s.create("q", json!({})).await;
    for n in 0..50 {
        s.send("q", &n.to_string()).await;
        // Time stands still for some.
        if n % 3 == 0 {
            s.clock.advance(Duration::from_millis(1));
        }
    }
    assert_eq!(s.counts("q").await, (50, 0, 0));
    let mut got = Vec::new();
    while got.len() < 50 {
        let some = s.receive("q", json!({})).await;
        assert!(!some.is_empty(), "{} of 50", got.len());
        for message in some {
            s.delete("q", &message).await;
            got.push(text(&message["Body"]));
        }
    }
    assert_eq!(got, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(s.counts("q").await, (0, 0, 0));
}

#[tokio::test]
async fn batches() {
    let s = setting();
    s.create("q", json!({})).await;
    let entry = |id: &str, body: &str| json!({"Id": id, "MessageBody": body});
    let send = |entries: Value| s.call("SendMessageBatch", json!({"QueueUrl": url("q"), "Entries": entries}));
    let sent = send(json!([entry("a", "1"), entry("bad", ""), entry("b", "2")])).await.expect("sends");
    let ids: Vec<String> = sent["Successful"].as_array().expect("entries").iter().map(|e| text(&e["Id"])).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!((&sent["Failed"][0]["Id"], &sent["Failed"][0]["Code"]), (&json!("bad"), &json!("MissingParameter")));
    assert_eq!(sent["Failed"][0]["SenderFault"], true);
    for (entries, code) in [
        (json!([]), "EmptyBatchRequest"),
        (json!((0..11).map(|n| entry(&n.to_string(), "x")).collect::<Vec<_>>()), "TooManyEntriesInBatchRequest"),
        (json!([entry("a", "x"), entry("a", "x")]), "BatchEntryIdsNotDistinct"),
        (json!([entry("a b", "x")]), "InvalidBatchEntryId"),
        (json!([entry("a", &"x".repeat(600_000)), entry("b", &"x".repeat(600_000))]), "BatchRequestTooLong"),
    ] {
        assert_eq!(send(entries).await.expect_err("refused").code, code);
    }
    let got = s.receive("q", json!({})).await;
    let entries = |more: Value| {
        let with = |(n, m): (usize, &Value)| {
            let mut entry = json!({"Id": n.to_string(), "ReceiptHandle": m["ReceiptHandle"]});
            entry.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
            entry
        };
        got.iter()
            .enumerate()
            .map(with)
            .chain([json!({"Id": "x", "ReceiptHandle": "x", "VisibilityTimeout": 1})])
            .collect::<Vec<_>>()
    };
    let visible = json!({"QueueUrl": url("q"), "Entries": entries(json!({"VisibilityTimeout": 60}))});
    let changed = s.ok("ChangeMessageVisibilityBatch", visible).await;
    assert_eq!(
        (changed["Successful"].as_array().map(Vec::len), changed["Failed"].as_array().map(Vec::len)),
        (Some(2), Some(1))
    );
    let deleted = s.ok("DeleteMessageBatch", json!({"QueueUrl": url("q"), "Entries": entries(json!({}))})).await;
    assert_eq!(deleted["Successful"], json!([{"Id": "0"}, {"Id": "1"}]));
    assert_eq!(deleted["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
    assert_eq!(s.counts("q").await, (0, 0, 0));
}

#[tokio::test]
async fn who_waits_is_woken_by_a_send_a_due_time_and_the_end_of_the_wait() {
    let s = setting();
    s.create("q", json!({"VisibilityTimeout": "7"})).await;
    let wait = |seconds: u64| s.receive("q", json!({"WaitTimeSeconds": seconds}));
    let (got, ()) = tokio::join!(wait(20), async {
        others_run().await;
        s.send("q", "a").await;
    });
    assert_eq!(got[0]["Body"], "a");
    // It becomes visible while somebody waits.
    let begun = s.clock.now();
    let (got, ()) = tokio::join!(wait(20), async {
        others_run().await;
        s.pass(7);
    });
    assert_eq!((&got[0]["Body"], s.clock.now().since(begun)), (&json!("a"), Duration::from_secs(7)));
    // Nobody knew of this time when the wait began.
    let (got, ()) = tokio::join!(wait(20), async {
        others_run().await;
        let input = json!({"QueueUrl": url("q"), "ReceiptHandle": got[0]["ReceiptHandle"], "VisibilityTimeout": 3});
        s.ok("ChangeMessageVisibility", input).await;
        others_run().await;
        s.pass(3);
    });
    s.delete("q", &got[0]).await;
    let (got, ()) = tokio::join!(wait(20), async {
        others_run().await;
        s.pass(20);
    });
    assert!(got.is_empty());
    // All of several are woken by what comes at once.
    let wait = |seconds: u64| s.receive("q", json!({"WaitTimeSeconds": seconds, "VisibilityTimeout": 100}));
    let (a, b, c, ()) = tokio::join!(wait(20), wait(20), wait(20), async {
        others_run().await;
        for body in ["1", "2", "3"] {
            s.send("q", body).await;
        }
        others_run().await;
        // One may have got what another waited for.
        s.pass(20);
    });
    assert_eq!(a.len() + b.len() + c.len(), 3);
    let refused = json!({"QueueUrl": url("q"), "WaitTimeSeconds": 21});
    s.fails("ReceiveMessage", refused, "InvalidParameterValue").await;
    s.pass(100);
    assert_eq!(s.bodies("q").await.len(), 3);
    let waiting = async { s.call("ReceiveMessage", json!({"QueueUrl": url("q"), "WaitTimeSeconds": 20})).await };
    let (gone, ()) = tokio::join!(waiting, async {
        others_run().await;
        s.ok("DeleteQueue", json!({"QueueUrl": url("q")})).await;
    });
    assert_eq!(gone.expect_err("deleted").code, "QueueDoesNotExist");
}

#[tokio::test]
async fn what_no_message_may_be() {
    let s = setting();
    s.create("q", json!({"MaximumMessageSize": "1024"})).await;
    let send = |more: Value| {
        let mut input = json!({"QueueUrl": url("q"), "MessageBody": "x"});
        input.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        s.call("SendMessage", input)
    };
    for (more, code) in [
        (json!({"MessageBody": ""}), "MissingParameter"),
        (json!({"MessageBody": "\u{1}"}), "InvalidMessageContents"),
        (json!({"MessageBody": "x".repeat(1025)}), "InvalidParameterValue"),
        (json!({"DelaySeconds": 901}), "InvalidParameterValue"),
        (json!({"DelaySeconds": -1}), "InvalidParameterValue"),
        (json!({"MessageDeduplicationId": "x"}), "InvalidParameterValue"),
        (json!({"MessageGroupId": ""}), "InvalidParameterValue"),
        (json!({"MessageAttributes": {"a": {"DataType": "Nothing", "StringValue": "x"}}}), "InvalidParameterValue"),
        (
            json!({"MessageAttributes": {"a": {"DataType": "String", "StringListValues": ["x"]}}}),
            "UnsupportedOperation",
        ),
        (
            json!({"MessageSystemAttributes": {"X": {"DataType": "String", "StringValue": "x"}}}),
            "InvalidParameterValue",
        ),
    ] {
        assert_eq!(send(more.clone()).await.expect_err("refused").code, code, "{more}");
    }
    for more in
        [json!({"MaxNumberOfMessages": 0}), json!({"MaxNumberOfMessages": 11}), json!({"VisibilityTimeout": 43_201})]
    {
        let mut input = more;
        input["QueueUrl"] = url("q").into();
        s.fails("ReceiveMessage", input, "InvalidParameterValue").await;
    }
}
