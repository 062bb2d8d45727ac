//! Tags of schedule groups: TagResource, UntagResource, ListTagsForResource. Schedules themselves have none.

use super::*;
use ::store::Tx;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Empty;

const TAGS_MAX: usize = 200;

pub fn add(tags: &mut BTreeMap<String, String>, more: Vec<Tag>) -> Result<()> {
    for Tag { key, value } in more {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::Invalid("aws: prefixed tag key names are not allowed for external use.".into()));
        }
        tags.insert(key, value);
    }
    if tags.len() > TAGS_MAX { Err(Error::TooMany) } else { Ok(()) }
}

pub async fn tag(room: Arc<Schedules>, cx: Context, input: TagResourceInput) -> Result<Empty> {
    change(&room, &cx, &input.resource_arn, |tags| add(tags, input.tags.clone())).await
}

pub async fn untag(room: Arc<Schedules>, cx: Context, input: UntagResourceInput) -> Result<Empty> {
    let without = |tags: &mut BTreeMap<String, String>| {
        tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    };
    change(&room, &cx, &input.resource_arn, without).await
}

pub async fn list(
    room: Arc<Schedules>,
    cx: Context,
    input: ListTagsForResourceInput,
) -> Result<ListTagsForResourceOutput> {
    let group = room.group(&cx, model::group_of_arn(cx.scope(), &input.resource_arn)?).await?;
    let shape = |(key, value)| Tag { key, value };
    Ok(ListTagsForResourceOutput {
        tags: Some(group.map(|g| g.tags).unwrap_or_default().into_iter().map(shape).collect()),
    })
}

async fn change(
    room: &Schedules,
    cx: &Context,
    arn: &str,
    how: impl Fn(&mut BTreeMap<String, String>) -> Result<()> + Sync,
) -> Result<Empty> {
    let name = model::group_of_arn(cx.scope(), arn)?;
    let (key, now) = (Space::Group(cx.scope(), name).key(), room.clock.now());
    room.store
        .transact(async |tx: Tx| {
            let mut group = match tx.get::<Group>(&key).await? {
                Some(group) => group,
                None if name == model::DEFAULT => Group { created: now, modified: now, tags: BTreeMap::new() },
                None => return Err(Error::NoGroup(name.to_owned())),
            };
            how(&mut group.tags)?;
            group.modified = now;
            Ok(tx.put(&key, &group)?)
        })
        .await?;
    Ok(Empty {})
}
