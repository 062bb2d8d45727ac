//! The process that unpacks: it reads layers, writes below one directory, and can do nothing else.
//!
//! Strangers' archives are read by libraries that were not written against them. So they are read by a process without
//! capabilities, without a network that it could use, bounded in memory, and held by Landlock to the files it is given.

use crate::manifest::Packing;
use crate::scan::{self, Budget, odd};
use crate::{Error, IMAGE_BYTES_MAX, Result};
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, path_beneath_rules};
use ocirender::{ImageSpec, LayerBlob};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The first argument that makes our binary this process.
pub const UNPACKER_ARG: &str = "image-unpacker";
/// ocirender holds files that a higher layer has replaced, a layer's worth at a time.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Where a sandbox mounts what is not the image's. They are directories when this is done.
const DIRECTORIES: [&str; 3] = ["dev", "proc", "tmp"];

#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    /// The lowest first.
    pub layers: Vec<Packed>,
    /// An empty directory.
    pub into: PathBuf,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Packed {
    pub path: PathBuf,
    pub packing: Packing,
    pub diff_sha256: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Bytes of its files.
    Done(u64),
    Refused(String),
    Failed(String),
}

/// The process's entry: the order on standard input, the answer on standard output. Called before any thread exists.
pub fn unpacker_main() -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let answer = match take() {
        Ok(bytes) => Answer::Done(bytes),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Answer::Refused(error.to_string()),
        Err(error) => Answer::Failed(error.to_string()),
    };
    let told = serde_json::to_writer(io::stdout(), &answer);
    std::process::exit(i32::from(told.is_err()))
}

fn take() -> io::Result<u64> {
    let order: Order = serde_json::from_reader(io::stdin())?;
    confine(&order)?;
    unpack(&order)
}

/// From here on only the order's files are there.
fn confine(order: &Order) -> io::Result<()> {
    let bound = |resource, to| rustix::process::setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) });
    bound(Resource::As, MEMORY_BYTES_MAX)?;
    bound(Resource::Fsize, IMAGE_BYTES_MAX)?;
    bound(Resource::Core, 0)?;
    rustix::process::umask(rustix::fs::Mode::empty());
    rustix::thread::set_no_new_privs(true)?;
    // What an image lets its owner not read has to be gone through all the same.
    let kept = rustix::thread::capabilities(None)?.permitted & CapabilitySet::DAC_OVERRIDE;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    // As much of it as this kernel has.
    let abi = ABI::V5;
    let layers = order.layers.iter().map(|layer| &layer.path);
    Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(|ruleset| ruleset.create())
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(layers, AccessFs::ReadFile)))
        .and_then(|ruleset| {
            ruleset.add_rules(path_beneath_rules([&order.into], AccessFs::from_all(abi) & !AccessFs::Execute))
        })
        .and_then(|ruleset| ruleset.restrict_self())
        .map(drop)
        .map_err(io::Error::other)
}

/// Checks, unpacks, and makes the result fit to be a root.
fn unpack(order: &Order) -> io::Result<u64> {
    let mut budget = Budget { bytes: IMAGE_BYTES_MAX, entries: scan::ENTRIES_MAX };
    for layer in &order.layers {
        scan::layer(&layer.path, layer.packing, &layer.diff_sha256, &mut budget)?;
    }
    let blobs: Vec<LayerBlob> = order
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| LayerBlob {
            path: layer.path.clone(),
            media_type: media_type(layer.packing).into(),
            index,
        })
        .collect();
    let count = blobs.len();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let spec = ImageSpec::Dir { path: order.into.clone() };
    let layers = futures::stream::iter(blobs.into_iter().rev().map(Ok::<_, std::convert::Infallible>));
    runtime.block_on(ocirender::convert_streaming(layers, count, spec)).map_err(|error| odd(chain(&error)))?;
    furnish(&order.into)?;
    settle(&order.into)
}

/// An error with all that it says of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn media_type(packing: Packing) -> &'static str {
    match packing {
        Packing::Plain => "application/vnd.oci.image.layer.v1.tar",
        Packing::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Packing::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

fn furnish(root: &Path) -> io::Result<()> {
    for name in DIRECTORIES {
        let place = root.join(name);
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(odd(format!("the image's /{name} is not a directory"))),
            Err(_) => fs::DirBuilder::new().mode(0o755).create(&place)?,
        }
    }
    Ok(())
}

/// Takes away what gives rights, opens the root itself, and sums up. Never follows a link.
fn settle(root: &Path) -> io::Result<u64> {
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    let (mut bytes, mut left) = (0, vec![root.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_symlink() {
                continue;
            }
            let mode = found.permissions().mode();
            if mode & 0o6000 != 0 {
                fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode & 0o1777))?;
            }
            bytes += found.len();
            if found.is_dir() {
                left.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

impl Answer {
    pub(crate) fn into_result(self) -> Result<u64> {
        match self {
            Self::Done(bytes) => Ok(bytes),
            Self::Refused(why) => Err(Error::refused(format!("The image cannot be unpacked: {why}"))),
            Self::Failed(why) => Err(Error::unavailable(format!("The image could not be unpacked: {why}"))),
        }
    }
}
