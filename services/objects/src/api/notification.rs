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

/// A configuration of either kind.
struct Given {
    id: Option<String>,
    target: String,
    events: Vec<Event>,
    filter: Option<NotificationConfigurationFilter>,
}

impl From<LambdaFunctionConfiguration> for Given {
    fn from(given: LambdaFunctionConfiguration) -> Self {
        let LambdaFunctionConfiguration { id, lambda_function_arn, events, filter } = given;
        Self { id, target: lambda_function_arn, events, filter }
    }
}

impl From<QueueConfiguration> for Given {
    fn from(given: QueueConfiguration) -> Self {
        let QueueConfiguration { id, queue_arn, events, filter } = given;
        Self { id, target: queue_arn, events, filter }
    }
}

fn parse(given: Given, service: &str, new_id: impl Fn() -> String) -> Result<Notification> {
    let target: Arn = given.target.parse().map_err(|_| invalid_argument("The ARN could not be parsed"))?;
    if target.service != service {
        return Err(invalid_argument("The ARN is not well formed"));
    }
    if service == "sqs" && target.resource.ends_with(".fifo") {
        return Err(invalid_argument("Unable to validate the following destination configurations"));
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
    Ok(Notification { id, target, events, prefix, suffix })
}

/// Asks each destination whether it is there and lets this bucket send to it.
async fn check_destinations(visit: &Visit, bucket: &Bucket, all: &[Notification]) -> Result<()> {
    let from = events::source(bucket);
    for notification in all {
        let accepted = match visit.objects().targets.find(&notification.target) {
            Some(target) => target.accepts(&notification.target, &from).await,
            None => Err(base::port::Denied("no such service".into())),
        };
        if let Err(why) = accepted {
            tracing::debug!(target = %notification.target, %why, "a notification destination was refused");
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
    if given.topic_configurations.is_some_and(|t| !t.is_empty()) {
        return Err(not_implemented("notifications to topics (TopicConfiguration)"));
    }
    if given.event_bridge_configuration.is_some() {
        return Err(not_implemented("notifications to event buses (EventBridgeConfiguration)"));
    }
    let functions = given.lambda_function_configurations.unwrap_or_default();
    let queues = given.queue_configurations.unwrap_or_default();
    if functions.len() + queues.len() > CONFIGURATIONS_MAX {
        return Err(invalid_argument("The number of notification configurations exceeds the limit of 100"));
    }
    let new_id = || visit.objects().entropy.uuid();
    let functions = functions.into_iter().map(|f| parse(f.into(), "lambda", new_id));
    let queues = queues.into_iter().map(|q| parse(q.into(), "sqs", new_id));
    let notifications: Vec<Notification> = functions.chain(queues).collect::<Result<_>>()?;
    check_overlaps(&notifications)?;
    let bucket = visit.bucket(&input.bucket).await?;
    if !input.skip_destination_validation.unwrap_or(false) {
        check_destinations(visit, &bucket, &notifications).await?;
    }
    let change = async |tx: store::Tx| {
        let bucket = visit.bucket_in(&tx, &input.bucket).await?;
        let bucket = Bucket { notifications: notifications.clone(), ..bucket };
        events::emit_test(&tx, &bucket, &notifications, &visit.cause(visit.now()), new_id)?;
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
    let (queues, functions): (Vec<_>, Vec<_>) =
        bucket.notifications.into_iter().partition(|n| n.target.service == "sqs");
    let functions: Vec<_> = functions.into_iter().map(shape).collect();
    let queues: Vec<_> = queues.into_iter().map(shape).map(queue_shape).collect();
    Ok(GetBucketNotificationConfigurationOutput {
        lambda_function_configurations: (!functions.is_empty()).then_some(functions),
        queue_configurations: (!queues.is_empty()).then_some(queues),
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
        lambda_function_arn: notification.target.to_string(),
    }
}

/// The two kinds differ in the name of the ARN alone.
fn queue_shape(given: LambdaFunctionConfiguration) -> QueueConfiguration {
    let LambdaFunctionConfiguration { id, lambda_function_arn, events, filter } = given;
    QueueConfiguration { id, queue_arn: lambda_function_arn, events, filter }
}
