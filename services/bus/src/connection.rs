//! Connections: what an API destination is told with each request, sealed at rest, and OAuth tokens, kept in memory.

use crate::Bus;
use crate::request::{self, Parameters};
use crate::store::{Connection, Space};
use ::store::{Key, KeyReader, Seal, Sealed, Store, Tx, seal::Unreadable};
use base::port::{Clock, Courier};
use base::{AccountId, Region, Scope};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::Duration;

/// "A maximum client execution timeout of 5 seconds."
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// A token that does not say how long it is good for is asked for again after this.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// Before it is over by the word of who gave it: it has to arrive, too.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// Connections whose token is kept; over it all are forgotten and asked for again.
const TOKENS_MAX: usize = 10_000;

/// All that a connection keeps to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// None once it is deauthorized.
    pub auth: Option<Auth>,
    pub invocation: Parameters,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auth {
    Basic { user: String, password: String },
    ApiKey { name: String, value: String },
    OAuth(OAuth),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuth {
    pub client: String,
    pub secret: String,
    pub endpoint: String,
    pub method: String,
    pub parameters: Parameters,
}

impl Secrets {
    /// Of the connection with this ARN.
    pub fn seal(&self, seal: &Seal, arn: &str) -> Sealed {
        seal.seal(arn, &serde_json::to_vec(self).expect("strings serialise"))
    }

    pub fn open(seal: &Seal, arn: &str, sealed: &Sealed) -> Result<Self, Unreadable> {
        serde_json::from_slice(&seal.open(arn, sealed)?).map_err(|_| Unreadable::Damaged)
    }
}

/// The tokens that a node has been given, by the connection's id and its last change.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<(String, u64), (String, Duration)>>);

impl Tokens {
    pub fn forget(&self, connection: &Connection) {
        self.0.lock().remove(&token_key(connection));
    }

    /// A token that is still good, or a new one. Two who ask at once may both ask the server; either token is good.
    async fn get(
        &self,
        connection: &Connection,
        oauth: &OAuth,
        (courier, clock): (&dyn Courier, &dyn Clock),
    ) -> Result<String, String> {
        let (key, now) = (token_key(connection), clock.elapsed());
        if let Some((token, until)) = self.0.lock().get(&key)
            && *until > now
        {
            return Ok(token.clone());
        }
        let (token, life) = fetch(oauth, courier).await?;
        let mut tokens = self.0.lock();
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(key, (token.clone(), now + life.saturating_sub(TOKEN_MARGIN)));
        Ok(token)
    }
}

fn token_key(connection: &Connection) -> (String, u64) {
    (connection.id.clone(), connection.modified.millis())
}

/// Asks the authorization server for a token, by the client credentials grant (RFC 6749, 4.4): the token and how long it
/// is good for. The text says why there is none.
pub async fn fetch(oauth: &OAuth, courier: &dyn Courier) -> Result<(String, Duration), String> {
    let answer = courier.send(token_request(oauth)?, TIMEOUT).await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("The authorization endpoint returned HTTP status {}.", answer.status().as_u16()));
    }
    let told: Value = serde_json::from_slice(answer.body())
        .map_err(|_| "The authorization endpoint's answer is not JSON.".to_owned())?;
    let token = told.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty());
    let token = token.ok_or("The authorization endpoint's answer has no access_token.")?;
    let life = told.get("expires_in").and_then(|n| n.as_u64().or_else(|| n.as_str()?.parse().ok()));
    Ok((token.to_owned(), life.map_or(TOKEN_LIFE, Duration::from_secs)))
}

/// The client's id and secret go with the connection's own parameters: in the query of a GET, else in the body, a form
/// unless a header says that it is JSON.
fn token_request(oauth: &OAuth) -> Result<Request<Bytes>, String> {
    let own = [("grant_type", "client_credentials"), ("client_id", &oauth.client), ("client_secret", &oauth.secret)];
    let given = &oauth.parameters.body;
    let own = own.into_iter().filter(|(key, _)| given.iter().all(|p| p.key != *key));
    let fields: Vec<(&str, &str)> = own.chain(given.iter().map(|p| (p.key.as_str(), p.value.as_str()))).collect();
    let mut headers = HeaderMap::new();
    request::put_headers(&mut headers, oauth.parameters.headers.iter().map(|p| (&p.key, &p.value)));
    let mut query: Vec<(&str, &str)> = oauth.parameters.query.iter().map(|p| (&*p.key, &*p.value)).collect();
    let json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let body = match (oauth.method.as_str(), json) {
        ("GET", _) => {
            query.extend(fields);
            Bytes::new()
        }
        (_, true) => {
            let object: Map<_, _> = fields.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
            Value::Object(object).to_string().into()
        }
        (_, false) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            request::form(fields).into()
        }
    };
    let url = request::with_query(&oauth.endpoint, query);
    let mut built = Request::builder().method(oauth.method.as_str()).uri(url).body(body).map_err(|e| e.to_string())?;
    *built.headers_mut() = headers;
    Ok(built)
}

impl Bus {
    /// The header that authorises a request. The text says why there is none.
    pub(crate) async fn authorisation(
        &self,
        connection: &Connection,
        auth: &Auth,
    ) -> Result<(HeaderName, HeaderValue), String> {
        let (name, text) = match auth {
            Auth::Basic { user, password } => {
                (AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Auth::ApiKey { name, value } => {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "ApiKeyName cannot be a header.")?;
                (name, value.clone())
            }
            Auth::OAuth(oauth) => {
                let token = self.tokens.get(connection, oauth, (&*self.courier, &*self.clock)).await?;
                (AUTHORIZATION, format!("Bearer {token}"))
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| "The credentials cannot be sent in a header.")?;
        value.set_sensitive(true);
        Ok((name, value))
    }

    /// Seals connections again that were sealed with an older master key. To be done at start, before functions say that
    /// the older key is needed no more.
    pub async fn reseal(&self) -> ::store::Result<()> {
        reseal(&self.store, &self.seal).await
    }
}

async fn reseal(store: &Store, seal: &Seal) -> ::store::Result<()> {
    let all = Key::of("bus/connection");
    let mut from = all.as_bytes().to_vec();
    loop {
        let items = store.scan(&from, &all.end(), 64).await?;
        for item in &items {
            let mut key = KeyReader::new(&item.key);
            let mut part = || key.text().unwrap_or_default();
            let (_, account, region, name) = (part(), part(), part(), part());
            let (Some(account), Some(region)) = (AccountId::parse(&account), Region::parse(&region)) else { continue };
            let key = &Space::Connection(&Scope::new(account, region), &name).key();
            store
                .transact(async |tx: Tx| {
                    let Some(mut connection) = tx.get::<Connection>(key).await? else { return Ok(()) };
                    match seal.renew(&connection.arn, &connection.secrets) {
                        Ok(None) => {}
                        Ok(Some(renewed)) => {
                            connection.secrets = renewed;
                            tx.put(key, &connection)?;
                        }
                        Err(why) => tracing::error!(connection = connection.arn, "a connection cannot be read: {why}"),
                    }
                    Ok::<_, ::store::Error>(())
                })
                .await?;
        }
        match items.last() {
            Some(last) if items.len() == 64 => from = [&last.key[..], &[0]].concat(),
            _ => return Ok(()),
        }
    }
}
