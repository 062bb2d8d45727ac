//! Deployment packages: zips from users, which may be broken or hostile, checked and unpacked.
//!
//! Nothing in a zip is trusted: sizes are counted while inflating, names are rebuilt from their parts, and links may
//! only point inside the package. These calls block; run them on a blocking thread.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Cursor, Read, Seek};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// Bounds on a package. The defaults are AWS's.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sum of all files' sizes: 250 MB.
    pub unpacked_bytes_max: u64,
    pub entries_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked_bytes_max: 262_144_000, entries_max: 100_000 }
    }
}

/// The longest name of an entry, and of one part of it.
const NAME_BYTES_MAX: usize = 1024;
const PART_BYTES_MAX: usize = 255;

/// What a sound package holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    pub unpacked_bytes: u64,
    pub entries: usize,
    /// There is a `bootstrap` at the top, which a `provided` runtime needs.
    pub has_bootstrap: bool,
}

/// Why a package is refused. The texts of the first two are AWS's.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Not a zip, damaged, encrypted, or of a compression that AWS does not take; `detail` says which.
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    Broken { detail: String },
    #[error("Unzipped size must be smaller than {max} bytes")]
    TooLarge { max: u64 },
    /// An entry that no honest package has: outside the package, a device, a name twice.
    #[error("The deployment package has an entry that cannot be unpacked: {reason}: {name:?}")]
    Unsafe { name: String, reason: &'static str },
    #[error("The deployment package has {entries} entries; at most {max} are allowed")]
    TooManyEntries { entries: usize, max: usize },
    /// Ours, not the package's: the disk is full or not writable.
    #[error("cannot unpack: {0}")]
    Io(#[from] io::Error),
}

/// Reads the whole package without writing anything: every rule that [`unpack`] keeps is checked, checksums too.
pub fn inspect(zip: &[u8], limits: &Limits) -> Result<Inspection, PackageError> {
    walk(Cursor::new(zip), limits, None)
}

/// Unpacks into the directory `into`, which must exist. Files of an earlier package that lie there are replaced, so that
/// layers can be laid over each other. Execute bits are kept, everything is made world-readable.
///
/// After an error `into` holds a part of the package; the caller removes it.
pub fn unpack(zip: impl Read + Seek, limits: &Limits, into: &Path) -> Result<Inspection, PackageError> {
    walk(zip, limits, Some(into))
}

fn walk(zip: impl Read + Seek, limits: &Limits, into: Option<&Path>) -> Result<Inspection, PackageError> {
    let mut archive = ZipArchive::new(zip).map_err(broken)?;
    if archive.len() > limits.entries_max {
        return Err(PackageError::TooManyEntries { entries: archive.len(), max: limits.entries_max });
    }
    let mut found = Inspection { entries: archive.len(), ..Inspection::default() };
    let mut names = Names::default();
    let mut links = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().to_owned();
        let path = relative(&name)?;
        let mode = entry.unix_mode().unwrap_or(0o644);
        match Kind::of(&name, mode, entry.is_dir())? {
            Kind::Directory => {
                names.directory(&path, &name)?;
                into.map_or(Ok(()), |root| make_directory(root, &path))?;
            }
            Kind::Link => {
                names.leaf(&path, &name)?;
                let target = link_target(&mut entry, &path, &name)?;
                links.push((path, target));
            }
            Kind::File => {
                names.leaf(&path, &name)?;
                let room = limits.unpacked_bytes_max.saturating_sub(found.unpacked_bytes);
                let mut out = into.map(|root| open_file(root, &path, mode)).transpose()?;
                found.unpacked_bytes += inflate(&mut entry, out.as_mut(), room, limits.unpacked_bytes_max)?;
                found.has_bootstrap |= path == Path::new("bootstrap");
            }
        }
    }
    names.check_no_leaf_is_a_parent()?;
    // Links come last: no file of this package can be written through one.
    for (path, target) in links {
        into.map_or(Ok(()), |root| make_link(root, &path, &target))?;
    }
    Ok(found)
}

enum Kind {
    File,
    Directory,
    Link,
}

impl Kind {
    fn of(name: &str, mode: u32, is_dir: bool) -> Result<Self, PackageError> {
        match mode & 0o170_000 {
            0 | 0o100_000 if !is_dir => Ok(Self::File),
            0 | 0o040_000 | 0o100_000 => Ok(Self::Directory),
            0o120_000 if !is_dir => Ok(Self::Link),
            _ => Err(refuse(name, "neither a file, a directory nor a link")),
        }
    }
}

