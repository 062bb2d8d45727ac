//! PutBucketNotificationConfiguration and its get.

use crate::error::{Result, invalid_argument};
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

/// A configuration as it is given, whatever its kind of destination.
struct Given {
    id: Option<String>,
    arn: String,
    service: &'static str,
    events: Vec<Event>,
    filter: Option<NotificationConfigurationFilter>,
}

/// All configurations of a request.
fn given(config: NotificationConfiguration) -> Vec<Given> {
    let functions = config.lambda_function_configurations.unwrap_or_default().into_iter().map(|c| Given {
        id: c.id,
        arn: c.lambda_function_arn,
        service: "lambda",
        events: c.events,
        filter: c.filter,
    });
    let queues = config.queue_configurations.unwrap_or_default().into_iter().map(|c| Given {
        id: c.id,
        arn: c.queue_arn,
        service: "sqs",
        events: c.events,
        filter: c.filter,
    });
    let topics = config.topic_configurations.unwrap_or_default().into_iter().map(|c| Given {
        id: c.id,
        arn: c.topic_arn,
        service: "sns",
        events: c.events,
        filter: c.filter,
    });
    functions.chain(queues).chain(topics).collect()
}

fn parse(given: Given, new_id: impl Fn() -> String) -> Result<Notification> {
    let target: Arn = given.arn.parse().map_err(|_| invalid_argument("The ARN could not be parsed"))?;
    if target.service != given.service {
        return Err(invalid_argument("The ARN is not well formed"));
    }
    if given.service != "lambda" && target.resource.ends_with(".fifo") {
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
            tracing::debug!(target_arn = %notification.target, %why, "a notification destination was refused");
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
    let event_bridge = input.notification_configuration.event_bridge_configuration.is_some();
    let given = given(input.notification_configuration);
    if given.len() > CONFIGURATIONS_MAX {
        return Err(invalid_argument("The number of notification configurations exceeds the limit of 100"));
    }
    let new_id = || visit.objects().entropy.uuid();
    let notifications: Vec<Notification> = given.into_iter().map(|g| parse(g, new_id)).collect::<Result<_>>()?;
    check_overlaps(&notifications)?;
    let bucket = visit.bucket(&input.bucket).await?;
    if !input.skip_destination_validation.unwrap_or(false) {
        check_destinations(visit, &bucket, &notifications).await?;
    }
    let at = visit.objects().clock.now();
    let change = async |tx: store::Tx| {
        let bucket = visit.bucket_in(&tx, &input.bucket).await?;
        // Queues and topics that are new here get a test message.
        let tested = |n: &&Notification| {
            n.target.service != "lambda" && !bucket.notifications.iter().any(|old| old.target == n.target)
        };
        for notification in notifications.iter().filter(tested) {
            tx.emit(&events::test(&bucket, &notification.target, &visit.cause(at), new_id())?)?;
        }
        let bucket = Bucket { notifications: notifications.clone(), event_bridge, ..bucket };
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
    let of = |service: &str| -> Vec<Shape> {
        bucket.notifications.iter().filter(|n| n.target.service == service).map(shape).collect()
    };
    let functions: Vec<_> = of("lambda")
        .into_iter()
        .map(|s| LambdaFunctionConfiguration {
            events: s.events,
            filter: s.filter,
            id: s.id,
            lambda_function_arn: s.arn,
        })
        .collect();
    let queues: Vec<_> = of("sqs")
        .into_iter()
        .map(|s| QueueConfiguration { events: s.events, filter: s.filter, id: s.id, queue_arn: s.arn })
        .collect();
    let topics: Vec<_> = of("sns")
        .into_iter()
        .map(|s| TopicConfiguration { events: s.events, filter: s.filter, id: s.id, topic_arn: s.arn })
        .collect();
    Ok(GetBucketNotificationConfigurationOutput {
        lambda_function_configurations: (!functions.is_empty()).then_some(functions),
        queue_configurations: (!queues.is_empty()).then_some(queues),
        topic_configurations: (!topics.is_empty()).then_some(topics),
        event_bridge_configuration: bucket.event_bridge.then(EventBridgeConfiguration::default),
    })
}

/// What all kinds of configurations have.
struct Shape {
    id: Option<String>,
    arn: String,
    events: Vec<Event>,
    filter: Option<NotificationConfigurationFilter>,
}

fn shape(notification: &Notification) -> Shape {
    let rule =
        |name, value: &str| FilterRule { name: Some(FilterRuleName::from_static(name)), value: Some(value.to_owned()) };
    let mut rules = Vec::new();
    if !notification.prefix.is_empty() {
        rules.push(rule("Prefix", &notification.prefix));
    }
    if !notification.suffix.is_empty() {
        rules.push(rule("Suffix", &notification.suffix));
    }
    let key = (!rules.is_empty()).then_some(S3KeyFilter { filter_rules: Some(rules) });
    Shape {
        id: Some(notification.id.clone()),
        arn: notification.target.to_string(),
        events: notification.events.iter().cloned().map(Event::from).collect(),
        filter: key.map(|key| NotificationConfigurationFilter { key: Some(key) }),
    }
}
