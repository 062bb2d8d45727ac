//! AWS Signature Version 4: reading and checking it on requests to us, and making it for our own clients.
//!
//! [`parse`] → (find the secret of the access key) → [`verify`]. Nothing in [`Parsed`] may be believed before `verify`.

mod canonical;
mod parse;
mod sign;
mod verify;

pub use parse::parse;
pub use sign::{Credentials, Payload, Signing, presign, sign};
pub use verify::verify;

use base::Timestamp;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::time::Duration;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What a presigned request to S3 has in place of its body's hash.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// A presigned request is good for a week at most.
const EXPIRES_MAX: Duration = Duration::from_secs(604_800);

/// The SHA-256 of a body.
pub type BodyHash = [u8; 32];

pub fn hash(body: &[u8]) -> BodyHash {
    Sha256::digest(body).into()
}

/// What a request says of its own signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub access_key: String,
    /// The day in the credential scope, `20150830`.
    pub date: String,
    /// When the request says it was signed.
    pub time: Timestamp,
    pub region: String,
    /// The service in the credential scope: `lambda`, `s3`, …
    pub service: String,
    /// Lower case, in the order the client gave.
    pub signed_headers: Vec<String>,
    /// 64 hexadecimal digits, if it is right.
    pub signature: String,
    pub session_token: Option<String>,
    /// Presigned: how long after `time` it is good.
    pub expires: Option<Duration>,
    /// The `x-amz-content-sha256` header: a hash in hexadecimal, or `UNSIGNED-PAYLOAD` or `STREAMING-…` (S3's).
    pub content_sha256: Option<String>,
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The signature of a canonical request, and the string that was signed.
fn signature(secret: &str, scope: &Scope<'_>, time: &str, canonical: &str) -> ([u8; 32], String) {
    let Scope { date, region, service } = scope;
    let hashed = hex::encode(hash(canonical.as_bytes()));
    let text = format!("{ALGORITHM}\n{time}\n{date}/{region}/{service}/aws4_request\n{hashed}");
    let key = hmac(format!("AWS4{secret}").as_bytes(), date.as_bytes());
    let key = [*region, *service, "aws4_request"].iter().fold(key, |key, part| hmac(&key, part.as_bytes()));
    (hmac(&key, text.as_bytes()), text)
}

struct Scope<'a> {
    date: &'a str,
    region: &'a str,
    service: &'a str,
}
