//! A worker: the process that runs a component in a sandbox. It speaks the Runtime API as any runtime does (`api`), and runs
//! each call in a fresh instance, one call at a time; `streamed` answers callers that take the response as it is made.
//!
//! The function's environment is the component's, and nothing of it is the process's own: what would steer a native program
//! (`LD_PRELOAD`) steers none here.

mod api;
mod streamed;

use crate::environment::of_component;
use crate::failure::Failure;
use crate::wasm::guest::Guest;
use crate::way::Way;
use crate::{Version, environment as env_of};
use api::{Api, Call};
use base::network::Policy;
use base::port::Clock;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use sandbox::{Beyond, Component, ComponentError, ComponentRun, Inside, Output, World};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The first argument that makes our binary this process.
pub const WORKER_ARG: &str = "wasm-worker";
/// The variable that says what the worker runs, and how.
pub const ORDER: &str = "_WADI_WORKER";
/// Where the component's machine code lies in the sandbox.
pub const CODE: &str = "/var/runtime/component";
/// Where our binary lies there.
pub(crate) const PROGRAM: &str = "/var/runtime/wadi";
/// What a worker's sandbox may hold beyond the function's memory: the engine, and what it holds of the host's for the component
/// (requests and responses on their way, what they are made of).
pub(crate) const OWN_BYTES: u64 = 64 << 20;
/// The node ends a run, and the worker with it, long before.
const LIMIT: Duration = Duration::from_secs(3600);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    /// The Runtime API's `HOST:PORT`.
    runtime_api: String,
    /// The component's.
    env: BTreeMap<String, String>,
    memory_bytes: u64,
    /// Whether it sees /var/task.
    task: bool,
    /// The platform's, on loopback.
    platform_port: Option<u16>,
    /// What it may reach; `None` is the host's network. The sandbox's own network holds it to the same.
    policy: Option<Policy>,
}

/// What a worker's process has as its environment, for a component that has `env`.
pub(crate) fn environment(
    version: &Version,
    env: BTreeMap<String, String>,
    way: &Way,
    platform_port: Option<u16>,
    task: bool,
) -> BTreeMap<String, String> {
    let order = Order {
        runtime_api: env.get(env_of::RUNTIME_API).cloned().unwrap_or_default(),
        env: of_component(version, env),
        memory_bytes: u64::from(version.memory_mb) << 20,
        task,
        platform_port,
        policy: way.policy.as_deref().cloned(),
    };
    let order = serde_json::to_string(&order).expect("strings, numbers and a policy are JSON");
    BTreeMap::from([(ORDER.to_owned(), order)])
}

/// Runs calls until the Runtime API goes away, which ends the process. `order` is what [`ORDER`] holds, `said` the function's log.
///
/// # Errors
/// There is no such order, no Runtime API, or no component; the Runtime API has been told of the last.
pub async fn work(
    order: &str,
    component: Result<Arc<dyn Component>, ComponentError>,
    clock: Arc<dyn Clock>,
    said: Box<dyn Write + Send>,
) -> io::Result<Infallible> {
    let order: Order = serde_json::from_str(order)?;
    let mut api = Api::new(order.runtime_api.clone());
    let component = match component {
        Ok(component) => component,
        Err(error) => {
            api.cannot_start(&error.to_string()).await?;
            return Err(io::Error::other(error));
        }
    };
    let said = Arc::new(Said(Mutex::new((said, true))));
    let timed_out = Failure::TimedOut { after_s: 3600 };
    let guest = Guest { component, clock, limit: LIMIT, timed_out };
    let mut worker = Worker { run: order.run(said.clone()), api, guest, said };
    loop {
        let call = worker.api.next().await?;
        worker.answer(call).await?;
    }
}

impl Order {
    /// What all runs have.
    fn run(self, output: Arc<dyn Output>) -> ComponentRun {
        let Self { env, memory_bytes, task, platform_port, policy, .. } = self;
        let beyond = policy.map_or(Beyond::Host, |policy| Beyond::Policy(Arc::new(policy)));
        let inside = |port| Inside { port, gate: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) };
        ComponentRun {
            env: env.into_iter().collect(),
            env_more: Vec::new(),
            memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
            memory_peak: Arc::default(),
            network_bytes: Arc::default(),
            task: task.then(|| Arc::new(PathBuf::from("/var/task"))),
            // In the host's network the platform is where it is.
            platform: platform_port.filter(|_| beyond != Beyond::Host).map(inside),
            beyond,
            output,
        }
    }
}

