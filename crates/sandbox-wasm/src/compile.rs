//! Compiling, as the node sees it: an order to a process of its own, few of them at once, and what came of it in the cache.

use crate::cache::Cache;
use crate::compiler::{COMPILER_ARG, COMPONENT_BYTES_MAX, MEMORY_BYTES_MAX, Order};
use crate::{Wasm, blocking, verdict};
use sandbox::errand::{self, Answer, Unanswered};
use sandbox::{ComponentError, MachineCode};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
        let turn = tokio::time::timeout(TURN_MAX, self.compiling.acquire()).await;
        let _turn = turn
            .map_err(|_| internal(format!("other components were being compiled for {} s", TURN_MAX.as_secs())))?;
        // Another may have wanted the same.
        if let Some(code) = found(cache, &name).await? {
            return Ok((name, code));
        }
        let part = cache.part(&name);
        let order = Order { component: component.to_owned(), code: part.0.clone() };
        let within = self.config.compile_max;
        answered(errand::send(&self.config.compiler, COMPILER_ARG, &order, within).await, within)?;
        let (within, called) = (cache.clone(), name.clone());
        blocking(move || within.keep(&called, &part))
            .await?
            .map_err(|error| internal(format!("the compiled component cannot be kept: {error}")))?;
        let gone = || internal("the compiled component is not there any more");
        let code = found(cache, &name).await?.ok_or_else(gone)?;
        Ok((name, code))
    }
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
