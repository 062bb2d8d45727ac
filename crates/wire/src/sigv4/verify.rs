//! Is the signature right, and is it time?

use super::canonical::{self, PathStyle};
use super::{BodyHash, Parsed, Scope, UNSIGNED_PAYLOAD, signature};
use crate::{Fault, times};
use base::Timestamp;
use http::request::Parts;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How far the clocks of client and node may be apart.
pub const SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// Checks the signature of a request whose whole body has been read and hashed. `parts` must be as the client sent them.
///
/// # Errors
/// `InvalidSignatureException`, with AWS's words: expired, not yet current, another body than `x-amz-content-sha256` says,
/// or not what we calculate (then with the canonical string, for people who write clients).
pub fn verify(parsed: &Parsed, secret: &str, parts: &Parts, body_hash: &BodyHash, now: Timestamp) -> Result<(), Fault> {
    in_time(parsed, now)?;
    if parts.headers.contains_key("x-amz-target") && !parsed.signed_headers.iter().any(|h| h == "x-amz-target") {
        return Err(invalid("'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."));
    }
    let actual = hex::encode(body_hash);
    let payload = match parsed.content_sha256.as_deref() {
        // Only S3 lets a client leave its body unsigned, and S3 is checked elsewhere.
        Some(UNSIGNED_PAYLOAD) if parsed.service == "s3" => UNSIGNED_PAYLOAD,
        Some(claimed) if !claimed.eq_ignore_ascii_case(&actual) => {
            return Err(invalid("The provided 'x-amz-content-sha256' header does not match what was computed."));
        }
        _ if parsed.service == "s3" && parsed.expires.is_some() => UNSIGNED_PAYLOAD,
        _ => &actual,
    };
    let mut signed: Vec<&str> = parsed.signed_headers.iter().map(String::as_str).collect();
    signed.sort_unstable();
    let leave_out = if parsed.expires.is_some() { "X-Amz-Signature" } else { "" };
    let query = canonical::query(parts.uri.query().unwrap_or(""), leave_out);
    let canonical = canonical::request(parts, PathStyle::of(&parsed.service), &query, &signed, payload);
    let scope = Scope { date: &parsed.date, region: &parsed.region, service: &parsed.service };
    let (ours, signed_text) = signature(secret, &scope, &times::print_basic(parsed.time), &canonical);
    let mut theirs = [0; 32];
    let readable = hex::decode_to_slice(&parsed.signature, &mut theirs).is_ok();
    if readable && bool::from(ours.ct_eq(&theirs)) {
        return Ok(());
    }
    Err(invalid(format!(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
         and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request should \
         have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{signed_text}'\n"
    )))
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("InvalidSignatureException", 403, message)
}

fn in_time(parsed: &Parsed, now: Timestamp) -> Result<(), Fault> {
    let basic = times::print_basic;
    let skew_min = SKEW_MAX.as_secs() / 60;
    if parsed.time > now.plus(SKEW_MAX) {
        return Err(invalid(format!(
            "Signature not yet current: {} is still later than {} ({} + {skew_min} min.)",
            basic(parsed.time),
            basic(now.plus(SKEW_MAX)),
            basic(now)
        )));
    }
    match parsed.expires {
        Some(expires) if now > parsed.time.plus(expires) => Err(invalid(format!(
            "Signature expired: {} is now earlier than {} ({} - {} s.)",
            basic(parsed.time),
            basic(minus(now, expires)),
            basic(now),
            expires.as_secs()
        ))),
        None if now > parsed.time.plus(SKEW_MAX) => Err(invalid(format!(
            "Signature expired: {} is now earlier than {} ({} - {skew_min} min.)",
            basic(parsed.time),
            basic(minus(now, SKEW_MAX)),
            basic(now)
        ))),
        _ => Ok(()),
    }
}

fn minus(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.millis().saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}
