//! Which events a subscription gets: by type, by subject, and by what is in them. No IO.

use crate::error::{Error, Result};
use crate::model::Published;
use crate::store::Topic;
use rules::cloudevent::Data;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Advanced filters of a subscription, and values of all of them together.
const FILTERS_MAX: usize = 25;
const VALUES_MAX: usize = 25;
/// Characters of a value that is a text, and of a key.
const CHARACTERS_MAX: usize = 512;

/// Which events a subscription gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Filter {
    /// None, or `All`, is every type.
    pub included_event_types: Option<Vec<String>>,
    pub subject_begins_with: String,
    pub subject_ends_with: String,
    pub is_subject_case_sensitive: bool,
    /// An array's elements are looked at, each by itself.
    pub enable_advanced_filtering_on_arrays: bool,
    /// All of them are to agree.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advanced_filters: Vec<Advanced>,
}

/// One question about one place of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "operatorType")]
pub enum Advanced {
    NumberIn { key: String, values: Vec<Number> },
    NumberNotIn { key: String, values: Vec<Number> },
    NumberLessThan { key: String, value: Number },
    NumberGreaterThan { key: String, value: Number },
    NumberLessThanOrEquals { key: String, value: Number },
    NumberGreaterThanOrEquals { key: String, value: Number },
    NumberInRange { key: String, values: Vec<[Number; 2]> },
    NumberNotInRange { key: String, values: Vec<[Number; 2]> },
    BoolEquals { key: String, value: bool },
    StringIn { key: String, values: Vec<String> },
    StringNotIn { key: String, values: Vec<String> },
    StringContains { key: String, values: Vec<String> },
    StringNotContains { key: String, values: Vec<String> },
    StringBeginsWith { key: String, values: Vec<String> },
    StringNotBeginsWith { key: String, values: Vec<String> },
    StringEndsWith { key: String, values: Vec<String> },
    StringNotEndsWith { key: String, values: Vec<String> },
    IsNullOrUndefined { key: String },
    IsNotNull { key: String },
}

impl Filter {
    /// Whether it keeps the bounds of Azure's.
    pub fn check(&self) -> Result<()> {
        let bad = |why: String| Err(Error::bad(format!("advancedFilters: {why}.")));
        if self.advanced_filters.len() > FILTERS_MAX {
            return bad(format!("a subscription has {FILTERS_MAX} at most"));
        }
        let mut values = 0;
        for filter in &self.advanced_filters {
            let (key, count, texts) = filter.parts();
            if key.is_empty()
                || std::iter::once(key)
                    .chain(texts.iter().map(String::as_str))
                    .any(|text| text.chars().count() > CHARACTERS_MAX)
            {
                return bad(format!("a key has 1 to {CHARACTERS_MAX} characters, a value {CHARACTERS_MAX} at most"));
            }
            match count {
                Some(0) => return bad(format!("{key} has no values")),
                count => values += count.unwrap_or(0),
            }
        }
        match values {
            0..=VALUES_MAX => Ok(()),
            _ => bad(format!("a subscription has {VALUES_MAX} values at most, all filters together")),
        }
    }

    pub fn wants(&self, published: &Published, topic: &Topic) -> bool {
        let event = &published.event;
        let (subject, begin, end) =
            (event.subject.as_deref().unwrap_or_default(), &self.subject_begins_with, &self.subject_ends_with);
        let fits = match self.is_subject_case_sensitive {
            true => subject.starts_with(begin) && subject.ends_with(end),
            false => {
                let subject = subject.to_lowercase();
                subject.starts_with(&begin.to_lowercase()) && subject.ends_with(&end.to_lowercase())
            }
        };
        let any = |types: &Vec<String>| types.iter().any(|t| t == "All" || t.eq_ignore_ascii_case(&event.kind));
        fits && self.included_event_types.as_ref().is_none_or(any)
            && self.advanced_filters.iter().all(|filter| {
                let found = at(published, topic, filter.parts().0);
                filter.agrees(found.as_deref(), self.enable_advanced_filtering_on_arrays)
            })
    }
}

/// What an event has at a key: an attribute, by whatever case it is written in, or `data.` and names of members.
fn at<'a>(published: &'a Published, topic: &'a Topic, key: &str) -> Option<Cow<'a, Value>> {
    let event = &published.event;
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let first = first.to_ascii_lowercase();
    if first == "data" {
        let whole = match &event.data {
            Data::Json(value) => value,
            Data::None | Data::Text(_) | Data::Base64(_) => return None,
        };
        let found = rest.map_or(Some(whole), |rest| rest.split('.').try_fold(whole, |value, name| value.get(name)));
        return found.map(Cow::Borrowed);
    }
    if rest.is_some() {
        return None;
    }
    if let Some(value) = event.extensions.get(&first) {
        return Some(Cow::Borrowed(value));
    }
    let text = match first.as_str() {
        "id" | "eventid" => Some(event.id.as_str()),
        "topic" => Some(topic.id.as_str()),
        "source" => Some(event.source.as_str()),
        "subject" => event.subject.as_deref(),
        "eventtype" | "type" => Some(event.kind.as_str()),
        "eventtime" | "time" => event.time.as_deref(),
        "dataversion" | "eventtypeversion" => Some(published.version.as_str()),
        "datacontenttype" => event.content_type.as_deref(),
        "dataschema" => event.schema.as_deref(),
        _ => None,
    };
    text.map(|text| Cow::Owned(text.into()))
}

