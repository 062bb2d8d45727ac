//! CreateFunction.

use super::configuration::{configuration, published_configuration};
use super::{options, shapes as s, tags};
use crate::Functions;
use crate::change;
use crate::code::Source;
use crate::error::{Error, Result};
use crate::model::settings::Settings;
use crate::model::{LATEST, name};
use crate::records::{Function, Snapshot, State, Update};
use crate::store::At;
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
    options::check_architecture(input.architectures.as_deref(), room.config.architecture)?;
    let tags = input.tags.clone().unwrap_or_default();
    tags::check(&tags)?;
    let environment = room.sealed(scope, &function, input.environment.as_ref())?;
    let change = options::change_of_create(&input, environment);
    let settings = Settings::new(change, room.config.architecture, &room.runtimes())?;
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
    let code = room.take_code(&scope.account, source).await?;
    let record = Function {
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
    let publish = input.publish.unwrap_or(false);
    let (room, key, record, wanted) = (&*room, &key, &record, &wanted);
    let reply = room
        .store
        .transact(|tx| async move {
            if tx.get::<Function>(key).await?.is_some() {
                return Err(already_there(&record.name));
            }
            let mut record = record.clone();
            record.latest.layers = change::layers(&tx, scope, wanted, record.latest.code.unpacked_bytes).await?;
            let zip_bytes = record.latest.code.zip_bytes;
            let mut account = change::charge(room, &tx, scope, 0, zip_bytes).await?;
            account.functions += 1;
            tx.put(&At::Account(scope).key(), &account)?;
            change::wait_for(&tx, scope, &record.name, LATEST, &record.latest)?;
            let reply = if publish {
                let published = change::publish(room, &tx, scope, &mut record, None).await?;
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

fn already_there(function: &str) -> Error {
    Error::Conflict(format!("Function already exist: {function}"))
}
