//! A function's configuration: what may be set, what is assumed, and the bounds that the model does not state.

use super::managed::{self, Managed};
use crate::error::{Error, Result};
use crate::sealing::Environment;
use engine::{ImageConfig, Isolation};
use serde::{Deserialize, Serialize};

const MEMORY_MB_MAX: i32 = 10_240;
const TIMEOUT_S_MAX: i32 = 900;
const EPHEMERAL_MB_MAX: i32 = 10_240;

/// Everything of a version but its code, its layers and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub role: String,
    pub runtime: String,
    pub handler: String,
    pub description: String,
    pub timeout_s: u32,
    pub memory_mb: u32,
    pub ephemeral_mb: u32,
    /// `None` where the function never had any: then the reply has no `Environment`.
    pub environment: Option<Environment>,
    pub architecture: String,
    /// `None` is `/aws/lambda/<name>`.
    pub log_group: Option<String>,
    /// SnapStart's `ApplyOn`, where it was ever given: `PublishedVersions` or `None`.
    #[serde(default)]
    pub snap_start: Option<String>,
    /// The name of its network, among the node's; `None` is the usual one.
    #[serde(default)]
    pub network: Option<String>,
    /// The ARN of the queue or topic for events that cannot be processed.
    #[serde(default)]
    pub dead_letter: Option<String>,
    /// Of a container image: what is replaced of its own. Runtime and handler are empty then.
    #[serde(default)]
    pub image: ImageConfig,
    /// As the tag `wadi:isolation` was when this was made; `None` leaves it to the node.
    #[serde(default)]
    pub isolation: Option<Isolation>,
    /// As the tag `wadi:network` was when this was made: its network where `network` is `None`.
    #[serde(default)]
    pub network_tagged: Option<String>,
    /// On which capacity provider it is to run, and how; `None` is the usual way.
    #[serde(default)]
    pub managed: Option<Managed>,
    /// As the tag `wadi:concurrency` was when this was made: calls at once in one instance where `managed` is `None`.
    #[serde(default)]
    pub calls_tagged: Option<u32>,
}

/// What a request sets. `None` leaves a member as it is, or at its default in a new function.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub role: Option<String>,
    pub runtime: Option<String>,
    pub handler: Option<String>,
    pub description: Option<String>,
    pub timeout_s: Option<i32>,
    pub memory_mb: Option<i32>,
    pub ephemeral_mb: Option<i32>,
    pub environment: Option<Environment>,
    pub log_group: Option<String>,
    pub snap_start: Option<String>,
    /// `Some(None)` takes the name away.
    pub network: Option<Option<String>>,
    /// Empty takes it away.
    pub dead_letter: Option<String>,
    pub image: Option<ImageConfig>,
    pub managed: Option<Managed>,
}

/// What a function is made of, in AWS's words: its `PackageType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Zip,
    Image,
}

impl Settings {
    /// The settings of a new function.
    pub fn new(change: Change, kind: Kind, architecture: &str, runtimes: &[String]) -> Result<Self> {
        if kind == Kind::Zip && (change.runtime.is_none() || change.handler.is_none()) {
            let message =
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.";
            return Err(Error::Invalid(message.into()));
        }
        let mut settings = Self {
            role: String::new(),
            runtime: String::new(),
            handler: String::new(),
            description: String::new(),
            timeout_s: 3,
            memory_mb: if change.managed.is_some() { managed::MEMORY_MB_MIN } else { 128 },
            ephemeral_mb: 512,
            environment: None,
            architecture: architecture.to_owned(),
            log_group: None,
            snap_start: None,
            network: None,
            dead_letter: None,
            image: ImageConfig::default(),
            isolation: None,
            network_tagged: None,
            managed: None,
            calls_tagged: None,
        };
        settings.apply(change, kind, runtimes)?;
        Ok(settings)
    }

    /// Makes the change, whole or not at all.
    pub fn apply(&mut self, change: Change, kind: Kind, runtimes: &[String]) -> Result<()> {
        change.check_kind(kind)?;
        let mut next = self.clone();
        if let Some(role) = change.role {
            check_role(&role)?;
            next.role = role;
        }
        if let Some(runtime) = change.runtime {
            super::runtime::parse(&runtime, runtimes)?;
            next.runtime = runtime;
        }
        if let Some(arn) = change.dead_letter {
            next.dead_letter = check_dead_letter(arn)?;
        }
        next.timeout_s = bounded(change.timeout_s, "timeout", 1, TIMEOUT_S_MAX)?.unwrap_or(next.timeout_s);
        next.managed = change.managed.or(next.managed);
        let memory_mb_max = if next.managed.is_some() { managed::MEMORY_MB_MAX } else { MEMORY_MB_MAX };
        next.memory_mb = bounded(change.memory_mb, "memorySize", 128, memory_mb_max)?.unwrap_or(next.memory_mb);
        next.ephemeral_mb =
            bounded(change.ephemeral_mb, "ephemeralStorage.size", 512, EPHEMERAL_MB_MAX)?.unwrap_or(next.ephemeral_mb);
        next.handler = change.handler.unwrap_or(next.handler);
        next.description = change.description.unwrap_or(next.description);
        next.environment = change.environment.or(next.environment);
        next.log_group = change.log_group.or(next.log_group);
        next.snap_start = change.snap_start.or(next.snap_start);
        next.network = change.network.unwrap_or(next.network);
        next.image = change.image.unwrap_or(next.image);
        if next.applies_snap_start() && !next.runtime.starts_with("python") {
            let what = if kind == Kind::Image { "A container image" } else { &next.runtime };
            return Err(Error::Invalid(format!("{what} is not supported for SnapStart enabled functions.")));
        }
        if let Some(managed) = &next.managed {
            if next.applies_snap_start() {
                let message = "CapacityProviderConfig is not supported for SnapStart enabled functions.";
                return Err(Error::Invalid(message.into()));
            }
            managed.check(kind, &next.runtime, next.memory_mb)?;
        }
        *self = next;
        Ok(())
    }
}

