//! AWS's cron expressions: minutes, hours, day of month, month, day of week, year.
//!
//! `,` `-` `*` `/` everywhere; `?` in one of the two day fields, which has to be there; `L` (the last), `W` (the weekday
//! nearest) for days of the month, `L` and `#` (the third of the month) for days of the week, which count from 1, Sunday.

use jiff::Span;
use jiff::civil::{Date, DateTime, Weekday};

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const YEARS: (u32, u32) = (1970, 2199);

/// A cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: Values,
    hours: Values,
    months: Values,
    years: Values,
    days: Days,
}

/// A set of small numbers: bit `n` is `low + n`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Values {
    low: u32,
    bits: [u64; 4],
}

/// Which days.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    /// Of the month: numbers, and special ones.
    OfMonth(Values, Vec<MonthDay>),
    /// Of the week, 1 to 7.
    OfWeek(Values, Vec<WeekDay>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MonthDay {
    Last,
    LastWeekday,
    /// The weekday nearest to the day, within the month.
    Nearest(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WeekDay {
    Last(u32),
    Nth(u32, u32),
}

impl Values {
    fn none(low: u32) -> Self {
        Self { low, bits: [0; 4] }
    }

    fn add(&mut self, value: u32) {
        let n = (value - self.low) as usize;
        self.bits[n / 64] |= 1 << (n % 64);
    }

    fn has(&self, value: u32) -> bool {
        let n = value.wrapping_sub(self.low) as usize;
        self.bits.get(n / 64).is_some_and(|bits| bits & (1 << (n % 64)) != 0)
    }

    /// The least value that is `from` or more.
    fn from(&self, from: u32) -> Option<u32> {
        (from.max(self.low)..self.low + 256).find(|value| self.has(*value))
    }
}

/// What the values of a field may be.
struct Field {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

impl Field {
    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(i) => self.low + i as u32,
            None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.low..=self.high).contains(&value).then_some(value)
    }

    /// `*`, `5`, `1-5`, `MON-FRI`, each with or without `/2`.
    fn item(&self, text: &str, into: &mut Values) -> Option<()> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|s| (1..=self.high).contains(s))?)),
            None => (text, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None if step.is_some() => (self.value(range)?, self.high),
            None => (self.value(range)?, self.value(range)?),
        };
        let step = step.unwrap_or(1);
        // `FRI-MON` goes over the end.
        let span = if first <= last { last - first } else { self.high - self.low + 1 - (first - last) };
        for n in (0..=span).step_by(step as usize) {
            into.add(self.low + (first - self.low + n) % (self.high - self.low + 1));
        }
        Some(())
    }

    fn values(&self, text: &str) -> Option<Values> {
        let mut values = Values::none(self.low);
        text.split(',').try_for_each(|item| self.item(item, &mut values))?;
        Some(values)
    }
}

impl Cron {
    /// Six fields.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, of_month, months, of_week, years] = fields.as_slice() else { return None };
        let field = |low, high, names| Field { low, high, names };
        Some(Self {
            minutes: field(0, 59, &[]).values(minutes)?,
            hours: field(0, 23, &[]).values(hours)?,
            months: field(1, 12, &MONTHS).values(months)?,
            years: field(YEARS.0, YEARS.1, &[]).values(years)?,
            days: match (*of_month, *of_week) {
                ("?", "?") => return None,
                (_, "?") => of_month_days(of_month)?,
                ("?", _) => of_week_days(of_week)?,
                _ => return None,
            },
        })
    }

    /// The first minute after `local` that matches.
    pub(super) fn after(&self, local: DateTime) -> Option<DateTime> {
        let next =
            local.with().second(0).subsec_nanosecond(0).build().ok()?.checked_add(Span::new().minutes(1)).ok()?;
        let mut date = next.date();
        let mut from = (next.hour() as u32, next.minute() as u32);
        loop {
            date = self.day(date, &mut from)?;
            if let Some((hour, minute)) = self.minute(from) {
                return Some(date.at(hour as i8, minute as i8, 0, 0));
            }
            (date, from) = (date.tomorrow().ok()?, (0, 0));
        }
    }

    /// The first day from `date` on that matches; `from` starts anew where it is a later one.
    fn day(&self, mut date: Date, from: &mut (u32, u32)) -> Option<Date> {
        let start = date;
        loop {
            let year = self.years.from(u32::try_from(date.year()).ok()?).filter(|year| *year <= YEARS.1)?;
            if year as i16 != date.year() {
                date = Date::new(year as i16, 1, 1).ok()?;
            }
            if !self.months.has(date.month() as u32) {
                date = date.last_of_month().tomorrow().ok()?;
            } else if self.days.have(date) {
                if date != start {
                    *from = (0, 0);
                }
                return Some(date);
            } else {
                date = date.tomorrow().ok()?;
            }
        }
    }

    /// The first hour and minute from `from` on that match.
    fn minute(&self, from: (u32, u32)) -> Option<(u32, u32)> {
        let first = self.minutes.from(0)?;
        let hour = self.hours.from(from.0)?;
        if hour > from.0 {
            return Some((hour, first));
        }
        match self.minutes.from(from.1) {
            Some(minute) => Some((hour, minute)),
            None => self.hours.from(from.0 + 1).map(|hour| (hour, first)),
        }
    }
}

