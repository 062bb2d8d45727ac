//! Options of the API that Wadi lacks, refused by name, and the mapping of those it has.

use super::shapes as s;
use crate::change::PublishTo;
use crate::error::{Error, Result};
use crate::model::managed::Managed;
use crate::model::name;
use crate::model::settings::Change;
use crate::sealing::Environment;
use base::Scope;
use engine::ImageConfig;

/// The members that CreateFunction and UpdateFunctionConfiguration share.
#[derive(Default)]
pub struct Options<'a> {
    pub vpc: Option<&'a s::VpcConfig>,
    pub kms_key: Option<&'a str>,
    pub tracing: Option<&'a s::TracingConfig>,
    pub file_systems: Option<&'a [s::FileSystemConfig]>,
    pub logging: Option<&'a s::LoggingConfig>,
    /// Options that are refused whenever they are there at all, by name.
    pub absent: Vec<(&'static str, bool)>,
}

impl Options<'_> {
    /// Lets through what is there and what asks for nothing.
    pub fn check(&self) -> Result<()> {
        if let Some((name, _)) = self.absent.iter().find(|(_, given)| *given) {
            return Err(Error::unsupported(name));
        }
        let asked = [
            (
                "VpcConfig with SubnetIds (a network is named by one of the SecurityGroupIds alone)",
                self.vpc.and_then(|vpc| vpc.subnet_ids.as_deref()).is_some_and(|subnets| !subnets.is_empty()),
            ),
            (
                "VpcConfig with Ipv6AllowedForDualStack",
                self.vpc.is_some_and(|vpc| vpc.ipv6_allowed_for_dual_stack == Some(true)),
            ),
            (
                "VpcConfig with more than one of SecurityGroupIds",
                self.vpc.and_then(|vpc| vpc.security_group_ids.as_deref()).is_some_and(|groups| groups.len() > 1),
            ),
            ("KMSKeyArn", self.kms_key.is_some_and(|key| !key.is_empty())),
            ("TracingConfig with Mode Active", self.tracing.and_then(|t| t.mode.as_deref()) == Some("Active")),
            ("FileSystemConfigs", self.file_systems.is_some_and(|f| !f.is_empty())),
            (
                "LoggingConfig with LogFormat JSON",
                self.logging.is_some_and(|l| l.log_format.as_deref() == Some("JSON")),
            ),
            (
                "LoggingConfig with log levels",
                self.logging.is_some_and(|l| l.application_log_level.is_some() || l.system_log_level.is_some()),
            ),
        ];
        match asked.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Error::unsupported(name)),
            None => Ok(()),
        }
    }
}

pub fn check_create(i: &s::CreateFunctionRequest) -> Result<()> {
    Options {
        vpc: i.vpc_config.as_ref(),
        kms_key: i.kms_key_arn.as_deref(),
        tracing: i.tracing_config.as_ref(),
        file_systems: i.file_system_configs.as_deref(),
        logging: i.logging_config.as_ref(),
        absent: vec![
            ("CodeSigningConfigArn", i.code_signing_config_arn.is_some()),
            ("TenancyConfig", i.tenancy_config.is_some()),
            ("DurableConfig", i.durable_config.is_some()),
            ("RuntimeConfig", i.runtime_config.is_some()),
            ("AcceleratorConfig", i.accelerator_config.is_some()),
        ],
    }
    .check()?;
    check_code(&i.code)
}

pub fn check_update(i: &s::UpdateFunctionConfigurationRequest) -> Result<()> {
    Options {
        vpc: i.vpc_config.as_ref(),
        kms_key: i.kms_key_arn.as_deref(),
        tracing: i.tracing_config.as_ref(),
        file_systems: i.file_system_configs.as_deref(),
        logging: i.logging_config.as_ref(),
        absent: vec![
            ("DurableConfig", i.durable_config.is_some()),
            ("RuntimeConfig", i.runtime_config.is_some()),
            ("AcceleratorConfig", i.accelerator_config.is_some()),
        ],
    }
    .check()
}

fn check_code(code: &s::FunctionCode) -> Result<()> {
    check_source(
        code.s3_object_version.is_some(),
        code.s3_object_storage_mode.as_deref(),
        code.source_kms_key_arn.is_some(),
    )
}

/// The ways of giving code that are not there yet.
pub fn check_source(version: bool, storage: Option<&str>, kms_key: bool) -> Result<()> {
    let asked = [
        ("S3ObjectVersion", version),
        ("S3ObjectStorageMode REFERENCE", storage == Some("REFERENCE")),
        ("SourceKMSKeyArn", kms_key),
    ];
    match asked.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::unsupported(name)),
        None => Ok(()),
    }
}

pub fn change_of_create(
    i: &s::CreateFunctionRequest,
    environment: Option<Environment>,
    managed: Option<Managed>,
) -> Change {
    Change {
        role: Some(i.role.clone()),
        runtime: i.runtime.clone(),
        handler: i.handler.clone(),
        description: i.description.clone(),
        timeout_s: i.timeout,
        memory_mb: i.memory_size,
        ephemeral_mb: i.ephemeral_storage.as_ref().map(|e| e.size),
        environment,
        log_group: i.logging_config.as_ref().and_then(|l| l.log_group.clone()),
        snap_start: i.snap_start.as_ref().and_then(|snap| snap.apply_on.clone()),
        network: i.vpc_config.as_ref().and_then(network),
        dead_letter: i.dead_letter_config.as_ref().map(|d| d.target_arn.clone().unwrap_or_default()),
        image: i.image_config.as_ref().map(image_config),
        managed,
    }
}

