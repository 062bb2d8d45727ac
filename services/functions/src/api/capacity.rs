//! Capacity providers: create, get, update, delete, list, and the function versions that run on one.

use super::configuration::date;
use super::{options, page_size, shapes as s, tags};
use crate::Functions;
use crate::capacity::{missing, provider, user};
use crate::error::{Error, Result};
use crate::model::managed::{PROVIDER_NAME_MAX, PROVIDERS_MAX};
use crate::model::name::{self, Qualifier};
use crate::records::{CapacityProvider, CapacityUse, Function, Published};
use crate::store::{At, Below, page};
use base::{Arn, Scope};
use room::Context;
use std::sync::Arc;

/// vCPUs that a provider has at most where it is not said, as on AWS.
const VCPUS: i32 = 400;

/// On this node a provider is there as soon as it is written down.
pub async fn create(
    room: Arc<Functions>,
    cx: Context,
    input: s::CreateCapacityProviderRequest,
) -> Result<s::CreateCapacityProviderResponse> {
    let scope = cx.scope();
    let name = &named(scope, &input.capacity_provider_name)?;
    check_absent(input.propagate_tags.as_ref(), input.telemetry_config.as_ref())?;
    if input.kms_key_arn.is_some() {
        return Err(Error::unsupported("KmsKeyArn"));
    }
    check_groups(&room, &input.vpc_config)?;
    if let Some(requirements) = &input.instance_requirements {
        check_requirements(requirements, room.config.architecture)?;
    }
    let tags = input.tags.clone().unwrap_or_default();
    tags::check(&tags)?;
    let record = &CapacityProvider {
        name: name.clone(),
        vpc: input.vpc_config,
        role: input.permissions_config.capacity_provider_operator_role_arn,
        requirements: input.instance_requirements,
        scaling: scaling(input.capacity_provider_scaling_config)?,
        tags,
        modified: room.clock.now(),
    };
    let key = &At::CapacityProvider(scope, name).key();
    room.store
        .transact(|tx| async move {
            if tx.get::<CapacityProvider>(key).await?.is_some() {
                return Err(Error::Conflict(format!("Capacity provider already exists: {name}")));
            }
            let place = Below::CapacityProviders.place(scope);
            if tx.scan(place.as_bytes(), &place.end(), PROVIDERS_MAX).await?.len() == PROVIDERS_MAX {
                return Err(Error::TooManyProviders);
            }
            Ok(tx.put(key, record)?)
        })
        .await?;
    Ok(s::CreateCapacityProviderResponse { capacity_provider: shape(scope, record, "Active") })
}

pub async fn get(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetCapacityProviderRequest,
) -> Result<s::GetCapacityProviderResponse> {
    let name = named(cx.scope(), &input.capacity_provider_name)?;
    let record = room.store.get::<CapacityProvider>(&At::CapacityProvider(cx.scope(), &name).key()).await?;
    let record = record.ok_or_else(|| missing(cx.scope(), &name))?;
    Ok(s::GetCapacityProviderResponse { capacity_provider: shape(cx.scope(), &record, "Active") })
}

pub async fn update(
    room: Arc<Functions>,
    cx: Context,
    input: s::UpdateCapacityProviderRequest,
) -> Result<s::UpdateCapacityProviderResponse> {
    let (scope, now) = (cx.scope(), room.clock.now());
    let name = &named(scope, &input.capacity_provider_name)?;
    check_absent(input.propagate_tags.as_ref(), input.telemetry_config.as_ref())?;
    let wanted = &input.capacity_provider_scaling_config.map(|given| scaling(Some(given))).transpose()?;
    let record = room
        .store
        .transact(|tx| async move {
            let mut record = provider(&tx, scope, name).await?;
            if let Some(wanted) = wanted {
                record.scaling.clone_from(wanted);
            }
            record.modified = now;
            tx.put(&At::CapacityProvider(scope, name).key(), &record)?;
            Ok::<_, Error>(record)
        })
        .await?;
    Ok(s::UpdateCapacityProviderResponse { capacity_provider: shape(scope, &record, "Active") })
}

/// Refused while any version of a function is configured for it.
pub async fn delete(
    room: Arc<Functions>,
    cx: Context,
    input: s::DeleteCapacityProviderRequest,
) -> Result<s::DeleteCapacityProviderResponse> {
    let scope = cx.scope();
    let name = &named(scope, &input.capacity_provider_name)?;
    let record = room
        .store
        .transact(|tx| async move {
            let record = provider(&tx, scope, name).await?;
            let users = Below::CapacityUses.of(scope, name);
            if !tx.scan(users.as_bytes(), &users.end(), 1).await?.is_empty() {
                return Err(Error::Conflict(format!(
                    "Capacity provider {name} cannot be deleted: functions are configured to use it."
                )));
            }
            tx.delete(&At::CapacityProvider(scope, name).key());
            Ok(record)
        })
        .await?;
    Ok(s::DeleteCapacityProviderResponse { capacity_provider: shape(scope, &record, "Deleting") })
}

pub async fn list(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListCapacityProvidersRequest,
) -> Result<s::ListCapacityProvidersResponse> {
    let scope = cx.scope();
    if input.state.as_deref().is_some_and(|state| state != "Active") {
        return Ok(s::ListCapacityProvidersResponse { capacity_providers: Vec::new(), next_marker: None });
    }
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    let prefix = Below::CapacityProviders.place(scope);
    let found = page::<CapacityProvider>(&room.store, &prefix, marker, page_size(input.max_items)).await?;
    Ok(s::ListCapacityProvidersResponse {
        capacity_providers: found.items.iter().map(|(_, record)| shape(scope, record, "Active")).collect(),
        next_marker: found.next,
    })
}

