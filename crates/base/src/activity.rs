//! What a function does at the moment, as `wadi top` shows it.

/// One function, all its versions together. Counts and percentiles are those of the last minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionActivity {
    pub name: String,
    /// Instances that wait for a call, that run one, and that are being made.
    pub idle: u32,
    pub busy: u32,
    pub starting: u32,
    /// Instances made beforehand that no call has had yet, and templates that more can be made from; `None` where the
    /// engine does not know.
    pub parked: Option<u32>,
    pub templates: Option<u32>,
    /// Why instances are not made from a template, if one that was to be could not.
    pub not_copied: Option<String>,
    /// Calls that wait for an instance.
    pub waiting: u32,
    /// Of the last seconds.
    pub calls_per_second: f64,
    pub calls: u64,
    /// Calls that had an instance made for them.
    pub cold_starts: u64,
    /// Calls that failed, by the function's doing or ours.
    pub errors: u64,
    /// Calls refused for a limit on concurrency.
    pub throttles: u64,
    /// From the call's arrival at the engine to its outcome; `None` if none was answered.
    pub latency: Option<Percentiles>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
}
