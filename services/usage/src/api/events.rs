//! Where events are: ListEvents, what waits, is dead, or is over; RedriveDeadEvents, which sends dead ones again.

use super::*;
use ::store::outbox::{self, Attempt, Dead, Place, Waiting};
use ::store::trail::{self, Way};
use ::store::{Store, Tx};
use base::{Source, Timestamp};

/// Records with their payloads, which may be 1 MB, read at a time.
const AT_ONCE: usize = 16;
/// Records of each kind searched for one answer, and bytes of payloads.
const SEARCHED_MAX: usize = 2_000;
const SEARCHED_BYTES_MAX: usize = 64 << 20;
/// Rows of the trail, which have no payloads.
const ROWS_AT_ONCE: usize = 500;
const ROWS_SEARCHED_MAX: usize = 200_000;
/// Events that one redrive sends again.
const REDRIVEN_MAX: usize = 1_000;
const PAGE: usize = 100;

/// Which events are asked for.
struct Wanted<'a> {
    account: &'a str,
    /// The event's own id, or that of the event it passes on.
    id: Option<&'a str>,
    since: Timestamp,
}

impl Wanted<'_> {
    fn takes(&self, account: &str, id: &str, origin: Option<&String>) -> bool {
        account == self.account
            && self.id.is_none_or(|wanted| wanted == id || Some(wanted) == origin.map(String::as_str))
    }
}

/// Those that changed last, the latest first; only those whose target is of the caller's account.
pub async fn list(usage: Arc<Usage>, cx: Context, input: ListEventsRequest) -> Result<ListEventsResponse, Error> {
    let since = Timestamp(input.since.map_or(0, |since| since.max(0) as u64));
    let wanted = Wanted { account: cx.account(), id: input.id.as_deref(), since };
    let limit = input.limit.and_then(|n| usize::try_from(n).ok()).map_or(PAGE, |n| n.clamp(1, PAGE_MAX));
    let mut events = waiting(&usage.store, &wanted, limit).await?;
    events.extend(dead(&usage.store, &wanted, limit).await?);
    events.extend(over(&usage.store, &wanted, limit).await?);
    events.sort_by(|a, b| (b.changed, &b.id).cmp(&(a.changed, &a.id)));
    events.truncate(limit);
    Ok(ListEventsResponse { events })
}

async fn waiting(store: &Store, wanted: &Wanted<'_>, limit: usize) -> Result<Vec<EventWay>, Error> {
    let (mut found, mut last, mut searched, mut bytes) = (Vec::new(), None::<Waiting>, 0, 0);
    while found.len() < limit && searched < SEARCHED_MAX && bytes < SEARCHED_BYTES_MAX {
        let page = outbox::waiting(store, last.as_ref(), AT_ONCE).await?;
        searched += page.len();
        for waiting in &page {
            let event = &waiting.event;
            bytes += event.payload.get().len();
            let changed = waiting.tried.last().map_or(event.created, |attempt| attempt.at);
            if changed >= wanted.since && wanted.takes(&event.target.account, &event.id, event.terms.origin.as_ref()) {
                found.push(EventWay {
                    state: "waiting".into(),
                    changed: millis(changed),
                    due: Some(millis(waiting.due)),
                    attempts: waiting.attempts as i32,
                    tried: attempts(&waiting.tried),
                    ..shape(event)
                });
            }
        }
        let full = page.len() == AT_ONCE;
        last = page.into_iter().last();
        if !full {
            break;
        }
    }
    Ok(found)
}

async fn dead(store: &Store, wanted: &Wanted<'_>, limit: usize) -> Result<Vec<EventWay>, Error> {
    let (mut found, mut before, mut searched, mut bytes) = (Vec::new(), None::<Place>, 0, 0);
    while found.len() < limit && searched < SEARCHED_MAX && bytes < SEARCHED_BYTES_MAX {
        let page = outbox::dead(store, before.as_ref(), AT_ONCE).await?;
        searched += page.len();
        before = page.last().map(|dead| (dead.died, dead.event.id.clone()));
        for dead in &page {
            if dead.died < wanted.since {
                return Ok(found);
            }
            let event = &dead.event;
            bytes += event.payload.get().len();
            if wanted.takes(&event.target.account, &event.id, event.terms.origin.as_ref()) {
                found.push(EventWay {
                    state: "dead".into(),
                    changed: millis(dead.died),
                    attempts: dead.attempts as i32,
                    tried: attempts(&dead.tried),
                    reason: Some(dead.reason.clone()),
                    ..shape(event)
                });
            }
        }
        if page.len() < AT_ONCE {
            break;
        }
    }
    Ok(found)
}