pub async fn list_versions(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListFunctionVersionsByCapacityProviderRequest,
) -> Result<s::ListFunctionVersionsByCapacityProviderResponse> {
    let scope = cx.scope();
    let name = &named(scope, &input.capacity_provider_name)?;
    room.store.transact(|tx| async move { provider(&tx, scope, name).await }).await?;
    let prefix = Below::CapacityUses.of(scope, name);
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    let found = page::<CapacityUse>(&room.store, &prefix, marker, page_size(input.max_items)).await?;
    let mut versions = Vec::new();
    for (function, version) in found.items.iter().filter_map(|(key, _)| user(&prefix, key)) {
        let snapshot = match Qualifier::of(Some(&version)) {
            Qualifier::Version(number) => {
                let key = At::Version(scope, &function, number).key();
                room.store.get::<Published>(&key).await?.map(|published| published.snapshot)
            }
            _ => room.store.get::<Function>(&At::Function(scope, &function).key()).await?.map(|f| f.latest),
        };
        // It may have gone since the page was read.
        let Some(snapshot) = snapshot else { continue };
        versions.push(s::FunctionVersionsByCapacityProviderListItem {
            function_arn: name::qualified(scope, &function, Some(&version)).to_string(),
            state: snapshot.state_name(&version).to_owned(),
        });
    }
    Ok(s::ListFunctionVersionsByCapacityProviderResponse {
        capacity_provider_arn: name::capacity_provider_arn(scope, name).to_string(),
        function_versions: versions,
        next_marker: found.next,
    })
}

/// A provider's name, given as a name or as its ARN.
fn named(scope: &Scope, text: &str) -> Result<String> {
    let name = match text.strip_prefix("arn:") {
        Some(_) => name::capacity_provider(scope, text)
            .ok_or_else(|| Error::NotFound(format!("Capacity provider not found: {text}")))?,
        None => text.to_owned(),
    };
    if name.len() > PROVIDER_NAME_MAX {
        let constraint = format!("Member must have length less than or equal to {PROVIDER_NAME_MAX}");
        return Err(Error::constraint(name, "capacityProviderName", &constraint));
    }
    Ok(name)
}

/// There are no machines here that tags or logs of their own could belong to.
fn check_absent(tags: Option<&s::PropagateTags>, telemetry: Option<&s::CapacityProviderTelemetryConfig>) -> Result<()> {
    if tags.is_some_and(|tags| tags.mode.as_deref() == Some("Explicit") || tags.explicit_tags.is_some()) {
        return Err(Error::unsupported("PropagateTags with ExplicitTags"));
    }
    match telemetry.and_then(|telemetry| telemetry.logging_config.as_ref()) {
        Some(_) => Err(Error::unsupported("TelemetryConfig with LoggingConfig")),
        None => Ok(()),
    }
}

/// A provider's groups limit nothing here: one that names a network of this node would promise what is not kept.
fn check_groups(room: &Functions, vpc: &s::CapacityProviderVpcConfig) -> Result<()> {
    let network = |group: &&String| {
        group.strip_prefix(options::GROUP).is_some_and(|name| !name.is_empty() && room.runner.network(name).is_ok())
    };
    match vpc.security_group_ids.iter().find(network) {
        Some(group) => Err(Error::unsupported(&format!(
            "the network {group} for a capacity provider (name it in the VpcConfig of its functions)"
        ))),
        None => Ok(()),
    }
}

fn check_requirements(requirements: &s::InstanceRequirements, here: &str) -> Result<()> {
    options::check_architecture(requirements.architectures.as_deref(), here)?;
    let some = |types: &Option<Vec<String>>| types.as_ref().is_some_and(|types| !types.is_empty());
    if some(&requirements.allowed_instance_types) && some(&requirements.excluded_instance_types) {
        let message = "AllowedInstanceTypes and ExcludedInstanceTypes cannot be specified together.";
        return Err(Error::Invalid(message.into()));
    }
    Ok(())
}

/// As asked, with what AWS assumes.
fn scaling(asked: Option<s::CapacityProviderScalingConfig>) -> Result<s::CapacityProviderScalingConfig> {
    let mut scaling = asked.unwrap_or_default();
    let policies = scaling.scaling_policies.as_deref().unwrap_or_default();
    if policies.iter().any(|p| p.predefined_metric_type == "LambdaCapacityProviderAverageGPUUtilization") {
        return Err(Error::unsupported("the metric LambdaCapacityProviderAverageGPUUtilization"));
    }
    let manual = scaling.scaling_mode.as_deref() == Some("Manual");
    if manual == policies.is_empty() {
        return Err(Error::Invalid(
            "ScalingPolicies are to be given with the ScalingMode Manual, and only with it.".into(),
        ));
    }
    scaling.max_v_cpu_count.get_or_insert(VCPUS);
    scaling.scaling_mode.get_or_insert_with(|| "Auto".into());
    Ok(scaling)
}

fn shape(scope: &Scope, record: &CapacityProvider, state: &str) -> s::CapacityProvider {
    let arn: Arn = name::capacity_provider_arn(scope, &record.name);
    s::CapacityProvider {
        capacity_provider_arn: arn.to_string(),
        state: state.into(),
        vpc_config: record.vpc.clone(),
        permissions_config: s::CapacityProviderPermissionsConfig {
            capacity_provider_operator_role_arn: record.role.clone(),
        },
        instance_requirements: record.requirements.clone(),
        capacity_provider_scaling_config: Some(record.scaling.clone()),
        last_modified: Some(date(record.modified)),
        ..s::CapacityProvider::default()
    }
}
