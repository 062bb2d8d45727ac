//! The operations: the table, and what several of them share.

mod groups;
mod schedules;
#[rustfmt::skip]
mod shapes;
mod tags;

use crate::error::{Error, Result};
use crate::store::{Group, Space};
use crate::{Schedules, model};
use base::port::Access;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use room::{Context, Table};

pub use shapes::*;

/// A page, unless the request says less.
const PAGE_MAX: usize = 100;

/// Each operation, what it touches, and the function that does it.
pub fn table() -> Table<Schedules> {
    Table::new(&shapes::SERVICE)
        .op(
            "CreateSchedule",
            |cx, i: &CreateScheduleInput| on_schedule(cx, "CreateSchedule", i.group_name.as_deref(), &i.name),
            schedules::create,
        )
        .op(
            "GetSchedule",
            |cx, i: &GetScheduleInput| on_schedule(cx, "GetSchedule", i.group_name.as_deref(), &i.name),
            schedules::get,
        )
        .op(
            "UpdateSchedule",
            |cx, i: &UpdateScheduleInput| on_schedule(cx, "UpdateSchedule", i.group_name.as_deref(), &i.name),
            schedules::update,
        )
        .op(
            "DeleteSchedule",
            |cx, i: &DeleteScheduleInput| on_schedule(cx, "DeleteSchedule", i.group_name.as_deref(), &i.name),
            schedules::delete,
        )
        .op(
            "ListSchedules",
            |cx, i: &ListSchedulesInput| on_schedule(cx, "ListSchedules", i.group_name.as_deref().or(Some("*")), "*"),
            schedules::list,
        )
        .op(
            "CreateScheduleGroup",
            |cx, i: &CreateScheduleGroupInput| on_group(cx, "CreateScheduleGroup", &i.name),
            groups::create,
        )
        .op("GetScheduleGroup", |cx, i: &GetScheduleGroupInput| on_group(cx, "GetScheduleGroup", &i.name), groups::get)
        .op(
            "DeleteScheduleGroup",
            |cx, i: &DeleteScheduleGroupInput| on_group(cx, "DeleteScheduleGroup", &i.name),
            groups::delete,
        )
        .op(
            "ListScheduleGroups",
            |cx, _: &ListScheduleGroupsInput| on_group(cx, "ListScheduleGroups", "*"),
            groups::list,
        )
        .op("TagResource", |_, i: &TagResourceInput| on("TagResource", i.resource_arn.clone()), tags::tag)
        .op("UntagResource", |_, i: &UntagResourceInput| on("UntagResource", i.resource_arn.clone()), tags::untag)
        .op(
            "ListTagsForResource",
            |_, i: &ListTagsForResourceInput| on("ListTagsForResource", i.resource_arn.clone()),
            tags::list,
        )
}

fn on(operation: &str, resource: String) -> Access {
    Access { action: format!("scheduler:{operation}"), resource }
}

fn on_group(cx: &Context, operation: &str, group: &str) -> Access {
    on(operation, model::group_arn(cx.scope(), group))
}

fn on_schedule(cx: &Context, operation: &str, group: Option<&str>, name: &str) -> Access {
    on(operation, model::schedule_arn(cx.scope(), group.unwrap_or(model::DEFAULT), name))
}

fn limit(asked: Option<i32>) -> usize {
    asked.and_then(|n| usize::try_from(n).ok()).map_or(PAGE_MAX, |n| n.clamp(1, PAGE_MAX))
}

/// A paging token: opaque to clients, the last key of the page to us.
fn token(key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// Where a page begins: after the token's key, which has to be one of `all`'s.
fn page_from(token: Option<&str>, all: &::store::Key) -> Result<Vec<u8>> {
    let Some(token) = token else { return Ok(all.as_bytes().to_vec()) };
    let key = URL_SAFE_NO_PAD.decode(token).ok().filter(|key| key.starts_with(all.as_bytes()));
    let mut from = key.ok_or_else(|| Error::Invalid("Invalid NextToken.".into()))?;
    from.push(0);
    Ok(from)
}

impl Schedules {
    /// A group; the default one is always there.
    async fn group(&self, cx: &Context, name: &str) -> Result<Option<Group>> {
        let group = self.store.get(&Space::Group(cx.scope(), name).key()).await?;
        if group.is_none() && name != model::DEFAULT {
            return Err(Error::NoGroup(name.to_owned()));
        }
        Ok(group)
    }
}
