//! Schedules against the documentation's examples, the clocks' changes, and a plain search.

use super::*;
use std::time::Instant;

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

fn zone(name: &str) -> Zone {
    Zone::named(name).expect(name)
}

/// Milliseconds of a UTC time.
fn utc(text: &str) -> Timestamp {
    Zone::utc().instant(text.parse().expect(text)).expect(text)
}

/// The next `n` times after `from`, in UTC.
fn times(expression: &str, zone: &Zone, from: &str, n: usize) -> Vec<String> {
    let (schedule, mut at) = (schedule(expression), utc(from));
    let since = at;
    let mut all = Vec::new();
    while all.len() < n {
        let Some(next) = schedule.next(zone, since, at) else { break };
        assert!(next > at);
        all.push(next.iso8601().trim_end_matches(".000Z").to_owned());
        at = next;
    }
    all
}

fn in_utc(expression: &str, from: &str, n: usize) -> Vec<String> {
    times(expression, &Zone::utc(), from, n)
}

#[test]
fn the_documentations_examples() {
    assert_eq!(in_utc("cron(0 10 * * ? *)", "2026-11-27T10:00:00", 2), ["2026-11-28T10:00:00", "2026-11-29T10:00:00"]);
    assert_eq!(in_utc("cron(0 18 ? * MON-FRI *)", "2026-11-27T18:00:00", 1), ["2026-11-30T18:00:00"]);
    assert_eq!(in_utc("cron(0 8 1 * ? *)", "2026-11-27T00:00:00", 2), ["2026-12-01T08:00:00", "2027-01-01T08:00:00"]);
    assert_eq!(
        in_utc("cron(0/15 * * * ? *)", "2026-11-27T10:31:10", 3),
        ["2026-11-27T10:45:00", "2026-11-27T11:00:00", "2026-11-27T11:15:00"]
    );
    assert_eq!(
        in_utc("cron(0/5 8-17 ? * MON-FRI *)", "2026-11-27T17:54:59", 2),
        ["2026-11-27T17:55:00", "2026-11-30T08:00:00"]
    );
    assert_eq!(
        in_utc("cron(15 10 ? * 6L 2022-2023)", "2023-11-01T00:00:00", 9),
        ["2023-11-24T10:15:00", "2023-12-29T10:15:00"]
    );
    assert_eq!(in_utc("cron(0 9 ? * 2#1 *)", "2026-11-27T00:00:00", 2), ["2026-12-07T09:00:00", "2027-01-04T09:00:00"]);
    assert_eq!(in_utc("cron(0 0 L * ? *)", "2028-02-01T00:00:00", 2), ["2028-02-29T00:00:00", "2028-03-31T00:00:00"]);
    assert_eq!(in_utc("cron(0 0 LW * ? *)", "2027-01-01T00:00:00", 2), ["2027-01-29T00:00:00", "2027-02-26T00:00:00"]);
    // 15 August 2026 is a Saturday, 15 November a Sunday; 1 August a Saturday at the month's start.
    assert_eq!(
        in_utc("cron(0 0 15W 8,11 ? 2026)", "2026-01-01T00:00:00", 3),
        ["2026-08-14T00:00:00", "2026-11-16T00:00:00"]
    );
    assert_eq!(in_utc("cron(0 0 1W 8 ? 2026)", "2026-01-01T00:00:00", 3), ["2026-08-03T00:00:00"]);
    assert_eq!(
        in_utc("cron(0 0 ? * FRI-MON *)", "2026-11-27T00:00:00", 4),
        ["2026-11-28T00:00:00", "2026-11-29T00:00:00", "2026-11-30T00:00:00", "2026-12-04T00:00:00"]
    );
    assert_eq!(in_utc("at(2026-11-27T12:00:01)", "2026-11-27T12:00:00", 2), ["2026-11-27T12:00:01"]);
}

#[test]
fn clocks_go_forward_and_back() {
    let berlin = zone("Europe/Berlin");
    // On 29 March 2026 the clocks go from 2:00 to 3:00: half past two is skipped.
    assert_eq!(
        times("cron(30 2 * * ? *)", &berlin, "2026-03-27T23:00:00", 2),
        ["2026-03-28T01:30:00", "2026-03-30T00:30:00"]
    );
    // On 25 October 2026 they go from 3:00 to 2:00: half past two comes twice and counts once.
    assert_eq!(
        times("cron(30 2 * * ? *)", &berlin, "2026-10-24T12:00:00", 2),
        ["2026-10-25T00:30:00", "2026-10-26T01:30:00"]
    );
    assert_eq!(
        times("cron(0/30 * * * ? *)", &berlin, "2026-10-24T23:45:00", 5),
        [
            "2026-10-25T00:00:00",
            "2026-10-25T00:30:00",
            "2026-10-25T02:00:00",
            "2026-10-25T02:30:00",
            "2026-10-25T03:00:00"
        ]
    );
    assert_eq!(times("at(2026-03-29T02:30:00)", &berlin, "2026-03-01T00:00:00", 1), [] as [&str; 0]);
    assert_eq!(
        times("at(2026-07-01T12:00:00)", &zone("america/new_york"), "2026-03-01T00:00:00", 1),
        ["2026-07-01T16:00:00"]
    );
    // A day of a rate is 24 hours.
    assert_eq!(times("rate(1 day)", &berlin, "2026-03-28T12:00:00", 2), ["2026-03-29T12:00:00", "2026-03-30T12:00:00"]);
    // Lord Howe Island changes by half an hour.
    assert_eq!(
        times("cron(15 2 * * ? *)", &zone("Australia/Lord_Howe"), "2026-10-02T12:00:00", 2),
        ["2026-10-02T15:45:00", "2026-10-04T15:15:00"]
    );
    assert!(Zone::named("Mars/Olympus").is_none());
}

