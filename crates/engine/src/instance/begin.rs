//! How an instance comes to be ready: made of a cell, copied from a zygote, started, or seated where others are.

use super::{Instance, Stage};
use crate::desk::Seat;
use crate::failure::Failure;
use crate::forge::{RaiseError, Seed};
use crate::live::{self, Live};
use crate::session::Init;
use crate::share::Host;
use crate::zygote::{Living, Zygote};
use base::InvokeError;
use std::sync::Arc;
use std::time::Duration;

/// How often a zygote is looked for or made before an instance is started without.
const ZYGOTE_ATTEMPTS_MAX: u32 = 2;
/// How long the initialisation may take at least; a function with a longer timeout has that long, and nobody begins again.
/// Source: "Understanding the Lambda Managed Instances execution environment".
const INIT_S_MAX: u32 = 130;

impl Instance {
    /// One attempt to initialise, in a fresh sandbox: made of a cell or copied from the version's zygote where there is one,
    /// else started, and then perhaps to be its zygote. Where calls share sandboxes, there may be one: false.
    pub(super) async fn initialise(&mut self, sandbox: &str, limit: Duration) -> Result<bool, InvokeError> {
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
    async fn start_in(&mut self, sandbox: &str, seed: Seed, limit: Duration) -> Result<(), InvokeError> {
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

    /// Finds a seat, or raises the sandbox that has one. Says whether it did the latter.
    ///
    /// Who waited for one that did not start hears what came of it: many would wait for as long as many initialisations take
    /// if they tried in turn.
    async fn share(&mut self, sandbox: &str) -> Result<bool, InvokeError> {
        let (template, asked) = (self.template.clone(), self.forge.clock.elapsed());
        let mut hosts = template.hosts.lock().await;
        if let Some((failure, at)) = &hosts.failed
            && *at > asked
        {
            self.stage = Stage::Failed(failure.clone());
            return Ok(false);
        }
        let now = self.forge.clock.elapsed();
        let sound = |host: &Host| host.live.exited().is_none() && self.forge.is_young(host.born, now);
        if let Some((host, seat)) = hosts.seat(sound) {
            self.sit_down(host, seat);
            return Ok(false);
        }
        self.announce();
        let limit_s = INIT_S_MAX.max(self.version.timeout_s);
        self.start_in(sandbox, Seed::Program, Duration::from_secs(limit_s.into())).await?;
        if matches!(self.stage, Stage::Unfinished) {
            self.stage = Stage::Failed(Failure::TimedOut { after_s: limit_s });
        }
        if let Stage::Failed(failure) = &self.stage {
            hosts.failed = Some((failure.clone(), self.forge.clock.elapsed()));
        }
        if let (Stage::Ready, Some(live)) = (&self.stage, &self.live)
            && let Some(seat) = live.desk.seat()
        {
            let (id, live, writer) = (self.id.clone(), live.clone(), self.writer.clone());
            let host = Arc::new(Host { id, live, writer, born: self.born });
            hosts.all.push(Arc::downgrade(&host));
            self.sit_down(host, seat);
        }
        Ok(true)
    }

    fn sit_down(&mut self, host: Arc<Host>, seat: Seat) {
        (self.id, self.born) = (host.id.clone(), host.born);
        (self.live, self.writer) = (Some(host.live.clone()), host.writer.clone());
        (self.stage, self.seat) = (Stage::Ready, Some((seat, host)));
    }
}
