//! One request being served: who asks, and what `s3s` needs to know of them (keys, access, hosts).

use crate::access::{self, LACKING_HEADERS, On};
use crate::error::{Result, access_denied, no_such_bucket, not_implemented, refused};
use crate::events::Cause;
use crate::model::Bucket;
use crate::store::Space;
use crate::vault::Fresh;
use crate::{Objects, hosts};
use base::port::Access;
use base::{Caller, Region, Scope, Timestamp};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::path::S3Path;
use s3s::{S3Error, S3Result};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use store::Tx;

/// A request on its way through `s3s`. Cheap to clone; made by the door, one a request.
#[derive(Clone)]
pub struct Visit(Arc<Inner>);

struct Inner {
    objects: Arc<Objects>,
    facts: Facts,
    /// Whose key signed; set once the key is found, before the signature has been checked. Operations run only after.
    caller: OnceLock<Caller>,
}

/// What the door knows of a request before anybody has checked it.
pub struct Facts {
    pub request_id: String,
    pub source_ip: IpAddr,
    /// The session token in a header or the presigned query.
    pub token: Option<String>,
    /// The region in the credential scope.
    pub region: Region,
    pub expected_owner: Option<String>,
    /// The trace header, if it says which functions asked.
    pub trace: Option<String>,
}

impl Visit {
    pub fn new(objects: Arc<Objects>, facts: Facts) -> Self {
        Self(Arc::new(Inner { objects, facts, caller: OnceLock::new() }))
    }

    /// Of somebody the node knows: no signature is checked.
    pub fn by(objects: Arc<Objects>, facts: Facts, caller: Caller) -> Self {
        Self(Arc::new(Inner { objects, facts, caller: OnceLock::from(caller) }))
    }

    pub fn objects(&self) -> &Objects {
        &self.0.objects
    }

    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// The verified caller.
    pub fn caller(&self) -> Result<&Caller> {
        self.0.caller.get().ok_or_else(access_denied)
    }

    pub fn account(&self) -> Result<&str> {
        Ok(self.caller()?.scope.account.as_str())
    }

    pub fn now(&self) -> Timestamp {
        self.objects().clock.now()
    }

    pub fn fresh(&self) -> Fresh<'_> {
        Fresh { clock: &*self.0.objects.clock, entropy: &*self.0.objects.entropy }
    }

    pub fn cause(&self, at: Timestamp) -> Cause<'_> {
        Cause {
            request_id: &self.0.facts.request_id,
            source_ip: self.0.facts.source_ip,
            principal: self.0.caller.get().map_or("", |c| &c.principal),
            at,
            trace: self.0.facts.trace.as_deref(),
        }
    }

    /// Asks the identity port.
    pub async fn authorise(&self, action: &str, resource: String) -> Result<()> {
        let access = Access { action: action.to_owned(), resource };
        let allowed = self.objects().identity.authorise(self.caller()?, &access).await;
        allowed.map_err(|denied| refused("AccessDenied", denied.0))
    }

    pub async fn authorise_object(&self, action: &str, bucket: &str, key: &str) -> Result<()> {
        self.authorise(action, format!("arn:aws:s3:::{bucket}/{key}")).await
    }

    /// The bucket, if it is there and the caller's.
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        self.own(self.objects().store().get(&Space::Bucket(name).key()).await?)
    }

    /// As [`Visit::bucket`], in a transaction that depends on it.
    pub async fn bucket_in(&self, tx: &Tx, name: &str) -> Result<Bucket> {
        self.own(tx.get(&Space::Bucket(name).key()).await?)
    }

    /// Other accounts' buckets are closed: there are no bucket policies yet.
    fn own(&self, bucket: Option<Bucket>) -> Result<Bucket> {
        let bucket = bucket.ok_or_else(no_such_bucket)?;
        let expected = self.facts().expected_owner.as_deref();
        if bucket.account != self.account()? || expected.is_some_and(|owner| owner != bucket.account) {
            return Err(access_denied());
        }
        Ok(bucket)
    }

    async fn check_access(&self, cx: &S3AccessContext<'_>) -> Result<()> {
        if cx.credentials().is_none() {
            return Err(access_denied());
        }
        let operation = cx.s3_op().name();
        let (action, on) =
            access::action(operation).ok_or_else(|| not_implemented(format_args!("the operation S3.{operation}")))?;
        let resource = match (on, cx.s3_path()) {
            (On::EachKey, _) => None,
            (On::All, _) => Some("*".to_owned()),
            (On::Bucket, path) => path.get_bucket_name().map(|b| format!("arn:aws:s3:::{b}")),
            (On::Object, S3Path::Object { bucket, key }) => Some(format!("arn:aws:s3:::{bucket}/{key}")),
            (On::Object, _) => return Err(access_denied()),
        };
        if let Some(resource) = resource {
            self.authorise(action, resource).await?;
        }
        let lacking = LACKING_HEADERS.iter().find(|h| cx.headers().contains_key(**h));
        match lacking {
            Some(header) => Err(not_implemented(format_args!("what the header {header} asks for"))),
            None => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl S3Auth for Visit {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let facts = self.facts();
        let found = self.objects().identity.credential(access_key, facts.token.as_deref()).await;
        let Some(credential) = found else {
            let error = match facts.token {
                Some(_) => refused("InvalidToken", "The provided token is malformed or otherwise invalid."),
                None => {
                    refused("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
                }
            };
            return Err(error.into());
        };
        let caller = Caller {
            scope: Scope::new(credential.account, facts.region.clone()),
            access_key: access_key.to_owned(),
            principal: credential.principal,
        };
        // Asked for twice in one request, it is the same key: the first answer stands.
        drop(self.0.caller.set(caller));
        Ok(SecretKey::from(credential.secret_key))
    }
}

#[async_trait::async_trait]
impl S3Access for Visit {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        self.check_access(cx).await.map_err(S3Error::from)
    }
}

impl S3Host for Visit {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let mut virtual_host = VirtualHost::new(host);
        if let Some(bucket) = hosts::bucket_in(host, &self.objects().config.domains) {
            virtual_host = virtual_host.with_bucket(bucket);
        }
        Ok(virtual_host)
    }
}

/// The account of a bucket's owner as S3 shows it.
pub fn owner(account: &str) -> s3s::dto::Owner {
    s3s::dto::Owner { display_name: None, id: Some(account.to_owned()) }
}
