//! A version's record as `FunctionConfiguration`, the shape that half of the operations answer with.

use super::{options, shapes as s};
use crate::code::code_sha256;
use crate::model::managed::Managed;
use crate::model::{LATEST, name};
use crate::records::{Published, Snapshot, State, Update};
use crate::sealing;
use ::store::Seal;
use base::{Scope, Timestamp};
use engine::ImageConfig;
use sha2::{Digest, Sha256};

/// `qualifier` is the one that the ARN shall end with, if any; `version` is `$LATEST` or a number.
pub fn configuration(
    seal: &Seal,
    scope: &Scope,
    function: &str,
    version: &str,
    qualifier: Option<&str>,
    snapshot: &Snapshot,
) -> s::FunctionConfiguration {
    let settings = &snapshot.settings;
    let image = snapshot.code.image().is_some();
    let some = |text: &String| Some(text.clone()).filter(|_| !image);
    let state_reason = state_reason(&snapshot.state);
    let (update, update_reason) = update_of(&snapshot.update);
    let layers: Vec<s::Layer> = snapshot
        .layers
        .iter()
        .map(|l| s::Layer {
            arn: Some(l.arn.clone()),
            code_size: Some(bytes(l.package.zip_bytes)),
            ..s::Layer::default()
        })
        .collect();
    s::FunctionConfiguration {
        function_name: Some(function.to_owned()),
        function_arn: Some(name::qualified(scope, function, qualifier).to_string()),
        runtime: some(&settings.runtime),
        role: Some(settings.role.clone()),
        handler: some(&settings.handler),
        code_size: Some(bytes(snapshot.code.zip_bytes())),
        description: Some(settings.description.clone()),
        timeout: Some(number(settings.timeout_s)),
        memory_size: Some(number(settings.memory_mb)),
        last_modified: Some(date(snapshot.modified)),
        code_sha256: Some(code_sha256(&snapshot.code)),
        version: Some(version.to_owned()),
        environment: settings.environment.as_ref().map(|held| sealing::shown(seal, held, scope, function)),
        dead_letter_config: settings.dead_letter.clone().map(|arn| s::DeadLetterConfig { target_arn: Some(arn) }),
        tracing_config: Some(s::TracingConfigResponse { mode: Some("PassThrough".into()) }),
        revision_id: Some(snapshot.revision_id.clone()),
        layers: Some(layers).filter(|l| !l.is_empty()),
        state: Some(snapshot.state_name(version).into()),
        state_reason_code: state_reason.as_ref().map(|(code, _)| code.clone()),
        state_reason: state_reason.map(|(_, reason)| reason),
        last_update_status: update.map(str::to_owned),
        last_update_status_reason_code: update_reason.as_ref().map(|(code, _)| code.clone()),
        last_update_status_reason: update_reason.map(|(_, reason)| reason),
        package_type: Some(if image { "Image" } else { "Zip" }.into()),
        image_config_response: image_config(&settings.image),
        architectures: Some(vec![settings.architecture.clone()]),
        ephemeral_storage: Some(s::EphemeralStorage { size: number(settings.ephemeral_mb) }),
        snap_start: Some(s::SnapStartResponse {
            apply_on: Some(settings.snap_start.clone().unwrap_or_else(|| "None".into())),
            optimization_status: Some(
                if settings.applies_snap_start() && version != LATEST { "On" } else { "Off" }.into(),
            ),
        }),
        runtime_version_config: (!image).then(|| s::RuntimeVersionConfig {
            runtime_version_arn: Some(runtime_version(scope, &settings.runtime)),
            error: None,
        }),
        logging_config: Some(s::LoggingConfig {
            log_format: Some("Text".into()),
            log_group: Some(settings.log_group.clone().unwrap_or_else(|| format!("/aws/lambda/{function}"))),
            ..s::LoggingConfig::default()
        }),
        vpc_config: settings.network.clone().map(|network| s::VpcConfigResponse {
            security_group_ids: Some(vec![format!("{}{network}", options::GROUP)]),
            subnet_ids: Some(Vec::new()),
            ..s::VpcConfigResponse::default()
        }),
        capacity_provider_config: settings.managed.as_ref().map(|managed| capacity_provider(scope, managed)),
        ..s::FunctionConfiguration::default()
    }
}

fn capacity_provider(scope: &Scope, managed: &Managed) -> s::CapacityProviderConfig {
    s::CapacityProviderConfig {
        lambda_managed_instances_capacity_provider_config: s::LambdaManagedInstancesCapacityProviderConfig {
            capacity_provider_arn: name::capacity_provider_arn(scope, &managed.provider).to_string(),
            per_execution_environment_max_concurrency: managed.calls.map(number),
            execution_environment_memory_gi_b_per_v_cpu: managed.gib_per_vcpu,
        },
    }
}

fn image_config(config: &ImageConfig) -> Option<s::ImageConfigResponse> {
    let list = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    let shown = s::ImageConfig {
        entry_point: list(&config.entrypoint),
        command: list(&config.command),
        working_directory: config.directory.clone(),
    };
    (*config != ImageConfig::default()).then(|| s::ImageConfigResponse { image_config: Some(shown), error: None })
}

/// As a listing shows it: "a subset of the FunctionConfiguration fields", without the state.
pub fn listed(mut full: s::FunctionConfiguration) -> s::FunctionConfiguration {
    full.state = None;
    full.state_reason = None;
    full.state_reason_code = None;
    full.last_update_status = None;
    full.last_update_status_reason = None;
    full.last_update_status_reason_code = None;
    full.runtime_version_config = None;
    full
}

/// `2026-11-23T15:51:04.123+0000`
pub fn date(at: Timestamp) -> String {
    format!("{}+0000", at.iso8601().trim_end_matches('Z'))
}

pub fn number(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

pub fn bytes(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

type Reason = Option<(String, String)>;

/// A published version, by its own ARN.
pub fn published_configuration(
    seal: &Seal,
    scope: &Scope,
    function: &str,
    published: &Published,
) -> s::FunctionConfiguration {
    let version = name::version(published.number);
    configuration(seal, scope, function, &version, Some(&version), &published.snapshot)
}

fn creating() -> Reason {
    Some(("Creating".into(), "The function is being created.".into()))
}

fn state_reason(state: &State) -> Reason {
    match state {
        State::Pending => creating(),
        State::Active => None,
        State::Failed { code, reason } => Some((code.clone(), reason.clone())),
    }
}

fn update_of(update: &Update) -> (Option<&'static str>, Reason) {
    match update {
        Update::None => (None, None),
        Update::Successful => (Some("Successful"), None),
        // AWS words an update as a creation.
        Update::InProgress => (Some("InProgress"), creating()),
        Update::Failed { code, reason } => (Some("Failed"), Some((code.clone(), reason.clone()))),
    }
}

/// A stable name for "this runtime as it is here"; AWS's are opaque digests too.
fn runtime_version(scope: &Scope, runtime: &str) -> String {
    format!("arn:aws:lambda:{}::runtime:{}", scope.region, hex::encode(Sha256::digest(runtime)))
}
