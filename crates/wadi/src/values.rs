//! Values as people write them on the command line, and the time that they are told against.

/// `30s`, `10m`, `2h`, `7d` (or a bare number of seconds) as a duration.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a length of time as 30s, 10m, 2h or 7d".into()),
    };
    let number: u64 = number.parse().map_err(|_| "write a length of time as 30s, 10m, 2h or 7d".to_owned())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(|| "that is too long".into())
}

/// `KEY=VALUE`
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".into()),
    }
}

/// Milliseconds since the epoch, now.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// So long ago, in milliseconds since the epoch; the beginning of time for `None`.
pub fn since_ms(ago: Option<std::time::Duration>) -> u64 {
    ago.map_or(0, |ago| now_ms().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration("10m").map(|d| d.as_secs()), Ok(600));
        assert_eq!(duration("45").map(|d| d.as_secs()), Ok(45));
        assert_eq!(duration("7d").map(|d| d.as_secs()), Ok(604_800));
        for bad in ["", "m", "10y", "-1s", "99999999999999999999s", "999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(pair("A").is_err() && pair("=b").is_err());
    }
}
