//! Delivery policies of HTTP endpoints: how often and when a message is tried again, how many a second an endpoint gets,
//! and of which content type.
//!
//! Source: <https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html>.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// All retries together may take so long.
const TOTAL_MAX: Duration = Duration::from_secs(3600);

/// What content types a message may have.
const CONTENT_TYPES: [&str; 13] = [
    "application/atom+xml",
    "application/json",
    "application/octet-stream",
    "application/soap+xml",
    "application/x-www-form-urlencoded",
    "application/xhtml+xml",
    "application/xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/plain",
    "text/xml",
    "text/javascript",
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    Arithmetic,
    Exponential,
    Geometric,
    #[default]
    Linear,
}

/// The phases of retrying: at once, at the shortest delay, in between, at the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Retry {
    pub min_delay_target: u32,
    pub max_delay_target: u32,
    pub num_retries: u32,
    pub num_max_delay_retries: u32,
    pub num_no_delay_retries: u32,
    pub num_min_delay_retries: u32,
    pub backoff_function: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            min_delay_target: 20,
            max_delay_target: 20,
            num_retries: 3,
            num_max_delay_retries: 0,
            num_no_delay_retries: 0,
            num_min_delay_retries: 0,
            backoff_function: Backoff::Linear,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Throttle {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_receives_per_second: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Form {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_content_type: Option<String>,
}

/// What a subscription says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Policy {
    pub healthy_retry_policy: Option<Retry>,
    pub sick_retry_policy: Option<Value>,
    pub throttle_policy: Option<Throttle>,
    pub request_policy: Option<Form>,
    pub guaranteed: Option<bool>,
}

/// What a topic says, for subscriptions that say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Defaults {
    pub default_healthy_retry_policy: Option<Retry>,
    pub default_sick_retry_policy: Option<Value>,
    pub default_throttle_policy: Option<Throttle>,
    pub default_request_policy: Option<Form>,
    pub disable_subscription_overrides: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OfTopic {
    http: Defaults,
}

/// What holds for a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    pub retry: Retry,
    pub throttle: Throttle,
    pub form: Form,
}

/// Reads what a topic says.
///
/// # Errors
/// Why it is no delivery policy.
pub fn of_topic(text: &str) -> Result<Defaults, String> {
    let given: OfTopic = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Defaults { default_healthy_retry_policy: retry, default_request_policy: form, .. } = &given.http;
    check(retry.as_ref(), given.http.default_throttle_policy.as_ref(), form.as_ref())?;
    Ok(given.http)
}

/// Reads what a subscription says.
///
/// # Errors
/// Why it is no delivery policy.
pub fn of_subscription(text: &str) -> Result<Policy, String> {
    let given: Policy = serde_json::from_str(text).map_err(|error| error.to_string())?;
    check(given.healthy_retry_policy.as_ref(), given.throttle_policy.as_ref(), given.request_policy.as_ref())?;
    Ok(given)
}

fn check(retry: Option<&Retry>, throttle: Option<&Throttle>, form: Option<&Form>) -> Result<(), String> {
    if let Some(retry) = retry {
        retry.check()?;
    }
    if throttle.is_some_and(|t| t.max_receives_per_second == Some(0)) {
        return Err("maxReceivesPerSecond must be greater than or equal to 1".into());
    }
    let Some(kind) = form.and_then(|form| form.header_content_type.as_deref()) else { return Ok(()) };
    let media_type = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if CONTENT_TYPES.contains(&media_type.as_str()) && kind.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Ok(());
    }
    Err("headerContentType is not a supported content type".into())
}

impl Retry {
    fn check(&self) -> Result<(), String> {
        let Self { min_delay_target: min, max_delay_target: max, num_retries: all, .. } = *self;
        let phases = [self.num_no_delay_retries, self.num_min_delay_retries, self.num_max_delay_retries];
        if all > 100 {
            return Err("numRetries must be less than or equal to 100".into());
        }
        if min < 1 || max > 3600 || min > max {
            return Err("minDelayTarget must be at least 1, at most maxDelayTarget, and that at most 3600".into());
        }
        if phases.iter().map(|n| u64::from(*n)).sum::<u64>() > u64::from(all) {
            return Err("numRetries must be greater than or equal to the retries of all phases together".into());
        }
        if (1..=all).filter_map(|n| self.delay(n)).sum::<Duration>() > TOTAL_MAX {
            return Err("The total of all delays must not be more than 3600 seconds".into());
        }
        Ok(())
    }

    /// How long to wait when `failed` attempts have been made (at least 1); `None` is no longer.
    pub fn delay(&self, failed: u32) -> Option<Duration> {
        if failed > self.num_retries {
            return None;
        }
        let (min, max) = (f64::from(self.min_delay_target), f64::from(self.max_delay_target));
        let at_once = self.num_no_delay_retries;
        let between_from = at_once + self.num_min_delay_retries;
        let between_to = self.num_retries - self.num_max_delay_retries.min(self.num_retries);
        let seconds = match failed - 1 {
            n if n < at_once => 0.0,
            n if n < between_from => min,
            n if n >= between_to => max,
            n => self.between(n - between_from, between_to - between_from),
        };
        Some(Duration::from_secs_f64(seconds.clamp(0.0, max)))
    }

    /// The delay before the retry `n` (from 0) of `count` in the back-off phase, which goes from the shortest delay to the
    /// longest.
    fn between(&self, n: u32, count: u32) -> f64 {
        let (min, max) = (f64::from(self.min_delay_target), f64::from(self.max_delay_target));
        let (n, last) = (f64::from(n), f64::from(count.saturating_sub(1)).max(1.0));
        match self.backoff_function {
            Backoff::Linear => min + (max - min) * n / last,
            // Each step is longer than the one before by the same time.
            Backoff::Arithmetic => min + (max - min) * n * (n + 1.0) / (last * (last + 1.0)),
            Backoff::Geometric => min * (max / min).powf(n / last),
            Backoff::Exponential => min * 2_f64.powf(n),
        }
    }
}

