//! Temporary keys: derived from the node's secret by HMAC-SHA256, so that any number is issued without a record and
//! each is verified without a read.
//!
//! The session token is `base64url(claims JSON) . base64url(HMAC(secret, "token" 0 access key 0 claims))`; the secret
//! key is the first 40 characters of `base64(HMAC(secret, "secret" 0 access key 0 claims))`. A token is worth nothing
//! with another access key, another claim or after it has expired.

use base::Timestamp;
use base::port::{Entropy, TemporaryKeys};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Larger tokens are refused before anything is decoded.
const TOKEN_BYTES_MAX: usize = 4 << 10;
/// AWS's secrets are 40 characters long.
const SECRET_CHARS: usize = 40;

/// What a session token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub account: String,
    /// The role's name, without path.
    pub role: String,
    pub session: String,
    pub expires: Timestamp,
}

/// Issues and verifies sessions with one node secret.
pub struct Sessions(Hmac<Sha256>);

impl Sessions {
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Hmac::new_from_slice(&secret).expect("HMAC takes keys of any length"))
    }

    pub fn issue(&self, access_key: String, session: &Session) -> TemporaryKeys {
        let claims = serde_json::to_vec(session).expect("plain strings and numbers serialise");
        let tag = self.mac("token", &access_key, &claims);
        let session_token = format!("{}.{}", URL_SAFE_NO_PAD.encode(&claims), URL_SAFE_NO_PAD.encode(tag));
        let secret_key = self.secret(&access_key, &claims);
        TemporaryKeys { access_key, secret_key, session_token, expires: session.expires }
    }

    /// The session behind a token and its secret key; `None` if it was not issued here, or for another key, or is over.
    pub fn verify(&self, access_key: &str, token: &str, now: Timestamp) -> Option<(Session, String)> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (claims, tag) = token.split_once('.')?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        if !bool::from(self.mac("token", access_key, &claims).ct_eq(&tag)) {
            return None;
        }
        let session: Session = serde_json::from_slice(&claims).ok()?;
        (now < session.expires).then(|| (session, self.secret(access_key, &claims)))
    }

    fn secret(&self, access_key: &str, claims: &[u8]) -> String {
        let mut text = STANDARD.encode(self.mac("secret", access_key, claims));
        text.truncate(SECRET_CHARS);
        text
    }

    fn mac(&self, purpose: &str, access_key: &str, claims: &[u8]) -> Vec<u8> {
        let mut mac = self.0.clone();
        for part in [purpose.as_bytes(), &[0], access_key.as_bytes(), &[0], claims] {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }
}

/// A fresh access key id: the kind (`AKIA`, `ASIA`) and sixteen random characters of the base32 alphabet.
pub fn access_key(kind: &str, entropy: &dyn Entropy) -> String {
    let mut random = [0; 16];
    entropy.fill(&mut random);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    kind.chars().chain(random.iter().map(|b| char::from(alphabet[usize::from(b % 32)]))).collect()
}

/// A fresh secret key of 40 characters.
pub fn secret_key(entropy: &dyn Entropy) -> String {
    let mut random = [0; 30];
    entropy.fill(&mut random);
    STANDARD.encode(random)
}
