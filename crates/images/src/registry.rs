//! Images in registries: requests for manifests and blobs, and what is shown with them.
//!
//! A login, and a token had for it, goes to the registry's own address alone, and to the token server that the registry
//! names: not where a redirect leads, and not because a place that a redirect leads to asks. All goes by TLS, but that a
//! registry on loopback may be spoken to, and send us on to loopback, by HTTP. Of an answer no more is read than it may be.

use crate::challenge::{Challenge, TokenRequest, basic, bearer};
use crate::credentials::Login;
use crate::manifest::{DOCUMENT_BYTES_MAX, INDEXES, MANIFESTS};
use crate::reference::is_loopback;
use crate::source::{Stream, checked};
use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use oci_spec::distribution::Reference;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, ClientBuilder, Response, Url};
use std::path::Path;
use std::time::Duration;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Without a byte.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 5;
const TOKEN_BYTES_MAX: u64 = 64 << 10;

pub(crate) struct Registry {
    client: Client,
    reference: Reference,
    /// Where the API begins.
    root: Url,
    login: Option<Login>,
    /// What was shown last.
    shown: Mutex<Option<HeaderValue>>,
}

/// Certificates of authorities, from a file in PEM.
///
/// # Errors
/// The file cannot be read, or has no certificates, or what are none.
pub fn authorities(file: &Path) -> std::io::Result<Vec<Certificate>> {
    let found = Certificate::from_pem_bundle(&std::fs::read(file)?).unwrap_or_default();
    if found.is_empty() {
        return Err(std::io::Error::other("it has no certificates in PEM"));
    }
    // They are looked into when they are used, and not before.
    match client().tls_certs_only(found.iter().cloned()).build() {
        Ok(_) => Ok(found),
        Err(error) => Err(std::io::Error::other(deepest(&error))),
    }
}

fn client() -> ClientBuilder {
    // Twice is no error: it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_MAX)
        .read_timeout(SILENCE_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("wadi/", env!("CARGO_PKG_VERSION")))
}

impl Registry {
    pub(crate) fn new(reference: Reference, login: Option<Login>, authorities: &[Certificate]) -> Result<Self> {
        let host = reference.resolve_registry();
        let scheme = if is_loopback(host) { "http" } else { "https" };
        let root = Url::parse(&format!("{scheme}://{host}/v2/"));
        let root =
            root.map_err(|_| Error::refused(format!("Source image {} has no registry's name", reference.whole())))?;
        let client = client().tls_certs_merge(authorities.iter().cloned()).build();
        let client =
            client.map_err(|error| Error::unavailable(format!("TLS is not to be had: {}", deepest(&error))))?;
        Ok(Self { client, reference, root, login, shown: Mutex::default() })
    }

    /// The manifest that the reference names, or one by digest.
    pub(crate) async fn manifest(&self, digest: Option<&str>) -> Result<Bytes> {
        let digest = digest.or(self.reference.digest());
        let named = digest.or(self.reference.tag()).unwrap_or("latest");
        let response = self.get("manifests", named, &[MANIFESTS, INDEXES].concat().join(", ")).await?;
        let Some(body) = self.whole(response, DOCUMENT_BYTES_MAX).await? else {
            return Err(Error::refused(format!("The image's manifest is larger than {DOCUMENT_BYTES_MAX} bytes")));
        };
        match digest {
            Some(digest) => checked(digest, body),
            None => Ok(body),
        }
    }

    pub(crate) async fn blob(&self, digest: &str) -> Result<Stream> {
        let response = self.get("blobs", digest, "*/*").await?;
        let host = self.host().to_owned();
        let broke_off = move |error| Error::unavailable(format!("The registry {host} broke off: {}", deepest(&error)));
        Ok(response.bytes_stream().map_err(broke_off).boxed())
    }

    /// Asks as before; where the registry wants more, as it wants it.
    async fn get(&self, kind: &str, named: &str, accept: &str) -> Result<Response> {
        let path = format!("{}/{kind}/{named}", self.reference.repository());
        let url = self.root.join(&path).map_err(|_| self.missing())?;
        let shown = self.shown.lock().clone();
        let mut response = self.follow(url.clone(), accept, shown).await?;
        if response.status() == 401 && self.is_own(response.url()) {
            let shown = self.answer(Challenge::of(response.headers())).await?;
            *self.shown.lock() = Some(shown.clone());
            response = self.follow(url, accept, Some(shown)).await?;
        }
        match (response.status().as_u16(), self.is_own(response.url())) {
            (200, _) => Ok(response),
            (404, true) => Err(self.missing()),
            (401 | 403, true) => Err(self.denied()),
            (status, _) => Err(Error::unavailable(format!("{} answers {status}", self.place(response.url())))),
        }
    }

