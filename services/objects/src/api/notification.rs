//! PutBucketNotificationConfiguration and its get.

use crate::error::{Result, invalid_argument, not_implemented};
use crate::events::{self, Notification, check_event, check_overlaps};
use crate::model::Bucket;
use crate::store::Space;
use crate::visit::Visit;
use base::Arn;
use s3s::S3Request;
use s3s::dto::*;

/// How many configurations a bucket may have.
const CONFIGURATIONS_MAX: usize = 100;

/// The prefix and suffix of a filter.
fn filters(filter: Option<NotificationConfigurationFilter>) -> Result<(String, String)> {
    let (mut prefix, mut suffix) = (None, None);
    for rule in filter.and_then(|f| f.key).and_then(|k| k.filter_rules).unwrap_or_default() {
        let name = rule.name.map(|n| n.as_str().to_ascii_lowercase()).unwrap_or_default();
        let value = rule.value.unwrap_or_default();
        if value.len() > 1024 {
            return Err(invalid_argument("filter rule value cannot exceed 1024 characters"));
        }
        let (slot, message) = match name.as_str() {
            "prefix" => (&mut prefix, "Cannot specify more than one prefix rule in a filter."),
            "suffix" => (&mut suffix, "Cannot specify more than one suffix rule in a filter."),
            _ => return Err(invalid_argument("filter rule name must be either prefix or suffix")),
        };
        if slot.replace(value).is_some() {
            return Err(invalid_argument(message));
        }
    }
    Ok((prefix.unwrap_or_default(), suffix.unwrap_or_default()))
}

fn parse(given: LambdaFunctionConfiguration, new_id: impl Fn() -> String) -> Result<Notification> {
    let function: Arn =
        given.lambda_function_arn.parse().map_err(|_| invalid_argument("The ARN could not be parsed"))?;
    if function.service != "lambda" {
        return Err(invalid_argument("The ARN is not well formed"));
    }
    if given.events.is_empty() {
        return Err(invalid_argument("At least one event is required"));
    }
    let events: Vec<String> = given.events.into_iter().map(String::from).collect();
    events.iter().try_for_each(|e| check_event(e))?;
    let (prefix, suffix) = filters(given.filter)?;
    let id = given.id.filter(|id| !id.is_empty()).unwrap_or_else(new_id);
    if id.len() > 255 {
        return Err(invalid_argument("The ID cannot exceed 255 characters"));
    }
    Ok(Notification { id, function, events, prefix, suffix })
}

/// Asks each destination whether it is there and lets this bucket send to it.
async fn check_destinations(visit: &Visit, bucket: &Bucket, all: &[Notification]) -> Result<()> {
    let from = events::source(bucket);
    for notification in all {
        let accepted = match visit.objects().targets.find(&notification.function) {
            Some(target) => target.accepts(&notification.function, &from).await,
            None => Err(base::port::Denied("no such service".into())),
        };
        if let Err(why) = accepted {
            tracing::debug!(function = %notification.function, %why, "a notification destination was refused");
            return Err(invalid_argument("Unable to validate the following destination configurations"));
        }
    }
    Ok(())
}

pub async fn put(
    visit: &Visit,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> Result<PutBucketNotificationConfigurationOutput> {
    let input = request.input;
    let given = input.notification_configuration;
    if given.queue_configurations.is_some_and(|q| !q.is_empty()) {
        return Err(not_implemented("notifications to queues (QueueConfiguration)"));
    }
    if given.topic_configurations.is_some_and(|t| !t.is_empty()) {
        return Err(not_implemented("notifications to topics (TopicConfiguration)"));
    }
    if given.event_bridge_configuration.is_some() {
        return Err(not_implemented("notifications to event buses (EventBridgeConfiguration)"));
    }
    let functions = given.lambda_function_configurations.unwrap_or_default();
    if functions.len() > CONFIGURATIONS_MAX {
        return Err(invalid_argument("The number of notification configurations exceeds the limit of 100"));
    }
    let new_id = || visit.objects().entropy.uuid();
    let notifications: Vec<Notification> = functions.into_iter().map(|f| parse(f, new_id)).collect::<Result<_>>()?;
    check_overlaps(&notifications)?;
    let bucket = visit.bucket(&input.bucket).await?;
    if !input.skip_destination_validation.unwrap_or(false) {
        check_destinations(visit, &bucket, &notifications).await?;
    }
    let change = async |tx: store::Tx| {
        let bucket = visit.bucket_in(&tx, &input.bucket).await?;
        let bucket = Bucket { notifications: notifications.clone(), ..bucket };
        Ok::<_, crate::Error>(tx.put(&Space::Bucket(&input.bucket).key(), &bucket)?)
    };
    visit.objects().store().transact(change).await?;
    Ok(PutBucketNotificationConfigurationOutput::default())
}

pub async fn get(
    visit: &Visit,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> Result<GetBucketNotificationConfigurationOutput> {
    let bucket = visit.bucket(&request.input.bucket).await?;
    let functions: Vec<_> = bucket.notifications.into_iter().map(shape).collect();
    Ok(GetBucketNotificationConfigurationOutput {
        lambda_function_configurations: (!functions.is_empty()).then_some(functions),
        ..Default::default()
    })
}

fn shape(notification: Notification) -> LambdaFunctionConfiguration {
    let rule = |name, value: String| FilterRule { name: Some(FilterRuleName::from_static(name)), value: Some(value) };
    let mut rules = Vec::new();
    if !notification.prefix.is_empty() {
        rules.push(rule("Prefix", notification.prefix));
    }
    if !notification.suffix.is_empty() {
        rules.push(rule("Suffix", notification.suffix));
    }
    let key = (!rules.is_empty()).then_some(S3KeyFilter { filter_rules: Some(rules) });
    LambdaFunctionConfiguration {
        events: notification.events.into_iter().map(Event::from).collect(),
        filter: key.map(|key| NotificationConfigurationFilter { key: Some(key) }),
        id: Some(notification.id),
        lambda_function_arn: notification.function.to_string(),
    }
}
