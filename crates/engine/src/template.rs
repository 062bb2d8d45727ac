//! Templates: everything about a version that can be done before a call comes: code and layers unpacked, the interpreter
//! known, the mounts and the command line ready, and where it may be a zygote, an initialised process to copy.

use crate::bases::Kind;
use crate::cache::{Cache, Unpacked};
use crate::cells::Class;
use crate::interpreters::Interpreter;
use crate::nodejs::{self, Nodejs};
use crate::package::{self, PackageError};
use crate::pool::Key;
use crate::python::{self, Pythons};
use crate::share::Hosts;
use crate::tiers::{self, Tiers};
use crate::wasm::{self, worker};
use crate::zygote::Zygote;
use crate::{Code, Package, PrepareError, Runtime, RuntimeReport, Version};
use base::{Arn, Scope};
use bytes::Bytes;
use images::{Image, Images};
use parking_lot::Mutex;
use sandbox::{Components, Mount};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use store::Blobs;
use tokio::sync::{Mutex as Turn, OnceCell};

/// Templates kept at most. Beyond, or when the cache is over its size, those without an instance are forgotten, so that
/// their code may leave the cache.
const TEMPLATES_MAX: usize = 4096;
/// The file in the cache's directories of compiled code.
const CODE: &str = "code";

/// A version made ready.
pub(crate) struct Template {
    pub argv: Vec<String>,
    /// Beyond the interpreter's own: the SDK, the code, the layers.
    pub mounts: Vec<Mount>,
    /// The root, where it is an image's.
    pub image: Option<ImageRoot>,
    /// What runs it, where that is not our own init.
    pub runtime: Option<sandbox::Runtime>,
    pub interpreter: Option<Arc<Interpreter>>,
    /// What AWS's INIT_START line calls the runtime's version.
    pub runtime_version: String,
    /// What the function's log should say at every start: another interpreter stands in.
    pub note: Option<String>,
    /// What it is where it is a component.
    pub component: Option<Component>,
    /// There is nothing to execute: every run fails with this.
    pub broken: Option<String>,
    /// The base that its processes are copied from; `None` where each must be started.
    pub base: Option<Kind>,
    /// The version's initialised process. Held while one is made: others wait for it.
    pub zygote: Turn<Zygote>,
    /// Calls at once in one instance: a component's workers have one, whatever its version says.
    pub calls: usize,
    /// Its sandboxes that take several calls at once.
    pub hosts: Turn<Hosts>,
    /// Whether instances may be copied or made of cells, as the version says.
    copies: Option<bool>,
    /// What an instance holds when it is initialised, as last seen; 0 before.
    initialised_bytes: AtomicU64,
    /// The compiled code of its modules, made by one of its instances.
    compiled: OnceCell<Arc<Unpacked>>,
    /// An instance makes it, or has tried.
    compiling: AtomicBool,
    /// The cells that its instances can be made of; else why they cannot, where there are cells of its runtime.
    pub class: Result<Class, Option<String>>,
    /// Keeps the unpacked code in the cache.
    _code: Vec<Arc<Unpacked>>,
}

/// Where a component runs.
#[derive(Clone)]
pub(crate) enum Component {
    /// In this process. The package lies there.
    Here(PathBuf),
    /// Its instances are workers.
    InWorkers {
        /// Whether there is more in the package than the component.
        has_more: bool,
    },
}

/// An unpacked image, and what its own configuration says.
pub(crate) struct ImageRoot {
    pub path: PathBuf,
    /// `NAME=value`
    pub env: Vec<String>,
    pub directory: String,
}

impl Template {
    /// An instance has been initialised and holds so much.
    pub(crate) fn initialised(&self, bytes: u64) {
        self.initialised_bytes.store(bytes.max(1), Ordering::Relaxed);
    }

