//! UpdateFunctionCode and UpdateFunctionConfiguration.

use super::configuration::{configuration, published_configuration};
use super::{options, shapes as s};
use crate::Functions;
use crate::capacity;
use crate::change::{self, PublishTo, check_may_change};
use crate::code::Source;
use crate::error::{Error, Result};
use crate::model::settings::{Kind, misplaced_error};
use crate::model::{LATEST, name};
use crate::records::{Function, Snapshot, State, Update};
use crate::store::{At, function};
use base::FunctionRef;
use engine::Code;
use room::Context;
use std::sync::Arc;

pub async fn update_function_code(
    room: Arc<Functions>,
    cx: Context,
    input: s::UpdateFunctionCodeRequest,
) -> Result<s::FunctionConfiguration> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    let scope = &named.scope;
    let publish = options::publish_to(input.publish, input.publish_to.as_deref())?;
    options::check_source(
        input.s3_object_version.is_some(),
        input.s3_object_storage_mode.as_deref(),
        input.source_kms_key_arn.is_some(),
    )?;
    options::check_architecture(input.architectures.as_deref(), room.config.architecture)?;
    // Asked again in the transaction; asked here so that no code is taken in for an update that cannot be.
    let key = &At::Function(scope, &named.name).key();
    let current = room.store.get::<Function>(key).await?;
    let current = current.ok_or_else(|| Error::function_not_found(name::arn_of(named)))?;
    check_may_change(named, &current, input.revision_id.as_deref())?;
    let source =
        Source { zip: input.zip_file.as_ref(), bucket: input.s3_bucket.as_deref(), key: input.s3_key.as_deref() };
    let dry_run = input.dry_run.unwrap_or(false);
    let code = match (kind_of(&current.latest), &input.image_uri) {
        (Kind::Image, Some(uri)) if input.zip_file.is_none() && input.s3_bucket.is_none() => {
            room.find_image(uri).await?
        }
        (Kind::Image, _) => {
            let message = "Please provide ImageUri when updating a function with packageType Image.";
            return Err(Error::Invalid(message.into()));
        }
        (Kind::Zip, Some(_)) => {
            let message = "Please don't provide ImageUri when updating a function with packageType Zip.";
            return Err(Error::Invalid(message.into()));
        }
        (Kind::Zip, None) if dry_run => Code::Zip(room.check_code(&scope.account, source).await?.0),
        (Kind::Zip, None) => Code::Zip(room.take_code(&scope.account, source).await?),
    };
    let fresh = &Fresh::of(&room);
    let (room, code, input) = (&*room, &code, &input);
    let reply = room
        .store
        .transact(|tx| async move {
            let mut record = function(&tx, named).await?;
            check_may_change(named, &record, input.revision_id.as_deref())?;
            let mut next = record.latest.clone();
            let layer_bytes: u64 = next.layers.iter().map(|l| l.package.unpacked_bytes).sum();
            change::check_size(code.unpacked_bytes(), layer_bytes)?;
            change::charge(room, &tx, scope, next.code.zip_bytes(), code.zip_bytes()).await?;
            next.code = code.clone();
            begin(&mut record, next, fresh);
            let reply = finish(room, &tx, named, &mut record, publish).await?;
            if dry_run { Err(Stop::DryRun(Box::new(reply))) } else { Ok(reply) }
        })
        .await;
    let reply = dry_run_is_fine(reply)?;
    room.pending.notify_one();
    Ok(reply)
}

/// How a transaction ends without a commit: with an error, or because it was only a rehearsal.
enum Stop {
    Error(Error),
    DryRun(Box<s::FunctionConfiguration>),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Error(error.into())
    }
}

fn dry_run_is_fine(reply: Result<s::FunctionConfiguration, Stop>) -> Result<s::FunctionConfiguration> {
    match reply {
        Ok(reply) => Ok(reply),
        Err(Stop::DryRun(reply)) => Ok(*reply),
        Err(Stop::Error(error)) => Err(error),
    }
}

