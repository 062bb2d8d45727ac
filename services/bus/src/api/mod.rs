//! The operations: the table, and what several of them share.

mod archives;
mod buses;
mod connections;
mod destinations;
mod permissions;
pub mod put_events;
mod replays;
mod rules;
#[rustfmt::skip]
mod shapes;
mod tags;
mod targets;
mod test_pattern;

use crate::error::{Error, Result};
use crate::{Bus, model};
use base::Scope;
use base::port::Access;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use room::{Context, Table};

pub use shapes::*;

/// A page, unless the request says less.
const PAGE_MAX: usize = 100;
/// Ten entries of 1 MB together, as JSON in JSON.
const PUT_EVENTS_BODY_BYTES_MAX: usize = 4 << 20;

/// Each operation, what it touches, and the function that does it.
pub fn table() -> Table<Bus> {
    Table::new(&shapes::SERVICE)
        .op(
            "CreateEventBus",
            |cx, i: &CreateEventBusRequest| on_bus(cx, "CreateEventBus", Some(&i.name)),
            buses::create,
        )
        .op(
            "DescribeEventBus",
            |cx, i: &DescribeEventBusRequest| on_bus(cx, "DescribeEventBus", i.name.as_deref()),
            buses::describe,
        )
        .op("ListEventBuses", |cx, _: &ListEventBusesRequest| on_bus(cx, "ListEventBuses", Some("*")), buses::list)
        .op(
            "UpdateEventBus",
            |cx, i: &UpdateEventBusRequest| on_bus(cx, "UpdateEventBus", i.name.as_deref()),
            buses::update,
        )
        .op(
            "DeleteEventBus",
            |cx, i: &DeleteEventBusRequest| on_bus(cx, "DeleteEventBus", Some(&i.name)),
            buses::delete,
        )
        .large_op("PutEvents", PUT_EVENTS_BODY_BYTES_MAX, put_events::access, put_events::put)
        .op(
            "PutRule",
            |cx, i: &PutRuleRequest| on_rule(cx, "PutRule", i.event_bus_name.as_deref(), &i.name),
            rules::put,
        )
        .op(
            "DescribeRule",
            |cx, i: &DescribeRuleRequest| on_rule(cx, "DescribeRule", i.event_bus_name.as_deref(), &i.name),
            rules::describe,
        )
        .op(
            "ListRules",
            |cx, i: &ListRulesRequest| on_rule(cx, "ListRules", i.event_bus_name.as_deref(), "*"),
            rules::list,
        )
        .op(
            "EnableRule",
            |cx, i: &EnableRuleRequest| on_rule(cx, "EnableRule", i.event_bus_name.as_deref(), &i.name),
            rules::enable,
        )
        .op(
            "DisableRule",
            |cx, i: &DisableRuleRequest| on_rule(cx, "DisableRule", i.event_bus_name.as_deref(), &i.name),
            rules::disable,
        )
        .op(
            "DeleteRule",
            |cx, i: &DeleteRuleRequest| on_rule(cx, "DeleteRule", i.event_bus_name.as_deref(), &i.name),
            rules::delete,
        )
        .op(
            "ListRuleNamesByTarget",
            |cx, i: &ListRuleNamesByTargetRequest| {
                on_rule(cx, "ListRuleNamesByTarget", i.event_bus_name.as_deref(), "*")
            },
            rules::names_by_target,
        )
        .op(
            "PutTargets",
            |cx, i: &PutTargetsRequest| on_rule(cx, "PutTargets", i.event_bus_name.as_deref(), &i.rule),
            targets::put,
        )
        .op(
            "ListTargetsByRule",
            |cx, i: &ListTargetsByRuleRequest| on_rule(cx, "ListTargetsByRule", i.event_bus_name.as_deref(), &i.rule),
            targets::list,
        )
        .op(
            "RemoveTargets",
            |cx, i: &RemoveTargetsRequest| on_rule(cx, "RemoveTargets", i.event_bus_name.as_deref(), &i.rule),
            targets::remove,
        )
        .op("TestEventPattern", |_, _: &TestEventPatternRequest| on("TestEventPattern", "*".into()), test_pattern::test)
        .op(
            "PutPermission",
            |cx, i: &PutPermissionRequest| on_bus(cx, "PutPermission", i.event_bus_name.as_deref()),
            permissions::put,
        )
        .op(
            "RemovePermission",
            |cx, i: &RemovePermissionRequest| on_bus(cx, "RemovePermission", i.event_bus_name.as_deref()),
            permissions::remove,
        )
        .op(
            "CreateArchive",
            |cx, i: &CreateArchiveRequest| on("CreateArchive", model::archive_arn(cx.scope(), &i.archive_name)),
            archives::create,
        )
        .op(
            "DescribeArchive",
            |cx, i: &DescribeArchiveRequest| on("DescribeArchive", model::archive_arn(cx.scope(), &i.archive_name)),
            archives::describe,
        )
        .op(
            "UpdateArchive",
            |cx, i: &UpdateArchiveRequest| on("UpdateArchive", model::archive_arn(cx.scope(), &i.archive_name)),
            archives::update,
        )
        .op(
            "DeleteArchive",
            |cx, i: &DeleteArchiveRequest| on("DeleteArchive", model::archive_arn(cx.scope(), &i.archive_name)),
            archives::delete,
        )
        .op(
            "ListArchives",
            |cx, _: &ListArchivesRequest| on("ListArchives", model::archive_arn(cx.scope(), "*")),
            archives::list,
        )
        .op(
            "StartReplay",
            |cx, i: &StartReplayRequest| on("StartReplay", model::replay_arn(cx.scope(), &i.replay_name)),
            replays::start,
        )
        .op(
            "DescribeReplay",
            |cx, i: &DescribeReplayRequest| on("DescribeReplay", model::replay_arn(cx.scope(), &i.replay_name)),
            replays::describe,
        )
        .op(
            "CancelReplay",
            |cx, i: &CancelReplayRequest| on("CancelReplay", model::replay_arn(cx.scope(), &i.replay_name)),
            replays::cancel,
        )
        .op(
            "ListReplays",
            |cx, _: &ListReplaysRequest| on("ListReplays", model::replay_arn(cx.scope(), "*")),
            replays::list,
        )
        .op(
            "CreateConnection",
            |cx, i: &CreateConnectionRequest| on_connection(cx, "CreateConnection", &i.name),
            connections::create,
        )
        .op(
            "DescribeConnection",
            |cx, i: &DescribeConnectionRequest| on_connection(cx, "DescribeConnection", &i.name),
            connections::describe,
        )
        .op(
            "UpdateConnection",
            |cx, i: &UpdateConnectionRequest| on_connection(cx, "UpdateConnection", &i.name),
            connections::update,
        )
        .op(
            "DeauthorizeConnection",
            |cx, i: &DeauthorizeConnectionRequest| on_connection(cx, "DeauthorizeConnection", &i.name),
            connections::deauthorize,
        )
        .op(
            "DeleteConnection",
            |cx, i: &DeleteConnectionRequest| on_connection(cx, "DeleteConnection", &i.name),
            connections::delete,
        )
        .op(
            "CreateApiDestination",
            |cx, i: &CreateApiDestinationRequest| on_destination(cx, "CreateApiDestination", &i.name),
            destinations::create,
        )
        .op(
            "DescribeApiDestination",
            |cx, i: &DescribeApiDestinationRequest| on_destination(cx, "DescribeApiDestination", &i.name),
            destinations::describe,
        )
        .op(
            "UpdateApiDestination",
            |cx, i: &UpdateApiDestinationRequest| on_destination(cx, "UpdateApiDestination", &i.name),
            destinations::update,
        )
        .op(
            "DeleteApiDestination",
            |cx, i: &DeleteApiDestinationRequest| on_destination(cx, "DeleteApiDestination", &i.name),
            destinations::delete,
        )
        .op(
            "ListConnections",
            |cx, _: &ListConnectionsRequest| on_connection(cx, "ListConnections", "*"),
            connections::list,
        )
        .op(
            "ListApiDestinations",
            |cx, _: &ListApiDestinationsRequest| on_destination(cx, "ListApiDestinations", "*"),
            destinations::list,
        )
        .op("TagResource", |_, i: &TagResourceRequest| on("TagResource", i.resource_arn.clone()), tags::tag)
        .op("UntagResource", |_, i: &UntagResourceRequest| on("UntagResource", i.resource_arn.clone()), tags::untag)
        .op(
            "ListTagsForResource",
            |_, i: &ListTagsForResourceRequest| on("ListTagsForResource", i.resource_arn.clone()),
            tags::list,
        )
}

