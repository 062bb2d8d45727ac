//! EventBridge's rules for names, entries, rules and targets. No IO.

use crate::error::{Error, Result};
use crate::store::Target;
use ::rules::transform::{Path, TransformError, Transformer};
use base::{Arn, Scope, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub const DEFAULT: &str = "default";
/// Of entries of one PutEvents together, and of one event.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;
pub const TARGETS_MAX: usize = 5;
const TAGS_MAX: usize = 50;

pub fn bus_arn(scope: &Scope, bus: &str) -> Arn {
    Arn::new("events", scope.region.as_str(), scope.account.as_str(), format!("event-bus/{bus}"))
}

/// Rules of the default bus have no bus in their ARN.
pub fn rule_arn(scope: &Scope, bus: &str, rule: &str) -> String {
    let resource = if bus == DEFAULT { format!("rule/{rule}") } else { format!("rule/{bus}/{rule}") };
    Arn::new("events", scope.region.as_str(), scope.account.as_str(), resource).to_string()
}

/// ISO 8601 without fractions.
pub fn seconds(at: Timestamp) -> String {
    let text = at.iso8601();
    format!("{}Z", text.split('.').next().unwrap_or(&text))
}

pub fn archive_arn(scope: &Scope, archive: &str) -> String {
    Arn::new("events", scope.region.as_str(), scope.account.as_str(), format!("archive/{archive}")).to_string()
}

pub fn connection_arn(scope: &Scope, name: &str, id: &str) -> String {
    Arn::new("events", scope.region.as_str(), scope.account.as_str(), format!("connection/{name}/{id}")).to_string()
}

pub fn destination_arn(scope: &Scope, name: &str, id: &str) -> String {
    let resource = format!("api-destination/{name}/{id}");
    Arn::new("events", scope.region.as_str(), scope.account.as_str(), resource).to_string()
}

pub fn replay_arn(scope: &Scope, replay: &str) -> String {
    Arn::new("events", scope.region.as_str(), scope.account.as_str(), format!("replay/{replay}")).to_string()
}

/// The bus that a name or an ARN of the own account and region means, or the default one.
pub fn bus_name<'a>(scope: &Scope, given: Option<&'a str>) -> Result<&'a str> {
    let Some(given) = given else { return Ok(DEFAULT) };
    if !given.starts_with("arn:") {
        return Ok(given);
    }
    let own = bus_arn(scope, "").to_string();
    given.strip_prefix(&own).ok_or_else(|| no_bus(given))
}

/// The bus and the rule that an ARN means: `(bus, None)` is the bus itself.
pub fn of_arn(scope: &Scope, arn: &str) -> Result<(String, Option<String>)> {
    let none = || Error::NotFound(format!("Resource {arn} does not exist."));
    let parsed: Arn = arn.parse().map_err(|_| Error::invalid(format!("Parameter {arn} is not valid.")))?;
    let own = parsed.service == "events"
        && parsed.region == scope.region.as_str()
        && parsed.account == scope.account.as_str();
    let (kind, name) = parsed.resource.split_once('/').filter(|_| own).ok_or_else(none)?;
    match (kind, name.rsplit_once('/')) {
        ("event-bus", _) => Ok((name.to_owned(), None)),
        ("rule", Some((bus, rule))) => Ok((bus.to_owned(), Some(rule.to_owned()))),
        ("rule", None) => Ok((DEFAULT.to_owned(), Some(name.to_owned()))),
        _ => Err(none()),
    }
}

pub fn no_bus(name: &str) -> Error {
    Error::NotFound(format!("Event bus {name} does not exist."))
}

pub fn no_rule(name: &str, bus: &str) -> Error {
    Error::NotFound(format!("Rule {name} does not exist on EventBus {bus}."))
}

pub fn no_connection(name: &str) -> Error {
    Error::NotFound(format!("Failed to describe the connection(s). Connection '{name}' does not exist."))
}

pub fn no_destination(name: &str) -> Error {
    Error::NotFound(format!("Failed to describe the api-destination(s). An api-destination '{name}' does not exist."))
}

/// Refuses an endpoint that cannot be sent to.
pub fn check_endpoint(name: &str, endpoint: &str) -> Result<()> {
    let uri: std::result::Result<http::Uri, _> = endpoint.replace('*', "x").parse();
    let good = uri.is_ok_and(|uri| matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some());
    // A name that a wildcard is in would lead anywhere.
    let authority = endpoint.split('/').nth(2).unwrap_or_default();
    if good && !authority.contains(['*', '@']) {
        return Ok(());
    }
    Err(Error::invalid(format!("Parameter {name} is not valid. Reason: Provided value is not a valid HTTP endpoint.")))
}

pub fn no_archive(name: &str) -> Error {
    Error::NotFound(format!("Archive {name} does not exist."))
}

pub fn no_replay(name: &str) -> Error {
    Error::NotFound(format!("Replay {name} does not exist."))
}

/// Adds tags, within AWS's bounds.
pub fn add_tags(tags: &mut BTreeMap<String, String>, more: Vec<(String, String)>) -> Result<()> {
    for (key, value) in more {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::invalid("aws: prefixed tag key names are not allowed for external use."));
        }
        tags.insert(key, value);
    }
    if tags.len() > TAGS_MAX { Err(Error::TooMany) } else { Ok(()) }
}

