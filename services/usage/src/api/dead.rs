//! ListDeadEvents: events that will not be tried again, the latest first, with the reason.

use super::*;
use ::store::outbox::{self, Dead, Place};
use base::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Dead letters read at a time: each holds its event, which may be 1 MB.
const AT_ONCE: usize = 16;
/// Dead letters searched for one page, and their bytes; then it ends, full or not, with a token to go on from.
const SEARCHED_MAX: usize = 1_000;
const SEARCHED_BYTES_MAX: usize = 64 << 20;

/// Only those whose target is the caller's account's.
pub async fn list(
    usage: Arc<Usage>,
    cx: Context,
    input: ListDeadEventsRequest,
) -> Result<ListDeadEventsResponse, Error> {
    let mut before = match &input.next_token {
        Some(token) => Some(parse(token).ok_or(Error::Invalid("The nextToken is not valid."))?),
        None => None,
    };
    let limit = limit(input.limit);
    let (mut events, mut searched, mut bytes) = (Vec::new(), 0, 0);
    loop {
        let page = outbox::dead(&usage.store, before.as_ref(), AT_ONCE).await?;
        let last = page.len() < AT_ONCE;
        for dead in page {
            if events.len() == limit || searched == SEARCHED_MAX || bytes >= SEARCHED_BYTES_MAX {
                return Ok(ListDeadEventsResponse { events, next_token: before.as_ref().map(token) });
            }
            searched += 1;
            bytes += dead.event.payload.get().len();
            before = Some((dead.died, dead.event.id.clone()));
            if dead.event.target.account == cx.account() {
                events.push(shape(dead));
            }
        }
        if last {
            return Ok(ListDeadEventsResponse { events, next_token: None });
        }
    }
}

fn token((died, id): &Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}/{id}", died.millis()))
}

fn parse(token: &str) -> Option<Place> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (died, id) = text.split_once('/')?;
    Some((Timestamp(died.parse().ok()?), id.to_owned()))
}

fn shape(dead: Dead) -> DeadEvent {
    let source = dead.event.source;
    DeadEvent {
        id: dead.event.id,
        target: dead.event.target.to_string(),
        source: source.arn.map(|a| a.to_string()).or(source.service).unwrap_or(source.account),
        created: dead.event.created.millis() as i64,
        died: dead.died.millis() as i64,
        attempts: dead.attempts as i32,
        reason: dead.reason,
    }
}
