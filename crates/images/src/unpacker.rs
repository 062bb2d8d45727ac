//! The process that unpacks: it reads layers, writes below one directory, and can do nothing else.
//!
//! Strangers' archives are read by libraries that were not written against them. So reading them is an
//! [errand](sandbox::errands).

use crate::IMAGE_BYTES_MAX;
use crate::manifest::Packing;
use crate::scan::{self, Budget, odd};
use ocirender::{ImageSpec, LayerBlob};
use sandbox::errands::{self, Bounds};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first argument that makes our binary this process.
pub const UNPACKER_ARG: &str = "image-unpacker";
/// ocirender holds files that a higher layer has replaced, a layer's worth at a time.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Ten gigabytes on a slow disk.
pub(crate) const UNPACK_MAX: Duration = Duration::from_secs(900);
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

/// The process's entry: the order on standard input, the bytes of the image's files as the answer on standard output. Called before
/// any thread exists.
pub fn unpacker_main() -> ! {
    errands::carry_out(|order: Order| {
        // From here on only the order's files are there.
        let layers: Vec<&Path> = order.layers.iter().map(|layer| layer.path.as_path()).collect();
        errands::confine(&Bounds {
            memory_bytes: MEMORY_BYTES_MAX,
            address_bytes: MEMORY_BYTES_MAX,
            file_bytes: IMAGE_BYTES_MAX,
            processor: UNPACK_MAX,
            reads: &layers,
            writes: std::slice::from_ref(&order.into),
            // The image's files are root's.
            user: None,
        })?;
        unpack(&order)
    })
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
