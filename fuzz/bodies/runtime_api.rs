//! The body of the fuzz target for the Runtime API: a plain function that panics where an invariant does not hold.

use engine::probe::{self, CALL};
use kit::ManualClock;

/// The largest response, and what AWS adds to it.
const RESPONSE_BYTES_MAX: usize = (6 << 20) + 100;

/// Whatever a runtime sends: it is answered in HTTP or not at all, and a call is answered once, by who names it, within bounds.
pub fn runtime_api(data: &[u8]) {
    let tokio = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let heard = tokio.block_on(probe::runtime_api(data, ManualClock::at(base::Timestamp(1_000))));
    assert!(
        heard.replies.is_empty() || heard.replies.starts_with(b"HTTP/1."),
        "{:?}",
        heard.replies.escape_ascii().to_string()
    );
    if let Some(answer) = heard.answer {
        let names = |text: &str| data.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(names(CALL), "a call was answered that nobody named: {answer:?}");
        assert!(names("/runtime/invocation/next"), "a call was answered that nobody took: {answer:?}");
        assert!(answer.is_err() || answer.is_ok_and(|bytes| bytes.len() <= RESPONSE_BYTES_MAX.min(data.len())));
    }
}
