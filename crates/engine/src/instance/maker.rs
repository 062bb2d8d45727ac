//! Instances made for the pools, and what it takes to have the next ones there sooner.

use super::Instance;
use crate::cells::CELL_BYTES;
use crate::environment;
use crate::forge::Forge;
use crate::pool::{Maker, Purpose, Upkeep};
use crate::template::Template;
use crate::zygote::Zygote;
use crate::{PrepareError, Version};
use base::InvokeError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// The next cell is raised so long after an instance was made of the last one: starting an interpreter keeps a core busy
/// that the call at hand may need. A parked instance, which is made of that cell, comes later (`pool::SPARE_LATER`).
const BEHIND: Duration = Duration::from_millis(20);
/// What a copy that has not run holds beyond its zygote, its init included.
const COPY_BYTES: u64 = 2 << 20;
/// What one more call holds of an instance that has several, before its handler has run.
const SEAT_BYTES: u64 = 256 << 10;

impl Maker for Arc<Forge> {
    type Made = Instance;

    async fn make(
        &self,
        version: Arc<Version>,
        place: OwnedSemaphorePermit,
        purpose: Purpose,
    ) -> Result<Instance, InvokeError> {
        let template = self.templates.get(&version).await.map_err(PrepareError::at_a_call)?;
        self.may_run(&template).map_err(PrepareError::at_a_call)?;
        self.way(&version).map_err(PrepareError::at_a_call)?;
        let version = match purpose {
            Purpose::Provisioned => Arc::new(environment::provisioned(&version)),
            Purpose::Call | Purpose::Spare => version,
        };
        if template.base.is_some() && self.base(&template).is_none() {
            // Not waited for: this instance starts by itself, those after it are copied.
            let (forge, template) = (self.clone(), template.clone());
            self.tasks.spawn(async move { forge.raise_base(&template).await });
        }
        let id = self.hex::<16>();
        let log = self.log(&version, &id);
        let made = Instance::start(self.clone(), version.clone(), template.clone(), id, log, place).await;
        let forge = self.clone();
        self.tasks.spawn(async move {
            forge.clock.sleep(BEHIND).await;
            forge.raise_cell(&version, &template, true).await;
        });
        made
    }

    fn upkeep(&self, version: &Version) -> Upkeep {
        let template = self.templates.known(version);
        if let Some(template) = template.as_deref().filter(|template| template.calls > 1) {
            return upkeep_of_hosts(template);
        }
        // Held while a zygote is made; then there is none yet.
        let zygote = template.as_ref().and_then(|template| template.zygote.try_lock().ok());
        match zygote.as_ref().and_then(|zygote| zygote.living()) {
            Some(living) => Upkeep {
                spares: 1,
                spare_bytes: COPY_BYTES,
                template_bytes: Some(u64::from(living.memory_mb) << 20),
                initialises: false,
            },
            None => self.upkeep_of_cells(version, template.as_deref()).unwrap_or_default(),
        }
    }

    fn let_go(&self, version: &Version) {
        if let Some(template) = self.templates.known(version)
            && let Ok(mut zygote) = template.zygote.try_lock()
            && zygote.living().is_some()
        {
            // Ends with the last instance that was copied from it.
            *zygote = Zygote::Absent;
        }
    }
}

impl Forge {
    /// One loaded instance is kept ready where cells make that cheap, once the version is known to initialise well.
    fn upkeep_of_cells(&self, version: &Version, template: Option<&Template>) -> Option<Upkeep> {
        let template = template?;
        let spare_bytes = template.initialised_bytes()?;
        let has_cell = self.cells.has(&self.class(version, template)?);
        has_cell.then_some(Upkeep { spares: 1, spare_bytes, template_bytes: Some(CELL_BYTES), initialises: true })
    }
}

/// A seat costs little beside what is there already; the next sandbox is made when it is needed.
fn upkeep_of_hosts(template: &Template) -> Upkeep {
    let template_bytes = template.hosts.try_lock().ok().and_then(|hosts| hosts.bytes());
    Upkeep { spares: 0, spare_bytes: SEAT_BYTES, template_bytes, initialises: false }
}
