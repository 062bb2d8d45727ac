//! An instance: one sandbox with one runtime in it, which runs one call at a time.

use crate::Version;
use crate::failure::Failure;
use crate::forge::{AGE_MAX, Forge, RaiseError};
use crate::live::{self, Live, Writer};
use crate::pool::Member;
use crate::run::{Clocked, Run};
use crate::session::{Answer, Delivery, Init};
use crate::template::Template;
use base::{Invocation, InvokeError, Start};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How long the initialisation may take before the first call; beyond, it is done again as part of that call.
const INIT_MAX: Duration = Duration::from_secs(10);
/// An answer that was sent before the runtime ended may still be on its way through the sockets for so long.
const LAST_WORDS: Duration = Duration::from_millis(50);

pub(crate) struct Instance {
    forge: Arc<Forge>,
    version: Arc<Version>,
    template: Arc<Template>,
    /// 32 hex digits: also the end of the log stream's name.
    id: String,
    writer: Arc<Writer>,
    place: Arc<OwnedSemaphorePermit>,
    live: Option<Live>,
    stage: Stage,
    born: Duration,
    /// Initialisation time that no run has been billed for yet; `None` after the first run.
    init: Option<Duration>,
}

/// Where an instance stands between runs.
enum Stage {
    Ready,
    /// The initialisation took longer than [`INIT_MAX`]: the next run does it again on its own time.
    Unfinished,
    /// It never runs (again); the next run, if there is one, fails with this.
    Failed(Failure),
}

/// The runtime ended before it had the call: nothing has run, another instance may take it.
pub(crate) struct Undelivered;

impl Member for Instance {
    fn usable(&self) -> bool {
        let young = self.forge.clock.elapsed().saturating_sub(self.born) < AGE_MAX;
        let alive = self.live.as_ref().is_some_and(|live| live.exited().is_none());
        matches!(self.stage, Stage::Ready) && alive && young
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
        let (live, stage, init) = (None, Stage::Unfinished, Some(Duration::ZERO));
        let mut instance = Self { forge, version, template, id, writer, place, live, stage, born, init };
        instance.announce();
        let sandbox = instance.id.clone();
        instance.initialise(&sandbox, INIT_MAX).await?;
        let took = instance.forge.clock.elapsed() - born;
        instance.init = Some(took);
        let (took, status) = (
            ms(took),
            match &instance.stage {
                Stage::Ready => None,
                Stage::Unfinished => Some("Status: timeout".to_owned()),
                Stage::Failed(failure) => Some(format!("Status: error\tError Type: {}", failure.error_type())),
            },
        );
        if let Some(status) = status {
            instance.writer.0.line(format!("INIT_REPORT Init Duration: {took} ms\tPhase: init\t{status}\n"));
        }
        Ok(instance)
    }

    fn announce(&self) {
        let (runtime, region) = (&self.template.runtime_version, &self.version.scope.region);
        let hash = hex::encode(Sha256::digest(runtime));
        let arn = format!("arn:aws:lambda:{region}::runtime:{hash}");
        self.writer.0.line(format!("INIT_START Runtime Version: {runtime}\tRuntime Version ARN: {arn}\n"));
        if let Some(note) = &self.template.note {
            self.writer.0.line(note.clone());
        }
    }

    /// One attempt to initialise, in a fresh sandbox.
    async fn initialise(&mut self, sandbox: &str, limit: Duration) -> Result<(), InvokeError> {
        let (version, template) = (&self.version, &self.template);
        let live = match self.forge.raise(version, template, sandbox, &self.writer, &self.place).await {
            Ok(live) => self.live.insert(live),
            Err(RaiseError::Function(failure)) => {
                self.stage = Stage::Failed(failure);
                return Ok(());
            }
            Err(RaiseError::Node(reason)) => return Err(InvokeError::Unavailable(reason)),
        };
        let mut exit = live.exit();
        let stage = tokio::select! {
            biased;
            Ok(init) = &mut live.init => match init {
                Init::Ready => Stage::Ready,
                Init::Failed(failure) => Stage::Failed(failure),
            },
            exit = live::ended(&mut exit) => Stage::Failed(Failure::Exited(exit)),
            () = self.forge.clock.sleep(limit) => Stage::Unfinished,
        };
        if !matches!(stage, Stage::Ready) {
            live.pipes.drain();
            live.handle.kill();
        }
        self.stage = stage;
        Ok(())
    }

