//! Function URL configurations: create, get, update, delete, list.

use super::{page_size, shapes as s};
use crate::Functions;
use crate::error::{Error, Result};
use crate::model::name::{self, Qualifier};
use crate::records::{Url, UrlOwner};
use crate::store::{At, Below, page, resolve};
use base::FunctionRef;
use base::port::Entropy;
use room::Context;
use std::sync::Arc;
use store::{Key, KeyReader};
use wire::Empty;

/// The `InvokeMode` of a URL whose function answers in pieces.
const STREAM: &str = "RESPONSE_STREAM";

pub async fn create_url(
    room: Arc<Functions>,
    cx: Context,
    input: s::CreateFunctionUrlConfigRequest,
) -> Result<s::CreateFunctionUrlConfigResponse> {
    let named = &named(&cx, &input.function_name, input.qualifier.as_deref())?;
    let now = room.clock.now();
    let url = &Url {
        id: url_id(&*room.entropy),
        auth: input.auth_type,
        streams: input.invoke_mode.as_deref() == Some(STREAM),
        cors: input.cors,
        created: now,
        modified: now,
    };
    let key = &key_of(named);
    let owner = &UrlOwner { scope: named.scope.clone(), name: named.name.clone(), qualifier: named.qualifier.clone() };
    room.store
        .transact(|tx| async move {
            resolve(&tx, named).await?;
            if tx.get::<Url>(key).await?.is_some() {
                return Err(Error::Conflict(format!(
                    "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig \
                     exists for this Lambda function",
                    name::arn_of(named)
                )));
            }
            tx.put(&At::UrlId(&url.id).key(), owner)?;
            Ok(tx.put(key, url)?)
        })
        .await?;
    let full = shape(&cx, named, url);
    Ok(s::CreateFunctionUrlConfigResponse {
        function_url: full.function_url,
        function_arn: full.function_arn,
        auth_type: full.auth_type,
        cors: full.cors,
        creation_time: full.creation_time,
        invoke_mode: full.invoke_mode,
    })
}

pub async fn get_url(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetFunctionUrlConfigRequest,
) -> Result<s::GetFunctionUrlConfigResponse> {
    let named = named(&cx, &input.function_name, input.qualifier.as_deref())?;
    let url = room.store.get::<Url>(&key_of(&named)).await?.ok_or_else(missing)?;
    let full = shape(&cx, &named, &url);
    Ok(s::GetFunctionUrlConfigResponse {
        function_url: full.function_url,
        function_arn: full.function_arn,
        auth_type: full.auth_type,
        cors: full.cors,
        creation_time: full.creation_time,
        last_modified_time: full.last_modified_time,
        invoke_mode: full.invoke_mode,
    })
}

pub async fn update_url(
    room: Arc<Functions>,
    cx: Context,
    input: s::UpdateFunctionUrlConfigRequest,
) -> Result<s::UpdateFunctionUrlConfigResponse> {
    let named = &named(&cx, &input.function_name, input.qualifier.as_deref())?;
    let (key, input, now) = (&key_of(named), &input, room.clock.now());
    let url = room
        .store
        .transact(|tx| async move {
            let mut url = tx.get::<Url>(key).await?.ok_or_else(missing)?;
            if let Some(auth) = &input.auth_type {
                url.auth.clone_from(auth);
            }
            if let Some(mode) = &input.invoke_mode {
                url.streams = mode == STREAM;
            }
            if let Some(cors) = &input.cors {
                // An empty object takes the settings away.
                url.cors = Some(cors.clone()).filter(|c| *c != s::Cors::default());
            }
            url.modified = now;
            tx.put(key, &url)?;
            Ok::<_, Error>(url)
        })
        .await?;
    let full = shape(&cx, named, &url);
    Ok(s::UpdateFunctionUrlConfigResponse {
        function_url: full.function_url,
        function_arn: full.function_arn,
        auth_type: full.auth_type,
        cors: full.cors,
        creation_time: full.creation_time,
        last_modified_time: full.last_modified_time,
        invoke_mode: full.invoke_mode,
    })
}

