//! Times on the wire: epoch seconds, ISO 8601, HTTP dates. Inside Wadi they are epoch seconds with fractions.

use crate::table::TimeFormat;
use base::Timestamp;
use serde_json::Value;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Times before the epoch or past the year 9999 are refused.
const SECONDS_MAX: f64 = 253_402_300_800.0;

/// A time in a JSON body, as seconds since the epoch.
pub fn from_json(value: &Value, format: Option<TimeFormat>) -> Option<f64> {
    match (value, format.unwrap_or(TimeFormat::Epoch)) {
        (Value::Number(n), TimeFormat::Epoch) => n.as_f64().filter(in_range),
        (Value::String(_), TimeFormat::Epoch) => None,
        (Value::String(text), format) => parse(text, format),
        _ => None,
    }
}

/// A time as JSON.
pub fn to_json(seconds: f64, format: Option<TimeFormat>) -> Value {
    match format.unwrap_or(TimeFormat::Epoch) {
        TimeFormat::Epoch if seconds.fract() == 0.0 && seconds.abs() < SECONDS_MAX => Value::from(seconds as i64),
        TimeFormat::Epoch => seconds.into(),
        format => print(seconds, format).into(),
    }
}

pub fn parse(text: &str, format: TimeFormat) -> Option<f64> {
    let seconds = match format {
        TimeFormat::Epoch => text.parse().ok()?,
        TimeFormat::Iso8601 => iso8601(text)?,
        TimeFormat::Http => http_date(text)?,
    };
    Some(seconds).filter(in_range)
}

fn in_range(seconds: &f64) -> bool {
    (0.0..SECONDS_MAX).contains(seconds)
}

pub fn print(seconds: f64, format: TimeFormat) -> String {
    let at = Timestamp((seconds.max(0.0) * 1000.0).round() as u64);
    match format {
        TimeFormat::Epoch => to_json(seconds, None).to_string(),
        TimeFormat::Iso8601 if at.millis().is_multiple_of(1000) => at.iso8601().replace(".000Z", "Z"),
        TimeFormat::Iso8601 => at.iso8601(),
        TimeFormat::Http => {
            let (year, month, day, hour, minute, second, _) = at.civil();
            let weekday = DAYS[(at.millis() / 86_400_000 % 7) as usize];
            let month = MONTHS[month as usize - 1];
            format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
        }
    }
}

/// `20150830T123600Z`, as signatures write it; `None` unless exactly that form.
pub fn parse_basic(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8 || clock.len() != 6 || !text.is_ascii() {
        return None;
    }
    let clock = format!("{}:{}:{}", &clock[..2], &clock[2..4], &clock[4..]);
    let seconds = at(digits(&date[..4])?, digits(&date[4..6])?, digits(&date[6..])?, &clock).filter(in_range)?;
    Some(Timestamp((seconds * 1000.0) as u64))
}

pub fn print_basic(time: Timestamp) -> String {
    let (year, month, day, hour, minute, second, _) = time.civil();
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Digits of `text` alone, as a number.
fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Seconds since the epoch of a UTC date and time, all of whose fields are in range.
fn at(year: u64, month: u64, day: u64, clock: &str) -> Option<f64> {
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) = (digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Civil date to days, after Howard Hinnant's public-domain "chrono-compatible low-level date algorithms".
    let y = year as i64 - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month as i64 + 9) % 12) + 2) / 5 + day as i64 - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    Some((days * 86_400 + (hour * 3600 + minute * 60 + second) as i64) as f64)
}

/// `2015-01-25T08:00:00Z`, with fractions or an offset if there are any.
fn iso8601(text: &str) -> Option<f64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?);
    let (time, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(i) => (&time[..i], offset(&time[i..])?),
        None => return None,
    };
    let (clock, fraction) = match time.split_once('.') {
        Some((clock, fraction)) => (clock, digits(fraction)? as f64 / 10f64.powi(fraction.len() as i32)),
        None => (time, 0.0),
    };
    Some(at(year, month, day, clock)? - offset + fraction)
}

/// `Z`, `+01:00`: seconds east of UTC.
fn offset(text: &str) -> Option<f64> {
    if matches!(text, "Z" | "z") {
        return Some(0.0);
    }
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60) as f64)
}

/// `Sun, 25 Jan 2015 08:00:00 GMT`, with fractions of a second if there are any.
fn http_date(text: &str) -> Option<f64> {
    let rest = text.split_once(", ")?.1.strip_suffix(" GMT")?;
    let mut parts = rest.splitn(4, ' ');
    let day = digits(parts.next()?)?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|m| *m == month)? as u64 + 1;
    let year = digits(parts.next()?)?;
    let clock = parts.next()?;
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, digits(fraction)? as f64 / 10f64.powi(fraction.len() as i32)),
        None => (clock, 0.0),
    };
    Some(at(year, month, day, clock)? + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_time() {
        let check = |text: &str, format, expect: Option<f64>| assert_eq!(parse(text, format), expect, "{text}");
        check("2000-02-29T12:00:01Z", TimeFormat::Iso8601, Some(951_825_601.0));
        check("2000-02-29T13:00:01.250+01:00", TimeFormat::Iso8601, Some(951_825_601.25));
        check("2000-02-29", TimeFormat::Iso8601, None);
        check("2000-13-29T12:00:01Z", TimeFormat::Iso8601, None);
        check("Tue, 29 Feb 2000 12:00:01 GMT", TimeFormat::Http, Some(951_825_601.0));
        check("Tue, 29 Feb 2000 12:00:01.5 GMT", TimeFormat::Http, Some(951_825_601.5));
        check("951825601.5", TimeFormat::Epoch, Some(951_825_601.5));
        check("NaN", TimeFormat::Epoch, None);
        check("-1", TimeFormat::Epoch, None);
        assert_eq!(parse_basic("20000229T120001Z"), Some(Timestamp(951_825_601_000)));
        assert_eq!(print_basic(Timestamp(951_825_601_999)), "20000229T120001Z");
        for text in ["2000-02-29T12:00:01Z", "20000229T120001", "20001329T120001Z", "2000022éT120001Z", ""] {
            assert_eq!(parse_basic(text), None, "{text}");
        }
        for format in [TimeFormat::Epoch, TimeFormat::Iso8601, TimeFormat::Http] {
            check(&print(951_825_601.0, format), format, Some(951_825_601.0));
        }
    }
}
