//! A zip that is the same, byte for byte, whenever its files are: so that a deploy without changes changes nothing.

use crate::error::{Error, Result, at};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;

/// AWS's limit on an unpacked package, with its layers.
const UNPACKED_BYTES_MAX: u64 = 250 << 20;
const FILES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 64;

/// Never part of a package, at any depth.
const IGNORED: [&str; 14] = [
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".venv",
    "venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".idea",
    ".vscode",
    ".DS_Store",
    ".gitignore",
    ".wadi",
];

/// Files by their name in the zip; a later one of the same name wins.
#[derive(Default)]
pub struct Archive {
    files: BTreeMap<String, PathBuf>,
    left_out: Option<&'static str>,
}

impl Archive {
    /// Adds everything below `dir` that is not ignored.
    pub fn add_dir(&mut self, dir: &Path) -> Result<()> {
        self.walk(dir, "", 0)
    }

    /// Adds one file under this name.
    pub fn add_file(&mut self, name: &str, file: &Path) {
        self.files.insert(name.to_owned(), file.to_owned());
    }

    /// From now on passes over this name at the top of a directory.
    pub fn leave_out(&mut self, name: &'static str) {
        self.left_out = Some(name);
    }

    fn walk(&mut self, dir: &Path, prefix: &str, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::bare(format!("{} is nested deeper than {DEPTH_MAX} directories", dir.display())));
        }
        for path in super::entries(dir)? {
            let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| {
                Error::told(format!("{} is not a UTF-8 name", path.display()), "rename it or move it elsewhere")
            })?;
            if IGNORED.contains(&name) || name.ends_with(".pyc") || (depth == 0 && self.left_out == Some(name)) {
                continue;
            }
            let inner = format!("{prefix}{name}");
            let meta = path.metadata().map_err(at(&path))?;
            if meta.is_dir() {
                if path.is_symlink() {
                    return Err(Error::told(
                        format!("{} is a symbolic link to a directory", path.display()),
                        "copy the directory into the package, or leave the link out",
                    ));
                }
                self.walk(&path, &format!("{inner}/"), depth + 1)?;
            } else if meta.is_file() {
                self.files.insert(inner, path);
            }
            if self.files.len() > FILES_MAX {
                return Err(Error::told(format!("more than {FILES_MAX} files"), "is this the right directory?"));
            }
        }
        Ok(())
    }

    /// The zip: names sorted, times fixed, permissions either 0644 or 0755.
    pub fn finish(self) -> Result<Vec<u8>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let mut unpacked = 0;
        for (name, path) in self.files {
            let meta = path.metadata().map_err(at(&path))?;
            unpacked += meta.len();
            if unpacked > UNPACKED_BYTES_MAX {
                return Err(Error::told(
                    "the package is larger than 250 MiB unpacked, AWS's limit",
                    "leave out what the function does not need",
                ));
            }
            let mode = if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            let options = SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Deflated)
                .last_modified_time(zip::DateTime::default())
                .unix_permissions(mode);
            let content = std::fs::read(&path).map_err(at(&path))?;
            zip.start_file(name.as_str(), options)
                .map_err(|e| e.to_string())
                .and_then(|()| zip.write_all(&content).map_err(|e| e.to_string()))
                .map_err(|e| Error::bare(format!("{name}: {e}")))?;
        }
        Ok(zip.finish().map_err(|e| Error::bare(format!("the zip could not be finished: {e}")))?.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn project(order: &[&str]) -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().expect("tempdir");
        for name in order {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(&path, format!("content of {name}")).expect("write");
        }
        let program = dir.path().join("bootstrap");
        if program.exists() {
            fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("chmod");
        }
        let mut archive = Archive::default();
        archive.add_dir(dir.path()).expect("walk");
        let zip = archive.finish().expect("zip");
        (dir, zip)
    }

    #[test]
    fn the_same_files_make_the_same_bytes() {
        let (_a, first) = project(&["app.py", "lib/x.py", "bootstrap"]);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let (_b, second) = project(&["bootstrap", "lib/x.py", "app.py"]);
        assert!(first == second);
        let (_c, other) = project(&["app.py", "lib/y.py", "bootstrap"]);
        assert!(first != other);
    }

    #[test]
    fn what_is_ignored_and_what_can_run() {
        let files = ["app.py", "bootstrap", ".git/HEAD", "a/__pycache__/x.pyc", "a/b.py", ".venv/bin/python", "x.pyc"];
        let (_dir, bytes) = project(&files);
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).expect("zip");
        let entries: Vec<(String, u32)> = (0..zip.len())
            .map(|i| {
                let file = zip.by_index(i).expect("entry");
                (file.name().to_owned(), file.unix_mode().expect("mode") & 0o777)
            })
            .collect();
        let expect = [("a/b.py", 0o644), ("app.py", 0o644), ("bootstrap", 0o755)];
        assert_eq!(entries, expect.map(|(n, m)| (n.to_owned(), m)));
    }

    #[test]
    fn the_projects_own_file_wins() {
        let (site, _) = project(&["six.py"]);
        let (own, _) = project(&["six.py"]);
        fs::write(own.path().join("six.py"), "own").expect("write");
        let mut archive = Archive::default();
        archive.add_dir(site.path()).expect("site");
        archive.add_dir(own.path()).expect("own");
        let mut zip = zip::ZipArchive::new(Cursor::new(archive.finish().expect("zip"))).expect("zip");
        let text = std::io::read_to_string(zip.by_name("six.py").expect("entry")).expect("text");
        assert_eq!((zip.len(), text.as_str()), (1, "own"));
    }

    #[test]
    fn links_to_directories_are_refused() {
        let (dir, _) = project(&["a/b.py"]);
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("loop")).expect("symlink");
        assert!(Archive::default().add_dir(dir.path()).expect_err("refused").to_string().contains("symbolic link"));
    }
}
