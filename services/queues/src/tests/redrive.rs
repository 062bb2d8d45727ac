//! Dead-letter queues, there and back.

use super::*;

async fn with_dead_letters(receives: u32) -> Setting {
    let s = setting();
    s.create("dead", json!({})).await;
    let policy = json!({"deadLetterTargetArn": arn("dead"), "maxReceiveCount": receives}).to_string();
    s.create("work", json!({"RedrivePolicy": policy, "VisibilityTimeout": "1"})).await;
    s
}

async fn settled(s: &Setting) {
    for _ in 0..20 {
        others_run().await;
        s.pass(1);
    }
}

#[tokio::test]
async fn what_is_received_too_often_goes_away() {
    let s = with_dead_letters(2).await;
    let sent = s.send("work", "poison").await;
    for _ in 0..2 {
        assert_eq!(s.bodies("work").await, ["poison"]);
        s.pass(1);
    }
    assert_eq!(s.bodies("work").await, [""; 0]);
    let got = s.receive("dead", json!({})).await;
    assert_eq!((&got[0]["Body"], &got[0]["MessageId"]), (&json!("poison"), &sent["MessageId"]));
    assert_eq!(got[0]["Attributes"]["DeadLetterQueueSourceArn"], arn("work"));
    assert_eq!(got[0]["Attributes"]["SentTimestamp"], NOW.to_string());
    assert_eq!((s.counts("work").await, s.counts("dead").await), ((0, 0, 0), (0, 1, 0)));
    let sources = s.ok("ListDeadLetterSourceQueues", json!({"QueueUrl": url("dead")})).await;
    assert_eq!(sources, json!({"queueUrls": [url("work")]}));
}

#[tokio::test]
async fn without_a_dead_letter_queue_it_stays() {
    let s = with_dead_letters(1).await;
    s.send("work", "x").await;
    s.ok("DeleteQueue", json!({"QueueUrl": url("dead")})).await;
    for _ in 0..3 {
        assert_eq!(s.bodies("work").await, ["x"]);
        s.pass(1);
    }
}

#[tokio::test]
async fn who_may_have_which_dead_letter_queue() {
    let s = with_dead_letters(1).await;
    let set = |name: &str, target: &str| {
        let policy = json!({"deadLetterTargetArn": arn(target), "maxReceiveCount": 3}).to_string();
        s.call("SetQueueAttributes", json!({"QueueUrl": url(name), "Attributes": {"RedrivePolicy": policy}}))
    };
    assert_eq!(set("work", "none").await.expect_err("missing").code, "InvalidParameterValue");
    s.create("dead.fifo", json!({"FifoQueue": "true"})).await;
    assert_eq!(set("work", "dead.fifo").await.expect_err("another kind").code, "InvalidParameterValue");
    let allow = json!({"redrivePermission": "denyAll"}).to_string();
    s.ok("SetQueueAttributes", json!({"QueueUrl": url("dead"), "Attributes": {"RedriveAllowPolicy": allow}})).await;
    assert_eq!(set("work", "dead").await.expect_err("not allowed").code, "InvalidParameterValue");
    // What was allowed when it was set, and no longer is, stays where it is.
    s.send("work", "x").await;
    for _ in 0..3 {
        assert_eq!(s.bodies("work").await, ["x"]);
        s.pass(1);
    }
}

