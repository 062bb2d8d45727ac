//! How a run fails, and how AWS words each way: in the reply, in the log and in the REPORT line.

use base::FunctionError;
use bytes::Bytes;
use sandbox::{Exit, Status};
use serde_json::json;

/// The largest response a runtime may post, and the largest error document: 6 MB and AWS's allowance for its envelope.
pub(crate) const RESPONSE_BYTES_MAX: usize = 6_291_556;

/// Why a run has no result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The runtime reported it: an exception of the handler, or of the module while it was initialised.
    Reported { error_type: String, body: Bytes },
    /// Over the function's timeout, in seconds.
    TimedOut { after_s: u32 },
    /// The sandbox's main process ended before it answered.
    Exited(Exit),
    /// A component did what WebAssembly does not allow; the text says what.
    Trapped(String),
    /// There is nothing to execute.
    Entrypoint(String),
    /// The response is over [`RESPONSE_BYTES_MAX`].
    TooLarge,
    /// A streamed response is over what it may have.
    StreamTooLarge { bytes_max: u64 },
    /// The runtime broke off in the middle of its response.
    Truncated,
    /// The runtime asked for a response mode that there is not.
    ResponseMode,
}

impl Failure {
    pub(crate) fn error_type(&self) -> &str {
        match self {
            Self::Reported { error_type, .. } => error_type,
            Self::TimedOut { .. } => "Sandbox.Timedout",
            Self::Exited(exit) if exit.out_of_memory => "Runtime.OutOfMemory",
            Self::Exited(_) | Self::Trapped(_) => "Runtime.ExitError",
            Self::Entrypoint(_) => "Runtime.InvalidEntrypoint",
            Self::TooLarge | Self::StreamTooLarge { .. } => "Function.ResponseSizeTooLarge",
            Self::Truncated => "Runtime.TruncatedResponse",
            Self::ResponseMode => "Runtime.InvalidResponseModeHeader",
        }
    }

    /// What the caller gets.
    pub(crate) fn error(&self, request_id: &str) -> FunctionError {
        let error_type = self.error_type().to_owned();
        let body = match self {
            Self::Reported { body, .. } => body.clone(),
            Self::TooLarge | Self::StreamTooLarge { .. } => document(&self.message(), &error_type),
            _ => document(&format!("RequestId: {request_id} Error: {}", self.message()), &error_type),
        };
        FunctionError { kind: "Unhandled", error_type, body }
    }

    /// What the platform adds to the function's log: nothing where the runtime has already said it.
    pub(crate) fn log_line(&self, request_id: &str, now: base::Timestamp) -> Option<String> {
        match self {
            Self::Reported { .. } => None,
            Self::TimedOut { .. } => Some(format!("{} {request_id} {}\n\n", now.iso8601(), self.message())),
            _ => Some(format!("RequestId: {request_id} Error: {}\n{}\n", self.message(), self.error_type())),
        }
    }

    /// The `Status` that a REPORT line ends with; an exception of the handler has none.
    pub(crate) fn report(&self) -> Option<String> {
        match self {
            Self::Reported { .. } => None,
            Self::TimedOut { .. } => Some("Status: timeout".into()),
            _ => Some(format!("Status: error\tError Type: {}", self.error_type())),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Reported { .. } => String::new(),
            Self::TimedOut { after_s } => format!("Task timed out after {after_s}.00 seconds"),
            Self::Exited(exit) => exited(exit.status),
            Self::Trapped(what) => format!("Runtime exited with error: {what}"),
            Self::Entrypoint(message) => message.clone(),
            Self::TooLarge => too_large(RESPONSE_BYTES_MAX as u64),
            Self::StreamTooLarge { bytes_max } => too_large(*bytes_max),
            Self::Truncated => "The runtime broke off its response before the end".into(),
            Self::ResponseMode => "Invalid function response mode".into(),
        }
    }
}

pub(crate) fn document(message: &str, error_type: &str) -> Bytes {
    json!({"errorMessage": message, "errorType": error_type}).to_string().into()
}

fn too_large(bytes_max: u64) -> String {
    format!("Response payload size exceeded maximum allowed payload size ({bytes_max} bytes).")
}

fn exited(status: Status) -> String {
    match status {
        Status::Exited(0) => "Runtime exited without providing a reason".into(),
        Status::Exited(code) => format!("Runtime exited with error: exit status {code}"),
        Status::Signalled(number) => format!("Runtime exited with error: signal: {}", signal(number)),
    }
}

/// Signals in the words AWS's supervisor uses for them (Go's).
fn signal(number: i32) -> String {
    let name = match number {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(status: Status, out_of_memory: bool) -> Failure {
        Failure::Exited(Exit { status, out_of_memory, memory_bytes_peak: 0, cpu_us: 0 })
    }

    #[test]
    fn words_are_aws() {
        let check = |failure: Failure, error_type: &str, message: &str| {
            let error = failure.error("r-1");
            assert_eq!(error.error_type, error_type);
            let body: serde_json::Value = serde_json::from_slice(&error.body).expect("JSON");
            assert_eq!(body, json!({"errorType": error_type, "errorMessage": message}));
        };
        check(
            Failure::TimedOut { after_s: 3 },
            "Sandbox.Timedout",
            "RequestId: r-1 Error: Task timed out after 3.00 seconds",
        );
        check(
            exit(Status::Exited(0), false),
            "Runtime.ExitError",
            "RequestId: r-1 Error: Runtime exited without providing a reason",
        );
        check(
            exit(Status::Exited(7), false),
            "Runtime.ExitError",
            "RequestId: r-1 Error: Runtime exited with error: exit status 7",
        );
        check(
            exit(Status::Signalled(9), true),
            "Runtime.OutOfMemory",
            "RequestId: r-1 Error: Runtime exited with error: signal: killed",
        );
        check(
            Failure::TooLarge,
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        );
    }
}
