//! What became of each upload, as the public API tells it: log lines say which run had which photograph, usage records
//! say what the run cost, the bucket says what it stored.

use super::photos::Photo;
use super::{BUCKET, FUNCTION};
use crate::client::{Client, logs::LogEvent, wadi::InvocationRecord};
use crate::error::{Error, Result};
use crate::show::Work;
use crate::values::now_ms;
use crate::verbs::logs::instance;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// The sizes that the example makes.
pub const SIZES: [u32; 2] = [1024, 256];
const POLL: Duration = Duration::from_millis(400);
const TIMEOUT_BASE: Duration = Duration::from_secs(120);
const TIMEOUT_PER_PHOTO: Duration = Duration::from_secs(5);
/// The node's clock may differ a little from ours.
const CLOCK_SKEW_MS: u64 = 300_000;
const PAGES_MAX: usize = 100;

/// One run of the function, as its log stream tells it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Run {
    request_id: String,
    stream: String,
    /// The photograph that the handler said it works on.
    photo: Option<String>,
    /// What the runtime logged of its failure: `OSError: image file is truncated …`
    failure: Option<String>,
}

/// A thumbnail that lies in the bucket.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Variant {
    pub key: String,
    pub bytes: u64,
    pub width: u32,
    pub height: u32,
}

/// What became of one upload.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Fate {
    pub photo: String,
    pub bytes: u64,
    pub width: u32,
    pub height: u32,
    /// Whether the file can be read to its end; one that cannot must fail.
    pub whole: bool,
    /// The run that decided it: the one that succeeded, else the first that failed.
    pub run: Option<InvocationRecord>,
    /// Short id of the instance.
    pub instance: String,
    pub failure: Option<String>,
    pub variants: Vec<Variant>,
}

impl Fate {
    /// Why this is not how it should have gone, if it is not.
    pub fn wrong(&self) -> Option<String> {
        let failed = self.run.as_ref().and_then(|r| r.error.as_ref());
        match (&self.run, self.whole) {
            (None, _) => Some("no run of the function was seen in time".into()),
            (Some(_), false) if failed.is_none() => Some("the file is truncated, and yet its run did not fail".into()),
            (Some(_), false) => None,
            (Some(_), true) => {
                if let Some(kind) = failed {
                    return Some(self.failure.clone().unwrap_or_else(|| kind.clone()));
                }
                if self.variants.len() < SIZES.len() {
                    return Some(format!("{} of {} variants are in the bucket", self.variants.len(), SIZES.len()));
                }
                let odd = self.variants.iter().zip(SIZES).find(|(v, size)| !self.fits(v, *size));
                odd.map(|(v, _)| format!("{} is {} × {}, not upright or not to scale", v.key, v.width, v.height))
            }
        }
    }

    /// Whether a variant has the proportions of the upright photograph, to a pixel.
    fn fits(&self, variant: &Variant, longer_side: u32) -> bool {
        let scale = (f64::from(longer_side) / f64::from(self.width.max(self.height))).min(1.0);
        let near = |side: u32, is: u32| (f64::from(side) * scale - f64::from(is)).abs() <= 1.5;
        near(self.width, variant.width) && near(self.height, variant.height)
    }
}

/// Watches until every upload is decided or the time is up. Retries that Lambda will make are not waited for.
pub async fn fates(client: &Client, photos: &[Photo], run: &str) -> Result<Vec<Fate>> {
    let began = Instant::now();
    let timeout = TIMEOUT_BASE + TIMEOUT_PER_PHOTO * u32::try_from(photos.len()).unwrap_or(u32::MAX);
    let since = now_ms().saturating_sub(CLOCK_SKEW_MS);
    let work = Work::start(format!("waiting for the variants of {} photographs", photos.len()));
    loop {
        let decided = look(client, photos, run, since).await?;
        let open = decided.iter().filter(|d| d.is_none()).count();
        let late = began.elapsed() > timeout;
        if open == 0 || late {
            let fates = photos.iter().zip(decided).map(|(p, d)| d.unwrap_or_else(|| undecided(p))).collect::<Vec<_>>();
            let fates = measured(client, fates).await?;
            let how = if late { "gave up waiting" } else { "all are decided" };
            work.done(format!("{how} after {:.1} s", began.elapsed().as_secs_f64()));
            return Ok(fates);
        }
        work.now(format!("waiting: {} of {} photographs are decided", photos.len() - open, photos.len()));
        tokio::time::sleep(POLL).await;
    }
}