pub async fn update_function_configuration(
    room: Arc<Functions>,
    cx: Context,
    input: s::UpdateFunctionConfigurationRequest,
) -> Result<s::FunctionConfiguration> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    options::check_update(&input)?;
    options::check_network(room.runner.as_ref(), input.vpc_config.as_ref())?;
    options::check_image_config(input.image_config.as_ref())?;
    let environment = room.sealed(&named.scope, &named.name, input.environment.as_ref())?;
    let managed = options::managed(&named.scope, input.capacity_provider_config.as_ref())?;
    let change = &options::change_of_update(&input, environment, managed);
    let runtimes = &room.runtimes();
    let fresh = &Fresh::of(&room);
    let (room, input) = (&*room, &input);
    let reply = room
        .store
        .transact(|tx| async move {
            let mut record = function(&tx, named).await?;
            check_may_change(named, &record, input.revision_id.as_deref())?;
            let mut next = record.latest.clone();
            let kind = kind_of(&next);
            if change.managed.is_some() && next.settings.managed.is_none() {
                let message = "CapacityProviderConfig cannot be added to a function that was created without it.";
                return Err(Error::Invalid(message.into()));
            }
            next.settings.apply(change.clone(), kind, runtimes)?;
            capacity::leave(&tx, &named.scope, &record.latest.settings, &named.name, LATEST);
            capacity::join(&tx, &named.scope, &next.settings, &named.name, LATEST).await?;
            if let Some(wanted) = &input.layers {
                if kind == Kind::Image && !wanted.is_empty() {
                    return Err(misplaced_error("Layers", kind));
                }
                next.layers = change::layers(&tx, &named.scope, wanted, next.code.unpacked_bytes()).await?;
            }
            begin(&mut record, next, fresh);
            finish(room, &tx, named, &mut record, None).await
        })
        .await?;
    room.pending.notify_one();
    Ok(reply)
}

/// What an update needs new; made outside the transaction, which may run several times.
pub(super) struct Fresh {
    revision: String,
    revision_id: String,
    now: base::Timestamp,
}

impl Fresh {
    pub(super) fn of(room: &Functions) -> Self {
        Self { revision: room.entropy.uuid(), revision_id: room.entropy.uuid(), now: room.clock.now() }
    }
}

/// Puts `next` in place of `$LATEST`. What ran until now goes on running until the update is ready.
pub(super) fn begin(record: &mut Function, mut next: Snapshot, fresh: &Fresh) {
    next.revision.clone_from(&fresh.revision);
    next.revision_id.clone_from(&fresh.revision_id);
    next.modified = fresh.now;
    if record.latest.state == State::Active {
        next.update = Update::InProgress;
        if record.previous.is_none() {
            record.previous = Some(Box::new(record.latest.clone()));
        }
    } else {
        next.state = State::Pending;
        next.update = Update::None;
    }
    record.latest = next;
}

fn kind_of(snapshot: &Snapshot) -> Kind {
    match snapshot.code {
        Code::Zip(_) => Kind::Zip,
        Code::Image(_) => Kind::Image,
    }
}

async fn finish(
    room: &Functions,
    tx: &store::Tx,
    named: &FunctionRef,
    record: &mut Function,
    publish: Option<PublishTo>,
) -> Result<s::FunctionConfiguration> {
    let FunctionRef { scope, name, .. } = named;
    change::wait_for(tx, scope, name, LATEST, &record.latest)?;
    let reply = if let Some(to) = publish {
        let published = change::publish(room, tx, scope, record, None, to).await?;
        published_configuration(&room.seal, scope, name, &published)
    } else {
        configuration(&room.seal, scope, name, LATEST, None, &record.latest)
    };
    tx.put(&At::Function(scope, name).key(), &*record)?;
    Ok(reply)
}
