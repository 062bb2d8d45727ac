//! An instance: one sandbox with one runtime in it, or a seat at one, which runs one call at a time.

mod begin;
mod call;
mod maker;

use crate::Version;
use crate::desk::Seat;
use crate::failure::Failure;
use crate::forge::Forge;
use crate::live::{Live, Writer};
use crate::pool::Member;
use crate::run::ms;
use crate::share::Host;
use crate::template::Template;
use crate::zygote::Living;
use base::InvokeError;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How long the initialisation may take before the first call; beyond, it is done again as part of that call.
const INIT_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Instance {
    pub(crate) forge: Arc<Forge>,
    pub(crate) version: Arc<Version>,
    pub(crate) template: Arc<Template>,
    /// 32 hex digits: also the end of the log stream's name.
    pub(crate) id: String,
    pub(crate) writer: Arc<Writer>,
    place: Arc<OwnedSemaphorePermit>,
    pub(crate) live: Option<Arc<Live>>,
    /// Its own, where others share the sandbox.
    pub(crate) seat: Option<(Seat, Arc<Host>)>,
    /// What it was copied from, which ends after its last copy.
    zygote: Option<Arc<Living>>,
    pub(crate) stage: Stage,
    pub(crate) born: Duration,
    /// Initialisation time that no run has been billed for yet; `None` after the first run.
    init: Option<Duration>,
    /// It was ready before its first call came: nobody waited for its initialisation.
    set_aside: bool,
    /// As of the end of the last run.
    memory_bytes: u64,
}

/// Where an instance stands between runs.
pub(crate) enum Stage {
    Ready,
    /// Its process is the version's zygote; the instance itself is yet to be copied from it.
    Zygote,
    /// The initialisation took longer than [`INIT_MAX`]: the next run does it again on its own time.
    Unfinished,
    /// It never runs (again); the next run, if there is one, fails with this.
    Failed(Failure),
}

impl Member for Instance {
    fn usable(&self) -> bool {
        let young = self.forge.is_young(self.born, self.forge.clock.elapsed());
        let alive = self.live.as_ref().is_some_and(|live| live.exited().is_none());
        matches!(self.stage, Stage::Ready) && alive && young
    }

    fn bytes(&self) -> Option<u64> {
        (self.memory_bytes > 0).then_some(self.memory_bytes)
    }

    fn set_aside(&mut self) {
        self.set_aside = true;
    }
}

impl Instance {
    /// Raises the sandbox and waits until the runtime asks for its first call, fails, or has had its ten seconds.
    /// A function that fails here still gives an instance: its run tells the caller.
    pub(crate) async fn start(
        forge: Arc<Forge>,
        version: Arc<Version>,
        template: Arc<Template>,
        id: String,
        writer: Arc<Writer>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, InvokeError> {
        let born = forge.clock.elapsed();
        let place = Arc::new(place);
        let (live, seat, stage, init) = (None, None, Stage::Unfinished, Some(Duration::ZERO));
        let (zygote, set_aside, memory_bytes) = (None, false, 0);
        let mut instance = Self {
            forge,
            version,
            template,
            id,
            writer,
            place,
            live,
            seat,
            zygote,
            stage,
            born,
            init,
            set_aside,
            memory_bytes,
        };
        if instance.template.calls == 1 {
            instance.announce();
        }
        let sandbox = instance.id.clone();
        if !instance.initialise(&sandbox, INIT_MAX).await? {
            instance.init = None;
            return Ok(instance);
        }
        let took = instance.forge.clock.elapsed() - born;
        instance.init = Some(took);
        let (took, status) = (
            ms(took),
            match &instance.stage {
                Stage::Ready => None,
                Stage::Unfinished | Stage::Zygote => Some("Status: timeout".to_owned()),
                Stage::Failed(failure) => Some(format!("Status: error\tError Type: {}", failure.error_type())),
            },
        );
        if let (Stage::Ready, Some(live)) = (&instance.stage, &instance.live) {
            instance.template.initialised(live.handle.memory_bytes_peak());
            if let Some(code) = live.desk.first().compiled() {
                let (forge, version, template) =
                    (instance.forge.clone(), instance.version.clone(), instance.template.clone());
                let keep = async move { forge.templates.keep_compiled(&version, &template, code).await };
                instance.forge.tasks.spawn(keep);
            }
        }
        if let Some(status) = status {
            instance.writer.0.line(format!("INIT_REPORT Init Duration: {took} ms\tPhase: init\t{status}\n"));
        }
        Ok(instance)
    }

    pub(crate) fn announce(&self) {
        let (runtime, region) = (&self.template.runtime_version, &self.version.scope.region);
        let hash = hex::encode(Sha256::digest(runtime));
        let arn = format!("arn:aws:lambda:{region}::runtime:{hash}");
        self.writer.0.line(format!("INIT_START Runtime Version: {runtime}\tRuntime Version ARN: {arn}\n"));
        if let Some(note) = &self.template.note {
            self.writer.0.line(note.clone());
        }
    }
}
