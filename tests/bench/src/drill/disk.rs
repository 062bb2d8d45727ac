//! A small disk of the drill's own: a file with a file system in it, mounted while the drill runs.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Disk(PathBuf);

impl Disk {
    /// Needs root, mkfs.ext4 and loop devices.
    pub fn mount(below: &Path, mb: u64) -> Result<Self> {
        let (image, place) = (below.join("disk.img"), below.join("disk"));
        File::create(&image)?.set_len(mb << 20)?;
        fs::create_dir(&place)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place))?;
        Ok(Self(place))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all the room there is until it is dropped.
    pub fn fill(&self) -> Result<Ballast> {
        let path = self.0.join("ballast");
        let mut file = File::create(&path)?;
        let ballast = Ballast(path);
        for piece in [vec![1; 1 << 20], vec![1; 4096]] {
            while file.write_all(&piece).is_ok() {}
        }
        // Blocks are only taken for certain when they are written; that there is none left for the last is expected.
        let _ = file.sync_all();
        Ok(ballast)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(&self.0)) {
            eprintln!("{} stays mounted: {error:#}", self.0.display());
        }
    }
}

pub struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().with_context(|| format!("cannot run {program}"))?;
    if !done.status.success() {
        bail!("{program} (a disk of the drill's own needs root): {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}
