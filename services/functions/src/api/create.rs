//! CreateFunction.

use super::configuration::{configuration, published_configuration};
use super::{options, shapes as s, tags};
use crate::Functions;
use crate::capacity;
use crate::change;
use crate::code::Source;
use crate::error::{Error, Result};
use crate::model::settings::{Kind, Settings, misplaced_error};
use crate::model::{LATEST, name};
use crate::records::{Function, Snapshot, State, Update};
use crate::store::At;
use engine::Code;
use room::Context;
use std::sync::Arc;

pub async fn create_function(
    room: Arc<Functions>,
    cx: Context,
    input: s::CreateFunctionRequest,
) -> Result<s::FunctionConfiguration> {
    let scope = cx.scope();
    let function = name::unqualified(scope, &input.function_name)?.name;
    options::check_create(&input)?;
    options::check_network(room.runner.as_ref(), input.vpc_config.as_ref())?;
    options::check_architecture(input.architectures.as_deref(), room.config.architecture)?;
    let publish = options::publish_to(input.publish, input.publish_to.as_deref())?;
    let tags = input.tags.clone().unwrap_or_default();
    tags::check(&tags)?;
    let environment = room.sealed(scope, &function, input.environment.as_ref())?;
    let managed = options::managed(scope, input.capacity_provider_config.as_ref())?;
    let change = options::change_of_create(&input, environment, managed);
    let kind = kind_of(&input)?;
    let mut settings = Settings::new(change, kind, room.config.architecture, &room.runtimes())?;
    tags::heed(&room, &tags, &mut settings)?;
    let key = At::Function(scope, &function).key();
    // Asked again in the transaction; asked here so that a duplicate does not take its code in first.
    if room.store.get::<Function>(&key).await?.is_some() {
        return Err(already_there(&function));
    }
    let source = Source {
        zip: input.code.zip_file.as_ref(),
        bucket: input.code.s3_bucket.as_deref(),
        key: input.code.s3_key.as_deref(),
    };
    let code = match &input.code.image_uri {
        Some(uri) => room.find_image(uri).await?,
        None => Code::Zip(room.take_code(&scope.account, source).await?),
    };
    let record = Function {
        loops: false,
        name: function.clone(),
        latest: Snapshot {
            settings,
            layers: Vec::new(),
            code,
            revision: room.entropy.uuid(),
            revision_id: room.entropy.uuid(),
            modified: room.clock.now(),
            state: State::Pending,
            update: Update::None,
        },
        previous: None,
        next_version: 1,
        published: None,
        reserved: None,
        tags,
    };
    let wanted = input.layers.unwrap_or_default();
    let (room, key, record, wanted) = (&*room, &key, &record, &wanted);
    let reply = room
        .store
        .transact(|tx| async move {
            if tx.get::<Function>(key).await?.is_some() {
                return Err(already_there(&record.name));
            }
            let mut record = record.clone();
            record.latest.layers = change::layers(&tx, scope, wanted, record.latest.code.unpacked_bytes()).await?;
            let zip_bytes = record.latest.code.zip_bytes();
            let mut account = change::charge(room, &tx, scope, 0, zip_bytes).await?;
            account.functions += 1;
            tx.put(&At::Account(scope).key(), &account)?;
            change::wait_for(&tx, scope, &record.name, LATEST, &record.latest)?;
            capacity::join(&tx, scope, &record.latest.settings, &record.name, LATEST).await?;
            let reply = if let Some(to) = publish {
                let published = change::publish(room, &tx, scope, &mut record, None, to).await?;
                published_configuration(&room.seal, scope, &record.name, &published)
            } else {
                configuration(&room.seal, scope, &record.name, LATEST, None, &record.latest)
            };
            tx.put(key, &record)?;
            Ok(reply)
        })
        .await?;
    room.pending.notify_one();
    Ok(reply)
}

/// What the function is made of, if the request gives the one kind of code and all that belongs to it alone.
fn kind_of(input: &s::CreateFunctionRequest) -> Result<Kind> {
    let (code, kind) = match input.package_type.as_deref() {
        Some("Image") => (&input.code, Kind::Image),
        _ => (&input.code, Kind::Zip),
    };
    options::check_image_config(input.image_config.as_ref())?;
    let zip = code.zip_file.is_some() || code.s3_bucket.is_some() || code.s3_key.is_some();
    let layers = input.layers.as_ref().is_some_and(|layers| !layers.is_empty());
    match kind {
        Kind::Zip if code.image_uri.is_some() => Err(misplaced_error("ImageUri", kind)),
        Kind::Image if zip => Err(misplaced_error("ZipFile, S3Bucket or S3Key", kind)),
        Kind::Image if layers => Err(misplaced_error("Layers", kind)),
        Kind::Image if code.image_uri.is_none() => {
            Err(Error::Invalid("Please provide ImageUri when creating a function with packageType Image.".into()))
        }
        _ => Ok(kind),
    }
}

fn already_there(function: &str) -> Error {
    Error::Conflict(format!("Function already exist: {function}"))
}
