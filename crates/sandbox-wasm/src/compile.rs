//! Compiling, as the node sees it: an order to a process of its own, few of them at once, and what came of it in the cache.

use crate::cache::Cache;
use crate::compiler::{COMPILER_ARG, COMPONENT_BYTES_MAX, MEMORY_BYTES_MAX, Order};
use crate::{Config, Wasm, blocking, verdict};
use sandbox::errands::{self, Answer, Unanswered};
use sandbox::{ComponentError, MachineCode};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Each has threads of its own.
pub const AT_ONCE: usize = 2;
/// How long others that are compiled are waited for.
const TURN_MAX: Duration = Duration::from_secs(300);

impl Wasm {
    /// The code of the component in this file, and what the cache calls it: from there, or compiled now.
    pub(crate) async fn compiled_by(
        &self,
        cache: &Arc<Cache>,
        component: &Path,
    ) -> Result<(String, MachineCode), ComponentError> {
        let (within, path) = (cache.clone(), component.to_owned());
        let name = blocking(move || {
            let mut file = File::open(path).map_err(internal)?;
            verdict::check_size(file.metadata().map_err(internal)?.len(), COMPONENT_BYTES_MAX)?;
            within.name(&mut file).map_err(internal)
        });
        let name = name.await??;
        if let Some(code) = found(cache, &name).await? {
            return Ok((name, code));
        }
        let (config, turns) = (self.config.clone(), self.compiling.clone());
        let order = (cache.clone(), component.to_owned(), name.clone());
        // Who waits may go away: what has begun is of use to the next who asks. Its own bounds end it.
        let code = tokio::spawn(async move { compile(&config, &turns, order).await }).await.map_err(internal)??;
        Ok((name, code))
    }
}

async fn compile(
    config: &Config,
    turns: &Semaphore,
    (cache, component, name): (Arc<Cache>, PathBuf, String),
) -> Result<MachineCode, ComponentError> {
    let turn = tokio::time::timeout(TURN_MAX, turns.acquire()).await;
    let _turn =
        turn.map_err(|_| internal(format!("other components were being compiled for {} s", TURN_MAX.as_secs())))?;
    // Another may have wanted the same.
    if let Some(code) = found(&cache, &name).await? {
        return Ok(code);
    }
    let part = cache.part(&name);
    let order = Order { component, code: part.0.clone() };
    let within = config.compile_max;
    answered(errands::send(&config.compiler, COMPILER_ARG, &order, within).await, within)?;
    let (keeps, called) = (cache.clone(), name.clone());
    let kept = blocking(move || keeps.keep(&called, &part)).await?;
    kept.map_err(|error| internal(format!("the compiled component cannot be kept: {error}")))?;
    found(&cache, &name).await?.ok_or_else(|| internal("the compiled component is not there any more"))
}

async fn found(cache: &Arc<Cache>, name: &str) -> Result<Option<MachineCode>, ComponentError> {
    let (cache, name) = (cache.clone(), name.to_owned());
    blocking(move || cache.verified(&name)).await
}

fn answered(answer: Result<Answer<()>, Unanswered>, within: Duration) -> Result<(), ComponentError> {
    let too_much = |what: String| {
        let instead = "leave out what the function does not need, or part it into several";
        Err(ComponentError::Refused(format!("compiling it takes more than {what}: {instead}")))
    };
    match answer {
        Ok(Answer::Done(())) => Ok(()),
        Ok(Answer::Refused(why)) => Err(ComponentError::Refused(why)),
        Ok(Answer::Failed(why)) => Err(internal(why)),
        Err(Unanswered::Late) => too_much(format!("{within:?}")),
        Err(Unanswered::OutOfMemory) => too_much(format!("{} MB of memory", MEMORY_BYTES_MAX >> 20)),
        Err(why @ Unanswered::Broken(_)) => Err(ComponentError::Refused(format!("it is not compiled: {why}"))),
        Err(why @ (Unanswered::Killed | Unanswered::Unasked(_))) => {
            Err(internal(format!("the component is not compiled: {why}")))
        }
    }
}

fn internal(why: impl std::fmt::Display) -> ComponentError {
    ComponentError::Internal(why.to_string())
}
