//! What is done at its time: schedules, archives, replays. Tokio's time is paused, so that days take milliseconds.

use super::*;

#[tokio::test(start_paused = true)]
async fn rules_with_schedules_fire() {
    let store = Store::new(Arc::new(::store::memory::Memory::default()));
    let rig = Rig::with(store.clone(), kit::RunningClock::at(START), Arc::new(Pigeonhole::always(200)));
    let bus = rig.bus.clone();
    rig.ok("PutRule", json!({"Name": "r", "ScheduleExpression": "rate(5 minutes)"})).await;
    rig.ok("PutTargets", json!({"Rule": "r", "Targets": [{"Id": "1", "Arn": F}, {"Id": "2", "Arn": Q}]})).await;
    rig.ok("PutRule", json!({"Name": "c", "ScheduleExpression": "cron(0 16 * * ? *)"})).await;
    rig.ok("PutTargets", json!({"Rule": "c", "Targets": [{"Id": "1", "Arn": F}]})).await;
    rig.refused(
        "PutRule",
        json!({"Name": "x", "ScheduleExpression": "at(2027-01-01T00:00:00)"}),
        "ValidationException",
        "Parameter ScheduleExpression is not valid.",
    )
    .await;
    rig.refused(
        "PutRule",
        json!({"Name": "x", "ScheduleExpression": "rate(5)"}),
        "ValidationException",
        "Parameter ScheduleExpression is not valid.",
    )
    .await;
    let stop = tokio_util::sync::CancellationToken::new();
    let work = tokio::spawn(bus.work(stop.clone()));
    let minutes = async |n: u64| tokio::time::sleep(std::time::Duration::from_secs(60 * n)).await;
    minutes(11).await;
    let events = rig.waiting().await;
    // Twice for two targets, and at four o'clock.
    assert_eq!(events.len(), 5);
    let told =
        payload(events.iter().find(|e| e.terms.rule.as_deref().is_some_and(|r| r.ends_with("/c"))).expect("fired"));
    assert_eq!(
        (&told["detail-type"], &told["source"], &told["time"]),
        (&json!("Scheduled Event"), &json!("aws.events"), &json!("2026-11-23T16:00:00Z"))
    );
    rig.ok("DisableRule", json!({"Name": "r"})).await;
    minutes(20).await;
    assert_eq!(rig.waiting().await.len(), 5);
    rig.ok("EnableRule", json!({"Name": "r"})).await;
    minutes(5).await;
    assert_eq!(rig.waiting().await.len(), 7);
    rig.ok("PutRule", json!({"Name": "r", "EventPattern": "{\"a\": [1]}"})).await;
    minutes(20).await;
    assert_eq!(rig.waiting().await.len(), 7, "it has no schedule any more");
    stop.cancel();
    work.await.expect("ends well");
}

#[tokio::test(start_paused = true)]
async fn archives_keep_and_replays_send_again() {
    let store = Store::new(Arc::new(::store::memory::Memory::default()));
    let clock = kit::RunningClock::at(START);
    let rig = Rig::with(store.clone(), clock, Arc::new(Pigeonhole::always(200)));
    let bus = rig.bus.clone();
    let stop = tokio_util::sync::CancellationToken::new();
    let work = tokio::spawn(bus.work(stop.clone()));
    let wait = async |s: u64| tokio::time::sleep(std::time::Duration::from_secs(s)).await;
    let default = "arn:aws:events:us-east-1:000000000000:event-bus/default";
    let made = rig.ok("CreateArchive", json!({"ArchiveName": "a", "EventSourceArn": default, "EventPattern": "{\"source\": [\"s\"]}", "RetentionDays": 1})).await;
    rig.ok("CreateArchive", json!({"ArchiveName": "all", "EventSourceArn": default})).await;
    rig.refused(
        "CreateArchive",
        json!({"ArchiveName": "a", "EventSourceArn": default}),
        "ResourceAlreadyExistsException",
        "Archive a already exists.",
    )
    .await;
    for n in 0..60 {
        rig.put("s", json!({"n": n})).await;
        rig.put("other", json!({})).await;
        wait(1).await;
    }
    let count = async |name: &str| rig.ok("DescribeArchive", json!({"ArchiveName": name})).await["EventCount"].clone();
    assert_eq!((count("a").await, count("all").await), (json!(60), json!(120)));
    // Rules that came later see what was archived before.
    rig.rule("r", json!({"source": ["s"], "replay-name": ["again"]}), json!([{"Id": "1", "Arn": F}])).await;
    rig.rule("q", json!({"source": ["s"]}), json!([{"Id": "1", "Arn": Q}])).await;
    let start = |name: &str, rules: Value| {
        let seconds = START.0 as f64 / 1000.0;
        json!({
            "ReplayName": name, "EventSourceArn": made["ArchiveArn"], "EventStartTime": seconds + 9.5, "EventEndTime": seconds + 49.5,
            "Destination": {"Arn": default, "FilterArns": rules},
        })
    };
    rig.ok("StartReplay", start("again", json!(["arn:aws:events:us-east-1:000000000000:rule/r"]))).await;
    wait(1).await;
    let described = rig.ok("DescribeReplay", json!({"ReplayName": "again"})).await;
    assert_eq!(described["State"], "COMPLETED", "{described}");
    let events = rig.waiting().await;
    assert!(events.iter().all(|e| e.target.to_string() == F && payload(e)["replay-name"] == "again"));
    let numbers: std::collections::BTreeSet<u64> =
        events.iter().filter_map(|e| payload(e)["detail"]["n"].as_u64()).collect();
    assert_eq!((events.len(), numbers), (40, (10..50).collect()));
    assert_eq!(count("all").await, json!(120), "what is replayed is not archived again");
    rig.refused("CancelReplay", json!({"ReplayName": "again"}), "IllegalStatusException", "Replay again").await;
    rig.refused(
        "StartReplay",
        start("again", json!([])),
        "ResourceAlreadyExistsException",
        "Replay again already exists.",
    )
    .await;
    rig.ok("StartReplay", start("cut", json!([]))).await;
    rig.ok("CancelReplay", json!({"ReplayName": "cut"})).await;
    wait(1).await;
    assert_eq!(rig.ok("DescribeReplay", json!({"ReplayName": "cut"})).await["State"], "CANCELLED");
    assert_eq!(rig.ok("ListReplays", json!({"State": "COMPLETED"})).await["Replays"].as_array().map(Vec::len), Some(1));
    // What is older than the archive keeps goes, and what was in a deleted one.
    wait(26 * 3600).await;
    assert_eq!((count("a").await, count("all").await), (json!(0), json!(120)));
    rig.ok("UpdateArchive", json!({"ArchiveName": "all", "Description": "d"})).await;
    assert_eq!(rig.ok("ListArchives", json!({"NamePrefix": "al"})).await["Archives"][0]["ArchiveName"], "all");
    rig.ok("DeleteArchive", json!({"ArchiveName": "all"})).await;
    wait(1).await;
    let left = ::store::Key::of("bus/archived");
    assert!(store.scan(left.as_bytes(), &left.end(), 9).await.expect("memory").is_empty());
    stop.cancel();
    work.await.expect("ends well");
}