/// What holds for a subscription, given what it and its topic say.
pub fn effective(topic: Option<&str>, subscription: Option<&str>) -> Effective {
    let topic = topic.and_then(|text| of_topic(text).ok()).unwrap_or_default();
    let own = subscription.and_then(|text| of_subscription(text).ok());
    let own = own.filter(|_| !topic.disable_subscription_overrides).unwrap_or_default();
    Effective {
        retry: own.healthy_retry_policy.or(topic.default_healthy_retry_policy).unwrap_or_default(),
        throttle: own.throttle_policy.or(topic.default_throttle_policy).unwrap_or_default(),
        form: own.request_policy.or(topic.default_request_policy).unwrap_or_default(),
    }
}

/// `EffectiveDeliveryPolicy` of a subscription.
pub fn told(effective: &Effective) -> Value {
    let mut told = Map::new();
    told.insert("healthyRetryPolicy".into(), json!(effective.retry));
    told.insert("sickRetryPolicy".into(), Value::Null);
    told.insert("throttlePolicy".into(), some(json!(effective.throttle)));
    told.insert("requestPolicy".into(), some(json!(effective.form)));
    told.insert("guaranteed".into(), false.into());
    told.into()
}

/// The same of a topic.
pub fn told_of_topic(text: Option<&str>) -> Value {
    let Effective { retry, throttle, form } = effective(text, None);
    let given = text.and_then(|text| of_topic(text).ok()).unwrap_or_default();
    let form = json!({"headerContentType": form.header_content_type.as_deref().unwrap_or("text/plain; charset=UTF-8")});
    let mut http = json!({
        "defaultHealthyRetryPolicy": retry,
        "disableSubscriptionOverrides": given.disable_subscription_overrides,
        "defaultRequestPolicy": form,
    });
    if throttle != Throttle::default() {
        http["defaultThrottlePolicy"] = json!(throttle);
    }
    json!({ "http": http })
}

fn some(value: Value) -> Value {
    if value.as_object().is_some_and(Map::is_empty) { Value::Null } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(retry: &Retry) -> Vec<u64> {
        (1..).map_while(|n| retry.delay(n)).map(|d| d.as_secs()).collect()
    }

    #[test]
    fn phases() {
        assert_eq!(delays(&Retry::default()), [20, 20, 20]);
        let all = Retry {
            min_delay_target: 1,
            max_delay_target: 60,
            num_retries: 10,
            num_no_delay_retries: 2,
            num_min_delay_retries: 1,
            num_max_delay_retries: 2,
            backoff_function: Backoff::Exponential,
        };
        assert_eq!(delays(&all), [0, 0, 1, 1, 2, 4, 8, 16, 60, 60]);
        let of = |backoff_function| delays(&Retry { num_max_delay_retries: 0, backoff_function, ..all })[3..].to_vec();
        assert_eq!(of(Backoff::Linear), [1, 10, 20, 30, 40, 50, 60]);
        assert_eq!(of(Backoff::Geometric), [1, 1, 3, 7, 15, 30, 60]);
        assert_eq!(of(Backoff::Arithmetic), [1, 3, 9, 17, 29, 43, 60]);
        assert_eq!(delays(&Retry { num_retries: 0, ..Retry::default() }), [0_u64; 0]);
    }

    #[test]
    fn policies() {
        let topic = r#"{"http": {"defaultHealthyRetryPolicy": {"numRetries": 5}, "defaultThrottlePolicy": {"maxReceivesPerSecond": 3}}}"#;
        let own = r#"{"healthyRetryPolicy": {"minDelayTarget": 1, "maxDelayTarget": 2, "numRetries": 1}}"#;
        let held = effective(Some(topic), Some(own));
        assert_eq!((held.retry.num_retries, held.throttle.max_receives_per_second), (1, Some(3)));
        let strict = topic.replace("\"defaultThrottle", "\"disableSubscriptionOverrides\": true, \"defaultThrottle");
        assert_eq!(effective(Some(&strict), Some(own)).retry.num_retries, 5);
        assert_eq!(effective(None, None), Effective::default());
        assert_eq!(told(&held)["healthyRetryPolicy"]["backoffFunction"], "linear");
        assert_eq!(told_of_topic(None)["http"]["defaultHealthyRetryPolicy"]["numRetries"], 3);
        for bad in [
            r#"{"healthyRetryPolicy": {"numRetries": 101}}"#,
            r#"{"healthyRetryPolicy": {"minDelayTarget": 30, "maxDelayTarget": 20}}"#,
            r#"{"healthyRetryPolicy": {"minDelayTarget": 0}}"#,
            r#"{"healthyRetryPolicy": {"numRetries": 1, "numNoDelayRetries": 2}}"#,
            r#"{"healthyRetryPolicy": {"numRetries": 100, "minDelayTarget": 60, "maxDelayTarget": 60}}"#,
            r#"{"healthyRetryPolicy": {"backoffFunction": "random"}}"#,
            r#"{"throttlePolicy": {"maxReceivesPerSecond": 0}}"#,
            r#"{"requestPolicy": {"headerContentType": "image/png"}}"#,
            r#"{"unknown": 1}"#,
            "x",
        ] {
            assert!(of_subscription(bad).is_err(), "{bad}");
        }
        assert!(of_subscription(r#"{"requestPolicy": {"headerContentType": "application/json"}}"#).is_ok());
    }
}
