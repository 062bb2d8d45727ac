//! Finding botocore's models: a directory given, a python that has the version, or PyPI.

use super::model::Model;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Botocore {
    dir: PathBuf,
    version: String,
    /// Kept until the models have been read.
    _download: Option<tempfile::TempDir>,
}

impl Botocore {
    pub fn find(given: Option<PathBuf>, python: &Path, version: &str) -> Result<Self> {
        if let Some(dir) = given {
            match version_of(&dir) {
                Some(found) if found == version => return Ok(Self { dir, version: found, _download: None }),
                Some(found) => bail!("{} is botocore {found}; the models come from {version}", dir.display()),
                None => bail!("{} is not a botocore package", dir.display()),
            }
        }
        match installed(python, version) {
            Some(dir) => Ok(Self { dir, version: version.into(), _download: None }),
            None => download(python, version),
        }
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// `name` is `<service>/<api version>`.
    pub fn model(&self, name: &str) -> Result<Model> {
        let path = self.dir.join("data").join(name).join("service-2.json");
        let packed = path.with_extension("json.gz");
        let mut text = Vec::new();
        if packed.exists() {
            flate2::read::GzDecoder::new(std::fs::File::open(&packed)?).read_to_end(&mut text)?;
        } else {
            text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        }
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }
}

fn version_of(dir: &Path) -> Option<String> {
    let init = std::fs::read_to_string(dir.join("__init__.py")).ok()?;
    let line = init.lines().find(|l| l.starts_with("__version__"))?;
    Some(line.split(['\'', '"']).nth(1)?.to_owned())
}

fn installed(python: &Path, version: &str) -> Option<PathBuf> {
    let script = "import botocore, os; print(os.path.dirname(botocore.__file__))";
    let out = Command::new(python).args(["-c", script]).output().ok()?;
    let dir = PathBuf::from(String::from_utf8(out.stdout).ok()?.trim());
    (out.status.success() && version_of(&dir).as_deref() == Some(version)).then_some(dir)
}

fn download(python: &Path, version: &str) -> Result<Botocore> {
    let temp = tempfile::tempdir()?;
    eprintln!("downloading botocore {version} from PyPI …");
    let wheel = temp.path().join(format!("botocore-{version}-py3-none-any.whl"));
    let dir = temp.path().join("unpacked");
    let spec = format!("botocore=={version}");
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", &spec, "--dest"];
    let steps = [
        Command::new(python).args(pip).arg(temp.path()).status(),
        Command::new(python).args(["-m", "zipfile", "-e"]).arg(wheel).arg(&dir).status(),
    ];
    for step in steps {
        if !step.context("python is needed for botocore's models")?.success() {
            bail!("could not download {spec}; give its directory with --botocore");
        }
    }
    Ok(Botocore { dir: dir.join("botocore"), version: version.into(), _download: Some(temp) })
}
