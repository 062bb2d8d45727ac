//! The key with which this node signs messages, and the certificate by which subscribers check it.
//!
//! One for the node, made when it is first needed and kept sealed; sealed again by [`Topics::reseal`] when the master key
//! changes. A key that cannot be opened any more (the master key has gone) is replaced: what was signed before cannot be
//! checked then, and nothing else is lost.

use crate::Topics;
use crate::error::{Error, Result};
use crate::store::{SigningKey, Space};
use ::store::Tx;
use base::port::Entropy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, SerialNumber};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::sync::Arc;

const CONTEXT: &str = "topics/key";
const KEY_BITS: usize = 2048;
/// What stands before a SHA-256 sum that is signed, after RFC 8017, 9.2.
const SHA256_PREFIX: [u8; 19] = *b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";

/// The key, ready to sign.
pub struct Signer {
    key: RsaPrivateKey,
    /// Names the certificate in its URL.
    pub name: String,
    /// PEM.
    pub certificate: String,
}

impl Signer {
    fn open(der: &[u8], certificate: String) -> std::result::Result<Self, String> {
        let key = RsaPrivateKey::from_pkcs8_der(der).map_err(|why| why.to_string())?;
        let name = hex::encode(&Sha256::digest(certificate.as_bytes())[..16]);
        Ok(Self { key, name, certificate })
    }

    /// The signature in base64: with SHA-1 of version 1, with SHA-256 of version 2. Takes a millisecond or two.
    fn sign(&self, version: Version, text: &str, entropy: &dyn Entropy) -> String {
        let (scheme, sum) = match version {
            Version::One => (Pkcs1v15Sign::new::<Sha1>(), Sha1::digest(text.as_bytes()).to_vec()),
            Version::Two => {
                let scheme = Pkcs1v15Sign { hash_len: Some(32), prefix: Box::new(SHA256_PREFIX) };
                (scheme, Sha256::digest(text.as_bytes()).to_vec())
            }
        };
        // With randomness the time that it takes says less of the key.
        let signature = self.key.sign_with_rng(&mut Random(entropy), scheme, &sum);
        STANDARD.encode(signature.expect("a sum is shorter than the key"))
    }

    pub fn path(&self) -> String {
        format!("{PATH}{}.pem", self.name)
    }
}

/// Where the certificate is, before its name.
pub const PATH: &str = "/SimpleNotificationService-";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

impl Version {
    pub fn text(self) -> &'static str {
        match self {
            Version::One => "1",
            Version::Two => "2",
        }
    }
}

/// A new key (PKCS #8, DER) and its certificate (PEM).
pub fn make(entropy: &dyn Entropy) -> std::result::Result<(Vec<u8>, String), String> {
    let key = RsaPrivateKey::new(&mut Random(entropy), KEY_BITS).map_err(|why| why.to_string())?;
    let der = key.to_pkcs8_der().map_err(|why| why.to_string())?.as_bytes().to_vec();
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &PKCS_RSA_SHA256);
    let pair = pair.map_err(|why| why.to_string())?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Wadi SNS");
    params.serial_number = Some(SerialNumber::from(entropy.u64() >> 1));
    let certificate = params.self_signed(&pair).map_err(|why| why.to_string())?;
    Ok((der, certificate.pem()))
}

/// Randomness for the maker of keys.
struct Random<'e>(&'e dyn Entropy);

impl rsa::rand_core::RngCore for Random<'_> {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.u64()
    }

    fn fill_bytes(&mut self, into: &mut [u8]) {
        self.0.fill(into);
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> std::result::Result<(), rsa::rand_core::Error> {
        self.0.fill(into);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for Random<'_> {}

impl Topics {
    /// The node's signer.
    pub(crate) async fn signer(&self) -> Result<Arc<Signer>> {
        self.signer.get_or_try_init(|| self.load_signer()).await.cloned()
    }

    /// Signs beside the tasks that wait for others.
    pub(crate) async fn sign(&self, version: Version, text: String) -> Result<String> {
        let signer = self.signer().await?;
        let entropy = self.entropy.clone();
        let signed = tokio::task::spawn_blocking(move || signer.sign(version, &text, &*entropy)).await;
        signed.map_err(|_| failed("the node is stopping"))
    }

    async fn load_signer(&self) -> Result<Arc<Signer>> {
        if let Some(kept) = self.store.get::<SigningKey>(&Space::SigningKey.key()).await? {
            match self.opened(kept) {
                Ok(signer) => return Ok(signer),
                Err(why) => tracing::warn!("the key that signs messages cannot be read, another is made: {why}"),
            }
        }
        let entropy = self.entropy.clone();
        let made = tokio::task::spawn_blocking(move || make(&*entropy)).await;
        let (der, certificate) = made.map_err(|_| failed("the node is stopping"))?.map_err(|why| failed(&why))?;
        let kept = SigningKey { sealed: self.seal.seal(CONTEXT, &der), certificate: certificate.clone() };
        self.store.transact(async |tx: Tx| tx.put(&Space::SigningKey.key(), &kept)).await?;
        Signer::open(&der, certificate).map(Arc::new).map_err(|why| failed(&why))
    }

    fn opened(&self, kept: SigningKey) -> std::result::Result<Arc<Signer>, String> {
        let der = self.seal.open(CONTEXT, &kept.sealed).map_err(|why| why.to_string())?;
        Signer::open(&der, kept.certificate).map(Arc::new)
    }

    /// Seals the key again if it was sealed with an older master key. To be done at start, before functions say that the older
    /// key is needed no more.
    pub async fn reseal(&self) -> ::store::Result<()> {
        let renew = async |tx: Tx| {
            let Some(kept) = tx.get::<SigningKey>(&Space::SigningKey.key()).await? else { return Ok(()) };
            match self.seal.renew(CONTEXT, &kept.sealed) {
                Ok(None) => Ok(()),
                Ok(Some(sealed)) => tx.put(&Space::SigningKey.key(), &SigningKey { sealed, ..kept }),
                Err(why) => {
                    tracing::error!("the key that signs messages cannot be read: {why}");
                    Ok(())
                }
            }
        };
        self.store.transact(renew).await
    }
}

fn failed(why: &str) -> Error {
    Error::Store(::store::Error::Unavailable(why.to_owned()))
}
