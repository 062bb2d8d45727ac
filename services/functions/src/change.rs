//! What several operations do to functions inside their transactions, and the rules they ask before.

use crate::Functions;
use crate::capacity;
use crate::catalog::not_invocable;
use crate::error::{Error, Result};
use crate::model::{LATEST, LATEST_PUBLISHED, LAYERS_MAX, UNPACKED_BYTES_MAX, name};
use crate::records::{Account, Function, LayerUse, LayerVersion, Pending, Published, Snapshot, State, Update};
use crate::store::At;
use base::{FunctionRef, Scope};
use store::Tx;

/// An update, and a publication, needs a function at rest and, if the caller says so, at the revision it knows.
pub fn check_may_change(named: &FunctionRef, record: &Function, revision_id: Option<&str>) -> Result<()> {
    if revision_id.is_some_and(|id| id != record.latest.revision_id) {
        return Err(Error::Precondition("GetFunction/GetAlias"));
    }
    match (&record.latest.state, &record.latest.update) {
        (State::Pending, _) => Err(Error::Conflict(not_invocable(LATEST, &record.latest).unwrap_or_default())),
        (_, Update::InProgress) => Err(Error::Conflict(format!(
            "The operation cannot be performed at this time. An update is in progress for resource: {}",
            name::arn(&named.scope, &named.name)
        ))),
        _ => Ok(()),
    }
}

/// Counts `more` bytes of code in and `less` out, in the account's limit.
pub async fn charge(room: &Functions, tx: &Tx, scope: &Scope, less: u64, more: u64) -> Result<Account> {
    let key = At::Account(scope).key();
    let mut account: Account = tx.get(&key).await?.unwrap_or_default();
    account.code_bytes = account.code_bytes.saturating_sub(less) + more;
    if more > less && account.code_bytes > room.config.code_bytes_total_max {
        return Err(Error::CodeStorageExceeded);
    }
    tx.put(&key, &account)?;
    Ok(account)
}

/// Leaves word for the background work that a version is to be made ready.
pub fn wait_for(tx: &Tx, scope: &Scope, function: &str, version: &str, snapshot: &Snapshot) -> Result<()> {
    let pending = Pending { revision: snapshot.revision.clone() };
    Ok(tx.put(&At::Pending(scope, function, version).key(), &pending)?)
}

/// The layers that a function asks for, found and within the bounds that hold for all of them with the code.
pub async fn layers(tx: &Tx, scope: &Scope, wanted: &[String], code_bytes: u64) -> Result<Vec<LayerUse>> {
    if wanted.len() > LAYERS_MAX {
        return Err(Error::Invalid(format!("Cannot reference more than {LAYERS_MAX} layers.")));
    }
    let mut layers: Vec<LayerUse> = Vec::new();
    for arn in wanted {
        let no_such = || Error::Invalid(format!("Layer version {arn} does not exist."));
        let (layer, number) = name::layer_version(scope, arn).ok_or_else(no_such)?;
        let own = name::layer_arn(scope, &layer).to_string();
        if let Some(twin) = layers.iter().find(|l| l.arn.rsplit_once(':').is_some_and(|(head, _)| head == own)) {
            return Err(Error::Invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {} \
                 and {arn}",
                twin.arn
            )));
        }
        let found: Option<LayerVersion> = tx.get(&At::LayerVersion(scope, &layer, number).key()).await?;
        layers.push(LayerUse { arn: arn.clone(), package: found.ok_or_else(no_such)?.package });
    }
    check_size(code_bytes, layers.iter().map(|l| l.package.unpacked_bytes).sum())?;
    Ok(layers)
}

/// Code and layers together must be within the unpacked limit.
pub fn check_size(code_bytes: u64, layer_bytes: u64) -> Result<()> {
    if code_bytes.saturating_add(layer_bytes) > UNPACKED_BYTES_MAX {
        return Err(Error::Invalid(format!(
            "Function code combined with layers exceeds the maximum allowed size of {UNPACKED_BYTES_MAX} bytes. The \
             actual size is {} bytes.",
            code_bytes.saturating_add(layer_bytes)
        )));
    }
    Ok(())
}

