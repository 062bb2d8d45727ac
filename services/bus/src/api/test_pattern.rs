//! TestEventPattern: does an event match a pattern? The event must have the fields that all events have.

use super::*;
use ::rules::pattern::Pattern;
use serde_json::Value;
use std::sync::Arc;

/// What an event must have.
const REQUIRED: [&str; 6] = ["id", "account", "source", "time", "region", "detail-type"];

pub async fn test(_: Arc<Bus>, _: Context, input: TestEventPatternRequest) -> Result<TestEventPatternResponse> {
    let pattern = Pattern::parse(&input.event_pattern)?;
    let event: Value = serde_json::from_str(&input.event)
        .map_err(|_| Error::invalid("Parameter Event is not valid. Reason: The event is not valid JSON."))?;
    if let Some(missing) = REQUIRED.iter().find(|name| event.get(**name).is_none()) {
        let message = format!("Parameter Event is not valid. Reason: The event is missing the field {missing}.");
        return Err(Error::invalid(message));
    }
    Ok(TestEventPatternResponse { result: Some(pattern.matches(&event)) })
}
