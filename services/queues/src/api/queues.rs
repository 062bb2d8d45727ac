//! Queues themselves: made, found, changed, emptied, deleted.

use super::*;
use crate::model::attributes::{Attributes, is_known};
use crate::model::queue::Queue;
use crate::model::{name, tags};
use crate::store::{self, Dropped, Space};
use crate::work::DELETED;
use ::store::record::decode;
use ::store::{KeyReader, Tx};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wire::Empty;

/// A page of queues.
const LIST_MAX: usize = 1000;
/// Between two purges of a queue.
const PURGE_EVERY_MS: u64 = 60_000;
/// Queues looked at in one read for those that have a dead-letter queue.
const SCAN: usize = 500;
/// Pages of messages that a request for attributes counts after a start before it says what it knows.
const COUNT_PAGES: usize = 400;

pub async fn create(room: Arc<Queues>, cx: Context, input: CreateQueueRequest) -> Result<CreateQueueResult> {
    let given = input.attributes.unwrap_or_default();
    let fifo = given.get("FifoQueue").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    name::check(&input.queue_name, fifo)?;
    let named = Named { scope: cx.scope().clone(), name: input.queue_name };
    let mut attributes = Attributes::new(fifo);
    let others = attributes.set(&given, true)?;
    let mut all_tags = BTreeMap::new();
    tags::add(&mut all_tags, input.tags.unwrap_or_default())?;
    room.check_redrive(&named, &attributes).await?;
    let now = room.clock.now();
    let queue = Queue {
        id: room.entropy.u64(),
        stock: room.entropy.u64(),
        named: named.clone(),
        created: now,
        modified: now,
        purged: None,
        attributes,
        policy: others.policy.flatten(),
        tags: all_tags,
    };
    room.make(&named, room.put_new(&named, &given, &queue)).await?;
    Ok(CreateQueueResult { queue_url: Some(named.url(&cx.host)) })
}

impl Queues {
    /// `None` if it is there already with the same attributes.
    async fn put_new(&self, named: &Named, given: &BTreeMap<String, String>, queue: &Queue) -> Result<Option<Queue>> {
        let key = &Space::Queue(&named.scope, &named.name).key();
        let deleted = &Space::Deleted(&named.scope, &named.name).key();
        self.store
            .transact(|tx| async move {
                if let Some(there) = tx.get::<Queue>(key).await? {
                    return match different(&there, queue, given) {
                        Some(attribute) => Err(Error::NameExists(attribute)),
                        None => Ok(None),
                    };
                }
                if let Some(gone) = tx.get::<Dropped>(deleted).await? {
                    if queue.created.since(gone.at) < DELETED {
                        return Err(Error::DeletedRecently);
                    }
                    tx.delete(deleted);
                }
                tx.put(key, queue)?;
                Ok(Some(queue.clone()))
            })
            .await
    }

    /// A dead-letter queue is of the same kind, account and region, and lets this queue send there. It may be missing.
    async fn check_redrive(&self, named: &Named, attributes: &Attributes) -> Result<()> {
        let Some(redrive) = &attributes.redrive else { return Ok(()) };
        let bad = |why: &str| Error::invalid(redrive.text(), "RedrivePolicy", why);
        let target = Named::of_arn(&redrive.target).ok_or_else(|| bad("Invalid value for deadLetterTargetArn."))?;
        if target.scope != named.scope {
            return Err(bad("Dead-letter target is not in the same account and region."));
        }
        if name::is_fifo(&target.name) != attributes.fifo {
            return Err(bad("Dead-letter queue must be same type of queue as the source."));
        }
        let live = match self.live(&target).await {
            Ok(live) => live,
            Err(Error::NoSuchQueue) => {
                return Err(bad("Dead-letter target does not exist."));
            }
            Err(other) => return Err(other),
        };
        let allow = live.queue().attributes.redrive_allow.clone();
        if allow.is_some_and(|allow| !allow.allows(&named.arn())) {
            return Err(bad("Queue does not have permission to use this queue as a dead-letter queue."));
        }
        Ok(())
    }
}

/// The first attribute that a request for a queue that is there wants otherwise.
fn different(there: &Queue, wanted: &Queue, given: &BTreeMap<String, String>) -> Option<String> {
    let (there_texts, wanted_texts) = (there.attributes.texts(), wanted.attributes.texts());
    let differs = |name: &&String| match name.as_str() {
        "Policy" => there.policy != wanted.policy,
        name => there_texts.get(name) != wanted_texts.get(name),
    };
    given.keys().find(differs).cloned()
}