struct Worker {
    run: ComponentRun,
    api: Api,
    guest: Guest,
    said: Arc<Said>,
}

impl Worker {
    async fn answer(&mut self, call: Call) -> io::Result<()> {
        let streams = call.streams && self.guest.component.world() == World::Http;
        let answered = if streams {
            streamed::answer(self, call).await
        } else {
            let (answer, _) = self.guest.answer(self.run.clone(), &call.payload, call.context).await;
            self.post(&call.request_id, answer).await
        };
        self.said.end_line();
        answered
    }

    /// The answer to a call; a failure as this process's node words it for components of its own.
    async fn post(&mut self, request_id: &str, answer: crate::session::Answer) -> io::Result<()> {
        self.said.end_line();
        match answer {
            Ok(bytes) => self.api.respond(request_id, bytes).await,
            Err(failure) => {
                if let Some(line) = failure.log_line(request_id, self.guest.clock.now()) {
                    self.said.write(line.as_bytes());
                }
                self.api.fail(request_id, &failure.error(request_id)).await
            }
        }
    }
}

/// The function's log, and whether a line has ended. Writing waits while the log is behind, and the worker with it.
struct Said(Mutex<(Box<dyn Write + Send>, bool)>);

impl Said {
    /// What a run leaves unfinished is not the next one's.
    fn end_line(&self) {
        if !self.0.lock().1 {
            self.write(b"\n");
        }
    }
}

impl Output for Said {
    fn write(&self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        let (out, is_ended) = &mut *self.0.lock();
        // Nobody reads it only when the sandbox ends.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
        *is_ended = *last == b'\n';
    }

    fn has_room(&self) -> bool {
        true
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::version;
    use sandbox::Network;

    #[test]
    fn the_functions_environment_is_none_of_the_processs() {
        let mut function = version("f");
        function.environment.insert("LD_PRELOAD".into(), "/var/task/x.so".into());
        let all = [(env_of::RUNTIME_API, "127.0.0.1:9001"), ("LD_PRELOAD", "/var/task/x.so"), ("PATH", "/bin")];
        let all = all.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let way = Way { network: Network::Own, platform: true, policy: Some(Arc::new(Policy::PLATFORM)) };
        let env = environment(&function, all, &way, Some(4566), true);
        assert_eq!(env.keys().collect::<Vec<_>>(), [ORDER]);
        let order: Order = serde_json::from_str(&env[ORDER]).expect("an order");
        assert_eq!(order.runtime_api, "127.0.0.1:9001");
        let run = order.run(Arc::new(Said(Mutex::new((Box::new(io::sink()), true)))));
        assert_eq!(run.env[..], [("LD_PRELOAD".to_owned(), "/var/task/x.so".to_owned())]);
        assert_eq!(run.memory_bytes, (function.memory_mb as usize) << 20);
        assert_eq!(run.beyond, Beyond::Policy(Arc::new(Policy::PLATFORM)));
        let gate = Some("127.0.0.1:4566".parse().expect("an address"));
        assert_eq!(run.platform, Some(Inside { port: 4566, gate }));
    }

    #[test]
    fn in_the_hosts_network_nothing_is_led_elsewhere() {
        let way = Way { network: Network::Host, platform: true, policy: None };
        let env = environment(&version("f"), BTreeMap::new(), &way, Some(40_000), false);
        let order: Order = serde_json::from_str(&env[ORDER]).expect("an order");
        let run = order.run(Arc::new(Said(Mutex::new((Box::new(io::sink()), true)))));
        assert_eq!((run.platform, run.beyond, run.task), (None, Beyond::Host, None));
    }

    #[test]
    fn a_line_that_one_run_leaves_is_not_the_next_ones() {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let said = Said(Mutex::new((Box::new(kept.clone()), true)));
        said.end_line();
        said.write(b"a\nb");
        said.end_line();
        said.end_line();
        assert_eq!(*kept.0.lock(), b"a\nb\n");
    }
}
