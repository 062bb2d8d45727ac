//! Images in registries, by oci-client; manifests by a request of our own, for a registry may send one without end.

use crate::manifest::{DOCUMENT_BYTES_MAX, INDEXES, MANIFESTS};
use crate::reference::is_loopback;
use crate::source::{Stream, checked};
use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use std::time::Duration;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Without a byte.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Registry {
    client: Client,
    http: reqwest::Client,
    reference: Reference,
    auth: RegistryAuth,
}

impl Registry {
    pub(crate) fn new(reference: Reference, auth: RegistryAuth) -> Result<Self> {
        // Twice is no error: it is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = reference.resolve_registry().to_owned();
        let protocol = if is_loopback(&host) { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_MAX),
            read_timeout: Some(SILENCE_MAX),
            user_agent: concat!("wadi/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .user_agent(config.user_agent)
            .build()
            .map_err(Error::unavailable)?;
        let client = Client::try_from(config).map_err(Error::unavailable)?;
        Ok(Self { client, http, reference, auth })
    }

    /// The manifest that the reference names, or one by digest.
    pub(crate) async fn manifest(&self, digest: Option<&str>) -> Result<Bytes> {
        let host = self.reference.resolve_registry();
        let scheme = if is_loopback(host) { "http" } else { "https" };
        let named = digest.or(self.reference.digest()).or(self.reference.tag()).unwrap_or("latest");
        let url = format!("{scheme}://{host}/v2/{}/manifests/{named}", self.reference.repository());
        let token = self.client.auth(&self.reference, &self.auth, RegistryOperation::Pull).await;
        let token = token.map_err(|error| self.failed(error))?;
        let mut request = self.http.get(url).header("accept", [MANIFESTS, INDEXES].concat().join(", "));
        request = match (token, &self.auth) {
            (Some(token), _) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(user, password)) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        };
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        match response.status().as_u16() {
            200 => {}
            404 => return Err(self.missing()),
            401 | 403 => return Err(self.no_access()),
            status => return Err(Error::unavailable(format!("The registry {host} answers {status}"))),
        }
        let (mut body, mut chunks) = (BytesMut::new(), response.bytes_stream());
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(|error| self.unreachable(error))?);
            if body.len() as u64 > DOCUMENT_BYTES_MAX {
                return Err(Error::refused(format!("The image's manifest is larger than {DOCUMENT_BYTES_MAX} bytes")));
            }
        }
        match digest.or(self.reference.digest()) {
            Some(digest) => checked(digest, body.freeze()),
            None => Ok(body.freeze()),
        }
    }

    pub(crate) async fn blob(&self, digest: &str) -> Result<Stream> {
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
        let stream = self.client.pull_blob_stream(&self.reference, digest).await.map_err(|error| self.failed(error))?;
        let host = self.reference.resolve_registry().to_owned();
        Ok(stream
            .stream
            .map_err(move |error| Error::unavailable(format!("The registry {host} broke off: {error}")))
            .boxed())
    }

    fn missing(&self) -> Error {
        Error::refused(format!("Source image {} does not exist. Provide a valid source image.", self.reference.whole()))
    }

    fn no_access(&self) -> Error {
        Error::refused(format!(
            "This node has no permission to pull the source image {}. Its operator logs in to the registry (docker login, \
             skopeo login), for the user that it runs as.",
            self.reference.whole()
        ))
    }

    fn failed(&self, error: OciDistributionError) -> Error {
        match error {
            OciDistributionError::AuthenticationFailure(_) | OciDistributionError::UnauthorizedError { .. } => {
                self.no_access()
            }
            OciDistributionError::ImageManifestNotFoundError(_) => self.missing(),
            OciDistributionError::ServerError { code: 404, .. } => self.missing(),
            OciDistributionError::RequestError(error) => self.unreachable(error),
            error => Error::unavailable(format!("The registry {}: {error}", self.reference.resolve_registry())),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let mut why: &dyn std::error::Error = &error;
        while let Some(source) = why.source() {
            why = source;
        }
        Error::unavailable(format!("The registry {} cannot be read: {why}", self.reference.resolve_registry()))
    }
}
