//! The rules of CloudWatch Logs that hold whatever the API or the disk looks like. No IO.

use crate::Error;
use crate::chunk::{self, EVENT_OVERHEAD_BYTES};
use base::log::LogLine;
use base::{Arn, Scope, Timestamp};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// What `PutRetentionPolicy` takes, in days.
const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
/// Messages and 26 bytes for each, in one `PutLogEvents`.
pub const PUT_BYTES_MAX: u64 = 1_048_576;
const PUT_SPAN_MAX: Duration = Duration::from_secs(24 * 3600);
const OLD_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
const NEW_MAX: Duration = Duration::from_secs(2 * 3600);
/// A line as JSON must fit a record of the store (4 MiB) with room for the rest of its chunk.
const LINE_ENCODED_BYTES_MAX: usize = (4 << 20) - (64 << 10);
pub const TAGS_MAX: usize = 50;
const DAY: Duration = Duration::from_secs(24 * 3600);

pub fn group_arn(scope: &Scope, group: &str) -> String {
    Arn::new("logs", scope.region.as_str(), scope.account.as_str(), format!("log-group:{group}")).to_string()
}

pub fn stream_arn(scope: &Scope, group: &str, stream: &str) -> String {
    format!("{}:log-stream:{stream}", group_arn(scope, group))
}

/// The group that a name or an identifier (name or ARN) means; exactly one of them must be there.
pub fn group_of<'a>(scope: &Scope, name: Option<&'a str>, identifier: Option<&'a str>) -> Result<&'a str, Error> {
    match (name, identifier) {
        (Some(name), None) => Ok(name),
        (None, Some(text)) if text.starts_with("arn:") => group_of_arn(scope, text),
        (None, Some(text)) => Ok(text),
        (Some(_), Some(_)) => {
            Err(Error::invalid("LogGroup name and LogGroup identifier cannot be provided at the same time."))
        }
        (None, None) => Err(Error::invalid("Either LogGroup name or LogGroup identifier must be provided.")),
    }
}

/// The group in `arn:aws:logs:<region>:<account>:log-group:<name>`, with or without `:*`, of this scope.
pub fn group_of_arn<'a>(scope: &Scope, text: &'a str) -> Result<&'a str, Error> {
    let arn: Arn = text.parse().map_err(|_| Error::invalid("The specified resource ARN is invalid."))?;
    let name = text.split_once(":log-group:").map(|(_, name)| name.strip_suffix(":*").unwrap_or(name));
    let own = arn.region == scope.region.as_str() && arn.account == scope.account.as_str();
    match name {
        Some(name) if arn.service == "logs" && !name.is_empty() => {
            if own {
                Ok(name)
            } else {
                Err(Error::NoSuchGroup)
            }
        }
        _ => Err(Error::invalid("The specified resource ARN is invalid.")),
    }
}

pub fn check_retention(days: i64) -> Result<u32, Error> {
    let known = u32::try_from(days).ok().filter(|d| RETENTION_DAYS.contains(d));
    known.ok_or_else(|| {
        let all: Vec<String> = RETENTION_DAYS.iter().map(u32::to_string).collect();
        let all = all.join(", ");
        Error::invalid(format!("Invalid retention value {days}. Valid values are: {all}."))
    })
}

/// Events before this are no longer shown, and are swept.
pub fn expired_before(retention_days: Option<u32>, now: Timestamp) -> Timestamp {
    let kept = retention_days.map_or(0, |days| now.millis().saturating_sub((DAY * days).as_millis() as u64));
    Timestamp(kept)
}

/// Which of the events of a `PutLogEvents` are taken, and why others are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub range: Range<usize>,
    /// The first event that lies more than two hours ahead.
    pub too_new_from: Option<usize>,
    /// The end (exclusive) of those older than 14 days.
    pub too_old_until: Option<usize>,
    /// The end (exclusive) of those past the group's retention.
    pub expired_until: Option<usize>,
}