/// The names seen so far, to find the same place named twice and files used as directories.
#[derive(Default)]
struct Names {
    leaves: HashMap<PathBuf, String>,
    parents: HashSet<PathBuf>,
}

impl Names {
    fn directory(&mut self, path: &Path, _name: &str) -> Result<(), PackageError> {
        self.parents.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn leaf(&mut self, path: &Path, name: &str) -> Result<(), PackageError> {
        if path.as_os_str().is_empty() {
            return Err(refuse(name, "no name"));
        }
        self.parents.extend(path.ancestors().skip(1).map(Path::to_owned));
        match self.leaves.insert(path.to_owned(), name.to_owned()) {
            Some(_) => Err(refuse(name, "the same name twice")),
            None => Ok(()),
        }
    }

    fn check_no_leaf_is_a_parent(&self) -> Result<(), PackageError> {
        match self.leaves.iter().find(|(path, _)| self.parents.contains(*path)) {
            Some((_, name)) => Err(refuse(name, "both a file and a directory")),
            None => Ok(()),
        }
    }
}

/// The entry's path rebuilt from its parts; nothing that leads out of the package survives.
fn relative(name: &str) -> Result<PathBuf, PackageError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(refuse(name, "the name is too long"));
    }
    if name.starts_with('/') {
        return Err(refuse(name, "an absolute name"));
    }
    let mut path = PathBuf::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(refuse(name, "a name that leads out of the package")),
            part if part.len() > PART_BYTES_MAX => return Err(refuse(name, "the name is too long")),
            part if part.contains('\0') => return Err(refuse(name, "a zero byte in the name")),
            part => path.push(part),
        }
    }
    Ok(path)
}

/// A link's target: relative, inside the package, and with `..` only at its start. That last rule keeps the check true
/// whatever other links lie on the way: a link's own directory is always a real one.
fn link_target(entry: &mut impl Read, path: &Path, name: &str) -> Result<String, PackageError> {
    let mut target = String::new();
    let max = NAME_BYTES_MAX as u64 + 1;
    entry.take(max).read_to_string(&mut target).map_err(|e| broken_text(&e))?;
    if target.len() > NAME_BYTES_MAX || target.is_empty() || target.contains('\0') {
        return Err(refuse(name, "a link without a proper target"));
    }
    let depth = path.components().count() - 1;
    let parts: Vec<&str> = target.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let ups = parts.iter().take_while(|part| **part == "..").count();
    if target.starts_with('/') || ups > depth || parts[ups..].contains(&"..") {
        return Err(refuse(name, "a link that leads out of the package"));
    }
    Ok(target)
}

/// Inflates one file, into `out` or nowhere, and stops as soon as it is larger than what `room` is left.
fn inflate(entry: &mut impl Read, out: Option<&mut fs::File>, room: u64, max: u64) -> Result<u64, PackageError> {
    let mut source = entry.take(room + 1);
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    let mut out = out;
    loop {
        let n = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) => return Err(broken_text(&e)),
        };
        bytes += n as u64;
        if bytes > room {
            return Err(PackageError::TooLarge { max });
        }
        if let Some(out) = out.as_deref_mut() {
            io::Write::write_all(out, &buffer[..n])?;
        }
    }
    Ok(bytes)
}

/// Makes every directory on the way, replacing files and links of an earlier layer.
fn make_directory(root: &Path, path: &Path) -> io::Result<()> {
    let mut at = root.to_owned();
    for part in path {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_dir() => continue,
            Ok(_) => fs::remove_file(&at)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        fs::create_dir(&at)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn clear_the_way(root: &Path, path: &Path) -> io::Result<PathBuf> {
    make_directory(root, path.parent().unwrap_or(Path::new("")))?;
    let at = root.join(path);
    match fs::symlink_metadata(&at) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&at)?,
        Ok(_) => fs::remove_file(&at)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    Ok(at)
}

fn open_file(root: &Path, path: &Path, mode: u32) -> io::Result<fs::File> {
    let at = clear_the_way(root, path)?;
    let file = fs::OpenOptions::new().write(true).create_new(true).open(at)?;
    let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

fn make_link(root: &Path, path: &Path, target: &str) -> io::Result<()> {
    symlink(target, clear_the_way(root, path)?)
}

fn refuse(name: &str, reason: &'static str) -> PackageError {
    PackageError::Unsafe { name: name.chars().take(200).collect(), reason }
}

fn broken(error: zip::result::ZipError) -> PackageError {
    PackageError::Broken { detail: error.to_string() }
}

fn broken_text(error: &io::Error) -> PackageError {
    PackageError::Broken { detail: error.to_string() }
}

#[cfg(test)]
mod tests;