    /// Runs one call, whatever comes of it. With `last` a call that could not be delivered counts as failed.
    pub(crate) async fn run(&mut self, call: &Invocation, arn: &str, last: bool) -> Result<Run, Undelivered> {
        self.writer.0.room().await;
        if matches!(self.stage, Stage::Ready) {
            // What was written while it could not start is part of what the caller should see.
            self.writer.0.start_tail();
        }
        let start = if self.init.is_some() { Start::Cold } else { Start::Warm };
        let init = self.init.take().unwrap_or_default();
        let forge = self.forge.clone();
        let (began, started) = (forge.clock.elapsed(), forge.clock.now());
        let limit = Duration::from_secs(self.version.timeout_s.into());
        let start_line = format!("START RequestId: {} Version: {}\n", call.request_id, self.version.version);

        let answer = match self.ready(limit).await {
            // Killed from outside while it started: not the function's doing, and it never had the call.
            Err(Failure::Exited(exit)) if !last && exit.was_killed() => return Err(Undelivered),
            Err(failure) => {
                self.writer.0.line(start_line);
                Err(failure)
            }
            Ok(()) => {
                let left = limit.saturating_sub(forge.clock.elapsed() - began);
                let delivery = self.delivery(call, arn, left, start_line);
                match self.deliver(delivery, left, last).await {
                    Ok(answer) => answer,
                    Err(undelivered) => {
                        self.init = (start == Start::Cold).then_some(init);
                        return Err(undelivered);
                    }
                }
            }
        };
        let clocked = Clocked { start, started, init, duration: forge.clock.elapsed() - began };
        Ok(self.finish(call, answer, clocked))
    }

    /// A runtime that can take a call: at once, or after the initialisation that was too slow is done again.
    async fn ready(&mut self, limit: Duration) -> Result<(), Failure> {
        if matches!(self.stage, Stage::Unfinished) {
            self.live = None;
            let again = format!("{}-again", self.id);
            if let Err(error) = self.initialise(&again, limit).await {
                tracing::warn!(function = %self.version.arn, %error, "an instance could not be started again");
                self.stage = Stage::Failed(Failure::Entrypoint(error.to_string()));
            }
        }
        match &self.stage {
            Stage::Ready => Ok(()),
            Stage::Unfinished => Err(self.time_out()),
            Stage::Failed(failure) => Err(failure.clone()),
        }
    }

    fn time_out(&self) -> Failure {
        Failure::TimedOut { after_s: self.version.timeout_s }
    }

    fn delivery(&self, call: &Invocation, arn: &str, left: Duration, start_line: String) -> Delivery {
        let now = self.forge.clock.now();
        let trace_id = call
            .trace_id
            .clone()
            .unwrap_or_else(|| format!("Root=1-{:08x}-{};Sampled=0", now.millis() / 1000, self.forge.hex::<12>()));
        Delivery {
            request_id: call.request_id.clone(),
            payload: call.payload.clone(),
            invoked_arn: arn.to_owned(),
            deadline_ms: now.plus(left).millis(),
            trace_id,
            client_context: call.client_context.clone(),
            start_line,
        }
    }

    /// Hands the call over and waits for the answer, the runtime's end or the deadline.
    async fn deliver(&mut self, delivery: Delivery, left: Duration, last: bool) -> Result<Answer, Undelivered> {
        let timed_out = self.time_out();
        let Some(live) = &self.live else { return Err(Undelivered) };
        let start_line = delivery.start_line.clone();
        let (mut answer, mut exit) = (live.session.offer(delivery), live.exit());
        let failure = tokio::select! {
            biased;
            Ok(answer) = &mut answer => return Ok(answer),
            exit = live::ended(&mut exit) => Failure::Exited(exit),
            () = self.forge.clock.sleep(left) => timed_out,
        };
        let undelivered = live.session.withdraw();
        match failure {
            Failure::Exited(_) if undelivered && !last => {
                self.stage = Stage::Failed(failure);
                return Err(Undelivered);
            }
            _ if undelivered => self.writer.0.line(start_line),
            Failure::Exited(_) => {
                let last_words = self.forge.clock.sleep(LAST_WORDS);
                tokio::select! {
                    biased;
                    Ok(answer) = &mut answer => return Ok(answer),
                    () = last_words => {}
                }
            }
            _ => {}
        }
        Ok(Err(failure))
    }

    /// What the handler wrote before it answered comes before END; then the platform's own lines.
    fn finish(&mut self, call: &Invocation, answer: Answer, clocked: Clocked) -> Run {
        let live = self.live.as_ref();
        if let Some(live) = live {
            live.pipes.drain();
        }
        let memory_mb_peak = live.map_or(0, Live::memory_mb_peak);
        let mut run = Run::new(&self.version, &self.id, call, answer, clocked, memory_mb_peak);
        run.report(&self.writer.0, self.forge.clock.now());
        // An exception of the handler leaves a sound instance; anything else does not.
        if let (Stage::Ready, Err(failure)) = (&self.stage, &run.answer)
            && !matches!(failure, Failure::Reported { .. })
        {
            self.stage = Stage::Failed(failure.clone());
            if let Some(live) = &self.live {
                live.handle.kill();
            }
        }
        run
    }
}

pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}
