//! ListInvocations: single invocations, the one that ended last first, as long as their records are kept.

use super::*;
use crate::store::{self, Runs, Space};
use ::store::record::decode;
use base::UsageRecord;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Records of runs read at a time.
const RUNS_AT_ONCE: usize = 50;
/// Records of runs searched for one page; then it ends, full or not, with a token to go on from.
const RUNS_MAX: usize = 2_000;

/// How far the clock may have been set back between the beginning and the end of a run.
const CLOCK_MS: u64 = 60_000;

/// Before which run to go on: the record's commit time and id, and the place in it.
struct Place {
    at: u64,
    id: String,
    index: usize,
}

impl Place {
    fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}/{}/{}", self.at, self.index, self.id))
    }

    fn parse(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let mut parts = text.splitn(3, '/');
        let (at, index, id) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { at: at.parse().ok()?, index: index.parse().ok()?, id: id.to_owned() })
    }
}

pub async fn list(
    usage: Arc<Usage>,
    cx: Context,
    input: ListInvocationsRequest,
) -> Result<ListInvocationsResponse, Error> {
    let place = match &input.next_token {
        Some(token) => Some(Place::parse(token).ok_or(Error::Invalid("The nextToken is not valid."))?),
        None => None,
    };
    let start = input.start.map_or(0, |s| s.max(0) as u64);
    let limit = limit(input.limit);
    let wanted =
        |r: &UsageRecord| r.at.millis() >= start && input.function.as_ref().is_none_or(|name| *name == r.function.name);
    // A run is written after it began, so none that began at `start` or later was written before, but for the clock.
    let low = Space::Runs(cx.scope(), start.saturating_sub(CLOCK_MS), "").key();
    let mut high = match &place {
        Some(place) => Space::Runs(cx.scope(), place.at, &place.id).key().end(),
        None => store::runs(cx.scope()).end(),
    };
    let (mut found, mut searched) = (Vec::new(), 0);
    loop {
        let items = usage.store.scan_back(low.as_bytes(), &high, RUNS_AT_ONCE).await?;
        for item in &items {
            let Some((_, at, id)) = store::parse_runs(&item.key) else { continue };
            let Runs(mut runs) = decode(&item.value)?;
            if let Some(place) = place.as_ref().filter(|p| p.at == at && p.id == id) {
                runs.truncate(place.index);
            }
            while let Some(run) = runs.pop() {
                if !wanted(&run) {
                    continue;
                }
                if found.len() == limit {
                    let next = Place { at, id, index: runs.len() + 1 };
                    return Ok(ListInvocationsResponse { invocations: found, next_token: Some(next.token()) });
                }
                found.push(shape(run));
            }
            searched += 1;
            if searched == RUNS_MAX {
                let next = Place { at, id, index: 0 };
                return Ok(ListInvocationsResponse { invocations: found, next_token: Some(next.token()) });
            }
        }
        match items.last().filter(|_| items.len() == RUNS_AT_ONCE) {
            Some(last) => high = last.key.to_vec(),
            None => return Ok(ListInvocationsResponse { invocations: found, next_token: None }),
        }
    }
}

fn shape(run: UsageRecord) -> InvocationRecord {
    InvocationRecord {
        request_id: run.request_id,
        function_name: run.function.name,
        version: run.function.qualifier.unwrap_or_else(|| "$LATEST".into()),
        at: run.at.millis() as i64,
        start: match run.start {
            base::Start::Cold => "cold",
            base::Start::Parked => "parked",
            base::Start::Warm => "warm",
        }
        .into(),
        instance: None,
        duration_us: run.duration_us as i64,
        init_us: run.init_us as i64,
        billed_ms: run.billed_ms as i64,
        memory_mb: run.memory_mb as i32,
        max_memory_mb: run.max_memory_mb as i32,
        bytes_in: run.bytes_in as i64,
        bytes_out: run.bytes_out as i64,
        network_bytes: run.network_bytes as i64,
        error: run.error,
    }
}
