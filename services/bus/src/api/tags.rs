//! Tags of buses and rules: TagResource, UntagResource, ListTagsForResource.

use super::*;
use crate::store::{Rule, Space};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Empty;

pub async fn tag(bus: Arc<Bus>, cx: Context, input: TagResourceRequest) -> Result<Empty> {
    let new: Vec<(String, String)> = input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    change(&bus, &cx, &input.resource_arn, |tags| model::add_tags(tags, new.clone())).await
}

pub async fn untag(bus: Arc<Bus>, cx: Context, input: UntagResourceRequest) -> Result<Empty> {
    let without = |tags: &mut BTreeMap<String, String>| {
        tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    };
    change(&bus, &cx, &input.resource_arn, without).await
}

pub async fn list(
    bus: Arc<Bus>,
    cx: Context,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse> {
    let tags = match model::of_arn(cx.scope(), &input.resource_arn)? {
        (name, None) => bus.bus(cx.scope(), &name).await?.map(|record| record.tags).unwrap_or_default(),
        (name, Some(rule)) => {
            let record: Option<Rule> = bus.store.get(&Space::Rule(cx.scope(), &name, &rule).key()).await?;
            record.ok_or_else(|| model::no_rule(&rule, &name))?.tags
        }
    };
    let shape = |(key, value)| Tag { key, value };
    Ok(ListTagsForResourceResponse { tags: Some(tags.into_iter().map(shape).collect()) })
}

async fn change(
    bus: &Bus,
    cx: &Context,
    arn: &str,
    how: impl Fn(&mut BTreeMap<String, String>) -> Result<()> + Sync,
) -> Result<Empty> {
    match model::of_arn(cx.scope(), arn)? {
        (name, None) => drop(buses::change(bus, cx.scope(), &name, |record| how(&mut record.tags)).await?),
        (name, Some(rule)) => {
            rules::change(bus, cx.scope(), Some(&name), &rule, |record| how(&mut record.tags)).await?;
        }
    }
    Ok(Empty {})
}
