//! The operations: the table, GetUsage, GetDoctor and GetActivity.

mod dead;
mod events;
mod invocations;
#[rustfmt::skip]
mod shapes;

use crate::{Error, Usage};
use base::port::Access;
use room::{Context, Table};
use std::sync::Arc;

pub use shapes::*;

/// A page, unless the request says less.
const PAGE_MAX: usize = 1_000;

/// Each operation, what it touches, and the function that does it.
pub fn table() -> Table<Usage> {
    Table::new(&shapes::SERVICE)
        .op("GetUsage", |_, _: &GetUsageRequest| access("GetUsage"), get_usage)
        .op("ListInvocations", |_, _: &ListInvocationsRequest| access("ListInvocations"), invocations::list)
        .op("ListDeadEvents", |_, _: &ListDeadEventsRequest| access("ListDeadEvents"), dead::list)
        .op("ListEvents", |_, _: &ListEventsRequest| access("ListEvents"), events::list)
        .op("RedriveDeadEvents", |_, _: &RedriveDeadEventsRequest| access("RedriveDeadEvents"), events::redrive)
        .op("GetDoctor", |_, _: &GetDoctorRequest| access("GetDoctor"), get_doctor)
        .op("GetActivity", |_, _: &GetActivityRequest| access("GetActivity"), get_activity)
}

fn access(operation: &str) -> Access {
    Access { action: format!("wadi:{operation}"), resource: "*".into() }
}

fn limit(asked: Option<i32>) -> usize {
    asked.and_then(|n| usize::try_from(n).ok()).map_or(PAGE_MAX, |n| n.clamp(1, PAGE_MAX))
}

/// By function, all versions together. `Start` and `End` of the reply say what was added up: the edges of an old or
/// very busy range are rounded outwards to whole hours.
async fn get_usage(usage: Arc<Usage>, cx: Context, input: GetUsageRequest) -> Result<GetUsageResponse, Error> {
    let now = usage.clock.now().millis();
    let start = input.start.map_or(0, |s| s.max(0) as u64);
    // What is running at another clock's "now" counts too, so the default end lies a day ahead and on a whole day.
    let end = match input.end {
        Some(end) => end.max(0) as u64,
        None => (now / crate::model::DAY_MS + 2) * crate::model::DAY_MS,
    };
    if start > end {
        return Err(Error::Invalid("start must not be after end."));
    }
    let sums = usage.sums(cx.scope(), start..end).await?;
    let function = |(name, totals): (String, crate::model::Totals)| FunctionUsage {
        function_name: name,
        version: None,
        invocations: totals.invocations as i64,
        errors: totals.errors as i64,
        cold_starts: totals.cold_starts as i64,
        duration_ms: totals.duration_us as f64 / 1000.0,
        init_ms: totals.init_us as f64 / 1000.0,
        billed_ms: totals.billed_ms as i64,
        gb_seconds: totals.gb_seconds(),
        bytes_in: totals.bytes_in as i64,
        bytes_out: totals.bytes_out as i64,
        network_bytes: totals.network_bytes as i64,
        max_memory_mb: totals.max_memory_mb as i32,
    };
    Ok(GetUsageResponse {
        functions: sums.functions.into_iter().map(function).collect(),
        start: sums.range.start as i64,
        end: if input.end.is_some() { sums.range.end } else { now } as i64,
    })
}

async fn get_doctor(usage: Arc<Usage>, _: Context, _: GetDoctorRequest) -> Result<GetDoctorResponse, Error> {
    let said = usage.doctor.examine().await;
    let check = |c: crate::Check| Check { name: c.name, status: c.status, detail: c.detail, remedy: c.remedy };
    Ok(GetDoctorResponse {
        checks: said.checks.into_iter().map(check).collect(),
        version: said.version,
        listen: said.listen,
        data_dir: said.data_dir,
    })
}

async fn get_activity(usage: Arc<Usage>, cx: Context, _: GetActivityRequest) -> Result<GetActivityResponse, Error> {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let function = |f: base::FunctionActivity| FunctionActivity {
        function_name: f.name,
        idle: number(f.idle),
        busy: number(f.busy),
        starting: number(f.starting),
        parked: f.parked.map(number),
        templates: f.templates.map(number),
        not_copied: f.not_copied.clone(),
        waiting: number(f.waiting),
        calls_per_second: f.calls_per_second,
        calls: f.calls as i64,
        cold_starts: f.cold_starts as i64,
        errors: f.errors as i64,
        throttles: f.throttles as i64,
        p50_ms: f.latency.map(|l| l.p50_ms),
        p90_ms: f.latency.map(|l| l.p90_ms),
        p99_ms: f.latency.map(|l| l.p99_ms),
    };
    Ok(GetActivityResponse { functions: usage.activity.of(cx.scope()).into_iter().map(function).collect() })
}
