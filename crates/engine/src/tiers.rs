//! How strong a wall instances have: our own sandbox, or an OCI runtime's container within it; and what of that components have.

use crate::{Isolation, PrepareError, Runtime, Version};
use sandbox::Runtime as Oci;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The walls that this node has.
#[derive(Clone, Debug)]
pub struct Tiers {
    /// For functions that do not say.
    pub default: Isolation,
    /// The runtime of each that needs one, where there is one.
    pub runtimes: BTreeMap<Isolation, Oci>,
    /// Why this node runs no programs, only components: what it cannot isolate, and what to do.
    pub refused: Option<String>,
    /// For components that do not say, and the least that they may have: [`Isolation::Wasm`] or [`Isolation::WasmProcess`].
    pub components: Isolation,
    /// The program that runs components when its first argument is [`crate::worker::WORKER_ARG`].
    pub worker: Option<PathBuf>,
}

impl Default for Tiers {
    fn default() -> Self {
        Self {
            default: Isolation::Process,
            runtimes: BTreeMap::new(),
            refused: None,
            components: Isolation::Wasm,
            worker: None,
        }
    }
}

impl Tiers {
    /// The OCI runtime that the version's instances run in; `None` is our own sandbox alone.
    pub(crate) fn runtime(&self, version: &Version) -> Result<Option<Oci>, PrepareError> {
        let isolation = version.isolation.unwrap_or(self.default);
        if isolation == Isolation::Process {
            return Ok(None);
        }
        if isolation.is_of_components() {
            return Err(refused(format!(
                "The isolation `{}` is one of WebAssembly components, and this function is none.",
                isolation.name()
            )));
        }
        let found = self.runtimes.get(&isolation).cloned();
        found.map(Some).ok_or_else(|| {
            refused(format!(
                "This node has no OCI runtime for the isolation `{}`: `wadi doctor` says what is missing.",
                isolation.name()
            ))
        })
    }

    /// Every wall of programs lies within our own sandbox.
    pub(crate) fn check_program(&self) -> Result<(), PrepareError> {
        self.refused.as_ref().map_or(Ok(()), |message| Err(refused(message.clone())))
    }

    /// The program that a component's instances are; `None`: it runs in this process.
    pub(crate) fn worker(&self, version: &Version) -> Result<Option<PathBuf>, PrepareError> {
        let isolation = version.isolation.unwrap_or(self.components);
        match isolation {
            Isolation::Wasm if self.components == Isolation::Wasm => Ok(None),
            Isolation::Wasm => Err(refused(
                "The isolation `wasm` is less than this node's components have to have: `wasm-process`.".into(),
            )),
            Isolation::WasmProcess => {
                let none = || refused("This node has no worker for the isolation `wasm-process`.".into());
                self.worker.clone().map(Some).ok_or_else(none)
            }
            other => Err(refused(format!(
                "WebAssembly components have the isolation `wasm` or `wasm-process`, and not `{}`.",
                other.name()
            ))),
        }
    }
}

fn refused(message: String) -> PrepareError {
    PrepareError { code: "InvalidConfiguration", message }
}

/// An image's own words with the function's over them: what is executed, and where.
pub(crate) fn program(version: &Version, image: &images::Image) -> (Vec<String>, String) {
    let own = &image.process;
    let Runtime::Image(config) = &version.runtime else { return (Vec::new(), "/".into()) };
    let or = |asked: &Vec<String>, own: &Vec<String>| if asked.is_empty() { own.clone() } else { asked.clone() };
    // As docker has it: another entry point comes without the image's arguments.
    let command = match config.entrypoint.is_empty() || !config.command.is_empty() {
        true => or(&config.command, &own.command),
        false => Vec::new(),
    };
    let argv = [or(&config.entrypoint, &own.entrypoint), command].concat();
    let directory = config.directory.clone().or_else(|| own.directory.clone()).unwrap_or_else(|| "/".into());
    (argv, directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::version;

    #[test]
    fn a_component_gets_what_it_asks_for_and_no_less_than_the_node_says() {
        let wall = |components, asked, worker: Option<&str>| {
            let tiers = Tiers { components, worker: worker.map(PathBuf::from), ..Tiers::default() };
            let version = Version { isolation: asked, ..version("f") };
            tiers.worker(&version).map_err(|error| (error.code, error.message))
        };
        let worker = Ok(Some(PathBuf::from("/wadi")));
        assert_eq!(wall(Isolation::Wasm, None, Some("/wadi")), Ok(None));
        assert_eq!(wall(Isolation::Wasm, Some(Isolation::Wasm), None), Ok(None));
        assert_eq!(wall(Isolation::Wasm, Some(Isolation::WasmProcess), Some("/wadi")), worker);
        assert_eq!(wall(Isolation::WasmProcess, None, Some("/wadi")), worker);
        for (asked, worker, said) in [
            (
                Some(Isolation::Wasm),
                Some("/wadi"),
                "The isolation `wasm` is less than this node's components have to have",
            ),
            (Some(Isolation::Process), Some("/wadi"), "and not `process`"),
            (Some(Isolation::Gvisor), Some("/wadi"), "and not `gvisor`"),
            (None, None, "This node has no worker for the isolation `wasm-process`"),
        ] {
            let (code, message) = wall(Isolation::WasmProcess, asked, worker).expect_err(said);
            assert!(code == "InvalidConfiguration" && message.contains(said), "{message}");
        }
    }

    #[test]
    fn what_is_no_component_has_no_wall_of_one() {
        for asked in [Isolation::Wasm, Isolation::WasmProcess] {
            let refused = Tiers::default().runtime(&Version { isolation: Some(asked), ..version("f") });
            let message = refused.expect_err("refused").message;
            assert!(message.starts_with(&format!("The isolation `{}` is one of", asked.name())), "{message}");
        }
    }
}
