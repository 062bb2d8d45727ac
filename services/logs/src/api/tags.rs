//! Tags of log groups: TagResource, UntagResource, ListTagsForResource. Destinations, which AWS can tag too, do not
//! exist.

use super::*;
use crate::store::Space;
use ::store::Tx;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Empty;

pub async fn tag(logs: Arc<Logs>, cx: Context, input: TagResourceRequest) -> Result<Empty, Error> {
    change(&logs, &cx, &input.resource_arn, |tags| model::add_tags(tags, input.tags.clone())).await
}

pub async fn untag(logs: Arc<Logs>, cx: Context, input: UntagResourceRequest) -> Result<Empty, Error> {
    let without = |tags: &mut BTreeMap<String, String>| {
        tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    };
    change(&logs, &cx, &input.resource_arn, without).await
}

pub async fn list(
    logs: Arc<Logs>,
    cx: Context,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Error> {
    let group = logs.group(&cx, model::group_of_arn(cx.scope(), &input.resource_arn)?).await?;
    Ok(ListTagsForResourceResponse { tags: Some(group.tags) })
}

async fn change(
    logs: &Logs,
    cx: &Context,
    arn: &str,
    how: impl Fn(&mut BTreeMap<String, String>) -> Result<(), Error> + Sync,
) -> Result<Empty, Error> {
    let key = Space::Group(cx.scope(), model::group_of_arn(cx.scope(), arn)?).key();
    logs.store
        .transact(async |tx: Tx| {
            let mut group = tx.get::<Group>(&key).await?.ok_or(Error::NoSuchGroup)?;
            how(&mut group.tags)?;
            Ok::<_, Error>(tx.put(&key, &group)?)
        })
        .await?;
    Ok(Empty {})
}