    /// What an instance holds that has been initialised and has not run; `None` while none has been seen.
    pub(crate) fn initialised_bytes(&self) -> Option<u64> {
        Some(self.initialised_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// What an instance made of a cell is to do about compiled code, and what it needs for that. The one that makes it is not
    /// the first: it is known by then that the version initialises well, and most often nobody waits for the second.
    pub(crate) fn compile(&self) -> (Option<&'static str>, Option<Mount>) {
        match self.compiled.get() {
            Some(code) => (Some("use"), Some(read_only(&code.path, "/var/runtime/compiled"))),
            None if self.initialised_bytes().is_some() && !self.compiling.swap(true, Ordering::Relaxed) => {
                (Some("make"), None)
            }
            None => (None, None),
        }
    }

    /// All that a sandbox shows of it.
    pub(crate) fn all_mounts(&self) -> Vec<Mount> {
        let own = self.interpreter.as_ref().map(|interpreter| interpreter.mounts()).unwrap_or_default();
        own.into_iter().chain(self.mounts.iter().cloned()).collect()
    }
}

pub(crate) struct Templates {
    blobs: Blobs,
    images: Arc<Images>,
    pub tiers: Tiers,
    /// Compiles components; without it a package needs a `bootstrap`.
    components: Option<Arc<dyn Components>>,
    cache: Cache,
    pythons: Pythons,
    nodejs: Nodejs,
    made: Mutex<HashMap<Key, Arc<OnceCell<Arc<Template>>>>>,
}

impl Templates {
    pub(crate) fn new(
        blobs: Blobs,
        images: Arc<Images>,
        tiers: Tiers,
        components: Option<Arc<dyn Components>>,
        cache: Cache,
        pythons: Pythons,
        nodejs: Nodejs,
    ) -> Self {
        Self { blobs, images, tiers, components, cache, pythons, nodejs, made: Mutex::default() }
    }

    /// The runtimes with an interpreter.
    pub(crate) fn interpreters(&self) -> Vec<RuntimeReport> {
        [self.pythons.reports(), self.nodejs.reports()].concat()
    }

    /// The version's template, made by the first who asks.
    pub(crate) async fn get(&self, version: &Version) -> Result<Arc<Template>, PrepareError> {
        let cell = {
            let mut made = self.made.lock();
            if made.len() >= TEMPLATES_MAX || self.cache.is_over() {
                made.retain(|_, cell| {
                    Arc::strong_count(cell) > 1 || cell.get().is_some_and(|t| Arc::strong_count(t) > 1)
                });
            }
            made.entry(Key::of(version)).or_default().clone()
        };
        cell.get_or_try_init(|| async { self.make(version).await.map(Arc::new) }).await.cloned()
    }

    /// The functions of this scope that have a zygote, or a cell as `has_cell` says, and why others of them cannot have one;
    /// once for each version. `plain` says why this machine makes nothing ahead.
    pub(crate) fn made_ahead(
        &self,
        scope: &Scope,
        has_cell: impl Fn(&Class, Option<bool>) -> bool,
        plain: impl Fn(Option<bool>) -> Option<String>,
    ) -> Vec<(String, Result<(), String>)> {
        let made = self.made.lock();
        let told = made.iter().filter_map(|(key, cell)| {
            let arn: Arn = key.arn.parse().ok()?;
            let ours = arn.account == scope.account.as_str() && arn.region == scope.region.as_str();
            let name = arn.resource.strip_prefix("function:").filter(|_| ours)?;
            let template = cell.get()?;
            // One that is being made is not there yet.
            let ahead = match (&*template.zygote.try_lock().ok()?, &template.class) {
                (Zygote::Living(_), _) => Ok(()),
                (Zygote::Refused(reason), _) | (_, Err(Some(reason))) => Err(reason.clone()),
                (_, Ok(class)) if has_cell(class, template.copies) => Ok(()),
                (Zygote::Absent, class) if template.base.is_some() || class.is_ok() => Err(plain(template.copies)?),
                (Zygote::Absent, _) => return None,
            };
            Some((name.to_owned(), ahead))
        });
        told.collect()
    }

    /// The version's template, if it is there.
    pub(crate) fn known(&self, version: &Version) -> Option<Arc<Template>> {
        self.made.lock().get(&Key::of(version))?.get().cloned()
    }

    /// Forgets the version's other revisions.
    pub(crate) fn retire(&self, arn: &str, version: &str, keep_revision: Option<&str>) {
        self.made
            .lock()
            .retain(|key, _| key.arn != arn || key.version != version || Some(key.revision.as_str()) == keep_revision);
    }

    /// Forgets them all, and so ends their zygotes once no instance is left.
    pub(crate) fn close(&self) {
        self.made.lock().clear();
    }

    async fn make(&self, version: &Version) -> Result<Template, PrepareError> {
        let package = match &version.code {
            Code::Image(image) => return self.image(version, image, self.tiers.runtime(version)?).await,
            Code::Zip(package) => package,
        };
        let task = self.unpack(std::slice::from_ref(package)).await?;
        let opt = match version.layers.as_slice() {
            [] => None,
            layers => Some(self.unpack(layers).await?),
        };
        let opt_path = opt.as_ref().map(|opt| opt.path.as_path());
        refuse_extensions(opt_path)?;
        let mut template = match &version.runtime {
            Runtime::Python { minor } => self.python(version, *minor, &task.path, opt_path).await?,
            Runtime::Node { major } => self.node(version, *major, &task.path, opt_path).await?,
            Runtime::Provided(name) => provided(name, &task.path, opt_path),
            Runtime::Image(_) => return Err(PrepareError::internal("a package has no runtime")),
        };
        template.mounts.push(read_only(&task.path, "/var/task"));
        // An executable `bootstrap`, the package's or a layer's, wins.
        if template.broken.is_some()
            && task.path.join(wasm::FILE).is_file()
            && let Some(components) = self.components.clone()
        {
            return self.component(version, components, task, template).await;
        }
        let runtime = self.tiers.runtime(version)?;
        if runtime.is_some() {
            // Copies and cells are made in our own sandbox only.
            template.base = None;
            template.class = Err(None);
        }
        template.runtime = runtime;
        template.mounts.extend(opt_path.map(|path| read_only(path, "/opt")));
        template.copies = version.copies;
        template.calls = version.calls();
        template._code = std::iter::once(task).chain(opt).collect();
        Ok(template)
    }

    /// A component's, with its compiled code where it is for workers. What cannot run is refused in either case, here or
    /// when it is loaded.
    async fn component(
        &self,
        version: &Version,
        components: Arc<dyn Components>,
        task: Arc<Unpacked>,
        mut template: Template,
    ) -> Result<Template, PrepareError> {
        if !version.layers.is_empty() {
            let message =
                "a WebAssembly function has no /opt: put what it needs beside bootstrap.wasm, and remove the layers";
            return Err(PrepareError { code: "InvalidConfiguration", message: message.into() });
        }
        let Some(program) = self.tiers.worker(version)? else {
            template.component = Some(Component::Here(task.path.clone()));
            template._code = vec![task];
            return Ok(template);
        };
        template.runtime_version = components.engine().to_owned();
        let dir = task.path.clone();
        let compile = move || Ok((components.compiled(&wasm::read(&dir)?)?, wasm::has_more(&dir)));
        let (code, has_more) = blocking(compile).await?.map_err(wasm::not_taken)?;
        let name = hex::encode(Sha256::digest(&code));
        let code = self.cache.get(&name, |into| fill_with_code(into, code.into())).await?;
        template.argv = vec![worker::PROGRAM.into(), worker::WORKER_ARG.into()];
        template.mounts.push(read_only(&program, worker::PROGRAM));
        template.mounts.push(read_only(&code.path.join(CODE), worker::CODE));
        template.component = Some(Component::InWorkers { has_more });
        template.broken = None;
        template._code = vec![task, code];
        Ok(template)
    }

    async fn image(
        &self,
        version: &Version,
        image: &Image,
        runtime: Option<sandbox::Runtime>,
    ) -> Result<Template, PrepareError> {
        let fill = |into: PathBuf| async move {
            self.images.pull(image).await.map_err(not_had)?;
            self.images.unpack(image, &into).await.map_err(not_had)
        };
        let root = self.cache.get(&format!("image-{}", image.sha256), fill).await?;
        let (argv, directory) = tiers::program(version, image);
        let env = image.process.env.clone();
        let broken = argv.is_empty().then(|| "the image has no ENTRYPOINT and no CMD".to_owned());
        Ok(Template {
            argv,
            mounts: Vec::new(),
            image: Some(ImageRoot { path: root.path.clone(), env, directory }),
            runtime,
            interpreter: None,
            runtime_version: format!("image:sha256:{}", &image.sha256[..image.sha256.len().min(12)]),
            note: None,
            component: None,
            broken,
            base: None,
            zygote: Turn::default(),
            calls: version.calls(),
            hosts: Turn::default(),
            copies: None,
            compiled: OnceCell::new(),
            compiling: AtomicBool::new(false),
            initialised_bytes: AtomicU64::new(0),
            class: Err(None),
            _code: vec![root],
        })
    }

    async fn python(
        &self,
        version: &Version,
        minor: u8,
        task: &Path,
        opt: Option<&Path>,
    ) -> Result<Template, PrepareError> {
        let chosen = self.pythons.here.choose(minor)?;
        let interpreter = self.pythons.interpreter(chosen).await?;
        let (task, opt) = (task.to_owned(), opt.map(Path::to_owned));
        let boto3 = blocking(move || python::needs_boto3(&task, opt.as_deref(), chosen)).await?;
        let boto3 = boto3.map_err(|e| PrepareError::internal(format!("cannot read the unpacked code: {e}")))?;
        if boto3 {
            self.pythons.install_boto3(&interpreter).await?;
        }
        Ok(Template {
            argv: python::command(&interpreter, false),
            mounts: Vec::new(),
            image: None,
            runtime: None,
            runtime_version: format!("python:{}", interpreter.version),
            note: self.pythons.here.stand_in_note(minor, &interpreter),
            base: (!python::needs_own_start(&version.environment)).then_some(Kind { minor: chosen, boto3 }),
            interpreter: Some(interpreter),
            component: None,
            broken: None,
            zygote: Turn::default(),
            calls: 1,
            hosts: Turn::default(),
            copies: None,
            compiled: OnceCell::new(),
            compiling: AtomicBool::new(false),
            initialised_bytes: AtomicU64::new(0),
            class: Err(None),
            _code: Vec::new(),
        })
    }

    async fn node(
        &self,
        version: &Version,
        major: u8,
        task: &Path,
        opt: Option<&Path>,
    ) -> Result<Template, PrepareError> {
        let interpreter = self.nodejs.interpreter(self.nodejs.here.choose(major)?).await?;
        let needed = {
            let (task, opt) = (task.to_owned(), opt.map(Path::to_owned));
            blocking(move || nodejs::sdk_packages(&task, opt.as_deref(), major)).await?
        };
        let needed = needed.map_err(|e| PrepareError::internal(format!("cannot read the unpacked code: {e}")))?;
        let mut mounts = Vec::new();
        if !needed.is_empty() {
            let sdk = self.nodejs.sdk(&interpreter, &needed).await?;
            mounts.push(read_only(&sdk, "/var/runtime/node_modules"));
        }
        let program = interpreter.program.display().to_string();
        let (memory_mb, ephemeral_mb) = (version.memory_mb, version.ephemeral_mb);
        let network = version.network.clone();
        let class = Class { named: major, interpreter: interpreter.number, memory_mb, ephemeral_mb, network };
        let class = match nodejs::read_at_start(&version.environment) {
            None => Ok(class),
            Some(name) => Err(Some(format!("{name}, which it sets, is read when an interpreter starts"))),
        };
        Ok(Template {
            argv: [program]
                .into_iter()
                .chain(nodejs::heap(memory_mb))
                .chain(["/var/runtime/index.mjs".into()])
                .collect(),
            mounts,
            image: None,
            runtime: None,
            runtime_version: format!("nodejs:{}", interpreter.version),
            note: self.nodejs.here.stand_in_note(major, &interpreter),
            interpreter: Some(interpreter),
            component: None,
            broken: None,
            base: None,
            zygote: Turn::default(),
            calls: 1,
            hosts: Turn::default(),
            copies: None,
            compiled: OnceCell::new(),
            compiling: AtomicBool::new(false),
            initialised_bytes: AtomicU64::new(0),
            class,
            _code: Vec::new(),
        })
    }

    /// Keeps compiled code that an instance of this version has made, beside the version's unpacked packages.
    pub(crate) async fn keep_compiled(&self, version: &Version, template: &Template, code: Bytes) {
        let Key { arn, version, revision } = Key::of(version);
        let interpreter = &template.runtime_version;
        let name = hex::encode(Sha256::digest(format!("compiled\n{arn}\n{version}\n{revision}\n{interpreter}")));
        match self.cache.get(&name, |into| fill_with_code(into, code)).await {
            Ok(kept) => drop(template.compiled.set(kept)),
            Err(error) => tracing::warn!(%error, "compiled code could not be kept"),
        }
    }

    /// One directory with the packages laid over each other in order.
    async fn unpack(&self, packages: &[Package]) -> Result<Arc<Unpacked>, PrepareError> {
        let name = match packages {
            [one] => one.sha256.clone(),
            several => {
                let mut hash = Sha256::new();
                several.iter().for_each(|package| hash.update(format!("{}\n", package.sha256)));
                hex::encode(hash.finalize())
            }
        };
        if name.len() != 64 || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(PrepareError::internal("the package's record has no proper hash"));
        }
        let fill = |into: PathBuf| async move {
            let mut bytes = 0;
            for package in packages {
                let zip = self.blobs.get(&package.blob).await;
                let zip = zip.map_err(|e| PrepareError::internal(format!("the package cannot be read: {e}")))?;
                let into = into.clone();
                let found =
                    blocking(move || package::unpack(Cursor::new(zip), &package::Limits::default(), &into)).await?;
                bytes += found.map_err(refused)?.unpacked_bytes;
            }
            Ok(bytes)
        };
        self.cache.get(&name, fill).await
    }
}

/// Puts compiled code into a directory of the cache.
async fn fill_with_code(into: PathBuf, code: Bytes) -> Result<u64, PrepareError> {
    let bytes = code.len() as u64;
    let written = blocking(move || {
        let file = into.join(CODE);
        std::fs::write(&file, code)?;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644))
    });
    written.await?.map_err(|e| PrepareError::internal(e.to_string()))?;
    Ok(bytes)
}