/// A queue or a topic, or nothing.
fn check_dead_letter(arn: String) -> Result<Option<String>> {
    match arn.parse::<base::Arn>() {
        _ if arn.is_empty() => Ok(None),
        Ok(target) if matches!(target.service.as_str(), "sqs" | "sns") => Ok(Some(arn)),
        _ => Err(Error::Invalid(format!("The provided dead-letter target ARN {arn} is not of a queue or a topic."))),
    }
}

impl Settings {
    /// Whether published versions are to be copied from an initialised process. Where SnapStart was never given, the
    /// node decides.
    pub fn applies_snap_start(&self) -> bool {
        self.snap_start.as_deref() == Some("PublishedVersions")
    }

    /// Calls at once in one instance; `None` is one, in the usual way.
    pub fn per_instance(&self) -> Option<u32> {
        self.managed.as_ref().map(|managed| managed.calls(&self.runtime, self.memory_mb)).or(self.calls_tagged)
    }
}

impl Change {
    /// Refuses what belongs to functions of the other kind.
    fn check_kind(&self, kind: Kind) -> Result<()> {
        let misplaced = match kind {
            Kind::Zip => [("ImageConfig", self.image.is_some()), ("", false)],
            Kind::Image => [("Runtime", self.runtime.is_some()), ("Handler", self.handler.is_some())],
        };
        match misplaced.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(misplaced_error(name, kind)),
            None => Ok(()),
        }
    }
}

/// A parameter of functions of the other kind.
pub fn misplaced_error(name: &str, kind: Kind) -> Error {
    Error::Invalid(format!("Please don't provide {name} for a function with the package type {kind:?}."))
}

fn bounded(value: Option<i32>, member: &str, min: i32, max: i32) -> Result<Option<u32>> {
    match value {
        Some(v) if v > max => {
            Err(Error::constraint(v, member, &format!("Member must have value less than or equal to {max}")))
        }
        Some(v) if v < min => {
            Err(Error::constraint(v, member, &format!("Member must have value greater than or equal to {min}")))
        }
        value => Ok(value.map(|v| u32::try_from(v).expect("min is above zero"))),
    }
}

/// `arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`
fn check_role(role: &str) -> Result<()> {
    let arn: Option<base::Arn> = role.parse().ok();
    let proper = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_/".contains(c);
    let ok = arn.is_some_and(|arn| {
        let name = arn.resource.strip_prefix("role").unwrap_or("");
        arn.partition.starts_with("aws")
            && arn.service == "iam"
            && arn.region.is_empty()
            && base::AccountId::parse(&arn.account).is_some()
            && !name.trim_start_matches('/').is_empty()
            && name.chars().all(proper)
    });
    if ok {
        return Ok(());
    }
    let constraint = concat!(
        "Member must satisfy regular expression pattern: ",
        r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
    );
    Err(Error::constraint(role, "role", constraint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create() -> Change {
        Change {
            role: Some("arn:aws:iam::000000000000:role/r".into()),
            runtime: Some("python3.11".into()),
            handler: Some("m.h".into()),
            ..Change::default()
        }
    }

    fn make(change: Change) -> Result<Settings> {
        Settings::new(change, Kind::Zip, "x86_64", &["python3.11".to_owned()])
    }

    #[test]
    fn defaults_are_awss() {
        let settings = make(create()).expect("valid");
        assert_eq!((settings.timeout_s, settings.memory_mb, settings.ephemeral_mb), (3, 128, 512));
        assert_eq!(settings.environment, None);
    }

    #[test]
    fn bounds() {
        let check = |change: Change, expect: &str| {
            let error = make(change).expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(Change { handler: None, ..create() }, "Runtime and Handler are mandatory parameters");
        check(Change { timeout_s: Some(901), ..create() }, "Value '901' at 'timeout' failed to satisfy constraint");
        check(Change { memory_mb: Some(20_000), ..create() }, "'memorySize'");
        check(Change { memory_mb: Some(64), ..create() }, "greater than or equal to 128");
        for role in
            ["", "r", "arn:aws:iam::1:role/r", "arn:aws:iam::000000000000:user/r", "arn:aws:iam::000000000000:role/"]
        {
            check(Change { role: Some(role.into()), ..create() }, "at 'role' failed to satisfy constraint");
        }
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let mut settings = make(create()).expect("valid");
        let before = settings.clone();
        let change = Change { description: Some("x".into()), timeout_s: Some(1000), ..Change::default() };
        assert!(settings.apply(change, Kind::Zip, &[]).is_err());
        assert_eq!(settings, before);
    }
}
