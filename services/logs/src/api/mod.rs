//! The operations: the table, and what several of them share.

mod events;
mod groups;
#[rustfmt::skip]
mod shapes;
mod streams;
mod tags;

use crate::store::Group;
use crate::{Error, Logs, model, store};
use base::port::Access;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use room::{Context, Table};

pub use shapes::*;

/// A page of groups or streams, unless the request says less.
const DESCRIBE_MAX: usize = 50;
/// A batch of log events is 1 MiB of text; as JSON it may be larger.
const PUT_BODY_BYTES_MAX: usize = 8 << 20;

/// Each operation, what it touches, and the function that does it.
pub fn table() -> Table<Logs> {
    Table::new(&shapes::SERVICE)
        .op(
            "CreateLogGroup",
            |cx, i: &CreateLogGroupRequest| on_group(cx, "CreateLogGroup", &i.log_group_name),
            groups::create,
        )
        .op(
            "DeleteLogGroup",
            |cx, i: &DeleteLogGroupRequest| on_group(cx, "DeleteLogGroup", &i.log_group_name),
            groups::delete,
        )
        .op(
            "DescribeLogGroups",
            |cx, _: &DescribeLogGroupsRequest| on_group(cx, "DescribeLogGroups", ""),
            groups::describe,
        )
        .op(
            "PutRetentionPolicy",
            |cx, i: &PutRetentionPolicyRequest| on_group(cx, "PutRetentionPolicy", &i.log_group_name),
            groups::put_retention,
        )
        .op(
            "DeleteRetentionPolicy",
            |cx, i: &DeleteRetentionPolicyRequest| on_group(cx, "DeleteRetentionPolicy", &i.log_group_name),
            groups::delete_retention,
        )
        .op(
            "CreateLogStream",
            |cx, i: &CreateLogStreamRequest| on_group(cx, "CreateLogStream", &i.log_group_name),
            streams::create,
        )
        .op(
            "DeleteLogStream",
            |cx, i: &DeleteLogStreamRequest| {
                on_stream(cx, "DeleteLogStream", Some(&i.log_group_name), None, &i.log_stream_name)
            },
            streams::delete,
        )
        .op(
            "DescribeLogStreams",
            |cx, i: &DescribeLogStreamsRequest| {
                on_either(cx, "DescribeLogStreams", i.log_group_name.as_deref(), i.log_group_identifier.as_deref())
            },
            streams::describe,
        )
        .large_op(
            "PutLogEvents",
            PUT_BODY_BYTES_MAX,
            |cx, i: &PutLogEventsRequest| {
                on_stream(cx, "PutLogEvents", Some(&i.log_group_name), None, &i.log_stream_name)
            },
            events::put,
        )
        .op(
            "GetLogEvents",
            |cx, i: &GetLogEventsRequest| {
                on_stream(
                    cx,
                    "GetLogEvents",
                    i.log_group_name.as_deref(),
                    i.log_group_identifier.as_deref(),
                    &i.log_stream_name,
                )
            },
            events::get,
        )
        .op(
            "FilterLogEvents",
            |cx, i: &FilterLogEventsRequest| {
                on_either(cx, "FilterLogEvents", i.log_group_name.as_deref(), i.log_group_identifier.as_deref())
            },
            events::filter,
        )
        .op("TagResource", |_, i: &TagResourceRequest| on_arn("TagResource", &i.resource_arn), tags::tag)
        .op("UntagResource", |_, i: &UntagResourceRequest| on_arn("UntagResource", &i.resource_arn), tags::untag)
        .op(
            "ListTagsForResource",
            |_, i: &ListTagsForResourceRequest| on_arn("ListTagsForResource", &i.resource_arn),
            tags::list,
        )
}

fn on_arn(operation: &str, resource: &str) -> Access {
    Access { action: format!("logs:{operation}"), resource: resource.to_owned() }
}

fn on_group(cx: &Context, operation: &str, group: &str) -> Access {
    on_arn(operation, &model::group_arn(cx.scope(), group))
}

fn on_either(cx: &Context, operation: &str, name: Option<&str>, identifier: Option<&str>) -> Access {
    match (name, identifier) {
        (None, Some(arn)) if arn.starts_with("arn:") => on_arn(operation, arn),
        (name, identifier) => on_group(cx, operation, name.or(identifier).unwrap_or("")),
    }
}

fn on_stream(cx: &Context, operation: &str, name: Option<&str>, identifier: Option<&str>, stream: &str) -> Access {
    let Access { action, resource } = on_either(cx, operation, name, identifier);
    Access { action, resource: format!("{resource}:log-stream:{stream}") }
}

/// Refuses parameters that the API has and this room lacks, by name.
fn refuse(lacking: &[(bool, &'static str)]) -> Result<(), Error> {
    match lacking.iter().find(|(given, _)| *given) {
        Some((_, name)) => Err(Error::Lacking(name)),
        None => Ok(()),
    }
}

fn limit(asked: Option<i32>, max: usize) -> usize {
    asked.and_then(|n| usize::try_from(n).ok()).map_or(max, |n| n.clamp(1, max))
}

/// A paging token: opaque to clients, a place in the order of keys to us.
fn token(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

fn read_token(token: Option<&str>) -> Result<Option<String>, Error> {
    let read = |token: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        String::from_utf8(bytes).ok()
    };
    token.map(|t| read(t).ok_or_else(bad_token)).transpose()
}

fn bad_token() -> Error {
    Error::invalid("The specified nextToken is invalid.")
}

impl Logs {
    async fn group(&self, cx: &Context, name: &str) -> Result<Group, Error> {
        store::group(&self.store, cx.scope(), name).await?.ok_or(Error::NoSuchGroup)
    }
}