#[tokio::test]
async fn dead_letters_go_back() {
    let s = with_dead_letters(1).await;
    for n in 0..25 {
        s.send("work", &n.to_string()).await;
    }
    for _ in 0..6 {
        s.bodies("work").await;
        s.pass(1);
    }
    assert_eq!((s.counts("work").await, s.counts("dead").await), ((0, 0, 0), (25, 0, 0)));
    s.fails("StartMessageMoveTask", json!({"SourceArn": arn("work")}), "InvalidParameterValue").await;
    s.fails("StartMessageMoveTask", json!({"SourceArn": arn("none")}), "ResourceNotFoundException").await;
    let task = s.ok("StartMessageMoveTask", json!({"SourceArn": arn("dead"), "MaxNumberOfMessagesPerSecond": 5})).await;
    s.fails("StartMessageMoveTask", json!({"SourceArn": arn("dead")}), "UnsupportedOperation").await;
    for _ in 0..4 {
        others_run().await;
    }
    let list = || s.ok("ListMessageMoveTasks", json!({"SourceArn": arn("dead"), "MaxResults": 10}));
    let running = list().await;
    assert_eq!(running["Results"][0]["Status"], "RUNNING");
    assert_eq!(running["Results"][0]["ApproximateNumberOfMessagesMoved"], 5);
    assert_eq!(running["Results"][0]["ApproximateNumberOfMessagesToMove"], 25);
    s.ok("CancelMessageMoveTask", json!({"TaskHandle": task["TaskHandle"]})).await;
    settled(&s).await;
    let cancelled = list().await;
    assert_eq!(cancelled["Results"][0]["Status"], "CANCELLED");
    assert!(cancelled["Results"][0]["TaskHandle"].is_null());
    s.fails("CancelMessageMoveTask", json!({"TaskHandle": task["TaskHandle"]}), "UnsupportedOperation").await;
    s.fails("CancelMessageMoveTask", json!({"TaskHandle": "x"}), "InvalidParameterValue").await;
    s.ok("StartMessageMoveTask", json!({"SourceArn": arn("dead")})).await;
    settled(&s).await;
    let done = list().await;
    assert_eq!(done["Results"][0]["Status"], "COMPLETED");
    assert_eq!(done["Results"][0]["ApproximateNumberOfMessagesMoved"], 20);
    assert_eq!((s.counts("work").await, s.counts("dead").await), ((25, 0, 0), (0, 0, 0)));
    let got = s.receive("work", json!({})).await;
    assert_eq!(got[0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert!(got[0]["Attributes"]["DeadLetterQueueSourceArn"].is_null());
}

#[tokio::test]
async fn dead_letters_go_elsewhere_and_a_task_survives_a_restart() {
    let engine = Arc::new(Memory::default());
    let clock = ManualClock::at(Timestamp(NOW));
    let s = on(engine.clone(), clock.clone(), 1);
    s.create("dead", json!({})).await;
    s.create("other", json!({})).await;
    let policy = json!({"deadLetterTargetArn": arn("dead"), "maxReceiveCount": 1}).to_string();
    s.create("work", json!({"RedrivePolicy": policy})).await;
    for n in 0..12 {
        s.send("dead", &n.to_string()).await;
    }
    let start = |more: Value| {
        let mut input = json!({"SourceArn": arn("dead")});
        input.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        s.call("StartMessageMoveTask", input)
    };
    assert!(start(json!({"DestinationArn": arn("dead")})).await.is_err());
    assert!(start(json!({"MaxNumberOfMessagesPerSecond": 501})).await.is_err());
    start(json!({"DestinationArn": arn("other"), "MaxNumberOfMessagesPerSecond": 4})).await.expect("starts");
    others_run().await;
    // The node goes down; the next one goes on.
    s.queues.stopping.cancel();
    others_run().await;
    drop(s);
    let s = on(engine, clock, 2);
    s.queues.resume_tasks().await.expect("resumes");
    settled(&s).await;
    assert_eq!((s.counts("other").await, s.counts("dead").await), ((12, 0, 0), (0, 0, 0)));
    // What was sent by hand came from nowhere.
    s.send("dead", "by hand").await;
    s.ok("StartMessageMoveTask", json!({"SourceArn": arn("dead")})).await;
    settled(&s).await;
    let tasks = s.ok("ListMessageMoveTasks", json!({"SourceArn": arn("dead")})).await;
    assert_eq!(tasks["Results"][0]["Status"], "FAILED");
    assert_eq!(s.counts("dead").await, (1, 0, 0));
}
