//! The only wiring: one struct, one field per part, and the order in which they start and stop.

mod doctor;
mod keyring;
mod logins;
mod machine;
mod networks;
pub mod nodejs;
pub mod pythons;
mod settings;
mod system;
mod targets;
pub mod tiers;
mod worker;

pub use base::network::Ceiling;
pub use doctor::doctor;
pub use images::{UNPACKER_ARG, unpacker_main};
pub use sandbox::{LAUNCHER_ARG, launcher_main};
pub use sandbox_wasm::{COMPILER_ARG, compiler_main};
pub use settings::{Credentials, Fallback, Flags, KeepAlive, Settings, Starts, Wall, WeakerIsolation};
pub use usage::Check;
pub use worker::{WORKER_ARG, worker_main};

use anyhow::{Context, Result, bail};
use base::AccountId;
use base::network::Networks;
use bus::Bus;
use delivery::Delivery;
use engine::Engine;
use eventgrid::EventGrid;
use functions::Functions;
use gate::Gate;
use identity::Identity;
use logs::Logs;
use machine::Machine;
use objects::Objects;
use queues::Queues;
use sandbox::Driver;
use schedules::Schedules;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::sqlite::Sqlite;
use store::{Blobs, Seal, Store};
use system::{SystemClock, SystemEntropy};
use targets::Wired;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use topics::Topics;
use usage::Usage;

/// A running node.
pub struct Node {
    settings: Settings,
    address: SocketAddr,
    driver: Arc<sandbox::Process>,
    engine: Arc<Engine>,
    logs: Arc<Logs>,
    usage: Arc<Usage>,
    identity: Arc<Identity>,
    /// Ends the gate: first to stop, so that nothing new comes in.
    closing: CancellationToken,
    gate: JoinHandle<()>,
    /// Ends the gate's listener for functions: it outlives the other, so that what is in flight can finish its calls.
    closing_inside: CancellationToken,
    gate_inside: JoinHandle<()>,
    /// Ends delivery and the rooms' background work.
    resting: CancellationToken,
    delivery: JoinHandle<()>,
    work: Vec<JoinHandle<()>>,
    /// Held while the node runs: one node per data directory.
    _lock: File,
}

