//! Layers: publish, get, list, delete, and how functions find them.

use super::configuration::{bytes, date};
use super::{options, page_size, shapes as s};
use crate::Functions;
use crate::change;
use crate::code::{Source, sha256_base64};
use crate::error::{Error, Result};
use crate::model::name;
use crate::records::{Layer, LayerVersion};
use crate::store::{At, Below, page, page_back};
use base::Scope;
use room::Context;
use std::sync::Arc;
use store::record;
use wire::Empty;

/// The most versions of one layer that ListLayers looks at for one that matches its filter.
const LOOK_BACK_MAX: usize = 1000;

pub async fn publish(
    room: Arc<Functions>,
    cx: Context,
    input: s::PublishLayerVersionRequest,
) -> Result<s::PublishLayerVersionResponse> {
    let scope = cx.scope();
    let layer = name::layer(scope, &input.layer_name)?;
    let content = &input.content;
    let storage = content.s3_object_storage_mode.as_deref();
    options::check_source(content.s3_object_version.is_some(), storage, false)?;
    let source =
        Source { zip: content.zip_file.as_ref(), bucket: content.s3_bucket.as_deref(), key: content.s3_key.as_deref() };
    let package = room.take_code(&scope.account, source).await?;
    let version = &LayerVersion {
        layer,
        number: 0,
        description: input.description.unwrap_or_default(),
        licence: input.license_info,
        runtimes: input.compatible_runtimes.unwrap_or_default(),
        architectures: input.compatible_architectures.unwrap_or_default(),
        package,
        created: room.clock.now(),
        policy: None,
    };
    let functions = &*room;
    let version = room
        .store
        .transact(|tx| async move {
            let key = At::Layer(scope, &version.layer).key();
            let fresh = || Layer { name: version.layer.clone(), next_version: 1 };
            let mut layer = tx.get::<Layer>(&key).await?.unwrap_or_else(fresh);
            let version = LayerVersion { number: layer.next_version, ..version.clone() };
            layer.next_version += 1;
            change::charge(functions, &tx, scope, 0, version.package.zip_bytes).await?;
            tx.put(&key, &layer)?;
            tx.put(&At::LayerVersion(scope, &version.layer, version.number).key(), &version)?;
            Ok::<_, Error>(version)
        })
        .await?;
    let full = full(&room, &cx, &version).await?;
    Ok(s::PublishLayerVersionResponse {
        content: full.content,
        layer_arn: full.layer_arn,
        layer_version_arn: full.layer_version_arn,
        description: full.description,
        created_date: full.created_date,
        version: full.version,
        compatible_architectures: full.compatible_architectures,
        compatible_runtimes: full.compatible_runtimes,
        license_info: full.license_info,
    })
}

pub async fn get(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetLayerVersionRequest,
) -> Result<s::GetLayerVersionResponse> {
    let layer = name::layer(cx.scope(), &input.layer_name)?;
    let version = find(&room, cx.scope(), &layer, input.version_number).await?;
    full(&room, &cx, &version).await
}

pub async fn get_by_arn(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetLayerVersionByArnRequest,
) -> Result<s::GetLayerVersionResponse> {
    let (layer, number) = name::layer_version(cx.scope(), &input.arn).ok_or_else(missing)?;
    let found = room.store.get::<LayerVersion>(&At::LayerVersion(cx.scope(), &layer, number).key()).await?;
    full(&room, &cx, &found.ok_or_else(missing)?).await
}

/// Deletes a version; functions that use it keep it. It is no error if it is not there, as on AWS.
pub async fn delete(room: Arc<Functions>, cx: Context, input: s::DeleteLayerVersionRequest) -> Result<Empty> {
    let scope = cx.scope();
    let layer = name::layer(scope, &input.layer_name)?;
    let number = version_number(input.version_number)?;
    let (room, key) = (&*room, &At::LayerVersion(scope, &layer, number).key());
    room.store
        .transact(|tx| async move {
            if let Some(version) = tx.get::<LayerVersion>(key).await? {
                change::charge(room, &tx, scope, version.package.zip_bytes, 0).await?;
                tx.delete(key);
            }
            Ok::<_, Error>(())
        })
        .await?;
    Ok(Empty {})
}