async fn over(store: &Store, wanted: &Wanted<'_>, limit: usize) -> Result<Vec<EventWay>, Error> {
    let (mut found, mut before, mut searched) = (Vec::new(), None::<Place>, 0);
    while found.len() < limit && searched < ROWS_SEARCHED_MAX {
        let page = trail::latest(store, before.as_ref(), ROWS_AT_ONCE).await?;
        searched += page.len();
        before = page.last().map(|way| (way.ended, way.id.clone()));
        let full = page.len() == ROWS_AT_ONCE;
        for way in page {
            if way.ended < wanted.since || found.len() == limit {
                return Ok(found);
            }
            if wanted.takes(&way.target.account, &way.id, way.terms.origin.as_ref()) {
                found.push(row(way));
            }
        }
        if !full {
            break;
        }
    }
    Ok(found)
}

fn row(way: Way) -> EventWay {
    EventWay {
        state: if way.failure.is_some() { "failed" } else { "delivered" }.into(),
        origin: way.terms.origin,
        rule: way.terms.rule,
        target: way.target.to_string(),
        source: source(&way.source),
        created: millis(way.created),
        changed: millis(way.ended),
        attempts: way.attempts as i32,
        tried: attempts(&way.tried),
        reason: way.failure,
        then: (!way.then.is_empty()).then(|| way.then.iter().map(ToString::to_string).collect()),
        id: way.id,
        ..Default::default()
    }
}

/// What is the same whatever became of it.
fn shape(event: &base::Event) -> EventWay {
    EventWay {
        id: event.id.clone(),
        origin: event.terms.origin.clone(),
        rule: event.terms.rule.clone(),
        target: event.target.to_string(),
        source: source(&event.source),
        created: millis(event.created),
        ..Default::default()
    }
}

fn source(source: &Source) -> String {
    let arn = source.arn.as_ref().map(ToString::to_string);
    arn.or_else(|| source.service.clone()).unwrap_or_else(|| source.account.clone())
}

fn attempts(tried: &[Attempt]) -> Vec<EventAttempt> {
    tried.iter().map(|a| EventAttempt { at: millis(a.at), reason: a.reason.clone() }).collect()
}

fn millis(at: Timestamp) -> i64 {
    at.millis() as i64
}

/// Sends the caller's dead events again, the latest first, as if they were new: all, one, or those for a target.
pub async fn redrive(
    usage: Arc<Usage>,
    cx: Context,
    input: RedriveDeadEventsRequest,
) -> Result<RedriveDeadEventsResponse, Error> {
    let wanted = Wanted { account: cx.account(), id: input.id.as_deref(), since: Timestamp(0) };
    let meant = |dead: &Dead| {
        let event = &dead.event;
        wanted.takes(&event.target.account, &event.id, event.terms.origin.as_ref())
            && input.target.as_ref().is_none_or(|target| *target == event.target.to_string())
    };
    let (mut redriven, mut before, mut searched) = (0, None::<Place>, 0);
    loop {
        let page = outbox::dead(&usage.store, before.as_ref(), AT_ONCE).await?;
        searched += page.len();
        before = page.last().map(|dead| (dead.died, dead.event.id.clone()));
        let now = usage.clock.now();
        for dead in page.iter().filter(|dead| meant(dead)) {
            let sent = usage.store.transact(async |tx: Tx| again(&tx, dead, now).await).await?;
            redriven += i32::from(sent);
        }
        let more = page.len() == AT_ONCE;
        if !more || redriven as usize >= REDRIVEN_MAX || searched >= SEARCHED_MAX {
            return Ok(RedriveDeadEventsResponse { redriven, more });
        }
    }
}

/// Unless somebody else has done it meanwhile.
async fn again(tx: &Tx, dead: &Dead, now: Timestamp) -> ::store::Result<bool> {
    let there = outbox::dead_at(tx, dead.died, &dead.event.id).await?.is_some();
    if there {
        outbox::redrive(tx, dead, now)?;
    }
    Ok(there)
}
