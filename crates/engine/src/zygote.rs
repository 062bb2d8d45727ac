//! Zygotes: a version's initialised process, in a sandbox of its own, from which instances are copied.
//!
//! The first instance of a version becomes its zygote, if the version may have one and its initialisation leaves nothing
//! behind that copies would share; then that instance, as all that follow, is a copy.

use crate::environment::{AGE_MAX, KEYS_LAST};
use crate::live::Live;
use std::sync::Arc;
use std::time::Duration;

/// What a copy holds of its zygote includes the zygote's keys, which some clients never renew: they must outlive the last
/// copy.
const ZYGOTE_AGE_MAX: Duration = KEYS_LAST.saturating_sub(AGE_MAX);

/// Whether a version has a zygote.
#[derive(Default)]
pub(crate) enum Zygote {
    /// Not tried yet, or it has ended.
    #[default]
    Absent,
    Living(Arc<Living>),
    /// Its initialisation leaves something that copies cannot have: what.
    Refused(String),
}

pub(crate) struct Living {
    /// Its sandbox.
    pub id: String,
    pub live: Arc<Live>,
    pub born: Duration,
    /// What its copies share.
    pub memory_mb: u32,
}

impl Living {
    pub(crate) fn is_sound(&self, now: Duration) -> bool {
        self.live.exited().is_none() && now.saturating_sub(self.born) < ZYGOTE_AGE_MAX
    }
}

impl Zygote {
    pub(crate) fn living(&self) -> Option<&Arc<Living>> {
        match self {
            Self::Living(living) => Some(living),
            _ => None,
        }
    }

    pub(crate) fn sound(&mut self, now: Duration) -> Option<Arc<Living>> {
        match self {
            Self::Living(living) if living.is_sound(now) => Some(living.clone()),
            Self::Living(_) => {
                *self = Self::Absent;
                None
            }
            _ => None,
        }
    }

    /// This one did not work: another is made when one is needed.
    pub(crate) fn forget(&mut self, lost: &Arc<Living>) {
        if matches!(self, Self::Living(living) if Arc::ptr_eq(living, lost)) {
            *self = Self::Absent;
        }
    }
}