pub async fn list_versions(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListLayerVersionsRequest,
) -> Result<s::ListLayerVersionsResponse> {
    let layer = name::layer(cx.scope(), &input.layer_name)?;
    let filter = Filter { runtime: input.compatible_runtime, architecture: input.compatible_architecture };
    let prefix = Below::LayerVersions.of(cx.scope(), &layer);
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    // Newest first, as AWS lists them.
    let found = page_back::<LayerVersion>(&room.store, &prefix, marker, page_size(input.max_items)).await?;
    let matching = found.items.iter().filter(|(_, v)| filter.fits(v));
    Ok(s::ListLayerVersionsResponse {
        layer_versions: Some(matching.map(|(_, v)| item(cx.scope(), v)).collect()),
        next_marker: found.next,
    })
}

pub async fn list(room: Arc<Functions>, cx: Context, input: s::ListLayersRequest) -> Result<s::ListLayersResponse> {
    let scope = cx.scope();
    let filter = Filter { runtime: input.compatible_runtime, architecture: input.compatible_architecture };
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    let found = page::<Layer>(&room.store, &Below::Layers.place(scope), marker, page_size(input.max_items)).await?;
    let mut layers = Vec::new();
    for (_, layer) in &found.items {
        let versions = Below::LayerVersions.of(scope, &layer.name);
        let newest_first = room.store.scan_back(versions.as_bytes(), &versions.end(), LOOK_BACK_MAX).await?;
        for version in newest_first {
            let version: LayerVersion = record::decode(&version.value)?;
            if filter.fits(&version) {
                layers.push(s::LayersListItem {
                    layer_name: Some(layer.name.clone()),
                    layer_arn: Some(name::layer_arn(scope, &layer.name).to_string()),
                    latest_matching_version: Some(item(scope, &version)),
                });
                break;
            }
        }
    }
    Ok(s::ListLayersResponse { next_marker: found.next, layers: Some(layers) })
}

struct Filter {
    runtime: Option<String>,
    architecture: Option<String>,
}

impl Filter {
    fn fits(&self, version: &LayerVersion) -> bool {
        self.runtime.as_ref().is_none_or(|r| version.runtimes.contains(r))
            && self.architecture.as_ref().is_none_or(|a| version.architectures.contains(a))
    }
}

pub fn missing() -> Error {
    Error::NotFound("The resource you requested does not exist.".into())
}

/// The number of a layer's version: they begin at 1.
pub fn version_number(number: i64) -> Result<u64> {
    match u64::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Error::Invalid("Layer Version Cannot be less than 1".into())),
    }
}

async fn find(room: &Functions, scope: &Scope, layer: &str, number: i64) -> Result<LayerVersion> {
    let number = version_number(number)?;
    let found = room.store.get::<LayerVersion>(&At::LayerVersion(scope, layer, number).key()).await?;
    found.ok_or_else(missing)
}

fn some(list: &[String]) -> Option<Vec<String>> {
    Some(list.to_vec()).filter(|l| !l.is_empty())
}

fn item(scope: &Scope, version: &LayerVersion) -> s::LayerVersionsListItem {
    s::LayerVersionsListItem {
        layer_version_arn: Some(name::layer_version_arn(scope, &version.layer, version.number).to_string()),
        version: Some(bytes(version.number)),
        description: Some(version.description.clone()),
        created_date: Some(date(version.created)),
        compatible_architectures: some(&version.architectures),
        compatible_runtimes: some(&version.runtimes),
        license_info: version.licence.clone(),
    }
}

async fn full(room: &Functions, cx: &Context, version: &LayerVersion) -> Result<s::GetLayerVersionResponse> {
    let item = item(cx.scope(), version);
    Ok(s::GetLayerVersionResponse {
        content: Some(s::LayerVersionContentOutput {
            location: Some(room.code_location(&cx.host, &version.package).await?),
            code_sha256: Some(sha256_base64(&version.package)),
            code_size: Some(bytes(version.package.zip_bytes)),
            ..s::LayerVersionContentOutput::default()
        }),
        layer_arn: Some(name::layer_arn(cx.scope(), &version.layer).to_string()),
        layer_version_arn: item.layer_version_arn,
        description: item.description,
        created_date: item.created_date,
        version: item.version,
        compatible_architectures: item.compatible_architectures,
        compatible_runtimes: item.compatible_runtimes,
        license_info: item.license_info,
    })
}
