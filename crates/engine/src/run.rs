//! A run that took place: what it cost, what it says in the log, and what its caller gets.

use crate::Version;
use crate::failure::Failure;
use crate::log::Log;
use crate::session::Answer;
use base::{FunctionRef, Invocation, Outcome, Start, Timestamp, UsageRecord};
use bytes::Bytes;
use std::time::Duration;

/// When it started and how long it took.
pub(crate) struct Clocked {
    pub start: Start,
    pub started: Timestamp,
    /// Initialisation that this run is billed for; zero unless it waited for it.
    pub init: Duration,
    pub duration: Duration,
}

pub(crate) struct Run {
    pub answer: Answer,
    log_tail: Bytes,
    usage: UsageRecord,
    instance: String,
    started: Timestamp,
}

impl Run {
    pub(crate) fn new(
        version: &Version,
        instance: &str,
        call: &Invocation,
        answer: Answer,
        streamed: u64,
        clocked: Clocked,
        max_memory_mb: u32,
    ) -> Self {
        let Clocked { start, started, init, duration } = clocked;
        // AWS bills the initialisation since 2025-08-01, rounded up together with the handler's time.
        let billed_ms = (init + duration).as_micros().div_ceil(1000) as u64;
        let function = FunctionRef {
            scope: version.scope.clone(),
            name: version.name.clone(),
            qualifier: Some(version.version.clone()),
        };
        let usage = UsageRecord {
            request_id: call.request_id.clone(),
            function,
            at: started,
            duration_us: duration.as_micros() as u64,
            init_us: init.as_micros() as u64,
            billed_ms,
            memory_mb: version.memory_mb,
            max_memory_mb,
            bytes_in: call.payload.len() as u64,
            bytes_out: streamed
                + match &answer {
                    Ok(bytes) => bytes.len() as u64,
                    Err(failure) => failure.error(&call.request_id).body.len() as u64,
                },
            network_bytes: 0,
            start,
            error: answer.as_ref().err().map(|failure| failure.error_type().to_owned()),
        };
        Self { answer, log_tail: Bytes::new(), usage, instance: instance.to_owned(), started }
    }

    pub(crate) fn usage(&self) -> UsageRecord {
        self.usage.clone()
    }

    /// Writes the failure's line if it has one, END and REPORT, and takes the tail of the log.
    pub(crate) fn report(&mut self, log: &Log, now: Timestamp) {
        for line in self.last_lines(now) {
            log.line(line);
        }
        self.log_tail = log.tail();
    }

    /// What the platform writes at the end: the failure's line if it has one, END and REPORT.
    pub(crate) fn last_lines(&self, now: Timestamp) -> Vec<String> {
        let usage = &self.usage;
        let id = &usage.request_id;
        let failure = self.answer.as_ref().err();
        let mut lines = Vec::with_capacity(3);
        lines.extend(failure.and_then(|failure| failure.log_line(id, now)));
        lines.push(format!("END RequestId: {id}\n"));
        let mut report = format!(
            "REPORT RequestId: {id}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
            ms(Duration::from_micros(usage.duration_us)),
            usage.billed_ms,
            usage.memory_mb,
            usage.max_memory_mb,
        );
        if usage.start == Start::Cold {
            report.push_str(&format!("Init Duration: {} ms\t", ms(Duration::from_micros(usage.init_us))));
        }
        if usage.start == Start::Parked {
            report.push_str("Start: parked\t");
        }
        if let Some(status) = failure.and_then(Failure::report) {
            report.push_str(&status);
        }
        report.push('\n');
        lines.push(report);
        lines
    }

    /// For a run whose bytes were streamed past it.
    pub(crate) fn carried(mut self, bytes_in: u64, bytes_out: u64) -> Self {
        self.usage.bytes_in = bytes_in;
        self.usage.bytes_out = bytes_out;
        self
    }

    /// For a run in a network that leads out.
    pub(crate) fn with_network(mut self, bytes: u64) -> Self {
        self.usage.network_bytes = bytes;
        self
    }

    /// For a run that keeps the tail of its log itself.
    pub(crate) fn with_tail(mut self, log_tail: Bytes) -> Self {
        self.log_tail = log_tail;
        self
    }

    /// The outcome for the caller.
    pub(crate) fn outcome(self) -> Outcome {
        let Self { answer, log_tail, usage, instance, started } = self;
        Outcome {
            result: answer.map_err(|failure| failure.error(&usage.request_id)),
            request_id: usage.request_id,
            executed_version: usage.function.qualifier.unwrap_or_default(),
            instance,
            log_tail,
            start: usage.start,
            started,
            duration_us: usage.duration_us,
            billed_ms: usage.billed_ms,
        }
    }
}

/// As AWS writes times in logs.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}
