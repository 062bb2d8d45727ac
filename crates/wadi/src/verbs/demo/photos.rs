//! The photographs of the demo: the user's own, or public-domain ones from scikit-image and large ones made of them.

use crate::error::{Error, Result, at};
use crate::package::{python, site};
use crate::show::{Work, size};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tokio::process::Command;

const SCRIPT: &str = include_str!("photos.py");
/// The pictures lie in each of this version's wheels; the platform named is only to get one whatever runs here.
const WHEEL: &str = "scikit-image==0.25.2";
/// Changes when other photographs are made.
const MADE: &str = "demo-photos-1";
const PHOTOS_MAX: usize = 200;

/// A file to upload.
#[derive(Clone, Debug, Deserialize)]
pub struct Photo {
    pub name: String,
    pub file: PathBuf,
    /// When upright.
    pub width: u32,
    pub height: u32,
    /// Whether it can be read to its end. One that cannot must fail.
    pub whole: bool,
    #[serde(skip)]
    pub bytes: u64,
}

impl Photo {
    pub fn key(&self, run: &str) -> String {
        format!("photos/{run}/{}", self.name)
    }
}

/// The photographs, and the directory that holds those made for this run alone.
pub struct Photos {
    pub all: Vec<Photo>,
    _made: tempfile::TempDir,
}

/// Finds or makes them. `site` is a directory with Pillow in it.
pub async fn gather(own: Option<&Path>, interpreter: &Path, site: &Path) -> Result<Photos> {
    let cache = site::cache_dir()?;
    std::fs::create_dir_all(&cache).map_err(at(&cache))?;
    let made = tempfile::Builder::new().prefix(".photos-").tempdir_in(&cache).map_err(at(&cache))?;
    let list = match own {
        Some(dir) => {
            let dir = dir.canonicalize().map_err(|e| {
                Error::usage(format!("{}: {e}", dir.display()), "--photos takes a directory with JPEG and PNG files")
            })?;
            let work = Work::start(format!("looking at the photographs in {}", dir.display()));
            let list = script(interpreter, site, "look", &dir, made.path()).await?;
            work.done(format!("found {} photographs in {}", list.lines().count().saturating_sub(1), dir.display()));
            list
        }
        None => public_domain(&cache, made.path(), interpreter, site).await?,
    };
    let mut all = Vec::new();
    for line in list.lines() {
        let mut photo: Photo =
            serde_json::from_str(line).map_err(|e| Error::bare(format!("the photo script said {line:?}: {e}")))?;
        photo.bytes = photo.file.metadata().map_err(at(&photo.file))?.len();
        all.push(photo);
    }
    if all.len() > PHOTOS_MAX {
        return Err(Error::usage(
            format!("{} photographs are more than {PHOTOS_MAX}", all.len()),
            "give a directory with fewer",
        ));
    }
    Ok(Photos { all, _made: made })
}

/// Made once and kept: the list's file paths are those in the cache.
async fn public_domain(cache: &Path, fresh: &Path, interpreter: &Path, site: &Path) -> Result<String> {
    let ready = cache.join(MADE);
    let list = ready.join("list.jsonl");
    if !list.is_file() {
        let wheel = download(interpreter, fresh).await?;
        let work = Work::start("making large photographs of public-domain ones");
        let out = fresh.join("out");
        std::fs::create_dir(&out).map_err(at(&out))?;
        let text = script(interpreter, site, "make", &wheel, &out).await?;
        let text = text.replace(&*out.to_string_lossy(), &ready.to_string_lossy());
        std::fs::write(out.join("list.jsonl"), &text).map_err(at(&out))?;
        // Another run may have been quicker; what it put there is the same.
        if let Err(e) = std::fs::rename(&out, &ready)
            && !list.is_file()
        {
            return Err(at(&ready)(e));
        }
        work.done(format!("made {} photographs in {}", text.lines().count(), ready.display()));
    }
    std::fs::read_to_string(&list).map_err(at(&list))
}

async fn download(interpreter: &Path, into: &Path) -> Result<PathBuf> {
    let work = Work::start("downloading public-domain pictures (scikit-image, from PyPI)");
    let mut command = Command::new(interpreter);
    command.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-deps"]);
    command.args(["--progress-bar", "off", "--only-binary=:all:", "--python-version", "3.12"]);
    command.args(["--implementation", "cp", "--platform", "manylinux2014_x86_64"]);
    command.arg("--dest").arg(into).arg(WHEEL);
    python::pip(command, &work).await?;
    let wheel = crate::package::entries(into)?.into_iter().find(|p| p.extension().is_some_and(|e| e == "whl"));
    let wheel = wheel.ok_or_else(|| Error::bare("pip downloaded no wheel"))?;
    let bytes = wheel.metadata().map_err(at(&wheel))?.len();
    work.done(format!("downloaded {}, {}", WHEEL, size(bytes)));
    Ok(wheel)
}

async fn script(interpreter: &Path, site: &Path, verb: &str, source: &Path, out: &Path) -> Result<String> {
    let output = Command::new(interpreter)
        .args(["-B", "-c", SCRIPT, verb])
        .args([source, out])
        .env("PYTHONPATH", site)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| Error::bare(format!("{}: {e}", interpreter.display())))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::told(said.trim().to_owned(), "the demo's photographs could not be prepared"))
}