fn provided(name: &str, task: &Path, opt: Option<&Path>) -> Template {
    let places = [Some(task).zip(Some("/var/task/bootstrap")), opt.zip(Some("/opt/bootstrap"))];
    let found = places.iter().flatten().find_map(|(root, inside)| {
        let meta = std::fs::metadata(root.join("bootstrap")).ok()?;
        Some((*inside, meta.is_file() && meta.permissions().mode() & 0o111 != 0))
    });
    let (program, broken) = match found {
        Some((program, true)) => (program, None),
        Some((program, false)) => (program, Some(format!("fork/exec {program}: permission denied"))),
        None => {
            let text = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]";
            ("/var/task/bootstrap", Some(text.to_owned()))
        }
    };
    Template {
        argv: vec![program.to_owned()],
        mounts: Vec::new(),
        image: None,
        runtime: None,
        interpreter: None,
        runtime_version: name.replacen('.', ":", 1),
        note: None,
        component: None,
        broken,
        base: None,
        zygote: Turn::default(),
        calls: 1,
        hosts: Turn::default(),
        copies: None,
        compiled: OnceCell::new(),
        compiling: AtomicBool::new(false),
        initialised_bytes: AtomicU64::new(0),
        class: Err(None),
        _code: Vec::new(),
    }
}