/// One look: the fate of each photograph that is decided.
async fn look(client: &Client, photos: &[Photo], run: &str, since: u64) -> Result<Vec<Option<Fate>>> {
    // Records before logs before objects: what is there of a later one when an earlier one has been seen is complete.
    let records = client.invocations(FUNCTION, since, PAGES_MAX).await?;
    let events = client.log_events(&format!("/aws/lambda/{FUNCTION}"), since, PAGES_MAX).await?;
    let stored: BTreeMap<String, u64> =
        client.list_objects(BUCKET, "thumbnails/").await?.into_iter().map(|o| (o.key, o.bytes)).collect();
    let records: HashMap<&str, &InvocationRecord> = records.iter().map(|r| (r.request_id.as_str(), r)).collect();
    let runs = runs(&events);
    Ok(photos.iter().map(|photo| decide(photo, run, &runs, &records, &stored)).collect())
}

fn decide(
    photo: &Photo,
    run: &str,
    runs: &[Run],
    records: &HashMap<&str, &InvocationRecord>,
    stored: &BTreeMap<String, u64>,
) -> Option<Fate> {
    let key = photo.key(run);
    let mut ended = runs
        .iter()
        .filter(|r| r.photo.as_ref() == Some(&key))
        .filter_map(|r| Some((r, *records.get(r.request_id.as_str())?)));
    let first = ended.next()?;
    let (told, record) = match first.1.error {
        Some(_) => ended.find(|(_, record)| record.error.is_none()).unwrap_or(first),
        None => first,
    };
    // A whole photograph that failed once may succeed at a retry that comes in time.
    if photo.whole && record.error.is_some() {
        return None;
    }
    let variants = SIZES.map(|size| format!("thumbnails/{size}/{run}/{}", photo.name));
    let variants: Vec<Variant> = variants
        .into_iter()
        .filter_map(|key| Some(Variant { bytes: *stored.get(&key)?, key, width: 0, height: 0 }))
        .collect();
    if photo.whole && variants.len() < SIZES.len() {
        return None;
    }
    Some(Fate {
        run: Some(record.clone()),
        instance: instance(&told.stream).to_owned(),
        failure: told.failure.clone(),
        variants,
        ..undecided(photo)
    })
}

fn undecided(photo: &Photo) -> Fate {
    Fate {
        photo: photo.name.clone(),
        bytes: photo.bytes,
        width: photo.width,
        height: photo.height,
        whole: photo.whole,
        ..Default::default()
    }
}

/// Asks the bucket for the variants' dimensions, which the example keeps as user metadata.
async fn measured(client: &Client, mut fates: Vec<Fate>) -> Result<Vec<Fate>> {
    for variant in fates.iter_mut().flat_map(|f| &mut f.variants) {
        let head = client.head_object(BUCKET, &variant.key).await?;
        let side = |name: &str| head.header(name).and_then(|v| v.parse().ok());
        let sides = side("x-amz-meta-width").zip(side("x-amz-meta-height"));
        (variant.width, variant.height) =
            sides.ok_or_else(|| Error::bare(format!("{} was stored without its width and height", variant.key)))?;
    }
    Ok(fates)
}

/// The runs in a log, in the order they began: in each stream what lies between START and the next START is one run's.
fn runs(events: &[LogEvent]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut at_work: HashMap<&str, usize> = HashMap::new();
    let mut seen = BTreeSet::new();
    for event in events.iter().filter(|e| e.event_id.is_empty() || seen.insert(&e.event_id)) {
        let stream = event.log_stream_name.as_str();
        let message = event.message.trim_end();
        if let Some(rest) = message.strip_prefix("START RequestId: ") {
            at_work.insert(stream, runs.len());
            let request_id = rest.split_whitespace().next().unwrap_or_default().to_owned();
            runs.push(Run { request_id, stream: stream.to_owned(), ..Run::default() });
        } else if let Some(run) = at_work.get(stream).and_then(|at| runs.get_mut(*at)) {
            if let Some(photo) = photo_in(message) {
                run.photo = Some(photo);
            } else if let Some(failure) = failure_in(message) {
                run.failure.get_or_insert(failure);
            }
        }
    }
    runs
}

/// The handler prints `{"photo": "<key>"}` when it begins.
fn photo_in(message: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(message.get(message.find('{')?..)?).ok()?;
    json.get("photo")?.as_str().map(str::to_owned)
}