/// What somebody tells a bus.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub source: Option<String>,
    pub detail_type: Option<String>,
    pub detail: Option<String>,
    pub resources: Vec<String>,
    pub time: Option<Timestamp>,
}

/// Why an entry is refused: `ErrorCode` and `ErrorMessage`.
pub type Refused = (&'static str, String);

impl Entry {
    /// As PutEvents counts ("Calculating PutEvents event entry size").
    pub fn bytes(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail].into_iter().flatten().map(String::len);
        let resources = self.resources.iter().map(String::len);
        texts.chain(resources).sum::<usize>() + if self.time.is_some() { 14 } else { 0 }
    }

    /// The event, if the entry tells one.
    pub fn event(&self, id: &str, scope: &Scope, now: Timestamp) -> std::result::Result<Value, Refused> {
        let required = |name: &str, value: &Option<String>| match value.as_deref().filter(|v| !v.is_empty()) {
            Some(value) => Ok(value.to_owned()),
            None => {
                let message = format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
                Err(("InvalidArgument", message))
            }
        };
        let source = required("Source", &self.source)?;
        let detail_type = required("DetailType", &self.detail_type)?;
        check_event(&source, &detail_type)?;
        let detail = required("Detail", &self.detail)?;
        let detail: Map<String, Value> =
            serde_json::from_str(&detail).map_err(|_| ("MalformedDetail", "Detail is malformed.".to_owned()))?;
        Ok(json!({
            "version": "0",
            "id": id,
            "detail-type": detail_type,
            "source": source,
            "account": scope.account.as_str(),
            "time": seconds(self.time.unwrap_or(now)),
            "region": scope.region.as_str(),
            "resources": self.resources,
            "detail": detail,
        }))
    }
}

/// Refuses what nobody but AWS may say, or what is too long.
pub fn check_event(source: &str, detail_type: &str) -> std::result::Result<(), Refused> {
    if source.starts_with("aws.") {
        return Err(("NotAuthorizedForSourceException", "Not authorized for the source.".into()));
    }
    if detail_type.chars().count() > 128 {
        let message = "Parameter DetailType is not valid. Reason: DetailType must be at most 128 characters.";
        return Err(("InvalidArgument", message.into()));
    }
    Ok(())
}

/// Services whose ARNs a target may have here.
const SERVICES: [&str; 5] = ["lambda", "sqs", "sns", "events", "logs"];

/// Refuses a target that EventBridge would refuse, or whose kind Wadi lacks.
pub fn check_target(target: &Target) -> Result<()> {
    let id = &target.id;
    let arn: Arn = target.arn.parse().map_err(|_| {
        Error::invalid(format!("Parameter {} is not valid. Reason: Provided Arn is not in correct format.", target.arn))
    })?;
    let api = arn.service == "events" && arn.resource.starts_with("api-destination/");
    let bus = arn.service == "events" && arn.resource.starts_with("event-bus/");
    if !SERVICES.contains(&arn.service.as_str()) || (arn.service == "events" && !bus && !api) {
        return Err(Error::invalid(format!("Wadi does not have targets like {arn} yet (target {id}).")));
    }
    let inputs = [target.input.is_some(), target.input_path.is_some(), target.transformer.is_some()];
    if inputs.iter().filter(|given| **given).count() > 1 {
        return Err(Error::invalid(format!(
            "Only one of Input, InputPath, or InputTransformer must be provided for target {id}."
        )));
    }
    if let Some(input) = &target.input
        && serde_json::from_str::<serde::de::IgnoredAny>(input).is_err()
    {
        return Err(Error::invalid(format!("JSON syntax error in input for target {id}")));
    }
    if let Some(path) = &target.input_path {
        Path::parse(path).map_err(|_| Error::invalid(format!("Invalid InputPath for target {id}.")))?;
    }
    if let Some(given) = &target.transformer {
        Transformer::parse(&given.paths, &given.template).map_err(|why| match why {
            TransformError::Placeholder(name) => {
                Error::invalid(format!("InputTemplate for target {id} contains invalid placeholder {name}."))
            }
            why => Error::invalid(format!("Invalid InputTransformer for target {id}: {why}.")),
        })?;
    }
    if target.http.is_some() && !api {
        return Err(Error::invalid(format!("Parameter(s) HttpParameters not valid for target {id}.")));
    }
    let fifo = arn.service == "sqs" && arn.resource.ends_with(".fifo");
    if target.message_group.is_some() && arn.service != "sqs" {
        return Err(Error::invalid(format!("Parameter(s) SqsParameters not valid for target {id}.")));
    }
    if fifo && target.message_group.is_none() {
        return Err(Error::invalid(format!("Parameter(s) SqsParameters must be specified for target: {id}.")));
    }
    match target.dead_letter.as_deref().map(str::parse::<Arn>) {
        None => Ok(()),
        Some(Ok(arn)) if arn.service == "sqs" => Ok(()),
        Some(_) => Err(Error::invalid(format!("The DeadLetterConfig of target {id} is not the ARN of an SQS queue."))),
    }
}
