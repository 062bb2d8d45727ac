//! One call of an instance, whatever comes of it.

use super::{Instance, Stage};
use crate::failure::Failure;
use crate::live::{self, LAST_WORDS, Live};
use crate::outlet::Outlet;
use crate::run::{Clocked, Run};
use crate::session::{Answer, Delivery, Session};
use base::{Invocation, Start};
use sandbox::Exit;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A response that broke off is most often the runtime's end: so long for the word of that.
const END_WORD: Duration = Duration::from_secs(1);

/// The runtime ended before it had the call: nothing has run, another instance may take it.
pub(crate) struct Undelivered;

impl Instance {
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
