//! Tags of queues.

use super::*;
use crate::model::tags;
use wire::Empty;

pub async fn tag(room: Arc<Queues>, cx: Context, input: TagQueueRequest) -> Result<Empty> {
    let live = room.at(&cx, &input.queue_url).await?;
    room.change(&live, |_, queue| tags::add(&mut queue.tags, input.tags.clone())).await?;
    Ok(Empty {})
}

pub async fn untag(room: Arc<Queues>, cx: Context, input: UntagQueueRequest) -> Result<Empty> {
    let live = room.at(&cx, &input.queue_url).await?;
    room.change(&live, |_, queue| {
        queue.tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(Empty {})
}

pub async fn list(room: Arc<Queues>, cx: Context, input: ListQueueTagsRequest) -> Result<ListQueueTagsResult> {
    let tags = room.at(&cx, &input.queue_url).await?.queue().tags.clone();
    Ok(ListQueueTagsResult { tags: (!tags.is_empty()).then_some(tags) })
}