impl Days {
    fn have(&self, date: Date) -> bool {
        match self {
            Days::OfMonth(values, special) => {
                values.has(date.day() as u32) || special.iter().any(|day| day.of(date) == Some(date))
            }
            Days::OfWeek(values, special) => {
                let day = number(date.weekday());
                values.has(day) || special.iter().any(|wanted| wanted.is(date, day))
            }
        }
    }
}

impl MonthDay {
    /// The day of the month of `date`.
    fn of(self, date: Date) -> Option<Date> {
        let last = date.last_of_month();
        let day = match self {
            MonthDay::Last => return Some(last),
            MonthDay::LastWeekday => last,
            MonthDay::Nearest(day) if day > last.day() as u32 => return None,
            MonthDay::Nearest(day) => Date::new(date.year(), date.month(), day as i8).ok()?,
        };
        let moved = match day.weekday() {
            Weekday::Saturday if day.day() == 1 => 2,
            Weekday::Saturday => -1,
            Weekday::Sunday if day == last => -2,
            Weekday::Sunday => 1,
            _ => 0,
        };
        day.checked_add(Span::new().days(moved)).ok()
    }
}

impl WeekDay {
    fn is(self, date: Date, day: u32) -> bool {
        match self {
            WeekDay::Last(wanted) => day == wanted && date.day() + 7 > date.days_in_month(),
            WeekDay::Nth(wanted, nth) => day == wanted && (date.day() as u32 - 1) / 7 + 1 == nth,
        }
    }
}

/// From 1, Sunday.
fn number(day: Weekday) -> u32 {
    day.to_sunday_zero_offset() as u32 + 1
}

fn of_month_days(text: &str) -> Option<Days> {
    let field = Field { low: 1, high: 31, names: &[] };
    let (mut values, mut special) = (Values::none(1), Vec::new());
    for item in text.split(',') {
        match item {
            "L" => special.push(MonthDay::Last),
            "LW" => special.push(MonthDay::LastWeekday),
            item => match item.strip_suffix('W') {
                Some(day) => special.push(MonthDay::Nearest(field.value(day)?)),
                None => field.item(item, &mut values)?,
            },
        }
    }
    Some(Days::OfMonth(values, special))
}

fn of_week_days(text: &str) -> Option<Days> {
    let field = Field { low: 1, high: 7, names: &DAYS };
    let (mut values, mut special) = (Values::none(1), Vec::new());
    for item in text.split(',') {
        if item == "L" {
            values.add(7);
        } else if let Some(day) = item.strip_suffix('L') {
            special.push(WeekDay::Last(field.value(day)?));
        } else if let Some((day, nth)) = item.split_once('#') {
            let nth = nth.parse().ok().filter(|n| (1..=5).contains(n))?;
            special.push(WeekDay::Nth(field.value(day)?, nth));
        } else {
            field.item(item, &mut values)?;
        }
    }
    Some(Days::OfWeek(values, special))
}
