//! A version's template made: what each kind of function is started by.

use super::{Templates, blocking, fill_with_code};
use crate::bases::Kind;
use crate::cache::Unpacked;
use crate::cells::Class;
use crate::template::{CODE, Component, ImageRoot, Template};
use crate::wasm::{self, worker};
use crate::{Code, PrepareError, Runtime, Version, nodejs, python, tiers};
use images::Image;
use sandbox::{Components, MachineCode, Mount};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Templates {
    pub(super) async fn make(&self, version: &Version) -> Result<Template, PrepareError> {
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
        template.mounts.push(Mount::new(&task.path, "/var/task"));
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
        template.mounts.extend(opt_path.map(|path| Mount::new(path, "/opt")));
        template.copies = version.copies;
        template.calls = version.calls();
        template.code = std::iter::once(task).chain(opt).collect();
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
            template.code = vec![task];
            return Ok(template);
        };
        template.runtime_version = components.engine().to_owned();
        let MachineCode { file, sha256 } =
            components.compiled(&task.path.join(wasm::FILE)).await.map_err(wasm::not_taken)?;
        let code = self.cache.get(&sha256, |into| fill_with_code(into, file)).await?;
        let dir = task.path.clone();
        let has_more = blocking(move || wasm::has_more(&dir)).await?;
        template.argv = vec![worker::PROGRAM.into(), worker::WORKER_ARG.into()];
        template.mounts.push(Mount::new(&program, worker::PROGRAM));
        template.mounts.push(Mount::new(&code.path.join(CODE), worker::CODE));
        template.component = Some(Component::InWorkers { has_more });
        template.broken = None;
        template.code = vec![task, code];
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
        let runtime_version = format!("image:sha256:{}", &image.sha256[..image.sha256.len().min(12)]);
        let mut template = Template::new(argv, runtime_version);
        template.image = Some(ImageRoot { path: root.path.clone(), env, directory });
        template.runtime = runtime;
        template.broken = broken;
        template.calls = version.calls();
        template.code = vec![root];
        Ok(template)
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
        let (argv, runtime_version) = (python::command(&interpreter, false), format!("python:{}", interpreter.version));
        let mut template = Template::new(argv, runtime_version);
        template.note = self.pythons.here.stand_in_note(minor, &interpreter);
        template.base = (!python::needs_own_start(&version.environment)).then_some(Kind { minor: chosen, boto3 });
        template.interpreter = Some(interpreter);
        Ok(template)
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
            mounts.push(Mount::new(&sdk, "/var/runtime/node_modules"));
        }
        let program = interpreter.program.display().to_string();
        let (memory_mb, ephemeral_mb) = (version.memory_mb, version.ephemeral_mb);
        let network = version.network.clone();
        let class = Class { named: major, interpreter: interpreter.number, memory_mb, ephemeral_mb, network };
        let class = match nodejs::read_at_start(&version.environment) {
            None => Ok(class),
            Some(name) => Err(Some(format!("{name}, which it sets, is read when an interpreter starts"))),
        };
        let argv =
            [program].into_iter().chain(nodejs::heap(memory_mb)).chain(["/var/runtime/index.mjs".into()]).collect();
        let runtime_version = format!("nodejs:{}", interpreter.version);
        let mut template = Template::new(argv, runtime_version);
        template.mounts = mounts;
        template.note = self.nodejs.here.stand_in_note(major, &interpreter);
        template.interpreter = Some(interpreter);
        template.class = class;
        Ok(template)
    }
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
    let runtime_version = name.replacen('.', ":", 1);
    let mut template = Template::new(vec![program.to_owned()], runtime_version);
    template.broken = broken;
    template
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
