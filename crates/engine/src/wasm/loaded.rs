//! A component that is loaded: what all its runs share, its log stream and its keys among them.

use crate::Version;
use crate::environment::{self, AGE_MAX, KEYS_LAST, environment};
use crate::forge::Forge;
use crate::live::Writer;
use crate::template::Template;
use crate::way::{PLATFORM_PORT, RUNTIME_API_PORT, Way};
use parking_lot::{Mutex, RwLock};
use sandbox::{Beyond, Component, ComponentRun, Ended, Inside, Network, Output};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Loaded {
    pub forge: Arc<Forge>,
    pub version: Arc<Version>,
    pub component: Arc<dyn Component>,
    /// Where the package lies, if there is more in it than the component.
    pub task: Option<Arc<PathBuf>>,
    way: Way,
    engine: String,
    face: RwLock<Option<Arc<Face>>>,
    /// Loading time that no run has been billed for yet.
    init: Mutex<Option<Duration>>,
    /// Keeps the unpacked code.
    _template: Arc<Template>,
}

/// What its runs show to the outside, renewed as often as an instance would be: a log stream of its own, keys that last.
pub(crate) struct Face {
    /// 32 hex digits: also the end of the log stream's name.
    pub id: String,
    pub writer: Arc<Writer>,
    env: Arc<[(String, String)]>,
    born: Duration,
}

impl Loaded {
    pub(crate) fn new(
        forge: Arc<Forge>,
        version: Arc<Version>,
        component: Arc<dyn Component>,
        engine: &str,
        (template, way): (Arc<Template>, Way),
    ) -> Self {
        let (face, init) = Default::default();
        Self { forge, version, component, task: None, way, engine: engine.to_owned(), face, init, _template: template }
    }

    pub(crate) fn loading_took(&self, took: Duration) {
        *self.init.lock() = Some(took);
    }

    /// The loading time, for the run that is billed for it.
    pub(crate) fn take_init(&self) -> Option<Duration> {
        self.init.lock().take()
    }

    /// Does it start? The loading is then done, and nobody's first run is billed for it.
    pub(crate) async fn rehearse(&self) -> Ended {
        self.take_init();
        let face = self.face();
        let run = self.run_with(&face, Arc::new(Unheard));
        self.component.rehearse(run).await
    }

    pub(crate) fn face(&self) -> Arc<Face> {
        let now = self.forge.clock.elapsed();
        let young = |face: &&Arc<Face>| now.saturating_sub(face.born) < AGE_MAX;
        if let Some(face) = self.face.read().as_ref().filter(young) {
            return face.clone();
        }
        let mut face = self.face.write();
        if let Some(face) = face.as_ref().filter(young) {
            return face.clone();
        }
        face.insert(Arc::new(self.new_face(now))).clone()
    }

    fn new_face(&self, born: Duration) -> Face {
        let (forge, version) = (&self.forge, &self.version);
        let id = forge.hex::<16>();
        let writer = forge.log(version, &id);
        let hash = hex::encode(Sha256::digest(&self.engine));
        let arn = format!("arn:aws:lambda:{}::runtime:{hash}", version.scope.region);
        writer.0.line(format!("INIT_START Runtime Version: {}\tRuntime Version ARN: {arn}\n", self.engine));
        let keys = forge.identity.issue(&version.scope.account, &version.role, &version.name, KEYS_LAST);
        let platform_port = match (&self.way.network, forge.platform.get()) {
            (Network::Host, Some(gate)) => Some(gate.port()),
            _ => self.way.platform.then_some(PLATFORM_PORT),
        };
        let instance = environment::Instance {
            log_stream: writer.0.stream(),
            keys: &keys,
            runtime_api_port: RUNTIME_API_PORT,
            platform_port,
            interpreter_bin: None,
        };
        let env = environment::of_component(version, environment(version, &[], &instance));
        Face { id, writer, env: env.into_iter().collect(), born }
    }

    pub(crate) fn run_with(&self, face: &Face, output: Arc<dyn Output>) -> ComponentRun {
        let (way, gate) = (&self.way, self.forge.platform.get());
        let beyond = way.policy.clone().map_or(Beyond::Host, Beyond::Policy);
        let inside = Inside { port: PLATFORM_PORT, gate };
        ComponentRun {
            env: face.env.clone(),
            env_more: Vec::new(),
            memory_bytes: (self.version.memory_mb as usize) << 20,
            memory_peak: Arc::default(),
            network_bytes: Arc::default(),
            task: self.task.clone(),
            // In the host's network the gate is where it is.
            platform: (way.platform && beyond != Beyond::Host).then_some(inside),
            beyond,
            output,
        }
    }
}

/// Nobody hears a rehearsal.
struct Unheard;

impl Output for Unheard {
    fn write(&self, _: &[u8]) {}

    fn has_room(&self) -> bool {
        true
    }

    fn room(&self) -> futures::future::BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