#[test]
fn rates_begin_when_they_are_told_to() {
    let rate = schedule("rate(5 minutes)");
    let next = |after: u64| rate.next(&Zone::utc(), Timestamp(1_000_000), Timestamp(after)).expect("always").0;
    assert_eq!(
        [0, 999_999, 1_000_000, 1_299_999, 1_300_000].map(next),
        [1_000_000, 1_000_000, 1_300_000, 1_300_000, 1_600_000]
    );
    assert_eq!(next(1_000_000 + 300_000 * 1_000_000 + 1), 1_000_000 + 300_000 * 1_000_001);
}

#[test]
fn what_is_no_schedule() {
    for text in [
        "",
        "rate",
        "rate()",
        "rate(0 minutes)",
        "rate(-1 minutes)",
        "rate(1 week)",
        "rate(5minutes)",
        "at(2026-11-27)",
        "at(2026-13-27T12:00:00)",
        "at(2026-11-27T12:00:00Z)",
        "cron()",
        "cron(* * * * ?)",
        "cron(* * * * ? * *)",
        "cron(* * ? * ? *)",
        "cron(* * 1 * 1 *)",
        "cron(* * * * * *)",
        "cron(60 * * * ? *)",
        "cron(* 24 * * ? *)",
        "cron(* * 32 * ? *)",
        "cron(* * 0 * ? *)",
        "cron(* * * 13 ? *)",
        "cron(* * ? * 8 *)",
        "cron(* * * * ? 2200)",
        "cron(1- * * * ? *)",
        "cron(*/0 * * * ? *)",
        "cron(, * * * ? *)",
        "cron(* * ? * MON#6 *)",
        "cron(* * XW * ? *)",
        "cron(+1 * * * ? *)",
    ] {
        assert!(Schedule::parse(text).is_err(), "{text}");
    }
    assert_eq!(
        Schedule::parse("rate(1 week)").expect_err("weeks").to_string(),
        "Invalid Schedule Expression rate(1 week)."
    );
}

#[test]
fn the_search_ends_soon() {
    let started = Instant::now();
    for text in ["cron(0 0 30 2 ? *)", "cron(0 0 31W 2,4,6 ? *)", "cron(0 0 ? 2 1#5 2027)"] {
        assert!(schedule(text).next(&Zone::utc(), Timestamp(0), utc("2026-01-01T00:00:00")).is_none(), "{text}");
    }
    assert!(started.elapsed().as_secs() < 5);
}

/// xorshift64: the same run every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Minute by minute over days around the clocks' changes: `next` gives what a plain search gives.
#[test]
fn next_agrees_with_a_search_of_every_minute() {
    let mut random = Random(5);
    for name in ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"] {
        let zone = zone(name);
        for start in ["2026-03-07T00:00:00", "2026-03-28T00:00:00", "2026-10-24T12:00:00"] {
            for _ in 0..5 {
                let minutes = ["*", "0", "30", "0/20", "15,45"][random.below(5)];
                let hours = ["*", "1-3", "2", "0/6"][random.below(4)];
                let days = ["* * ?", "? * SUN", "? * 1L", "L * ?", "8W * ?"][random.below(5)];
                let text = format!("cron({minutes} {hours} {days} *)");
                let schedule = schedule(&text);
                let Schedule::Cron(cron) = &schedule else { unreachable!() };
                let (from, to) = (utc(start), Timestamp(utc(start).0 + 3 * 86_400_000));
                let mut seen = std::collections::BTreeSet::new();
                let mut search = Vec::new();
                for ms in (from.0 + 60_000..=to.0).step_by(60_000) {
                    let local = zone.local(Timestamp(ms)).expect("local");
                    let before = local.checked_sub(jiff::Span::new().minutes(1)).expect("a minute");
                    // The second of two equal local times does not count, also if the first was before `from`.
                    if cron.after(before) == Some(local)
                        && zone.instant(local) == Some(Timestamp(ms))
                        && seen.insert(local)
                    {
                        search.push(ms);
                    }
                }
                let (mut found, mut at) = (Vec::new(), from);
                while let Some(next) = schedule.next(&zone, from, at).filter(|next| *next <= to) {
                    found.push(next.0);
                    at = next;
                }
                assert_eq!(found, search, "{text} {name} {start}");
            }
        }
    }
}