fn on(operation: &str, resource: String) -> Access {
    Access { action: format!("events:{operation}"), resource }
}

/// On a bus by name or ARN. A name that is neither of ours is refused by the operation.
fn on_bus(cx: &Context, operation: &str, bus: Option<&str>) -> Access {
    let bus = bus.unwrap_or(model::DEFAULT);
    let arn = if bus.starts_with("arn:") { bus.to_owned() } else { model::bus_arn(cx.scope(), bus).to_string() };
    on(operation, arn)
}

fn on_rule(cx: &Context, operation: &str, bus: Option<&str>, rule: &str) -> Access {
    let bus = model::bus_name(cx.scope(), bus).unwrap_or(model::DEFAULT);
    on(operation, model::rule_arn(cx.scope(), bus, rule))
}

fn on_connection(cx: &Context, operation: &str, name: &str) -> Access {
    on(operation, model::connection_arn(cx.scope(), name, "*"))
}

fn on_destination(cx: &Context, operation: &str, name: &str) -> Access {
    on(operation, model::destination_arn(cx.scope(), name, "*"))
}

/// Refuses parameters that the API has and this room lacks, by name.
fn refuse(lacking: &[(bool, &'static str)]) -> Result<()> {
    match lacking.iter().find(|(given, _)| *given) {
        Some((_, name)) => Err(Error::Lacking(name)),
        None => Ok(()),
    }
}

fn limit(asked: Option<i32>) -> usize {
    asked.and_then(|n| usize::try_from(n).ok()).map_or(PAGE_MAX, |n| n.clamp(1, PAGE_MAX))
}

/// A paging token: opaque to clients, the last name of the page to us.
fn token(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

fn read_token(token: Option<&str>) -> Result<Option<String>> {
    let read = |token: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok();
    token.map(|t| read(t).ok_or_else(|| Error::invalid("The NextToken is not valid."))).transpose()
}

/// A page of named records under `all`, from after the token on, and the token of the next.
async fn page<R: ::store::record::Record>(
    bus: &Bus,
    all: &::store::Key,
    prefix: Option<&str>,
    (next, limit): (Option<&str>, usize),
) -> Result<(Vec<(String, R)>, Option<String>)> {
    let within = all.clone().partial(prefix.unwrap_or(""));
    let from = match read_token(next)? {
        Some(last) => all.clone().text(&last).end(),
        None => within.as_bytes().to_vec(),
    };
    let items = bus.store.scan(&from, &within.end(), limit + 1).await?;
    let mut found = Vec::with_capacity(limit);
    for item in items.iter().take(limit) {
        let rest = item.key.get(all.as_bytes().len()..).unwrap_or_default();
        let Some(name) = ::store::KeyReader::new(rest).text() else { continue };
        found.push((name, ::store::record::decode(&item.value)?));
    }
    let next = found.last().filter(|_| items.len() > limit).map(|(name, _)| token(name));
    Ok((found, next))
}

/// The bus a request names, checked to be there.
async fn named_bus<'a>(bus: &Bus, scope: &Scope, given: Option<&'a str>) -> Result<&'a str> {
    let name = model::bus_name(scope, given)?;
    bus.bus(scope, name).await?;
    Ok(name)
}
