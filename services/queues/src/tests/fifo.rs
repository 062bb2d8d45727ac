//! Messages of FIFO queues.

use super::*;

async fn fifo(more: Value) -> Setting {
    let s = setting();
    let mut attributes = json!({"FifoQueue": "true"});
    attributes.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
    s.create("q.fifo", attributes).await;
    s
}

#[tokio::test]
async fn groups_are_in_order_and_block() {
    let s = fifo(json!({})).await;
    let numbers: Vec<String> = {
        let mut all = Vec::new();
        for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3")] {
            all.push(text(&s.send_to("q.fifo", group, body).await["SequenceNumber"]));
        }
        all
    };
    assert!(numbers.is_sorted() && numbers.iter().all(|n| n.len() == 20), "{numbers:?}");
    let got = s.receive("q.fifo", json!({"MaxNumberOfMessages": 2})).await;
    assert_eq!([&got[0]["Body"], &got[1]["Body"]], ["a1", "a2"], "as many as possible of one group");
    assert_eq!(got[0]["Attributes"]["SequenceNumber"], numbers[0].as_str());
    assert_eq!(got[0]["Attributes"]["MessageGroupId"], "a");
    assert_eq!(got[0]["Attributes"]["MessageDeduplicationId"], "a1");
    assert_eq!(s.bodies("q.fifo").await, ["b1"]);
    s.delete("q.fifo", &got[0]).await;
    assert_eq!(s.bodies("q.fifo").await, [""; 0]);
    s.delete("q.fifo", &got[1]).await;
    assert_eq!(s.bodies("q.fifo").await, ["a3"]);
    s.pass(30);
    let message = s
        .fails(
            "DeleteMessage",
            json!({"QueueUrl": url("q.fifo"), "ReceiptHandle": s.receive("q.fifo", json!({})).await.len().to_string()}),
            "ReceiptHandleIsInvalid",
        )
        .await;
    assert_eq!(message, "The input receipt handle is invalid.");
}

#[tokio::test]
async fn a_handle_expires_with_its_visibility() {
    let s = fifo(json!({"VisibilityTimeout": "5"})).await;
    s.send_to("q.fifo", "a", "1").await;
    let got = s.receive("q.fifo", json!({})).await;
    s.pass(5);
    let input = json!({"QueueUrl": url("q.fifo"), "ReceiptHandle": got[0]["ReceiptHandle"]});
    let message = s.fails("DeleteMessage", input, "InvalidParameterValue").await;
    assert!(message.ends_with("The receipt handle has expired."), "{message}");
}

#[tokio::test]
async fn duplicates() {
    let s = fifo(json!({"ContentBasedDeduplication": "true"})).await;
    let send = |body: &str, id: Option<&str>| {
        s.ok(
            "SendMessage",
            json!({
                "QueueUrl": url("q.fifo"), "MessageBody": body, "MessageGroupId": "g", "MessageDeduplicationId": id,
            }),
        )
    };
    let first = send("x", None).await;
    let second = send("x", None).await;
    assert_eq!((&first["MessageId"], &first["SequenceNumber"]), (&second["MessageId"], &second["SequenceNumber"]));
    send("x", Some("other")).await;
    let got = s.receive("q.fifo", json!({})).await;
    assert_eq!(got.len(), 2);
    for message in &got {
        s.delete("q.fifo", message).await;
    }
    // Also after it was deleted, for five minutes.
    s.pass(299);
    send("x", None).await;
    assert_eq!(s.bodies("q.fifo").await, [""; 0]);
    s.pass(1);
    send("x", None).await;
    assert_eq!(s.bodies("q.fifo").await, ["x"]);
    s.pass(400);
    s.queues.sweep().await.expect("sweeps");
    for space in ["queues/dedup", "queues/dedup-end"] {
        let all = ::store::Key::of(space);
        assert_eq!(s.store.scan(all.as_bytes(), &all.end(), 10).await.expect("reads").len(), 0, "{space}");
    }
    // In a batch the first of two alike is sent.
    let entry = |id: &str| json!({"Id": id, "MessageBody": "y", "MessageGroupId": "g"});
    let batch = json!({"QueueUrl": url("q.fifo"), "Entries": [entry("1"), entry("2")]});
    let sent = s.ok("SendMessageBatch", batch).await;
    assert_eq!(sent["Successful"][0]["MessageId"], sent["Successful"][1]["MessageId"]);
}

#[tokio::test]
async fn duplicates_within_groups_alone() {
    let s = fifo(json!({"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})).await;
    let send = |group: &str| {
        s.ok("SendMessage", json!({
            "QueueUrl": url("q.fifo"), "MessageBody": group, "MessageGroupId": group, "MessageDeduplicationId": "same",
        }))
    };
    send("a").await;
    send("b").await;
    send("a").await;
    assert_eq!(s.receive("q.fifo", json!({})).await.len(), 2);
}

#[tokio::test]
async fn what_a_fifo_queue_does_not_take() {
    let s = fifo(json!({})).await;
    let send = |more: Value| {
        let mut input = json!({"QueueUrl": url("q.fifo"), "MessageBody": "x"});
        input.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        s.call("SendMessage", input)
    };
    for (more, code) in [
        (json!({"MessageDeduplicationId": "x"}), "MissingParameter"),
        (json!({"MessageGroupId": "g"}), "InvalidParameterValue"),
        (json!({"MessageGroupId": "g g", "MessageDeduplicationId": "x"}), "InvalidParameterValue"),
        (json!({"MessageGroupId": "g", "MessageDeduplicationId": "x", "DelaySeconds": 1}), "InvalidParameterValue"),
    ] {
        assert_eq!(send(more.clone()).await.expect_err("refused").code, code, "{more}");
    }
    s.create("standard", json!({})).await;
    let input = json!({"QueueUrl": url("standard"), "ReceiveRequestAttemptId": "x"});
    s.fails("ReceiveMessage", input, "InvalidParameterValue").await;
}

#[tokio::test]
async fn a_receive_that_is_repeated_gets_the_same() {
    let s = fifo(json!({"VisibilityTimeout": "30"})).await;
    for body in ["1", "2", "3"] {
        s.send_to("q.fifo", "g", body).await;
    }
    let ask = || s.receive("q.fifo", json!({"MaxNumberOfMessages": 2, "ReceiveRequestAttemptId": "try"}));
    let first = ask().await;
    s.pass(20);
    let second = ask().await;
    assert_eq!(first, second);
    s.pass(20);
    assert_eq!(s.bodies("q.fifo").await, [""; 0], "the second made them invisible for longer");
    s.delete("q.fifo", &first[0]).await;
    assert_eq!(ask().await, [first[1].clone()]);
    s.delete("q.fifo", &first[1]).await;
    assert_eq!(s.bodies("q.fifo").await, ["3"]);
}

#[tokio::test]
async fn a_changed_delay_holds_for_what_is_there() {
    let s = fifo(json!({"DelaySeconds": "10"})).await;
    s.send_to("q.fifo", "g", "1").await;
    assert_eq!(s.bodies("q.fifo").await, [""; 0]);
    s.ok("SetQueueAttributes", json!({"QueueUrl": url("q.fifo"), "Attributes": {"DelaySeconds": "2"}})).await;
    let (got, ()) = tokio::join!(s.receive("q.fifo", json!({"WaitTimeSeconds": 20})), async {
        others_run().await;
        s.pass(2);
    });
    assert_eq!(got.len(), 1);
}