/// External extensions would be started beside the runtime; that is not offered, and a layer that counts on it must not
/// seem to work.
fn refuse_extensions(opt: Option<&Path>) -> Result<(), PrepareError> {
    let Some(opt) = opt else { return Ok(()) };
    let Ok(items) = std::fs::read_dir(opt.join("extensions")) else { return Ok(()) };
    match items.flatten().find(|item| item.file_type().is_ok_and(|kind| kind.is_file())) {
        Some(item) => {
            let name = item.file_name().to_string_lossy().into_owned();
            let message = format!("a layer brings the extension {name:?}; Lambda extensions are not offered here yet");
            Err(PrepareError { code: "InvalidConfiguration", message })
        }
        None => Ok(()),
    }
}

fn not_had(error: images::Error) -> PrepareError {
    match error {
        images::Error::Refused(message) => PrepareError { code: "InvalidImage", message },
        images::Error::Denied(message) => PrepareError { code: "ImageAccessDenied", message },
        images::Error::Unavailable(message) => PrepareError::internal(message),
    }
}

fn read_only(source: &Path, target: &str) -> Mount {
    Mount { source: source.to_owned(), target: target.into(), writable: false }
}

fn refused(error: PackageError) -> PrepareError {
    match error {
        PackageError::Io(_) => PrepareError::internal(error.to_string()),
        refused => PrepareError { code: "InvalidZipFileException", message: refused.to_string() },
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PrepareError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| PrepareError::internal(e.to_string()))
}
