//! TagResource, UntagResource, ListTagsForResource.

use super::*;
use std::sync::Arc;

/// What is not there is a resource that is not there.
fn no_resource(error: Error) -> Error {
    match error {
        Error::NotFound(_) => Error::NoResource,
        other => other,
    }
}

pub async fn tag(room: Arc<Topics>, _: Context, input: TagResourceRequest) -> Result<TagResourceResponse> {
    let named = Named::of_topic(&input.resource_arn)?;
    let new = pairs(input.tags);
    let tagged = topics::change(&room, &named, |topic| crate::model::add_tags(&mut topic.tags, &new)).await;
    tagged.map_err(no_resource)?;
    Ok(TagResourceResponse {})
}

pub async fn untag(room: Arc<Topics>, _: Context, input: UntagResourceRequest) -> Result<UntagResourceResponse> {
    let named = Named::of_topic(&input.resource_arn)?;
    let untagged = topics::change(&room, &named, |topic| {
        topic.tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    });
    untagged.await.map_err(no_resource)?;
    Ok(UntagResourceResponse {})
}

pub async fn list(
    room: Arc<Topics>,
    _: Context,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse> {
    let topic = room.topic(&Named::of_topic(&input.resource_arn)?).await.map_err(no_resource)?;
    let shape = |(key, value)| Tag { key, value };
    Ok(ListTagsForResourceResponse { tags: Some(topic.tags.into_iter().map(shape).collect()) })
}

pub fn pairs(tags: Vec<Tag>) -> Vec<(String, String)> {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}
