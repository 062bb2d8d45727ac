//! Whether every call was answered, rightly, once.

use super::faults::Faults;
use super::targets::{self, Sent, Target};
use crate::load::Figures;
use anyhow::{Result, bail};
use bytes::Bytes;
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// From a kill to the answer of a call that it cut off: at once, not after a timeout, also while the machine is busy.
const TOLD_MAX: Duration = Duration::from_secs(5);
/// Losses that are told one by one.
const LOSSES_TOLD: usize = 10;

#[derive(Default)]
pub struct Judge(Mutex<Account>);

#[derive(Default)]
struct Account {
    right: u64,
    /// Cut off by a kill, with the documented error.
    cut_off: u64,
    told_after: Duration,
    latencies: Vec<Duration>,
    lost: u64,
    losses: Vec<String>,
}

impl Judge {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn lost(&self, what: String) {
        let mut account = self.account();
        account.lost += 1;
        if account.losses.len() < LOSSES_TOLD {
            // At once as well: a long run may end in many ways.
            println!("{what}");
            account.losses.push(what);
        }
    }

    pub fn answered(&self, sent: &Sent, target: &Target, head: &http::response::Parts, body: &Bytes, faults: &Faults) {
        let took = sent.at.elapsed();
        match judge(sent, target, head, body, faults) {
            Ok(None) => {
                let mut account = self.account();
                account.right += 1;
                account.latencies.push(took);
            }
            Ok(Some(after)) => {
                let mut account = self.account();
                account.cut_off += 1;
                account.told_after = account.told_after.max(after);
            }
            Err(why) => {
                let body = String::from_utf8_lossy(body);
                self.lost(format!("request {} after {took:?}: {why}: {} {body}", sent.nonce, head.status));
            }
        }
    }

    /// Runs that took place, and how many of them failed.
    pub fn runs(&self) -> (u64, u64) {
        let account = self.account();
        (account.right + account.cut_off, account.cut_off)
    }

    pub fn told(&self) -> String {
        let account = self.account();
        let figures = Figures::of(account.latencies.clone(), Duration::from_secs(1));
        format!(
            "{} right (p50 {:.1} ms, p99 {:.1} ms, longest {:.0} ms), {} cut off by a kill and told so within {} ms, {} lost or wrong",
            account.right,
            figures.ms(0.5),
            figures.ms(0.99),
            figures.ms(1.0),
            account.cut_off,
            account.told_after.as_millis(),
            account.lost
        )
    }

    pub fn verdict(&self, faults: &Faults, at_once: u64) -> Result<()> {
        let account = self.account();
        if account.lost > 0 {
            bail!("{} calls were lost or answered wrongly:\n{}", account.lost, account.losses.join("\n"));
        }
        let most = faults.errors_max(at_once);
        if account.cut_off > most {
            bail!("{} calls failed, but the kills can have cut off {most} at most", account.cut_off);
        }
        Ok(())
    }
}

/// Right (`None`), or cut off so long after a kill; else what is wrong with it.
fn judge(
    sent: &Sent,
    target: &Target,
    head: &http::response::Parts,
    body: &Bytes,
    faults: &Faults,
) -> Result<Option<Duration>, String> {
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if head.status != 200 {
        return Err("refused".into());
    }
    let answer: Value = serde_json::from_slice(body).map_err(|_| "not JSON")?;
    let request_id = header("x-amzn-requestid");
    if header("x-amz-function-error").is_empty() {
        let number = |field: &str| answer[field].as_u64();
        return match number("code").filter(|code| target.may_be(sent, *code)) {
            None => Err("answered by code that was not in use".into()),
            _ if answer["id"] != request_id => Err("the answer to another request".into()),
            _ if (number("nonce"), number("value")) != (Some(sent.nonce), Some(targets::value(sent.nonce))) => {
                Err("wrong".into())
            }
            _ => Ok(None),
        };
    }
    let message = answer["errorMessage"].as_str().unwrap_or_default();
    if answer["errorType"] != "Runtime.ExitError" || !message.starts_with(&format!("RequestId: {request_id} Error: ")) {
        return Err("failed otherwise than by a kill".into());
    }
    match faults.explain(sent.at) {
        None => Err("failed though nothing was killed".into()),
        Some(after) if after > TOLD_MAX => Err(format!("told {after:?} after the last kill")),
        Some(after) => Ok(Some(after)),
    }
}