/// What `$LATEST` is published as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishTo {
    /// The next number.
    Number,
    /// `$LATEST.PUBLISHED`
    Latest,
}

/// Publishes `$LATEST`; the caller puts `record`.
pub async fn publish(
    room: &Functions,
    tx: &Tx,
    scope: &Scope,
    record: &mut Function,
    description: Option<&str>,
    to: PublishTo,
) -> Result<Published> {
    match to {
        PublishTo::Number => publish_number(room, tx, scope, record, description).await,
        PublishTo::Latest => publish_latest(room, tx, scope, record, description).await,
    }
}

/// `$LATEST` as it is to be published, and whether it is ready.
fn published_snapshot(room: &Functions, record: &Function, description: Option<&str>) -> (Snapshot, bool) {
    let mut snapshot = Snapshot { revision_id: room.entropy.uuid(), ..record.latest.clone() };
    if let Some(description) = description {
        description.clone_into(&mut snapshot.settings.description);
    }
    let ready = snapshot.state == State::Active && snapshot.update == Update::Successful;
    if !ready {
        snapshot.state = State::Pending;
        snapshot.update = Update::None;
    }
    (snapshot, ready)
}

/// Puts `$LATEST` in the place of what was published there, or leaves it if nothing has changed since. What ran until now
/// goes on running until the new one is ready.
async fn publish_latest(
    room: &Functions,
    tx: &Tx,
    scope: &Scope,
    record: &Function,
    description: Option<&str>,
) -> Result<Published> {
    if record.latest.settings.managed.is_none() {
        let message = "PublishTo LATEST_PUBLISHED is supported for functions with CapacityProviderConfig only.";
        return Err(Error::Invalid(message.into()));
    }
    let number = name::LATEST_PUBLISHED_NUMBER;
    let key = At::Version(scope, &record.name, number).key();
    let before: Option<Published> = tx.get(&key).await?;
    if let Some(same) = before.as_ref().filter(|before| before.snapshot.revision == record.latest.revision) {
        return Ok(same.clone());
    }
    let (mut snapshot, ready) = published_snapshot(room, record, description);
    let mut previous = None;
    let mut zip_bytes = 0;
    if let Some(before) = before {
        zip_bytes = before.snapshot.code.zip_bytes();
        capacity::leave(tx, scope, &before.snapshot.settings, &record.name, LATEST_PUBLISHED);
        if !ready && before.snapshot.state == State::Active {
            snapshot.state = State::Active;
            snapshot.update = Update::InProgress;
            previous = before.previous.or_else(|| Some(Box::new(before.snapshot)));
        }
    }
    charge(room, tx, scope, zip_bytes, snapshot.code.zip_bytes()).await?;
    capacity::join(tx, scope, &snapshot.settings, &record.name, LATEST_PUBLISHED).await?;
    wait_for(tx, scope, &record.name, LATEST_PUBLISHED, &snapshot)?;
    let published = Published { number, snapshot, previous };
    tx.put(&key, &published)?;
    Ok(published)
}

/// Makes the next version from `$LATEST`, or gives the last if nothing has changed since.
async fn publish_number(
    room: &Functions,
    tx: &Tx,
    scope: &Scope,
    record: &mut Function,
    description: Option<&str>,
) -> Result<Published> {
    if let Some((number, revision)) = &record.published
        && *revision == record.latest.revision
        && let Some(same) = tx.get::<Published>(&At::Version(scope, &record.name, *number).key()).await?
    {
        return Ok(same);
    }
    let number = record.next_version;
    let (snapshot, _) = published_snapshot(room, record, description);
    charge(room, tx, scope, 0, snapshot.code.zip_bytes()).await?;
    capacity::join(tx, scope, &snapshot.settings, &record.name, &number.to_string()).await?;
    wait_for(tx, scope, &record.name, &number.to_string(), &snapshot)?;
    record.next_version += 1;
    record.published = Some((number, snapshot.revision.clone()));
    let published = Published { number, snapshot, previous: None };
    tx.put(&At::Version(scope, &record.name, number).key(), &published)?;
    Ok(published)
}