pub async fn url(room: Arc<Queues>, cx: Context, input: GetQueueUrlRequest) -> Result<GetQueueUrlResult> {
    let account = match input.queue_owner_aws_account_id {
        Some(account) => base::AccountId::parse(&account)
            .ok_or_else(|| Error::invalid(shown(&account), "QueueOwnerAWSAccountId", "Unable to verify."))?,
        None => cx.scope().account.clone(),
    };
    let scope = base::Scope::new(account, cx.scope().region.clone());
    let named = Named { scope, name: input.queue_name };
    room.live(&named).await?;
    Ok(GetQueueUrlResult { queue_url: Some(named.url(&cx.host)) })
}

fn page_size(asked: Option<i32>) -> Result<usize> {
    let asked = between(asked, "MaxResults", 1..=LIST_MAX as u32, "MaxResults must be an integer between 1 and 1000.")?;
    Ok(asked.map_or(LIST_MAX, |n| n as usize))
}

fn read_token(token: Option<String>) -> Result<Option<String>> {
    let read = |token: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok();
    let bad = || Error::Invalid("Invalid or expired next token.".into());
    token.map(|t| read(&t).ok_or_else(bad)).transpose()
}

fn name_in(key: &[u8]) -> Option<String> {
    let mut r = KeyReader::new(key);
    (0..3).try_for_each(|_| r.text().map(drop))?;
    r.text()
}

pub async fn list(room: Arc<Queues>, cx: Context, input: ListQueuesRequest) -> Result<ListQueuesResult> {
    let all = store::queues(cx.scope());
    let prefix = input.queue_name_prefix.unwrap_or_default();
    let limit = page_size(input.max_results)?;
    let within = all.clone().partial(&prefix);
    let from = match read_token(input.next_token)? {
        Some(after) => all.text(&after).end(),
        None => within.as_bytes().to_vec(),
    };
    let items = room.store.scan(&from, &within.end(), limit + 1).await?;
    let mut names: Vec<String> = items.iter().filter_map(|i| name_in(&i.key)).collect();
    let more = names.len() > limit;
    names.truncate(limit);
    // Without a page size AWS gives no token: a thousand is all there is to see.
    let token = names.last().filter(|_| more && input.max_results.is_some()).map(|n| URL_SAFE_NO_PAD.encode(n));
    let url = |name| Named { scope: cx.scope().clone(), name }.url(&cx.host);
    let urls: Vec<String> = names.into_iter().map(url).collect();
    Ok(ListQueuesResult { queue_urls: (!urls.is_empty()).then_some(urls), next_token: token })
}

pub async fn list_sources(
    room: Arc<Queues>,
    cx: Context,
    input: ListDeadLetterSourceQueuesRequest,
) -> Result<ListDeadLetterSourceQueuesResult> {
    let target = room.at(&cx, &input.queue_url).await?.queue().named.arn();
    let limit = page_size(input.max_results)?;
    let all = store::queues(cx.scope());
    let mut from = match read_token(input.next_token)? {
        Some(after) => all.clone().text(&after).end(),
        None => all.as_bytes().to_vec(),
    };
    let mut names = Vec::new();
    while names.len() <= limit {
        let items = room.store.scan(&from, &all.end(), SCAN).await?;
        for item in &items {
            let queue: Queue = decode(&item.value).map_err(Error::from)?;
            if queue.attributes.redrive.is_some_and(|r| r.target == target) {
                names.push(queue.named.name);
            }
        }
        let Some(last) = items.last().filter(|_| items.len() == SCAN) else { break };
        from = [&last.key[..], &[0]].concat();
    }
    let more = names.len() > limit;
    names.truncate(limit);
    let token = names.last().filter(|_| more).map(|n| URL_SAFE_NO_PAD.encode(n));
    let url = |name| Named { scope: cx.scope().clone(), name }.url(&cx.host);
    Ok(ListDeadLetterSourceQueuesResult { queue_urls: names.into_iter().map(url).collect(), next_token: token })
}

pub async fn delete(room: Arc<Queues>, cx: Context, input: DeleteQueueRequest) -> Result<Empty> {
    let named = Named::of_url(cx.scope(), &input.queue_url)?;
    let now = room.clock.now();
    let key = &Space::Queue(&named.scope, &named.name).key();
    let deleted = &Space::Deleted(&named.scope, &named.name).key();
    let remove = room.store.transact(|tx| async move {
        let queue = tx.get::<Queue>(key).await?.ok_or(Error::NoSuchQueue)?;
        tx.delete(key);
        tx.put(deleted, &Dropped { at: now })?;
        for id in [queue.id, queue.stock] {
            tx.put(&Space::Dropped(id).key(), &Dropped { at: now })?;
        }
        Ok(())
    });
    room.remove(&named, remove).await?;
    Ok(Empty {})
}