pub async fn delete_url(room: Arc<Functions>, cx: Context, input: s::DeleteFunctionUrlConfigRequest) -> Result<Empty> {
    let named = named(&cx, &input.function_name, input.qualifier.as_deref())?;
    let key = &key_of(&named);
    room.store
        .transact(|tx| async move {
            let url = tx.get::<Url>(key).await?.ok_or_else(missing)?;
            tx.delete(&At::UrlId(&url.id).key());
            tx.delete(key);
            Ok::<_, Error>(())
        })
        .await?;
    Ok(Empty {})
}

pub async fn list_urls(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListFunctionUrlConfigsRequest,
) -> Result<s::ListFunctionUrlConfigsResponse> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    room.store.transact(|tx| async move { resolve(&tx, named).await }).await?;
    let prefix = Below::Urls.of(&named.scope, &named.name);
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    let found = page::<Url>(&room.store, &prefix, marker, page_size(input.max_items)).await?;
    let one = |key: &[u8], url: &Url| {
        let qualifier = KeyReader::new(&key[prefix.as_bytes().len()..]).text().filter(|q| !q.is_empty());
        shape(&cx, &FunctionRef { qualifier, ..named.clone() }, url)
    };
    Ok(s::ListFunctionUrlConfigsResponse {
        function_url_configs: found.items.iter().map(|(k, u)| one(k, u)).collect(),
        next_marker: found.next,
    })
}

/// URLs belong to `$LATEST` (no qualifier) or to an alias.
fn named(cx: &Context, function: &str, qualifier: Option<&str>) -> Result<FunctionRef> {
    let named = name::function(cx.scope(), function, qualifier)?;
    match (&named.qualifier, Qualifier::of(named.qualifier.as_deref())) {
        (None, _) | (_, Qualifier::Alias(_)) => Ok(named),
        (Some(qualifier), _) => Err(Error::constraint(
            qualifier,
            "qualifier",
            "Member must satisfy regular expression pattern: ((?!^\\d+$)^[0-9a-zA-Z-_]+$)",
        )),
    }
}

fn missing() -> Error {
    Error::NotFound("The resource you requested does not exist.".into())
}

fn key_of(named: &FunctionRef) -> Key {
    At::Url(&named.scope, &named.name, named.qualifier.as_deref().unwrap_or("")).key()
}

/// 32 of `a-z`, `0-9`: more than 160 bits of chance, as AWS's.
fn url_id(entropy: &dyn Entropy) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    bytes.iter().map(|b| char::from(DIGITS[usize::from(b & 31)])).collect()
}

fn shape(cx: &Context, named: &FunctionRef, url: &Url) -> s::FunctionUrlConfig {
    s::FunctionUrlConfig {
        function_url: format!("http://{}.lambda-url.{}.{}/", url.id, named.scope.region, public_host(&cx.host)),
        function_arn: name::arn_of(named).to_string(),
        creation_time: url.created.iso8601(),
        last_modified_time: url.modified.iso8601(),
        cors: url.cors.clone(),
        auth_type: url.auth.clone(),
        invoke_mode: Some(if url.streams { STREAM } else { "BUFFERED" }.into()),
    }
}

/// The name under which this node's URLs resolve: `localhost` where the client came by an address or a name below it.
fn public_host(host: &str) -> String {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, format!(":{port}")),
        _ => (host, String::new()),
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    let local = is_address || name.is_empty() || name == "localhost" || name.ends_with(".localhost");
    format!("{}{port}", if local { "localhost" } else { name })
}

#[cfg(test)]
mod tests {
    use super::public_host;

    #[test]
    fn urls_resolve_where_the_client_is() {
        for (host, expect) in [
            ("127.0.0.1:4566", "localhost:4566"),
            ("localhost:4566", "localhost:4566"),
            ("lambda.us-east-1.localhost:80", "localhost:80"),
            ("[::1]:4566", "localhost:4566"),
            ("cloud.example.org", "cloud.example.org"),
        ] {
            assert_eq!(public_host(host), expect);
        }
    }
}
