//! Functions of a capacity provider (Lambda Managed Instances), whose instances take several calls at once.

use super::settings::Kind;
use crate::error::{Error, Result};
use engine::Runtime;
use serde::{Deserialize, Serialize};

/// Memory of such a function in MB. Sources: "Best practices for Lambda Managed Instances" (2 GB and 1 vCPU at least), and
/// the service's model.
pub const MEMORY_MB_MIN: u32 = 2048;
pub const MEMORY_MB_MAX: i32 = 32_768;
/// The most calls at once in one instance.
pub const CALLS_MAX: u32 = 1600;
/// Capacity providers of an account in a region, and published versions of one provider. Source: "Lambda Managed Instances
/// quotas".
pub const PROVIDERS_MAX: usize = 1000;
pub const VERSIONS_MAX: usize = 100;
/// The longest name of a capacity provider. Source: the model's pattern for what has tags.
pub const PROVIDER_NAME_MAX: usize = 64;

/// GiB of memory a vCPU, where it is not said.
const GIB_PER_VCPU: f64 = 2.0;

/// A function's `LambdaManagedInstancesCapacityProviderConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Managed {
    /// The provider's name, in the function's own account and region.
    pub provider: String,
    /// `PerExecutionEnvironmentMaxConcurrency`, where it was given.
    pub calls: Option<u32>,
    /// `ExecutionEnvironmentMemoryGiBPerVCpu`, where it was given.
    pub gib_per_vcpu: Option<f64>,
}

impl Managed {
    /// Calls at once in one instance: as asked, else so many a vCPU as AWS has for the runtime.
    pub fn calls(&self, runtime: &str, memory_mb: u32) -> u32 {
        self.calls.unwrap_or_else(|| (per_vcpu(runtime) * self.vcpus(memory_mb)).clamp(1, CALLS_MAX))
    }

    /// Whole ones.
    fn vcpus(&self, memory_mb: u32) -> u32 {
        (f64::from(memory_mb) / 1024.0 / self.gib_per_vcpu.unwrap_or(GIB_PER_VCPU)) as u32
    }

    /// What AWS documents of such functions: runtimes and memory.
    pub fn check(&self, kind: Kind, runtime: &str, memory_mb: u32) -> Result<()> {
        let fits = match super::runtime::of(runtime) {
            _ if kind == Kind::Image => true,
            Runtime::Python { minor } => minor >= 13,
            Runtime::Node { major } => major >= 22,
            _ => runtime == "provided.al2023",
        };
        if !fits {
            return Err(Error::Invalid(format!(
                "The runtime {runtime} is not supported for functions with CapacityProviderConfig. Supported: python3.13 \
                 and newer, nodejs22.x and newer, provided.al2023, container images"
            )));
        }
        if memory_mb < MEMORY_MB_MIN {
            return Err(Error::Invalid(format!(
                "MemorySize of a function with CapacityProviderConfig must be at least {MEMORY_MB_MIN} MB."
            )));
        }
        if self.vcpus(memory_mb) == 0 {
            return Err(Error::Invalid(format!(
                "MemorySize of {memory_mb} MB is less than one vCPU at {} GiB a vCPU \
                 (ExecutionEnvironmentMemoryGiBPerVCpu).",
                self.gib_per_vcpu.unwrap_or(GIB_PER_VCPU)
            )));
        }
        Ok(())
    }
}

/// AWS's defaults by language; other programs, images among them, have Rust's.
fn per_vcpu(runtime: &str) -> u32 {
    match super::runtime::of(runtime) {
        Runtime::Node { .. } => 64,
        Runtime::Python { .. } => 16,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn managed(calls: Option<u32>, gib_per_vcpu: Option<f64>) -> Managed {
        Managed { provider: "p".into(), calls, gib_per_vcpu }
    }

    #[test]
    fn calls_go_by_runtime_and_vcpus() {
        for (runtime, memory_mb, gib, expect) in [
            ("nodejs22.x", 2048, None, 64),
            ("nodejs22.x", 32_768, None, 1024),
            ("nodejs22.x", 8192, Some(8.0), 64),
            ("python3.13", 4096, None, 32),
            ("python3.13", 5000, Some(4.0), 16),
            ("provided.al2023", 2048, None, 8),
            ("", 4096, None, 16),
        ] {
            assert_eq!(managed(None, gib).calls(runtime, memory_mb), expect, "{runtime} {memory_mb} {gib:?}");
        }
        assert_eq!(managed(Some(3), None).calls("nodejs22.x", 32_768), 3);
    }

    #[test]
    fn what_is_refused() {
        let refusal = |kind, runtime, memory_mb, gib| {
            managed(None, gib).check(kind, runtime, memory_mb).err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert_eq!(refusal(Kind::Zip, "python3.13", 2048, None), "");
        assert_eq!(refusal(Kind::Image, "", 2048, None), "");
        for runtime in ["python3.12", "nodejs20.x", "provided.al2"] {
            assert!(refusal(Kind::Zip, runtime, 2048, None).contains(runtime));
        }
        assert!(refusal(Kind::Zip, "nodejs22.x", 2047, None).contains("at least 2048 MB"));
        assert!(refusal(Kind::Zip, "nodejs22.x", 2048, Some(8.0)).contains("less than one vCPU at 8 GiB"));
    }
}
