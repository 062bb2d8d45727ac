//! How strong a wall instances have: our own sandbox, or an OCI runtime's container within it.

use crate::{Isolation, PrepareError, Runtime, Version};
use sandbox::Runtime as Oci;
use std::collections::BTreeMap;

/// The walls that this node has.
#[derive(Clone, Debug)]
pub struct Tiers {
    /// For functions that do not say.
    pub default: Isolation,
    /// The runtime of each that needs one, where there is one.
    pub runtimes: BTreeMap<Isolation, Oci>,
    /// Why this node runs no programs, only components: what it cannot isolate, and what to do.
    pub refused: Option<String>,
}

impl Default for Tiers {
    fn default() -> Self {
        Self { default: Isolation::Process, runtimes: BTreeMap::new(), refused: None }
    }
}

impl Tiers {
    /// The OCI runtime that the version's instances run in; `None` is our own sandbox alone.
    pub(crate) fn runtime(&self, version: &Version) -> Result<Option<Oci>, PrepareError> {
        let isolation = self.of(version);
        if isolation == Isolation::Process {
            return Ok(None);
        }
        let found = self.runtimes.get(&isolation).cloned();
        found.map(Some).ok_or_else(|| PrepareError {
            code: "InvalidConfiguration",
            message: format!(
                "This node has no OCI runtime for the isolation `{}`: `wadi doctor` says what is missing.",
                isolation.name()
            ),
        })
    }

    /// Every wall lies within our own sandbox.
    pub(crate) fn check_program(&self) -> Result<(), PrepareError> {
        let refused = |message: &String| PrepareError { code: "InvalidConfiguration", message: message.clone() };
        self.refused.as_ref().map_or(Ok(()), |message| Err(refused(message)))
    }

    /// A component runs in this process: no runtime is around it.
    pub(crate) fn check_component(&self, version: &Version) -> Result<(), PrepareError> {
        match version.isolation {
            None | Some(Isolation::Process) => Ok(()),
            Some(asked) => Err(PrepareError {
                code: "InvalidConfiguration",
                message: format!(
                    "WebAssembly components have a wall of their own, and not the isolation `{}`.",
                    asked.name()
                ),
            }),
        }
    }

    fn of(&self, version: &Version) -> Isolation {
        version.isolation.unwrap_or(self.default)
    }
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
