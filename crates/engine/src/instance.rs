//! An instance: one sandbox with one runtime in it, or a seat at one, which runs one call at a time.

use crate::Version;
use crate::desk::Seat;
use crate::failure::Failure;
use crate::forge::{Forge, RaiseError, Seed};
use crate::live::{self, LAST_WORDS, Live, Writer};
use crate::outlet::Outlet;
use crate::pool::Member;
use crate::run::{Clocked, Run};
use crate::session::{Answer, Delivery, Init, Session};
use crate::share::Host;
use crate::template::Template;
use crate::zygote::{Living, Zygote};
use base::{Invocation, InvokeError, Start};
use sandbox::Exit;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// How long the initialisation may take before the first call; beyond, it is done again as part of that call.
const INIT_MAX: Duration = Duration::from_secs(10);
/// How often a zygote is looked for or made before an instance is started without.
const ZYGOTE_ATTEMPTS_MAX: u32 = 2;
/// A response that broke off is most often the runtime's end: so long for the word of that.
const END_WORD: Duration = Duration::from_secs(1);

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

/// The runtime ended before it had the call: nothing has run, another instance may take it.
pub(crate) struct Undelivered;

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

    /// One attempt to initialise, in a fresh sandbox: made of a cell or copied from the version's zygote where there is one,
    /// else started, and then perhaps to be its zygote. Where calls share sandboxes, there may be one: false.
    async fn initialise(&mut self, sandbox: &str, limit: Duration) -> Result<bool, InvokeError> {
        if self.template.calls > 1 {
            return self.share(sandbox).await;
        }
        self.initialise_alone(sandbox, limit).await.map(|()| true)
    }

    async fn initialise_alone(&mut self, sandbox: &str, limit: Duration) -> Result<(), InvokeError> {
        let template = self.template.clone();
        let now = self.forge.clock.elapsed();
        let class = self.forge.class(&self.version, &template);
        if let Some(class) = class
            && let Some(cell) = self.forge.cells.take(&class, now).await
        {
            let made = self.forge.specialise(&self.version, &template, cell, &self.writer, &self.place).await;
            match made {
                Ok(live) => {
                    self.await_ready(live, limit).await;
                    return Ok(());
                }
                Err(error) => tracing::info!(function = %self.version.arn, %error, "a cell could not be specialised"),
            }
        }
        for attempt in 1..=ZYGOTE_ATTEMPTS_MAX {
            // No two sandboxes have one name, and those that failed may not be gone yet.
            let sandbox = &format!("{sandbox}-{attempt}");
            let Some(base) = self.forge.base(&template) else { break };
            match self.copy(base, sandbox, limit).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::info!(function = %self.version.arn, %error, "no process could be copied"),
            }
        }
        self.start_in(sandbox, Seed::Program, limit).await
    }

    /// A copy of the version's zygote, or what its base becomes where it has none.
    async fn copy(&mut self, base: String, sandbox: &str, limit: Duration) -> Result<(), InvokeError> {
        let Some(zygote) = self.zygote(base, &format!("{sandbox}-zygote"), limit).await? else { return Ok(()) };
        let copied = self.start_in(sandbox, Seed::Zygote(zygote.id.clone()), limit).await;
        match &copied {
            Ok(()) => self.zygote = Some(zygote),
            Err(_) => self.template.zygote.lock().await.forget(&zygote),
        }
        copied
    }

    /// The version's zygote, made if there is none. `None` when this instance has become something itself on the way: an
    /// instance that is not copied, or one that failed.
    ///
    /// One instance makes it while others wait. They do not try in turn if nothing comes of it, or many would wait for as long
    /// as many initialisations take: each starts by itself then.
    async fn zygote(
        &mut self,
        base: String,
        sandbox: &str,
        limit: Duration,
    ) -> Result<Option<Arc<Living>>, InvokeError> {
        let template = self.template.clone();
        let free = template.zygote.try_lock().ok();
        let waited = free.is_none();
        let turn = match free {
            Some(turn) => Some(turn),
            None => tokio::select! {
                turn = template.zygote.lock() => Some(turn),
                () = self.forge.clock.sleep(limit) => None,
            },
        };
        if let Some(mut zygote) = turn {
            if let Some(living) = zygote.sound(self.forge.clock.elapsed()) {
                return Ok(Some(living));
            }
            if !waited && matches!(&*zygote, Zygote::Absent) && self.forge.may_be_copied(&self.version) {
                return self.make_zygote(&mut zygote, base, sandbox, limit).await;
            }
        }
        self.start_in(sandbox, Seed::Base { id: base, zygote: false }, limit).await?;
        Ok(None)
    }

    /// Initialises as the version's zygote. `None` as above.
    async fn make_zygote(
        &mut self,
        zygote: &mut Zygote,
        base: String,
        sandbox: &str,
        limit: Duration,
    ) -> Result<Option<Arc<Living>>, InvokeError> {
        let born = self.forge.clock.elapsed();
        self.start_in(sandbox, Seed::Base { id: base, zygote: true }, limit).await?;
        match (&self.stage, self.live.take()) {
            (Stage::Zygote, Some(live)) => {
                let memory_mb = live.memory_mb_peak();
                let living = Arc::new(Living { id: sandbox.to_owned(), live, born, memory_mb });
                *zygote = Zygote::Living(living.clone());
                Ok(Some(living))
            }
            (_, live) => {
                if let Some(reason) = live.as_ref().and_then(|live| live.desk.first().refused()) {
                    self.writer.0.line(format!(
                        "[WADI] every instance of this function is started and initialised by itself, not copied: {reason}\n"
                    ));
                    *zygote = Zygote::Refused(reason);
                }
                self.live = live;
                Ok(None)
            }
        }
    }

    /// Raises a sandbox with the program in it, and waits until that is ready, fails or is out of time.
    pub(crate) async fn start_in(&mut self, sandbox: &str, seed: Seed, limit: Duration) -> Result<(), InvokeError> {
        let (version, template) = (&self.version, &self.template);
        let place = seed.is_for_calls().then_some(&self.place);
        match self.forge.raise(version, template, sandbox, seed, &self.writer, place).await {
            Ok(live) => self.await_ready(live, limit).await,
            Err(RaiseError::Function(failure)) => self.stage = Stage::Failed(failure),
            Err(RaiseError::Node(reason)) => return Err(InvokeError::Unavailable(reason)),
        }
        Ok(())
    }

    /// Waits until the runtime is ready, fails or is out of time.
    async fn await_ready(&mut self, mut live: Live, limit: Duration) {
        let (init, mut exit) = (live.init.take(), live.exit());
        let init = async {
            match init {
                Some(init) => init.await.ok(),
                None => None,
            }
        };
        let live = self.live.insert(Arc::new(live));
        let stage = tokio::select! {
            biased;
            Some(init) = init => match init {
                Init::Ready => Stage::Ready,
                Init::Zygote => Stage::Zygote,
                Init::Failed(failure) => Stage::Failed(failure),
            },
            exit = live::ended(&mut exit) => Stage::Failed(Failure::Exited(exit)),
            () = self.forge.clock.sleep(limit) => Stage::Unfinished,
        };
        match stage {
            Stage::Ready => live.handle.hold_cpu(),
            _ => live.pipes.drain(),
        }
        if !matches!(stage, Stage::Ready | Stage::Zygote) {
            live.handle.kill();
        }
        self.stage = stage;
    }

    /// Runs one call, whatever comes of it. With `last` a call that could not be delivered counts as failed.
    pub(crate) async fn run(
        &mut self,
        call: &Invocation,
        outlet: Option<&Arc<Outlet>>,
        arn: &str,
        last: bool,
    ) -> Result<Run, Undelivered> {
        self.writer.0.room().await;
        if matches!(self.stage, Stage::Ready) {
            // What was written while it could not start is part of what the caller should see.
            self.writer.0.start_tail();
        }
        let start = match self.init {
            None => Start::Warm,
            Some(_) if self.set_aside => Start::Parked,
            Some(_) => Start::Cold,
        };
        let whole = self.init.take();
        let init = whole.filter(|_| start == Start::Cold).unwrap_or_default();
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
                let delivery = self.delivery(call, arn, (left, outlet.is_some()), start_line);
                match self.deliver(delivery, outlet, left, last).await {
                    Ok(answer) => answer,
                    Err(undelivered) => {
                        self.init = whole;
                        return Err(undelivered);
                    }
                }
            }
        };
        let clocked = Clocked { start, started, init, duration: forge.clock.elapsed() - began };
        Ok(self.finish(call, answer, outlet.map_or(0, |outlet| outlet.sent()), clocked))
    }

    /// A runtime that can take a call: at once, or after the initialisation that was too slow is done again.
    async fn ready(&mut self, limit: Duration) -> Result<(), Failure> {
        if matches!(self.stage, Stage::Unfinished) {
            (self.live, self.seat) = (None, None);
            let again = format!("{}-again", self.id);
            if let Err(error) = self.initialise(&again, limit).await {
                tracing::warn!(function = %self.version.arn, %error, "an instance could not be started again");
                self.stage = Stage::Failed(Failure::Entrypoint(error.to_string()));
            }
        }
        match &self.stage {
            Stage::Ready => Ok(()),
            Stage::Unfinished | Stage::Zygote => Err(self.time_out()),
            Stage::Failed(failure) => Err(failure.clone()),
        }
    }

    fn time_out(&self) -> Failure {
        Failure::TimedOut { after_s: self.version.timeout_s }
    }

    fn delivery(
        &self,
        call: &Invocation,
        arn: &str,
        (left, streams): (Duration, bool),
        start_line: String,
    ) -> Delivery {
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
            streams,
            start_line,
        }
    }

    /// Hands the call over and waits for the answer, the runtime's end or the deadline.
    async fn deliver(
        &mut self,
        delivery: Delivery,
        outlet: Option<&Arc<Outlet>>,
        left: Duration,
        last: bool,
    ) -> Result<Answer, Undelivered> {
        let timed_out = self.time_out();
        let Some(live) = &self.live else { return Err(Undelivered) };
        let session: &Session = self.seat.as_ref().map_or(live.desk.first(), |(seat, _)| seat);
        let start_line = delivery.start_line.clone();
        let (mut answer, mut exit) = (session.offer(delivery, outlet.cloned()), live.exit());
        let failure = tokio::select! {
            biased;
            Ok(answer) = &mut answer => match answer {
                Err(Failure::Truncated) => return Ok(Err(self.broken_off(&mut exit).await)),
                answer => return Ok(answer),
            },
            exit = live::ended(&mut exit) => Failure::Exited(exit),
            () = self.forge.clock.sleep(left) => timed_out,
        };
        let undelivered = session.withdraw();
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
                    Ok(answer) = &mut answer => return Ok(answer.map_err(|said| match said {
                        Failure::Truncated => failure,
                        said => said,
                    })),
                    () = last_words => {}
                }
                if let Some(failure) = session.last_error() {
                    return Ok(Err(failure));
                }
            }
            _ => {}
        }
        Ok(Err(failure))
    }

    /// Why a response broke off.
    async fn broken_off(&self, exit: &mut watch::Receiver<Option<Exit>>) -> Failure {
        tokio::select! {
            biased;
            exit = live::ended(exit) => Failure::Exited(exit),
            () = self.forge.clock.sleep(END_WORD) => Failure::Truncated,
        }
    }

    /// What the handler wrote before it answered comes before END; then the platform's own lines.
    fn finish(&mut self, call: &Invocation, answer: Answer, streamed: u64, clocked: Clocked) -> Run {
        let live = self.live.as_deref();
        if let Some(live) = live {
            live.pipes.drain();
        }
        let own_bytes = live.map_or(0, |live| live.handle.memory_bytes_peak());
        self.memory_bytes = if self.seat.is_some() { 0 } else { own_bytes };
        // What it shares with its zygote is memory of its own as far as the function can tell.
        let shared = self.zygote.as_ref().map_or(0, |zygote| zygote.memory_mb);
        let memory_mb_peak = (live.map_or(0, Live::memory_mb_peak) + shared).min(self.version.memory_mb);
        let mut run = Run::new(&self.version, &self.id, call, answer, streamed, clocked, memory_mb_peak)
            .with_network(live.map_or(0, Live::carried));
        run.report(&self.writer.0, self.forge.clock.now());
        // An exception of the handler leaves a sound instance; anything else does not.
        if let (Stage::Ready, Err(failure)) = (&self.stage, &run.answer)
            && !matches!(failure, Failure::Reported { .. })
        {
            self.stage = Stage::Failed(failure.clone());
            // Others' calls go on, and so does this one, as on AWS: its seat is free when it is answered.
            if let (None, Some(live)) = (&self.seat, &self.live) {
                live.handle.kill();
            }
        }
        run
    }
}

pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}