pub async fn purge(room: Arc<Queues>, cx: Context, input: PurgeQueueRequest) -> Result<Empty> {
    let live = room.at(&cx, &input.queue_url).await?;
    let (now, stock) = (room.clock.now(), room.entropy.u64());
    room.change(&live, |tx, queue| {
        if queue.purged.is_some_and(|at| (now.since(at).as_millis() as u64) < PURGE_EVERY_MS) {
            return Err(Error::PurgeInProgress(queue.named.name.clone()));
        }
        tx.put(&Space::Dropped(queue.stock).key(), &Dropped { at: now })?;
        queue.purged = Some(now);
        queue.stock = stock;
        Ok(())
    })
    .await?;
    Ok(Empty {})
}

impl Queues {
    /// Changes a queue's record, in the store and here.
    pub async fn change(&self, live: &Live, change: impl Fn(&Tx, &mut Queue) -> Result<()>) -> Result<()> {
        let _alone = live.changing.lock().await;
        let named = live.queue().named.clone();
        let (id, key, change) = (live.queue().id, &Space::Queue(&named.scope, &named.name).key(), &change);
        let queue = self
            .store
            .transact(|tx| async move {
                let found: Option<Queue> = tx.get(key).await?;
                let mut queue = found.filter(|q| q.id == id).ok_or(Error::NoSuchQueue)?;
                change(&tx, &mut queue)?;
                tx.put(key, &queue)?;
                Ok::<_, Error>(queue)
            })
            .await?;
        self.update(live, queue);
        Ok(())
    }
}

pub async fn attributes(
    room: Arc<Queues>,
    cx: Context,
    input: GetQueueAttributesRequest,
) -> Result<GetQueueAttributesResult> {
    let live = room.at(&cx, &input.queue_url).await?;
    let wanted = input.attribute_names.unwrap_or_default();
    if let Some(unknown) = wanted.iter().find(|n| *n != "All" && !is_known(n)) {
        return Err(Error::AttributeName(shown(unknown)));
    }
    let is_wanted = |name: &str| wanted.iter().any(|w| w == "All" || w == name);
    let queue = live.queue();
    let mut all = queue.attributes.texts();
    let mut add = |name: &str, text: String| drop(all.insert(name.to_owned(), text));
    add("QueueArn", queue.named.arn().to_string());
    add("CreatedTimestamp", (queue.created.millis() / 1000).to_string());
    add("LastModifiedTimestamp", (queue.modified.millis() / 1000).to_string());
    if let Some(policy) = &queue.policy {
        add("Policy", policy.to_string());
    }
    if is_wanted("ApproximateNumberOfMessages")
        || is_wanted("ApproximateNumberOfMessagesNotVisible")
        || is_wanted("ApproximateNumberOfMessagesDelayed")
    {
        let counts = room.counts(&live).await?;
        add("ApproximateNumberOfMessages", counts.visible.to_string());
        add("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string());
        add("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string());
    }
    all.retain(|name, _| is_wanted(name));
    Ok(GetQueueAttributesResult { attributes: (!all.is_empty()).then_some(all) })
}

impl Queues {
    pub async fn counts(&self, live: &Live) -> Result<crate::shelf::Counts> {
        let stock = live.stock();
        stock.ready(&self.store).await?;
        let delay = live.queue().late_delay_ms();
        for _ in 0..COUNT_PAGES {
            if !stock.count(&self.store, self.now(), delay).await? {
                break;
            }
        }
        let counts = stock.shelf().counts(self.now());
        Ok(counts)
    }
}

pub async fn set_attributes(room: Arc<Queues>, cx: Context, input: SetQueueAttributesRequest) -> Result<Empty> {
    let live = room.at(&cx, &input.queue_url).await?;
    let queue = live.queue();
    let mut wanted = queue.attributes.clone();
    wanted.set(&input.attributes, false)?;
    if input.attributes.contains_key("RedrivePolicy") {
        room.check_redrive(&queue.named, &wanted).await?;
    }
    let (now, given) = (room.clock.now(), &input.attributes);
    room.change(&live, |_, queue| {
        let others = queue.attributes.set(given, false)?;
        if let Some(policy) = others.policy {
            queue.policy = policy;
        }
        queue.modified = now;
        Ok(())
    })
    .await?;
    Ok(Empty {})
}