    /// Asks there, and where that sends us; only the registry's own address is shown anything.
    async fn follow(&self, mut url: Url, accept: &str, shown: Option<HeaderValue>) -> Result<Response> {
        for _ in 0..=REDIRECTS_MAX {
            self.may_ask(&url)?;
            let mut request = self.client.get(url.clone()).header(ACCEPT, accept);
            if let Some(shown) = shown.as_ref().filter(|_| self.is_own(&url)) {
                request = request.header(AUTHORIZATION, shown);
            }
            let response = request.send().await.map_err(|error| self.unreachable(&url, &error))?;
            let target = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
            match target.and_then(|target| url.join(target.to_str().ok()?).ok()) {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(Error::unavailable(format!("The registry {} sends us from place to place without end", self.host())))
    }

    /// What is to be shown where the registry asks for it.
    async fn answer(&self, challenge: Option<Challenge>) -> Result<HeaderValue> {
        match challenge {
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref()).await,
            Some(Challenge::Basic) => self.login.as_ref().and_then(basic).ok_or_else(|| self.denied()),
            None => Err(self.denied()),
        }
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<HeaderValue> {
        let no_token =
            || Error::unavailable(format!("The token server of the registry {} gives no token", self.host()));
        let realm = Url::parse(realm).map_err(|_| no_token())?;
        self.may_ask(&realm)?;
        let asked = TokenRequest::new(&realm, service, self.reference.repository(), self.login.as_ref());
        let mut request = match asked.form {
            Some(form) => {
                self.client.post(asked.url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
            None => self.client.get(asked.url),
        };
        if let Some(login) = asked.authorization {
            request = request.header(AUTHORIZATION, login);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&realm, &error))?;
        match response.status().as_u16() {
            200 => {}
            400 | 401 | 403 => return Err(self.denied()),
            status => {
                return Err(Error::unavailable(format!(
                    "The token server of the registry {} answers {status}",
                    self.host()
                )));
            }
        }
        let body = self.whole(response, TOKEN_BYTES_MAX).await?;
        body.and_then(|body| bearer(&body)).ok_or_else(no_token)
    }

    /// A body, unless it is larger than that.
    async fn whole(&self, response: Response, bytes_max: u64) -> Result<Option<Bytes>> {
        let (mut body, url) = (BytesMut::new(), response.url().clone());
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(|error| self.unreachable(&url, &error))?);
            if body.len() as u64 > bytes_max {
                return Ok(None);
            }
        }
        Ok(Some(body.freeze()))
    }

    fn host(&self) -> &str {
        self.reference.resolve_registry()
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.root.origin()
    }

    fn may_ask(&self, url: &Url) -> Result<()> {
        let host = url.host_str().unwrap_or_default();
        let plain = self.root.scheme() == "http" && is_loopback(host);
        match url.scheme() {
            "https" => Ok(()),
            "http" if plain => Ok(()),
            _ => Err(Error::refused(format!(
                "The registry {} sends us to {}://{host}, and this node goes there by https alone",
                self.host(),
                url.scheme()
            ))),
        }
    }

    fn missing(&self) -> Error {
        Error::refused(format!("Source image {} does not exist. Provide a valid source image.", self.reference.whole()))
    }

    fn denied(&self) -> Error {
        let host = self.host();
        let why = match &self.login {
            Some(_) => format!("{host} does not take the login that this node has for it"),
            None => format!("this node has no login for {host}"),
        };
        Error::Denied(format!(
            "Lambda does not have permission to access the image {}. Check the permissions: {why}. Its operator logs in \
             (docker login, skopeo login) as the user that the node runs as.",
            self.reference.whole()
        ))
    }

    /// The registry, or where it sends us, without what is asked there: that may be signed.
    fn place(&self, url: &Url) -> String {
        let own = format!("The registry {}", self.host());
        match self.is_own(url) {
            true => own,
            false => format!("{own} sends us to {}, which", url.host_str().unwrap_or_default()),
        }
    }

    fn unreachable(&self, url: &Url, error: &reqwest::Error) -> Error {
        let (place, why) = (self.place(url), deepest(error));
        match tls_of(error) {
            Some(rustls::Error::InvalidCertificate(_)) => Error::unavailable(format!(
                "{place} shows a certificate that this node does not take: {why}. Its operator puts the authority's \
                 certificate into the machine's store, or names its file under [images] ca in wadi.toml."
            )),
            Some(rustls::Error::InvalidMessage(_)) => Error::unavailable(format!(
                "{place} does not speak TLS ({why}), and by HTTP this node pulls from registries on loopback alone."
            )),
            _ => Error::unavailable(format!("{place} cannot be read: {why}")),
        }
    }
}

fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}

/// Without what is above it: that tells addresses, which may be signed.
fn deepest(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn tls_of(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(tls_in)
}

/// Errors of reading and writing wrap others, and each other.
fn tls_in<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<std::io::Error>() {
        Some(wrapper) => tls_in(wrapper.get_ref()?),
        None => error.downcast_ref(),
    }
}
