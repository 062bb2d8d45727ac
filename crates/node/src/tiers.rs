//! The walls that this machine has: its OCI runtimes, as the settings name them or as they are found on PATH.

use crate::settings::{Settings, WeakerIsolation};
use engine::{Isolation, Tiers};
use sandbox::{Kept, Promise, Runtime};
use std::path::{Path, PathBuf};

/// Runtimes that are looked for, the best first.
const CONTAINER: [&str; 2] = ["crun", "runc"];
const GVISOR: [&str; 1] = ["runsc"];
/// Where runtimes lie that only root has on its PATH.
const PLACES: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the node has of each wall that needs a runtime.
pub fn of_machine(settings: &Settings) -> Tiers {
    let path = std::env::var("PATH").unwrap_or_default();
    of(settings, &format!("{path}:{PLACES}"))
}

/// The walls that functions can have: containers are made by root alone.
pub fn of_node(settings: &Settings, promises: &[Promise]) -> Tiers {
    let mut tiers = Tiers { refused: refused(settings, promises), ..of_machine(settings) };
    if !rustix::process::geteuid().is_root() {
        tiers.runtimes.clear();
    }
    tiers
}

/// What of that which code of strangers needs this machine does not keep; empty where it keeps all.
pub fn lacking(promises: &[Promise]) -> String {
    let lacking = promises.iter().filter(|promise| promise.vital && promise.kept != Kept::Yes);
    lacking.map(|promise| promise.name.as_str()).collect::<Vec<_>>().join("; ")
}

/// Why the node runs no programs: strangers reach it, this machine cannot isolate them, and nobody has accepted that.
pub fn refused(settings: &Settings, promises: &[Promise]) -> Option<String> {
    let lacking = lacking(promises);
    let accepts = settings.listen.ip().is_loopback() || settings.weaker_isolation == WeakerIsolation::Accept;
    (!accepts && !lacking.is_empty()).then(|| {
        format!(
            "This node can be reached from other machines and runs no programs, only WebAssembly components: its machine does \
             not keep what isolates them in full ({lacking}). `wadi doctor` says what to do about it; `wadi up \
             --weaker-isolation accept` runs them nonetheless."
        )
    })
}

fn of(settings: &Settings, path: &str) -> Tiers {
    let find = |named: &Option<PathBuf>, known: &[&str]| {
        let found = named.clone().or_else(|| known.iter().find_map(|name| on_path(name, path)))?;
        // What it is called tells how it is asked; where it is must hold in a sandbox, where /run is another.
        let name = found.file_name().map(PathBuf::from)?;
        let program = std::fs::canonicalize(&found).ok()?;
        Some(Runtime { program, ..Runtime::at(name) })
    };
    let runtimes = [
        (Isolation::Container, find(&settings.oci.container, &CONTAINER)),
        (Isolation::Gvisor, find(&settings.oci.gvisor, &GVISOR)),
    ];
    let runtimes = runtimes.into_iter().filter_map(|(isolation, runtime)| Some((isolation, runtime?))).collect();
    // This program is the worker of components too.
    let worker = std::env::current_exe().ok();
    Tiers { default: settings.isolation, runtimes, refused: None, components: settings.component_isolation(), worker }
}

fn on_path(name: &str, path: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runs = |file: &Path| std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| Path::new(dir).join(name)).find(|file| runs(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flags;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn programs_run_where_they_are_isolated_or_nobody_else_comes() {
        let promise = |name: &str, kept, vital| Promise { name: name.into(), kept, vital, remedy: None };
        let weaker = || Kept::Weaker("by half".into());
        let poor = [promise("memory limit", weaker(), true), promise("a user of its own", weaker(), false)];
        let good = [promise("memory limit", Kept::Yes, true), promise("a user of its own", weaker(), false)];
        let of = |listen: &str, weaker_isolation, promises: &[Promise]| {
            let flags = Flags {
                data_dir: Some("/d".into()),
                listen: Some(listen.parse().expect("an address")),
                credentials: Some(crate::Credentials::Root),
                weaker_isolation,
                ..Flags::default()
            };
            refused(&Settings::load(flags).expect("settings"), promises)
        };
        let told = of("0.0.0.0:1", None, &poor).expect("refused");
        assert!(told.contains("(memory limit)") && told.contains("--weaker-isolation accept"), "{told}");
        assert!(of("0.0.0.0:1", Some(WeakerIsolation::Refuse), &[promise("x", Kept::No("".into()), true)]).is_some());
        assert_eq!(of("0.0.0.0:1", Some(WeakerIsolation::Accept), &poor), None);
        assert_eq!((of("127.0.0.1:1", None, &poor), of("[::1]:1", None, &poor)), (None, None));
        assert_eq!(of("0.0.0.0:1", None, &good), None);
    }

    #[test]
    fn named_then_found_and_asked_by_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, mode: u32| {
            let file = dir.path().join(name);
            std::fs::write(&file, "").expect("writes");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("chmod");
            std::fs::canonicalize(file).expect("there")
        };
        let path = dir.path().display().to_string();
        let settings = |oci| {
            let flags = Flags { data_dir: Some(dir.path().into()), oci: Some(oci), ..Flags::default() };
            Settings::load(flags).expect("settings")
        };
        assert!(of(&settings(Default::default()), &path).runtimes.is_empty());
        put("crun", 0o644);
        let runc = put("runc", 0o755);
        symlink("runc", dir.path().join("runsc")).expect("links");
        let found = of(&settings(Default::default()), &path).runtimes;
        assert_eq!(found[&Isolation::Container].program, runc, "crun cannot be executed");
        assert!(found[&Isolation::Container].shares_kernel && !found[&Isolation::Gvisor].shares_kernel);
        let kata = put("kata-runtime", 0o755);
        let named = crate::settings::Oci { container: Some(kata.clone()), gvisor: None };
        let named = &of(&settings(named), &path).runtimes[&Isolation::Container];
        assert_eq!((&named.program, named.detaches), (&kata, false));
    }
}
