//! Recursive loops: which functions an event has come through, as the trace header says it.
//!
//! `X-Amzn-Trace-Id: Root=…;Sampled=0;Lineage=<function>:<times>|…`. A function gets the header with its invocation, its SDK
//! sends it on with what it asks of queues, buckets, topics and functions, and they hand it on with what they cause. So
//! nobody has to remember anything.

use sha2::{Digest, Sha256};

/// "If your function is invoked approximately 16 times in the same chain of requests, Lambda stops it."
pub const LOOP_MAX: u32 = 16;
/// Functions of one lineage; a longer one forgets those that it came through first.
const FUNCTIONS_MAX: usize = 16;
/// Of a header that is read at all.
const HEADER_BYTES_MAX: usize = 2048;

/// An invocation's place in a chain of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// The header to hand on.
    pub trace: String,
    /// Invocations of this function in the chain, this one counted.
    pub times: u32,
}

/// The function with this ARN is invoked by something that had this header, if any. `root` makes a new chain's `Root=…`.
pub fn enter(trace: Option<&str>, arn: &str, root: impl FnOnce() -> String) -> Entered {
    let trace = trace.filter(|trace| trace.len() <= HEADER_BYTES_MAX);
    let rest: Vec<&str> = fields(trace).filter(|field| !field.starts_with("Lineage=")).collect();
    let mut lineage: Vec<(String, u32)> = lineage(trace).collect();
    let own = name_of(arn);
    let before = lineage.iter().position(|(name, _)| *name == own).map(|at| lineage.remove(at).1);
    let times = before.unwrap_or(0).saturating_add(1);
    lineage.push((own, times));
    let kept = &lineage[lineage.len().saturating_sub(FUNCTIONS_MAX)..];
    let kept: Vec<String> = kept.iter().map(|(name, times)| format!("{name}:{times}")).collect();
    let head = if rest.is_empty() { root() } else { rest.join(";") };
    Entered { trace: format!("{head};Lineage={}", kept.join("|")), times }
}

/// How often the function is in the header that is in it most often.
pub fn longest(trace: &str) -> u32 {
    lineage(Some(trace)).map(|(_, times)| times).max().unwrap_or(0)
}

fn fields(trace: Option<&str>) -> impl Iterator<Item = &str> {
    trace.unwrap_or_default().split(';').map(str::trim).filter(|field| !field.is_empty())
}

fn lineage(trace: Option<&str>) -> impl Iterator<Item = (String, u32)> {
    let told = fields(trace).find_map(|field| field.strip_prefix("Lineage=")).unwrap_or_default();
    told.split('|').filter_map(|one| {
        let (name, times) = one.rsplit_once(':')?;
        let proper = name.len() == 8 && name.bytes().all(|b| b.is_ascii_hexdigit());
        Some((name.to_owned(), times.parse().ok()?)).filter(|_| proper)
    })
}

/// Eight hexadecimal digits for a function.
fn name_of(arn: &str) -> String {
    hex::encode(&Sha256::digest(arn.as_bytes())[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> String {
        "Root=1-0-0;Sampled=0".to_owned()
    }

    #[test]
    fn a_chain_counts_each_function() {
        let mut trace: Option<String> = None;
        for n in 1..=17 {
            let entered = enter(trace.as_deref(), "a", root);
            assert_eq!((entered.times, longest(&entered.trace)), (n, n));
            let other = enter(Some(&entered.trace), "b", root);
            assert_eq!(other.times, n);
            assert!(other.trace.starts_with("Root=1-0-0;Sampled=0;Lineage="), "{}", other.trace);
            trace = Some(other.trace);
        }
    }

    #[test]
    fn what_others_wrote_stays_and_what_makes_no_sense_counts_for_nothing() {
        let entered = enter(Some("Root=1-5759e988-bd862e3f;Parent=53995c3f42cd8ad8;Sampled=1"), "a", root);
        assert!(entered.trace.starts_with("Root=1-5759e988-bd862e3f;Parent=53995c3f42cd8ad8;Sampled=1;Lineage="));
        for bad in ["Lineage=", "Lineage=x:1|:|12345678:x", ";;;", "Lineage=99:1"] {
            assert_eq!(enter(Some(bad), "a", root).times, 1, "{bad}");
        }
        assert_eq!(enter(Some(&"x".repeat(3000)), "a", root).trace.len(), "Root=1-0-0;Sampled=0;Lineage=".len() + 10);
        let mut trace = root();
        for n in 0..40 {
            trace = enter(Some(&trace), &n.to_string(), root).trace;
        }
        assert!(trace.len() < 300, "{trace}");
    }
}
