//! Code: taking zips in, and links by which they can be downloaded again.

use crate::Functions;
use crate::error::{Error, Result};
use crate::model::{INLINE_ZIP_BYTES_MAX, UNPACKED_BYTES_MAX};
use base::port::ReadError;
use base::{AccountId, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use engine::package::{Inspection, Limits, PackageError, inspect};
use engine::{Code, ImageError, Package};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::time::Duration;
use store::BlobId;

/// The space of code blobs.
pub const SPACE: &str = "code";
/// Where links to code point, below the node's root.
pub const PATH: &str = "/_wadi/code/";
/// AWS's links live as long.
const LINK_LIFETIME: Duration = Duration::from_secs(600);

/// Where a request says its zip is.
#[derive(Debug, Default)]
pub struct Source<'a> {
    pub zip: Option<&'a wire::Blob>,
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
}

impl Functions {
    /// Fetches, checks and stores a zip. The blob is whole and synced when this returns; until a record names it, it
    /// is an orphan that the sweep removes.
    pub(crate) async fn take_code(&self, account: &AccountId, source: Source<'_>) -> Result<Package> {
        let (package, bytes) = self.check_code(account, source).await?;
        self.blobs.put(&package.blob, bytes).await?;
        Ok(package)
    }

    /// As [`Self::take_code`] without storing anything: a dry run.
    pub(crate) async fn check_code(&self, account: &AccountId, source: Source<'_>) -> Result<(Package, Bytes)> {
        let zip = self.fetch(account, source).await?;
        let blob = BlobId::new(SPACE, &self.entropy.uuid());
        let work = move || {
            let found = check_zip(&zip)?;
            let sha256 = hex::encode(Sha256::digest(&zip));
            let package = Package { blob, sha256, zip_bytes: zip.len() as u64, unpacked_bytes: found.unpacked_bytes };
            Ok((package, zip))
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Error::Service("The package could not be read. Try again.".into()))?
    }

    /// Finds the image that a reference names.
    pub(crate) async fn find_image(&self, uri: &str) -> Result<Code> {
        match self.runner.resolve(uri).await {
            Ok(image) => Ok(Code::Image(image)),
            Err(ImageError::Refused(why)) => Err(Error::Invalid(why)),
            Err(ImageError::Denied(why)) => Err(Error::ImageDenied(why)),
            Err(ImageError::Unavailable(why)) => Err(Error::Service(why)),
        }
    }

    async fn fetch(&self, account: &AccountId, source: Source<'_>) -> Result<Bytes> {
        match source {
            Source { zip: Some(_), bucket: None, key: None } | Source { zip: None, bucket: Some(_), key: Some(_) } => {}
            _ => {
                let message = "Please provide a source for function code.";
                return Err(Error::Invalid(message.into()));
            }
        }
        match (source.zip, source.bucket, source.key) {
            (_, Some(bucket), Some(key)) => {
                let read = self.objects.read(account, bucket, key, UNPACKED_BYTES_MAX).await;
                read.map_err(from_bucket)
            }
            (Some(zip), ..) if zip.len() as u64 > INLINE_ZIP_BYTES_MAX => Err(Error::Invalid(format!(
                "The zip file is larger than {INLINE_ZIP_BYTES_MAX} bytes. Put it in a bucket and name it by S3Bucket \
                 and S3Key."
            ))),
            (Some(zip), ..) => Ok(zip.0.clone()),
            _ => Err(Error::Invalid("Please provide a source for function code.".into())),
        }
    }

    /// A link by which anyone who has it can download the zip for ten minutes.
    pub(crate) async fn code_location(&self, host: &str, package: &Package) -> Result<String> {
        let expires = self.clock.now().plus(LINK_LIFETIME);
        let claim = URL_SAFE_NO_PAD.encode(format!("{}|{}|{}", expires.millis(), package.zip_bytes, package.blob));
        let signature = hex::encode(self.link_mac(&claim).await?.finalize().into_bytes());
        Ok(format!("http://{host}{PATH}{claim}.{signature}"))
    }

    /// The blob that a link's token speaks of and its size, if the link is ours and has not expired.
    pub(crate) async fn code_of_token(&self, token: &str) -> Result<Option<(BlobId, u64)>> {
        let Some((claim, signature)) = token.split_once('.') else { return Ok(None) };
        let Ok(signature) = hex::decode(signature) else { return Ok(None) };
        if self.link_mac(claim).await?.verify_slice(&signature).is_err() {
            return Ok(None);
        }
        Ok(read_claim(claim).filter(|(expires, ..)| *expires > self.clock.now()).map(|(_, blob, bytes)| (blob, bytes)))
    }

    async fn link_mac(&self, claim: &str) -> Result<Hmac<Sha256>> {
        let key = self.link_key().await?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(claim.as_bytes());
        Ok(mac)
    }

    /// The key that signs links, made once and kept, so that links survive a restart.
    async fn link_key(&self) -> Result<String> {
        if let Some(key) = self.link_key.get() {
            return Ok(key.clone());
        }
        let mut fresh = [0; 32];
        self.entropy.fill(&mut fresh);
        let key = self.link_key_or(&hex::encode(fresh)).await?;
        Ok(self.link_key.get_or_init(|| key).clone())
    }
}

/// Expiry, blob and size in a claim whose signature has been found right.
fn read_claim(claim: &str) -> Option<(Timestamp, BlobId, u64)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(claim).ok()?).ok()?;
    let mut parts = text.splitn(3, '|');
    let (expires, bytes, blob) = (parts.next()?, parts.next()?, parts.next()?);
    let id = blob.strip_prefix(SPACE)?.strip_prefix('/')?;
    Some((Timestamp(expires.parse().ok()?), BlobId::new(SPACE, id), bytes.parse().ok()?))
}

fn check_zip(zip: &[u8]) -> Result<Inspection> {
    if zip.is_empty() {
        return Err(Error::Invalid("Uploaded file must be a non-empty zip".into()));
    }
    let limits = Limits { unpacked_bytes_max: UNPACKED_BYTES_MAX, ..Limits::default() };
    match inspect(zip, &limits) {
        Ok(found) if found.entries == 0 => Err(Error::Invalid("Uploaded file must be a non-empty zip".into())),
        Ok(found) => Ok(found),
        Err(error) => {
            if let PackageError::Broken { detail } = &error {
                tracing::debug!(%detail, "a package was refused");
            }
            Err(error.into())
        }
    }
}

fn from_bucket(error: ReadError) -> Error {
    let (code, message) = match error {
        ReadError::NoSuchBucket => ("NoSuchBucket", error.to_string()),
        ReadError::NoSuchKey => ("NoSuchKey", error.to_string()),
        ReadError::TooLarge { limit } => {
            return Error::Invalid(format!("Unzipped size must be smaller than {limit} bytes"));
        }
        ReadError::Unavailable(why) => return Error::Service(format!("The object could not be read: {why}")),
    };
    Error::Invalid(format!("Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"))
}

/// `CodeSha256`: of a package in base64, of an image as its digest has it.
pub fn code_sha256(code: &Code) -> String {
    match code {
        Code::Zip(package) => sha256_base64(package),
        Code::Image(image) => image.sha256.clone(),
    }
}

/// The digest in base64.
pub fn sha256_base64(package: &Package) -> String {
    hex::decode(&package.sha256).map_or_else(|_| String::new(), |digest| STANDARD.encode(digest))
}