impl Advanced {
    /// Its key, how many values it has if it has values, and those that are texts.
    fn parts(&self) -> (&str, Option<usize>, &[String]) {
        match self {
            Self::NumberIn { key, values } | Self::NumberNotIn { key, values } => (key, Some(values.len()), &[]),
            Self::NumberInRange { key, values } | Self::NumberNotInRange { key, values } => {
                (key, Some(values.len()), &[])
            }
            Self::NumberLessThan { key, .. }
            | Self::NumberGreaterThan { key, .. }
            | Self::NumberLessThanOrEquals { key, .. }
            | Self::NumberGreaterThanOrEquals { key, .. }
            | Self::BoolEquals { key, .. } => (key, Some(1), &[]),
            Self::StringIn { key, values }
            | Self::StringNotIn { key, values }
            | Self::StringContains { key, values }
            | Self::StringNotContains { key, values }
            | Self::StringBeginsWith { key, values }
            | Self::StringNotBeginsWith { key, values }
            | Self::StringEndsWith { key, values }
            | Self::StringNotEndsWith { key, values } => (key, Some(values.len()), values),
            Self::IsNullOrUndefined { key } | Self::IsNotNull { key } => (key, None, &[]),
        }
    }

    /// Whether it agrees with what is at its key. Where nothing is, or nothing that can be compared, only those agree that ask for
    /// nothing or for a value that is none of theirs.
    fn agrees(&self, found: Option<&Value>, on_arrays: bool) -> bool {
        let found = found.filter(|value| !value.is_null());
        match self {
            Self::IsNullOrUndefined { .. } => return found.is_none(),
            Self::IsNotNull { .. } => return found.is_some(),
            _ => {}
        }
        let one = |value: &Value| self.is_met(value);
        let met: Vec<Option<bool>> = match found {
            Some(Value::Array(values)) if on_arrays => values.iter().map(one).collect(),
            Some(value) => vec![one(value)],
            None => vec![None],
        };
        match self {
            // Not any of the values is.
            Self::NumberNotIn { .. } | Self::StringNotIn { .. } => !met.contains(&Some(true)),
            Self::NumberNotInRange { .. }
            | Self::StringNotContains { .. }
            | Self::StringNotBeginsWith { .. }
            | Self::StringNotEndsWith { .. } => met.iter().all(|met| *met == Some(false)),
            _ => met.contains(&Some(true)),
        }
    }

    /// Whether one value meets what the operator asks for, or, of those that say `Not`, what it forbids; `None` where it is of
    /// another type.
    fn is_met(&self, value: &Value) -> Option<bool> {
        let number = || value.as_number();
        let order = |than: &Number| Some(compare(number()?, than));
        let text = || value.as_str().map(str::to_lowercase);
        let any = |values: &[String], is: fn(&str, &str) -> bool| {
            let text = text()?;
            Some(values.iter().any(|value| is(&text, &value.to_lowercase())))
        };
        match self {
            Self::NumberIn { values, .. } | Self::NumberNotIn { values, .. } => {
                let number = number()?;
                Some(values.iter().any(|value| compare(number, value).is_eq()))
            }
            Self::NumberInRange { values, .. } | Self::NumberNotInRange { values, .. } => {
                let number = number()?;
                Some(values.iter().any(|[least, most]| compare(number, least).is_ge() && compare(number, most).is_le()))
            }
            Self::NumberLessThan { value: than, .. } => order(than).map(Ordering::is_lt),
            Self::NumberGreaterThan { value: than, .. } => order(than).map(Ordering::is_gt),
            Self::NumberLessThanOrEquals { value: than, .. } => order(than).map(Ordering::is_le),
            Self::NumberGreaterThanOrEquals { value: than, .. } => order(than).map(Ordering::is_ge),
            Self::BoolEquals { value: wanted, .. } => Some(value.as_bool()? == *wanted),
            Self::StringIn { values, .. } | Self::StringNotIn { values, .. } => {
                any(values, |text, value| text == value)
            }
            Self::StringContains { values, .. } | Self::StringNotContains { values, .. } => {
                any(values, |text, value| text.contains(value))
            }
            Self::StringBeginsWith { values, .. } | Self::StringNotBeginsWith { values, .. } => {
                any(values, |text, value| text.starts_with(value))
            }
            Self::StringEndsWith { values, .. } | Self::StringNotEndsWith { values, .. } => {
                any(values, |text, value| text.ends_with(value))
            }
            Self::IsNullOrUndefined { .. } | Self::IsNotNull { .. } => None,
        }
    }
}

/// Whole numbers exactly, others as doubles.
fn compare(one: &Number, other: &Number) -> Ordering {
    let whole = |number: &Number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Less),
    }
}

#[cfg(test)]
mod tests;