impl Node {
    /// Starts all parts, in the order in which they need each other, and listens. Call it within a tokio runtime.
    ///
    /// # Errors
    /// Another node has the data directory, the address is taken, or the machine cannot raise sandboxes.
    pub async fn start(settings: Settings) -> Result<Self> {
        machine::raise_open_files();
        let machine = Machine::look();
        let lock = take(&settings.data_dir)?;
        // The address first: it is the likeliest thing to be refused, and costs nothing to give back.
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {}: is another node running?", settings.listen))?;
        let address = listener.local_addr()?;
        let inside = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
        let clock: Arc<SystemClock> = Arc::new(SystemClock::new());
        let entropy = Arc::new(SystemEntropy);

        let store =
            Store::new(Arc::new(Sqlite::open(&settings.data_dir.join("wadi.db")).context("cannot open the store")?));
        let seal = seal(&settings, &store, entropy.clone()).await?;
        let blobs = Blobs::directory(&settings.data_dir.join("blobs")).context("cannot open the blobs")?;
        let driver = sandbox::Process::start(sandbox::ProcessConfig {
            program: std::env::current_exe().context("cannot find this program")?,
            state_dir: settings.data_dir.join("sandboxes"),
            egress: networks::egress(&settings),
        })
        .context("cannot start the sandbox launcher")?;
        let networks = networks::of_node(&settings, driver.as_ref())?;

        let identity = Identity::open(identity::Parts {
            store: store.clone(),
            seal: seal.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            config: identity::Config {
                development: settings.credentials == Credentials::Development,
                account: AccountId::development(),
            },
        })
        .await
        .context("cannot open identity")?;
        let logs = Logs::open(logs::Parts {
            store: store.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            config: logs::Config::default(),
        });
        let report = Arc::new(doctor::Report::new(settings.clone(), machine.clone(), driver.clone()));
        let usage = Usage::open(usage::Parts {
            store: store.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            doctor: report.clone(),
            activity: report.clone(),
            config: usage::Config::default(),
        });
        let engine = Engine::new(engine::Parts {
            catalog: Arc::new(functions::Catalog::new(store.clone(), seal.clone())),
            driver: driver.clone(),
            components: Some(Arc::new(sandbox_wasm::Wasm::new(sandbox_wasm::Config::new(
                std::env::current_exe().context("cannot find this program")?,
                settings.data_dir.join("components"),
            )))),
            blobs: blobs.clone(),
            images: Arc::new(images::Images::new(images_config(&settings)?, blobs.clone())),
            clock: clock.clone(),
            entropy: entropy.clone(),
            meter: usage.clone(),
            logs: logs.clone(),
            identity: identity.clone(),
            headroom: Arc::new(machine::Free),
            config: engine_config(&settings, &machine, inside.local_addr()?, networks, &driver.promises()),
        })
        .context("cannot start the engine")?;
        let queues = Queues::open(queues::Parts {
            store: store.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            config: queues::Config::default(),
        });
        let functions = Functions::open(functions::Parts {
            store: store.clone(),
            seal: seal.clone(),
            blobs: blobs.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            runner: engine.clone(),
            objects: Arc::new(objects::Reader::new(store.clone(), blobs.clone())),
            queues: queues.clone(),
            identity: identity.clone(),
            config: functions::Config { concurrency_max: settings.account_concurrency, ..functions::Config::default() },
        });
        let courier = Arc::new(courier::Http::new(networks::of_courier(&settings)));
        let bus = Bus::open(bus::Parts {
            store: store.clone(),
            seal: seal.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            courier: courier.clone(),
        });
        // Before functions say that an older master key is needed no more.
        bus.reseal().await.context("cannot read the connections")?;
        let schedules =
            Schedules::open(schedules::Parts { store: store.clone(), clock: clock.clone(), entropy: entropy.clone() });
        let topics = Topics::open(topics::Parts {
            store: store.clone(),
            seal: seal.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            courier: courier.clone(),
        });
        topics.reseal().await.context("cannot read the key of topics")?;
        let targets = Arc::new(Wired {
            functions: functions.clone(),
            queues: queues.clone(),
            bus: bus.clone(),
            logs: logs.clone(),
            objects: OnceLock::new(),
            eventgrid: OnceLock::new(),
            topics: topics.clone(),
        });
        let objects = Objects::open(objects::Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            identity: identity.clone(),
            targets: targets.clone(),
            config: objects::Config::default(),
        });
        let _ = targets.objects.set(objects::Inbox(objects.clone()));
        let eventgrid = EventGrid::open(eventgrid::Parts {
            store: store.clone(),
            seal: seal.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            courier,
            identity: identity.clone(),
            targets: targets.clone(),
        });
        eventgrid.reseal().await.context("cannot read the topics of Event Grid")?;
        let _ = targets.eventgrid.set(eventgrid.clone());
        let delivery = Arc::new(Delivery::new(delivery::Parts {
            store: store.clone(),
            targets,
            clock: clock.clone(),
            entropy: entropy.clone(),
            config: delivery::Config { time_scale: settings.retry_time_scale, ..delivery::Config::default() },
        }));
        report.wire(engine.clone(), delivery.clone());
        let gate = Gate::new(gate::Parts {
            rooms: vec![
                Arc::new(functions::room(functions.clone())),
                Arc::new(logs::room(logs.clone())),
                Arc::new(queues::room(queues.clone())),
                Arc::new(bus::room(bus.clone())),
                Arc::new(schedules::room(schedules.clone())),
                Arc::new(topics::room(topics.clone())),
                Arc::new(usage::room(usage.clone())),
            ],
            doors: vec![
                Arc::new(functions::UrlDoor::new(functions.clone())),
                Arc::new(bus::CloudEventsDoor::new(bus.clone(), identity.clone())),
                Arc::new(eventgrid::EventGridDoor(eventgrid)),
                Arc::new(topics::TopicDoor::new(topics.clone())),
                Arc::new(objects::door(objects.clone())),
            ],
            identity: identity.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            config: gate::Config {
                drain_timeout: Duration::from_secs(settings.drain_seconds),
                ..gate::Config::default()
            },
        });

        let (closing, resting) = (CancellationToken::new(), CancellationToken::new());
        let work = vec![
            tokio::spawn(functions.work(resting.clone())),
            tokio::spawn(objects.work(resting.clone())),
            tokio::spawn(queues.work(resting.clone())),
            tokio::spawn(logs.clone().work(resting.clone())),
            tokio::spawn(usage.clone().work(resting.clone())),
            tokio::spawn(bus.work(resting.clone())),
            tokio::spawn(schedules.work(resting.clone())),
            tokio::spawn(topics.work(resting.clone())),
            tokio::spawn(delivery.clone().sweep(resting.clone())),
        ];
        let delivery = tokio::spawn(delivery.run(resting.clone()));
        let closing_inside = CancellationToken::new();
        let gate_inside = tokio::spawn(gate.clone().serve(inside, closing_inside.clone()));
        let gate = tokio::spawn(gate.serve(listener, closing.clone()));
        let node = Self {
            settings,
            address,
            driver,
            engine,
            logs,
            usage,
            identity,
            closing,
            gate,
            closing_inside,
            gate_inside,
            resting,
            delivery,
            work,
            _lock: lock,
        };
        node.write_root_key()?;
        Ok(node)
    }

    /// Where the gate listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: nothing new comes in, what is in flight finishes within `drain_seconds`, what is queued for the disk is
    /// written. Events not yet delivered stay in the outbox for the next start.
    pub async fn stop(self) {
        let grace = Duration::from_secs(self.settings.drain_seconds);
        self.closing.cancel();
        self.resting.cancel();
        joined("the gate", self.gate, grace + Duration::from_secs(5)).await;
        joined("delivery", self.delivery, grace + Duration::from_secs(5)).await;
        self.engine.stop(grace).await;
        self.closing_inside.cancel();
        joined("the gate's inner side", self.gate_inside, grace + Duration::from_secs(5)).await;
        for work in self.work {
            joined("background work", work, Duration::from_secs(5)).await;
        }
        let flushed = async {
            self.logs.flush().await;
            self.usage.flush().await;
        };
        if tokio::time::timeout(Duration::from_secs(5), flushed).await.is_err() {
            tracing::warn!("stopped with logs or usage unwritten: storage does not take them");
        }
        let driver = self.driver;
        let _ = tokio::task::spawn_blocking(move || driver.stop()).await;
    }

    /// The root key of a node that strangers can reach, for its owner's eyes only.
    fn write_root_key(&self) -> Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let Some(key) = self.identity.root_key().filter(|_| self.settings.credentials == Credentials::Root) else {
            return Ok(());
        };
        let path = self.settings.data_dir.join("root-key.json");
        let text = serde_json::json!({ "AccessKeyId": key.access_key, "SecretAccessKey": key.secret_key });
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "{text:#}")?;
        Ok(())
    }
}