pub fn change_of_update(
    i: &s::UpdateFunctionConfigurationRequest,
    environment: Option<Environment>,
    managed: Option<Managed>,
) -> Change {
    Change {
        role: i.role.clone(),
        runtime: i.runtime.clone(),
        handler: i.handler.clone(),
        description: i.description.clone(),
        timeout_s: i.timeout,
        memory_mb: i.memory_size,
        ephemeral_mb: i.ephemeral_storage.as_ref().map(|e| e.size),
        environment,
        log_group: i.logging_config.as_ref().and_then(|l| l.log_group.clone()),
        snap_start: i.snap_start.as_ref().and_then(|snap| snap.apply_on.clone()),
        network: i.vpc_config.as_ref().and_then(network),
        dead_letter: i.dead_letter_config.as_ref().map(|d| d.target_arn.clone().unwrap_or_default()),
        image: i.image_config.as_ref().map(image_config),
        managed,
    }
}

/// What is to be published, if anything. The model has one value for `to`.
pub fn publish_to(publish: Option<bool>, to: Option<&str>) -> Result<Option<PublishTo>> {
    match (publish.unwrap_or(false), to) {
        (false, Some(_)) => Err(Error::Invalid("PublishTo is allowed only where Publish is true.".into())),
        (false, None) => Ok(None),
        (true, None) => Ok(Some(PublishTo::Number)),
        (true, Some(_)) => Ok(Some(PublishTo::Latest)),
    }
}

/// A function's capacity provider, of the own account and region.
pub fn managed(scope: &Scope, given: Option<&s::CapacityProviderConfig>) -> Result<Option<Managed>> {
    let Some(given) = given.map(|given| &given.lambda_managed_instances_capacity_provider_config) else {
        return Ok(None);
    };
    let arn = &given.capacity_provider_arn;
    let provider = name::capacity_provider(scope, arn)
        .ok_or_else(|| Error::NotFound(format!("Capacity provider not found: {arn}")))?;
    let calls = given.per_execution_environment_max_concurrency.and_then(|calls| u32::try_from(calls).ok());
    Ok(Some(Managed { provider, calls, gib_per_vcpu: given.execution_environment_memory_gi_b_per_v_cpu }))
}

fn image_config(given: &s::ImageConfig) -> ImageConfig {
    ImageConfig {
        entrypoint: given.entry_point.clone().unwrap_or_default(),
        command: given.command.clone().unwrap_or_default(),
        directory: given.working_directory.clone().filter(|dir| !dir.is_empty()),
    }
}

/// Bounds of AWS's, and what our own sandbox takes.
pub fn check_image_config(given: Option<&s::ImageConfig>) -> Result<()> {
    const PARTS_MAX: usize = 1500;
    const BYTES_MAX: usize = 16 << 10;
    let Some(given) = given else { return Ok(()) };
    let parts: Vec<&String> = given.entry_point.iter().chain(&given.command).flatten().collect();
    if parts.len() > PARTS_MAX || parts.iter().map(|part| part.len() + 1).sum::<usize>() > BYTES_MAX {
        return Err(Error::Invalid(format!("EntryPoint and Command take more than {BYTES_MAX} bytes together.")));
    }
    if parts.iter().any(|part| part.contains('\0')) {
        return Err(Error::Invalid("EntryPoint and Command must not contain a zero byte.".into()));
    }
    match given.working_directory.as_deref() {
        None | Some("") => Ok(()),
        Some(dir)
            if dir.starts_with('/')
                && dir.len() <= 1000
                && !dir.contains('\0')
                && !dir.split('/').any(|part| part == "..") =>
        {
            Ok(())
        }
        Some(_) => Err(Error::Invalid("WorkingDirectory must be an absolute path of at most 1000 characters.".into())),
    }
}

/// Whether functions of this node can be in the network that is asked for.
pub fn check_network(runner: &dyn engine::Runner, vpc: Option<&s::VpcConfig>) -> Result<()> {
    match vpc.and_then(network).flatten() {
        Some(name) => {
            runner.network(&name).map_err(|reason| Error::Invalid(format!("Invalid SecurityGroupIds: {reason}")))
        }
        None => Ok(()),
    }
}

/// A network's name as the identifier of a security group, which the model has begin so.
pub const GROUP: &str = "sg-";

/// The network that a `VpcConfig` names; without one among its groups, the usual one again. `None` where it says nothing.
fn network(vpc: &s::VpcConfig) -> Option<Option<String>> {
    let name = |group: &String| group.strip_prefix(GROUP).unwrap_or(group).to_owned();
    vpc.security_group_ids.as_ref().map(|groups| groups.first().map(name))
}

/// `Architectures` of a request: one, and the machine's own.
pub fn check_architecture(asked: Option<&[String]>, here: &str) -> Result<()> {
    match asked.and_then(|list| list.first()) {
        Some(other) if other != here => Err(Error::Invalid(format!(
            "The architecture {other} is not available on this node. Available architectures: [{here}]"
        ))),
        _ => Ok(()),
    }
}
