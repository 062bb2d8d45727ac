//! From a directory, or a component, to a package: what it holds, what it needs, and the zip made of it.

pub mod archive;
pub mod convention;
pub mod nodejs;
pub mod python;
pub mod site;

use crate::error::{Error, Result, at};
use crate::show::{Work, size};
use archive::Archive;
use convention::Kind;
use std::path::Path;

/// AWS's limit on a zip that is uploaded directly.
const ZIP_BYTES_MAX: usize = 50 << 20;

/// What is deployed.
#[derive(Debug)]
pub struct Package {
    pub runtime: String,
    pub handler: String,
    pub zip: Vec<u8>,
}

/// What the user said instead of leaving it to convention.
#[derive(Debug, Default, Clone)]
pub struct Wishes {
    pub runtime: Option<String>,
    pub handler: Option<String>,
}

/// Finds handler and runtime, installs what it needs, zips.
pub async fn build(dir: &Path, wishes: &Wishes) -> Result<Package> {
    let (runtime, handler, site) = match convention::detect(dir, wishes)? {
        Kind::Bootstrap => {
            let runtime = wishes.runtime.clone().unwrap_or_else(|| "provided.al2023".into());
            (runtime, wishes.handler.clone().unwrap_or_else(|| "bootstrap".into()), None)
        }
        Kind::Component => {
            let runtime = wishes.runtime.clone().unwrap_or_else(|| "provided.al2023".into());
            (runtime, wishes.handler.clone().unwrap_or_else(|| convention::COMPONENT.into()), None)
        }
        Kind::Python { handler } => {
            let requirements = dir.join("requirements.txt");
            let needs_pip = requirements.exists();
            let (minor, interpreter) = python::choose(&python::installed(), wishes.runtime.as_deref(), needs_pip)?;
            let site = match interpreter {
                Some(interpreter) if needs_pip => Some(python::install(&interpreter, dir).await?),
                _ => None,
            };
            (format!("python3.{minor}"), handler, site)
        }
        Kind::Node { handler } => {
            let (major, interpreter) = nodejs::choose(wishes.runtime.as_deref())?;
            let runtime = format!("nodejs{major}.x");
            let site = nodejs::install(&runtime, interpreter.as_deref(), dir).await?;
            (runtime, handler, site)
        }
    };
    let shown = dir.canonicalize().ok().and_then(|d| Some(d.file_name()?.to_string_lossy().into_owned()));
    let shown = shown.unwrap_or_else(|| dir.display().to_string());
    let work = Work::start(format!("packing {shown}"));
    let (own, site_dir) = (dir.to_owned(), site.as_ref().map(|s| s.path().to_owned()));
    let is_node = runtime.starts_with("nodejs");
    let zip = tokio::task::spawn_blocking(move || {
        let mut archive = Archive::default();
        if let Some(site) = &site_dir {
            archive.add_dir(site)?;
        }
        if is_node && site_dir.is_some() {
            // It may hold what only development needs; the installed one is in the package already.
            archive.leave_out("node_modules");
        }
        // The project's own files win over what was installed.
        if own.is_file() {
            archive.add_file(convention::COMPONENT, &own);
        } else {
            archive.add_dir(&own)?;
        }
        archive.finish()
    })
    .await
    .map_err(|e| Error::bare(format!("packing failed: {e}")))??;
    if zip.len() > ZIP_BYTES_MAX {
        return Err(Error::told(
            format!("the package is {} and 50 MiB is the most that can be deployed directly", size(zip.len() as u64)),
            "leave out what the function does not need, or move large parts to a layer",
        ));
    }
    work.done(format!("packed {shown} for {runtime}: {}", size(zip.len() as u64)));
    Ok(Package { runtime, handler, zip })
}

/// Reads a directory's entries in name order.
pub fn entries(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(at(dir))? {
        paths.push(entry.map_err(at(dir))?.path());
    }
    paths.sort();
    Ok(paths)
}