/// Waits for a task that has been told to end; cuts it off if it does not.
async fn joined(what: &str, task: JoinHandle<()>, within: Duration) {
    let abort = task.abort_handle();
    match tokio::time::timeout(within, task).await {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => tracing::error!(%panic, "{what} had failed"),
        Err(_) => {
            tracing::warn!("{what} did not end in time");
            abort.abort();
        }
    }
}

fn images_config(settings: &Settings) -> Result<images::Config> {
    let unpacker = std::env::current_exe().context("cannot find this program")?;
    let authorities = match &settings.images.ca {
        Some(file) => images::authorities(file)
            .with_context(|| format!("cannot use {} ([images] ca in wadi.toml)", file.display()))?,
        None => Vec::new(),
    };
    let credentials =
        logins::files(&settings.images, rustix::process::geteuid().as_raw(), |name| std::env::var_os(name));
    Ok(images::Config { allowed: settings.images_allowed(), credentials, authorities, unpacker })
}

fn engine_config(
    settings: &Settings,
    machine: &Machine,
    gate: SocketAddr,
    networks: Networks,
    promises: &[sandbox::Promise],
) -> engine::Config {
    let mut config = engine::Config::new(&settings.data_dir);
    config.platform = Some(gate);
    config.networks = Arc::new(networks);
    config.account_concurrency = settings.account_concurrency;
    config.instances_max = machine.instances_max().0;
    config.raising_max = machine.raising_max();
    config.idle_ttl = Duration::from_secs(settings.idle_seconds);
    config.copies = settings.starts == Starts::Template;
    config.keep_alive = match settings.keep_alive {
        KeepAlive::Fixed => engine::keep::Policy::Fixed,
        KeepAlive::Hybrid => engine::keep::Policy::Hybrid,
        KeepAlive::Cost => engine::keep::Policy::Cost,
    };
    config.pythons = pythons::of_machine(&settings.runtimes);
    config.nodes = nodejs::of_machine(&settings.runtimes);
    config.tiers = tiers::of_node(settings, promises);
    config.cpu_quota = settings.cpu() == settings::Cpu::Quota;
    config.runtime_fallback_nearest = settings.runtime_fallback == Fallback::Nearest;
    config
}

/// The seal of secrets at rest, which opens what this store holds.
async fn seal(settings: &Settings, store: &Store, entropy: Arc<SystemEntropy>) -> Result<Arc<Seal>> {
    let sealed = functions::sealing::is_sealed(store).await.map_err(anyhow::Error::msg)?;
    let keys = keyring::load(settings, sealed, &*entropy).await?;
    let seal = Seal::new(&keys, entropy);
    let checked = functions::sealing::check(store, &seal).await;
    checked.map_err(anyhow::Error::msg).context(
        "the master key is not this data directory's. Put the right one back, or, where you have changed it, give the \
         old one in a line below the new one for one start",
    )?;
    Ok(Arc::new(seal))
}

/// Makes the data directory and takes its lock.
fn take(data_dir: &Path) -> Result<File> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).with_context(|| {
        format!("cannot make the data directory {} (choose one with --data-dir)", data_dir.display())
    })?;
    std::fs::set_permissions(data_dir, std::fs::Permissions::from_mode(0o700))?;
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(data_dir.join("lock"))
        .with_context(|| format!("cannot write in {}", data_dir.display()))?;
    if lock.try_lock().is_err() {
        bail!("another node is using {}: stop it, or choose another --data-dir", data_dir.display());
    }
    Ok(lock)
}
