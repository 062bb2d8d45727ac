//! Who is behind which access key.

use async_trait::async_trait;
use base::port::{Access, Credential, Denied, Identity, TemporaryKeys};
use base::{AccountId, Caller, Timestamp};
use std::time::Duration;

/// The keys a test knows, and what they may do.
pub struct Keys {
    known: Vec<Key>,
    may: fn(&Caller, &Access) -> bool,
}

struct Key {
    access_key: &'static str,
    token: Option<&'static str>,
    credential: Credential,
}

impl Keys {
    /// The key `test`, with the secret `test`, of the development account's root; all that is known may do everything.
    pub fn test() -> Self {
        Self { known: Vec::new(), may: |_, _| true }.with("test", None, "test", "arn:aws:iam::000000000000:root")
    }

    /// Knows one more key, of the account in the principal's ARN; it comes with `token`, or with none.
    pub fn with(
        mut self,
        access_key: &'static str,
        token: Option<&'static str>,
        secret: &str,
        principal: &str,
    ) -> Self {
        let account = principal.split(':').nth(4).and_then(AccountId::parse).expect("an ARN with an account");
        let credential = Credential { secret_key: secret.into(), account, principal: principal.into() };
        self.known.push(Key { access_key, token, credential });
        self
    }

    /// Denies all that `may` does not allow.
    pub fn allowing(self, may: fn(&Caller, &Access) -> bool) -> Self {
        Self { may, ..self }
    }
}

#[async_trait]
impl Identity for Keys {
    async fn credential(&self, access_key: &str, session_token: Option<&str>) -> Option<Credential> {
        let key = self.known.iter().find(|k| k.access_key == access_key && k.token == session_token);
        key.map(|k| k.credential.clone())
    }

    async fn authorise(&self, caller: &Caller, access: &Access) -> Result<(), Denied> {
        if (self.may)(caller, access) {
            return Ok(());
        }
        Err(Denied(format!("User: {} is not authorized to perform: {}", caller.principal, access.action)))
    }

    fn issue(&self, _: &AccountId, role: &str, session: &str, _: Duration) -> TemporaryKeys {
        TemporaryKeys {
            access_key: format!("ASIA{session}"),
            secret_key: role.into(),
            session_token: "token".into(),
            expires: Timestamp(u64::MAX),
        }
    }
}
