//! The identity room: who is behind an access key, and what they may do.
//!
//! It has no API of its own yet (no IAM, no STS): it is the [`base::port::Identity`] that the gate asks before any room
//! runs. Keys are of three kinds: the development root key `test`/`test` of account 000000000000, only where the node
//! is told so; the root access key made at the first start of any other node; and the temporary keys of function
//! instances, which are derived from a node secret and so need no record (`session.rs`).
//!
//! `model.rs` holds the decision, `session.rs` the temporary keys, `store.rs` what is kept, `error.rs` what can fail.

mod error;
mod model;
mod session;
mod store;

pub use error::Error;

use async_trait::async_trait;
use base::port::{Access, Clock, Credential, Denied, Entropy, TemporaryKeys};
use base::{AccountId, Caller};
use session::{Session, Sessions};
use std::sync::Arc;
use std::time::Duration;

/// The development root key, id and secret alike.
pub const DEVELOPMENT_KEY: &str = "test";

/// What the room is made of.
pub struct Parts {
    pub store: ::store::Store,
    /// What its secrets are sealed with.
    pub seal: Arc<::store::Seal>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub config: Config,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// Accept the well-known key `test`/`test` as the root of account 000000000000. Never for a node that strangers
    /// reach.
    pub development: bool,
    /// The account of the root access key that is made when `development` is off.
    pub account: AccountId,
}

/// An access key for people: its id and its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKey {
    pub access_key: String,
    pub secret_key: String,
    pub account: AccountId,
}

/// The room.
pub struct Identity {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    development: bool,
    root: Option<RootKey>,
    sessions: Sessions,
}

impl Identity {
    /// Reads the node's secrets, making those that are not there yet (durably, before this returns).
    ///
    /// # Errors
    /// When the store cannot be read or written, or holds a damaged record.
    pub async fn open(parts: Parts) -> Result<Arc<Self>, Error> {
        let Parts { store, seal, clock, entropy, config } = parts;
        let secret = store::node_secret(&store, &seal, entropy.as_ref()).await?;
        let root = store::root_key(&store, &seal, entropy.as_ref(), !config.development).await?;
        let root =
            root.map(|k| RootKey { access_key: k.access_key, secret_key: k.secret_key, account: config.account });
        let sessions = Sessions::new(secret);
        Ok(Arc::new(Self { clock, entropy, development: config.development, root, sessions }))
    }

    /// The root access key of this node, for whoever starts it to show; `None` where there is only the development key.
    pub fn root_key(&self) -> Option<&RootKey> {
        self.root.as_ref()
    }

    fn session(&self, access_key: &str, token: &str) -> Option<Credential> {
        let (session, secret_key) = self.sessions.verify(access_key, token, self.clock.now())?;
        let account = AccountId::parse(&session.account)?;
        Some(Credential { secret_key, principal: model::session_arn(&session), account })
    }
}

#[async_trait]
impl base::port::Identity for Identity {
    async fn credential(&self, access_key: &str, session_token: Option<&str>) -> Option<Credential> {
        if let Some(token) = session_token {
            return self.session(access_key, token);
        }
        if self.development && access_key == DEVELOPMENT_KEY {
            let account = AccountId::development();
            let principal = model::root_arn(&account);
            return Some(Credential { secret_key: DEVELOPMENT_KEY.into(), account, principal });
        }
        let root = self.root.as_ref().filter(|k| k.access_key == access_key)?;
        let principal = model::root_arn(&root.account);
        Some(Credential { secret_key: root.secret_key.clone(), account: root.account.clone(), principal })
    }

    async fn authorise(&self, caller: &Caller, access: &Access) -> Result<(), Denied> {
        model::decide(caller, access)
    }

    fn issue(&self, account: &AccountId, role: &str, session: &str, lifetime: Duration) -> TemporaryKeys {
        let expires = self.clock.now().plus(lifetime);
        let access_key = session::access_key("ASIA", self.entropy.as_ref());
        let session = Session {
            account: account.to_string(),
            role: model::role_name(role).to_owned(),
            session: model::session_name(session),
            expires,
        };
        self.sessions.issue(access_key, &session)
    }
}

#[cfg(test)]
mod tests;
