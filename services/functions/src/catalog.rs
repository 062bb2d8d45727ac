//! How the engine finds what to run: name → alias → version.

use crate::kept::Kept;
use crate::model::name::{self, Qualifier};
use crate::model::{LATEST, LATEST_PUBLISHED, alias, runtime};
use crate::records::{Alias, Function, Published, Snapshot};
use crate::store::At;
use ::store::{Seal, Store, seal::Unreadable};
use async_trait::async_trait;
use base::{FunctionRef, InvokeError, Scope};
use engine::{Code, Routed, Runtime, Version};
use std::sync::Arc;

/// The engine's view of this room's records. Needs nothing but the store, so it is made before the engine.
pub struct Catalog {
    store: Store,
    seal: Arc<Seal>,
    /// Routes that no draw decides.
    routes: Kept<FunctionRef, Routed>,
}

impl Catalog {
    pub fn new(store: Store, seal: Arc<Seal>) -> Self {
        let routes = Kept::new(&store);
        Self { store, seal, routes }
    }
}

#[async_trait]
impl engine::Catalog for Catalog {
    async fn route(&self, function: &FunctionRef, draw: u64) -> Result<Routed, InvokeError> {
        if let Some(routed) = self.routes.get(function) {
            return Ok(routed);
        }
        let before = self.routes.now();
        let (routed, fixed) = self.find(function, draw).await?;
        if fixed {
            self.routes.put(before, function.clone(), routed.clone());
        }
        Ok(routed)
    }
}

impl Catalog {
    /// The route by the records, and whether every call has the same.
    async fn find(&self, function: &FunctionRef, draw: u64) -> Result<(Routed, bool), InvokeError> {
        let FunctionRef { scope, name, qualifier } = function;
        let mut fixed = true;
        let missing = || InvokeError::NotFound(name::arn_of(function).to_string());
        let failed = |e: ::store::Error| InvokeError::Unavailable(e.to_string());
        let found: Function =
            self.store.get(&At::Function(scope, name).key()).await.map_err(failed)?.ok_or_else(missing)?;
        let called = found.called(qualifier.as_deref());
        let number = match Qualifier::of(called) {
            Qualifier::Latest => None,
            Qualifier::Version(number) => Some(number),
            Qualifier::Alias(text) => {
                let alias: Alias =
                    self.store.get(&At::Alias(scope, name, text).key()).await.map_err(failed)?.ok_or_else(missing)?;
                fixed = alias.weights.is_empty();
                Qualifier::of(Some(alias::choose(&alias.version, &alias.weights, draw))).number()
            }
        };
        let version = match number {
            None => runnable(&self.seal, scope, name, LATEST, found.running())?,
            Some(number) => {
                let key = At::Version(scope, name, number).key();
                let absent = || if called == Some(LATEST_PUBLISHED) { InvokeError::Unpublished } else { missing() };
                let published: Published = self.store.get(&key).await.map_err(failed)?.ok_or_else(absent)?;
                runnable(&self.seal, scope, name, &name::version(number), published.running())?
            }
        };
        let invoked_arn = name::arn_of(function).to_string();
        Ok((Routed { version: Arc::new(version), invoked_arn, reserved: found.reserved }, fixed))
    }
}

/// AWS's message for a function in a state in which it cannot run.
pub fn not_invocable(version: &str, snapshot: &Snapshot) -> Option<String> {
    let state = Some(snapshot.state_name(version)).filter(|state| *state != "Active")?;
    Some(format!(
        "The operation cannot be performed at this time. The function is currently in the following state: {state}"
    ))
}

fn runnable(
    seal: &Seal,
    scope: &Scope,
    name: &str,
    version: &str,
    snapshot: &Snapshot,
) -> Result<Version, InvokeError> {
    if let Some(message) = not_invocable(version, snapshot) {
        return Err(InvokeError::NotReady(message));
    }
    version_of(seal, scope, name, version, snapshot).map_err(|why| InvokeError::Unavailable(unreadable(&why)))
}

/// What is said where a version cannot run because its environment cannot be opened.
pub fn unreadable(why: &Unreadable) -> String {
    format!("Lambda was unable to decrypt the environment variables: {why}.")
}

/// A snapshot in the engine's words.
pub fn version_of(
    seal: &Seal,
    scope: &Scope,
    name: &str,
    version: &str,
    snapshot: &Snapshot,
) -> Result<Version, Unreadable> {
    let settings = &snapshot.settings;
    let environment = settings.environment.as_ref().map(|held| held.open(seal, scope, name)).transpose()?;
    Ok(Version {
        scope: scope.clone(),
        name: name.to_owned(),
        version: version.to_owned(),
        revision: snapshot.revision.clone(),
        arn: name::arn(scope, name),
        role: settings.role.clone(),
        runtime: match &snapshot.code {
            Code::Zip(_) => runtime::of(&settings.runtime),
            Code::Image(_) => Runtime::Image(settings.image.clone()),
        },
        isolation: settings.isolation,
        handler: settings.handler.clone(),
        memory_mb: settings.memory_mb,
        timeout_s: settings.timeout_s,
        ephemeral_mb: settings.ephemeral_mb,
        environment: environment.unwrap_or_default(),
        code: snapshot.code.clone(),
        layers: snapshot.layers.iter().map(|l| l.package.clone()).collect(),
        copies: match settings.snap_start {
            None => None,
            Some(_) if !settings.applies_snap_start() => Some(false),
            Some(_) => (version != LATEST).then_some(true),
        },
        per_instance: settings.per_instance(),
        network: settings.network.clone().or_else(|| settings.network_tagged.clone()),
        log_group: settings.log_group.clone().unwrap_or_else(|| format!("/aws/lambda/{name}")),
    })
}