/// Checks a whole batch: in order, within a day, not too large.
pub fn check_batch(lines: &[LogLine]) -> Result<(), Error> {
    if !lines.is_sorted_by_key(|l| l.at) {
        return Err(Error::invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    if let (Some(first), Some(last)) = (lines.first(), lines.last())
        && last.at.since(first.at) > PUT_SPAN_MAX
    {
        return Err(Error::invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    let total = chunk::stored_bytes(lines);
    if total > PUT_BYTES_MAX {
        return Err(Error::invalid(format!("Upload too large: {total} bytes exceeds limit of {PUT_BYTES_MAX}")));
    }
    for line in lines {
        let bytes = chunk::encoded_bytes(&line.message);
        if bytes > LINE_ENCODED_BYTES_MAX {
            let text = format!("Log event too large: {bytes} bytes exceeds limit of {LINE_ENCODED_BYTES_MAX}");
            return Err(Error::invalid(text));
        }
    }
    Ok(())
}

/// Which events of a batch in order of time may be kept at `now`.
pub fn accept(lines: &[LogLine], retention_days: Option<u32>, now: Timestamp) -> Accepted {
    let oldest = Timestamp(now.millis().saturating_sub(OLD_MAX.as_millis() as u64));
    let expired = expired_before(retention_days, now);
    let before = |bound: Timestamp| lines.partition_point(|l| l.at < bound);
    let (old, gone) = (before(oldest), before(expired));
    let new = lines.partition_point(|l| l.at <= now.plus(NEW_MAX));
    let start = old.max(gone).min(new);
    Accepted {
        range: start..new,
        too_new_from: (new < lines.len()).then_some(new),
        too_old_until: (old > 0).then_some(old),
        expired_until: (gone > 0).then_some(gone),
    }
}

/// Tags as they are after `more` were added.
pub fn add_tags(tags: &mut BTreeMap<String, String>, more: BTreeMap<String, String>) -> Result<(), Error> {
    for (key, value) in more {
        let legal = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
        let sized = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
        if !sized || !key.chars().chain(value.chars()).all(legal) {
            return Err(Error::invalid(format!("The tag {key:?} is not valid.")));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::invalid("aws: prefixed tag key names are not allowed for external use."));
        }
        tags.insert(key, value);
    }
    if tags.len() > TAGS_MAX { Err(Error::TooManyTags) } else { Ok(()) }
}

/// Messages of a sink, cut into events that AWS would take: 256 KiB with the overhead.
pub fn split_long(lines: Vec<LogLine>) -> Vec<LogLine> {
    const MAX: usize = (256 << 10) - EVENT_OVERHEAD_BYTES as usize;
    if lines.iter().all(|l| l.message.len() <= MAX) {
        return lines;
    }
    let mut out = Vec::with_capacity(lines.len() + 1);
    for line in lines {
        let mut rest = line.message.as_str();
        while rest.len() > MAX {
            let (head, tail) = rest.split_at(rest.floor_char_boundary(MAX));
            out.push(LogLine { at: line.at, message: head.to_owned() });
            rest = tail;
        }
        out.push(LogLine { at: line.at, message: rest.to_owned() });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{AccountId, Region};

    const HOUR: u64 = 3_600_000;

    fn lines(at: &[u64]) -> Vec<LogLine> {
        at.iter().map(|at| LogLine { at: Timestamp(*at), message: "x".into() }).collect()
    }

    #[test]
    fn batches() {
        let now = Timestamp(40 * 24 * HOUR);
        let day = |n: u64| n * 24 * HOUR;
        let taken = accept(&lines(&[day(25), day(26), day(40), day(40) + 3 * HOUR]), Some(7), now);
        let expect = Accepted { range: 2..3, too_new_from: Some(3), too_old_until: Some(1), expired_until: Some(2) };
        assert_eq!(taken, expect);
        let all = accept(&lines(&[day(40)]), None, now);
        assert_eq!(all, Accepted { range: 0..1, too_new_from: None, too_old_until: None, expired_until: None });
        assert_eq!(accept(&lines(&[day(41)]), None, now).range, 0..0);

        assert!(check_batch(&lines(&[1, 1, 2])).is_ok());
        assert!(check_batch(&lines(&[2, 1])).is_err());
        assert!(check_batch(&lines(&[0, 24 * HOUR + 1])).is_err());
        let large = LogLine { at: Timestamp(1), message: "x".repeat(PUT_BYTES_MAX as usize) };
        let error = check_batch(&[large]).expect_err("too large");
        assert_eq!(error.to_string(), "Upload too large: 1048602 bytes exceeds limit of 1048576");
    }

    #[test]
    fn names_and_arns() {
        let scope = Scope::new(AccountId::development(), Region::parse("eu-west-1").expect("a region"));
        let arn = group_arn(&scope, "/aws/lambda/thumbs");
        assert_eq!(arn, "arn:aws:logs:eu-west-1:000000000000:log-group:/aws/lambda/thumbs");
        for text in [arn.clone(), format!("{arn}:*")] {
            assert_eq!(group_of(&scope, None, Some(&text)).expect("own"), "/aws/lambda/thumbs");
        }
        assert!(matches!(group_of_arn(&scope, &arn.replace("eu-west", "us-east")), Err(Error::NoSuchGroup)));
        assert!(group_of_arn(&scope, "arn:aws:s3:::x").is_err());
        assert!(group_of(&scope, None, None).is_err());
        assert!(group_of(&scope, Some("a"), Some("a")).is_err());
    }

    #[test]
    fn retention_and_tags() {
        assert_eq!(check_retention(30).expect("valid"), 30);
        for days in [0, -1, 2, 99_999] {
            assert!(check_retention(days).is_err(), "{days}");
        }
        let mut tags = BTreeMap::new();
        add_tags(&mut tags, BTreeMap::from([("team".into(), "photos".into())])).expect("valid");
        assert!(add_tags(&mut tags, BTreeMap::from([("aws:x".into(), String::new())])).is_err());
        let many = (0..TAGS_MAX).map(|i| (format!("k{i}"), String::new())).collect();
        assert!(matches!(add_tags(&mut tags, many), Err(Error::TooManyTags)));
    }

    #[test]
    fn long_lines_are_split_at_characters() {
        let line = LogLine { at: Timestamp(1), message: "é".repeat(200 << 10) };
        let split = split_long(vec![line.clone()]);
        assert_eq!(split.len(), 2);
        assert_eq!(split.iter().map(|l| l.message.as_str()).collect::<String>(), line.message);
    }
}
