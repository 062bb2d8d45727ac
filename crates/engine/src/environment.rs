//! The environment a function starts with, as AWS documents it.

use crate::{Runtime, Version};
use base::port::TemporaryKeys;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Where the Runtime API is.
pub(crate) const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// How long an instance's keys last; it is not used for longer than [`AGE_MAX`], so they outlive every run.
pub(crate) const KEYS_LAST: Duration = Duration::from_secs(12 * 3600);
pub(crate) const AGE_MAX: Duration = Duration::from_secs(8 * 3600);

/// What differs from instance to instance.
pub(crate) struct Instance<'a> {
    pub log_stream: &'a str,
    pub keys: &'a TemporaryKeys,
    /// Ports on the instance's loopback.
    pub runtime_api_port: u16,
    /// `None` where the platform is not to be reached.
    pub platform_port: Option<u16>,
    /// The interpreter's `bin`, where there is an interpreter.
    pub interpreter_bin: Option<&'a Path>,
}

/// The version as its provisioned instances see it: a variable says how they were initialised. Users cannot set it. They
/// are not copied: an initialisation that looks at that variable must find theirs.
pub(crate) fn provisioned(version: &Version) -> Version {
    let mut version = version.clone();
    version.copies = Some(false);
    version.environment.insert("AWS_LAMBDA_INITIALIZATION_TYPE".into(), "provisioned-concurrency".into());
    version
}

/// The user's own variables lie on top; which names are reserved is checked when a function is configured.
///
/// `own` is what an image says (`NAME=value`): over what is assumed, under what is AWS's.
pub(crate) fn environment(version: &Version, own: &[String], instance: &Instance<'_>) -> BTreeMap<String, String> {
    let region = version.scope.region.as_str();
    let keys = instance.keys;
    let memory = version.memory_mb.to_string();
    let runtime_api = format!("127.0.0.1:{}", instance.runtime_api_port);
    let path = match instance.interpreter_bin {
        Some(bin) => format!("{}:/usr/local/bin:/usr/bin:/bin:/opt/bin", bin.display()),
        None => "/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned(),
    };
    let mut env: BTreeMap<String, String> = [
        ("_HANDLER", version.handler.as_str()),
        ("AWS_REGION", region),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_LAMBDA_FUNCTION_NAME", &version.name),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_FUNCTION_VERSION", &version.version),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &version.log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", instance.log_stream),
        ("AWS_ACCESS_KEY_ID", &keys.access_key),
        ("AWS_SECRET_ACCESS_KEY", &keys.secret_key),
        ("AWS_SESSION_TOKEN", &keys.session_token),
        (RUNTIME_API, &runtime_api),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("LANG", language()),
        ("PATH", &path),
        ("LD_LIBRARY_PATH", "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"),
        ("TZ", ":UTC"),
        ("_LAMBDA_TELEMETRY_LOG_FD", "3"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    if let Some(port) = instance.platform_port {
        env.insert("AWS_ENDPOINT_URL".into(), format!("http://127.0.0.1:{port}"));
    }
    if let Some(calls) = version.per_instance {
        env.insert("AWS_LAMBDA_INITIALIZATION_TYPE".into(), "lambda-managed-instances".into());
        env.insert("AWS_LAMBDA_MAX_CONCURRENCY".into(), calls.to_string());
    }
    match &version.runtime {
        Runtime::Python { minor } => {
            env.insert("AWS_EXECUTION_ENV".into(), format!("AWS_Lambda_python3.{minor}"));
            env.insert("PYTHONPATH".into(), "/var/runtime".into());
        }
        Runtime::Node { major } => {
            env.insert("AWS_EXECUTION_ENV".into(), format!("AWS_Lambda_nodejs{major}.x"));
            let layers = format!("/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules");
            env.insert("NODE_PATH".into(), format!("{layers}:/var/runtime/node_modules:/var/runtime:/var/task"));
        }
        Runtime::Provided(_) => {}
        Runtime::Image(_) => {
            // The entry point knows its handler; the base images of AWS take it from their arguments.
            env.remove("_HANDLER");
        }
    }
    let reserved = |name: &str| name.starts_with("AWS_") || name.starts_with('_');
    let own = own.iter().filter_map(|pair| pair.split_once('=')).filter(|(name, _)| !reserved(name));
    env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env.extend(version.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}

/// Of an instance's environment what a component has: some of it means nothing to one, unless the function sets it.
pub(crate) fn of_component(version: &Version, mut env: BTreeMap<String, String>) -> BTreeMap<String, String> {
    const OF_PROCESSES: [&str; 6] = [
        RUNTIME_API,
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "LAMBDA_RUNTIME_DIR",
        "LD_LIBRARY_PATH",
        "PATH",
        "_LAMBDA_TELEMETRY_LOG_FD",
    ];
    env.retain(|name, _| !OF_PROCESSES.contains(&name.as_str()) || version.environment.contains_key(name));
    env
}

/// What a cell starts with: of an instance's environment what an interpreter reads once, when it starts, and its way to the
/// Runtime API. The rest it is told when it is known. The names that users give variables do not begin with `_`.
pub(crate) fn of_cell(version: &Version, instance: &Instance<'_>) -> BTreeMap<String, String> {
    const STARTED_WITH: [&str; 8] = [
        "AWS_EXECUTION_ENV",
        RUNTIME_API,
        "LANG",
        "LD_LIBRARY_PATH",
        "NODE_PATH",
        "PATH",
        "TZ",
        "_LAMBDA_TELEMETRY_LOG_FD",
    ];
    let bare = Version { environment: BTreeMap::new(), ..version.clone() };
    let mut env = environment(&bare, &[], instance);
    env.retain(|name, _| STARTED_WITH.contains(&name.as_str()));
    env.insert("_WADI_CELL".into(), "1".into());
    env
}

/// AWS's locale, where the machine has it.
pub(crate) fn language() -> &'static str {
    if Path::new("/usr/lib/locale/en_US.utf8").exists() { "en_US.UTF-8" } else { "C.UTF-8" }
}