/// `[ERROR] OSError: image file is truncated …` or Lambda's own `… Task timed out after 60.00 seconds`.
fn failure_in(message: &str) -> Option<String> {
    let first = message.lines().next().unwrap_or_default();
    if let Some(rest) = first.strip_prefix("[ERROR]") {
        // An error that the handler logs has time and request id before the text, tab separated.
        return Some(rest.rsplit('\t').next().unwrap_or(rest).trim().to_owned());
    }
    first.find("Task timed out").map(|at| first[at..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(stream: &str, message: &str) -> LogEvent {
        LogEvent {
            log_stream_name: format!("2026/11/23/[$LATEST]{stream}"),
            message: message.into(),
            ..Default::default()
        }
    }

    fn photo(name: &str, whole: bool) -> Photo {
        Photo { name: name.into(), file: "/x".into(), width: 4000, height: 2000, whole, bytes: 9 }
    }

    /// Two instances at work at once, one of which fails.
    fn log() -> Vec<LogEvent> {
        vec![
            event("aaaaaaaaaaaa", "START RequestId: 1 Version: $LATEST\n"),
            event("bbbbbbbbbbbb", "START RequestId: 2 Version: $LATEST\n"),
            event("aaaaaaaaaaaa", "{\"photo\": \"photos/r/a.jpg\"}\n"),
            event("bbbbbbbbbbbb", "{\"photo\": \"photos/r/b.jpg\"}\n"),
            event("bbbbbbbbbbbb", "[ERROR] OSError: image file is truncated (3 bytes not processed)\nTraceback …"),
            event("bbbbbbbbbbbb", "END RequestId: 2\n"),
            event("aaaaaaaaaaaa", "END RequestId: 1\n"),
        ]
    }

    fn record(id: &str, error: Option<&str>) -> InvocationRecord {
        InvocationRecord { request_id: id.into(), error: error.map(Into::into), ..Default::default() }
    }

    fn stored(name: &str) -> BTreeMap<String, u64> {
        SIZES.map(|size| (format!("thumbnails/{size}/r/{name}"), 7)).into()
    }

    #[test]
    fn runs_of_interleaved_streams_are_told_apart() {
        let runs = runs(&log());
        assert_eq!(runs.len(), 2);
        assert_eq!((runs[0].request_id.as_str(), runs[0].photo.as_deref()), ("1", Some("photos/r/a.jpg")));
        assert_eq!(runs[0].failure, None);
        assert_eq!(runs[1].failure.as_deref(), Some("OSError: image file is truncated (3 bytes not processed)"));
    }

    #[test]
    fn a_photo_is_decided_when_its_run_is_metered_and_its_variants_are_stored() {
        let runs = runs(&log());
        let (one, two) = (record("1", None), record("2", Some("OSError")));
        let records = HashMap::from([("1", &one), ("2", &two)]);
        let good = photo("a.jpg", true);
        assert!(decide(&good, "r", &runs, &HashMap::new(), &stored("a.jpg")).is_none(), "not metered");
        assert!(decide(&good, "r", &runs, &records, &BTreeMap::new()).is_none(), "not stored");
        let mut fate = decide(&good, "r", &runs, &records, &stored("a.jpg")).expect("decided");
        assert_eq!((fate.instance.as_str(), fate.variants.len()), ("aaaaaaaa", 2));
        (fate.variants[0].width, fate.variants[0].height) = (1024, 512);
        (fate.variants[1].width, fate.variants[1].height) = (256, 128);
        assert_eq!(fate.wrong(), None);
        fate.variants[1].width = 64;
        assert!(fate.wrong().expect("odd").contains("not upright"));
    }

    #[test]
    fn a_truncated_photo_must_be_seen_to_fail() {
        let runs = runs(&log());
        let two = record("2", Some("OSError"));
        let broken = photo("b.jpg", false);
        let fate = decide(&broken, "r", &runs, &HashMap::from([("2", &two)]), &BTreeMap::new()).expect("decided");
        assert_eq!(fate.wrong(), None);
        let two = record("2", None);
        let fate = decide(&broken, "r", &runs, &HashMap::from([("2", &two)]), &BTreeMap::new()).expect("decided");
        assert!(fate.wrong().expect("wrong").contains("did not fail"));
        assert!(undecided(&broken).wrong().is_some());
    }

    #[test]
    fn failures_are_found_in_log_lines() {
        assert_eq!(failure_in("[ERROR]\t2026-11-23T15:51:04.123Z\tid\tbad key").as_deref(), Some("bad key"));
        assert_eq!(
            failure_in("2026-11-23T15:51:04.123Z id Task timed out after 60.00 seconds").as_deref(),
            Some("Task timed out after 60.00 seconds")
        );
        assert_eq!(failure_in("all is well"), None);
    }
}
