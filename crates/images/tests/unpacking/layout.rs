//! An OCI layout of a test's own, and a node's images over it.

use images::{Config, Error, Image, Images, UNPACKER_ARG};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use store::Blobs;

/// An entry of a layer.
pub enum Entry<'a> {
    File(&'a str, &'a [u8], u32),
    Dir(&'a str),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
    /// A name as it is, whatever it is, and a kind.
    Raw(&'a str, tar::EntryType),
}

pub fn file<'a>(name: &'a str, text: &'a str) -> Entry<'a> {
    Entry::File(name, text.as_bytes(), 0o644)
}

/// A tar that says of names and links what the test says, also what no tool would write.
pub fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let (name, kind, link, body, mode): (_, _, _, &[u8], _) = match entry {
            Entry::File(name, body, mode) => (name, tar::EntryType::Regular, "", body, *mode),
            Entry::Dir(name) => (name, tar::EntryType::Directory, "", b"", 0o755),
            Entry::Link(name, to) => (name, tar::EntryType::Symlink, *to, b"", 0o777),
            Entry::Hard(name, to) => (name, tar::EntryType::Link, *to, b"", 0o644),
            Entry::Raw(name, kind) => (name, *kind, "", b"", 0o666),
        };
        let put = |field: &mut [u8], text: &str| field[..text.len()].copy_from_slice(text.as_bytes());
        header.set_entry_type(kind);
        header.set_size(body.len() as u64);
        header.set_mode(mode);
        let bytes = header.as_mut_bytes();
        put(&mut bytes[0..100], name);
        put(&mut bytes[157..257], link);
        header.set_cksum();
        builder.append(&header, body).expect("writes");
    }
    builder.into_inner().expect("ends")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("packs");
    packed.finish().expect("packs")
}

pub fn hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub struct Rig {
    pub dir: tempfile::TempDir,
    pub images: Images,
    pub blobs: Blobs,
}

impl Rig {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("layout/blobs/sha256")).expect("makes");
        let blobs = Blobs::directory(&dir.path().join("blobs")).expect("blobs");
        let unpacker = std::env::current_exe().expect("this test");
        let images = Images::new(Config { unpacker, ..Config::default() }, blobs.clone());
        assert_eq!(UNPACKER_ARG, "image-unpacker");
        Self { dir, images, blobs }
    }

    pub fn layout(&self) -> PathBuf {
        self.dir.path().join("layout")
    }

    pub fn uri(&self) -> String {
        format!("oci:{}:latest", self.layout().display())
    }

    fn blob(&self, bytes: &[u8]) -> String {
        let hex = hex(bytes);
        fs::write(self.layout().join("blobs/sha256").join(&hex), bytes).expect("writes");
        format!("sha256:{hex}")
    }

    /// Writes an image of packed layers (media type's end, packed bytes, the tar), the lowest first.
    pub fn put(&self, layers: &[(&str, Vec<u8>, &[u8])]) {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let diffs: Vec<String> = layers.iter().map(|(.., tar)| format!("sha256:{}", hex(tar))).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs},
            "config": {"Entrypoint": ["/e"]},
        });
        let config = self.blob(config.to_string().as_bytes());
        let described: Vec<_> = layers
            .iter()
            .map(|(packing, packed, _)| {
                let media_type = format!("application/vnd.oci.image.layer.v1.tar{packing}");
                json!({"mediaType": media_type, "digest": self.blob(packed), "size": packed.len()})
            })
            .collect();
        let manifest =
            json!({"schemaVersion": 2, "config": {"digest": config, "size": 1}, "layers": described}).to_string();
        let entry = json!({
            "digest": self.blob(manifest.as_bytes()), "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": "latest"},
        });
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        fs::write(self.layout().join("index.json"), index.to_string()).expect("writes");
    }

    /// An image of plain layers, made, pulled and unpacked.
    pub fn unpacked(&self, layers: &[&[Entry<'_>]]) -> Result<(PathBuf, u64), Error> {
        let tars: Vec<Vec<u8>> = layers.iter().map(|entries| layer(entries)).collect();
        let packed: Vec<_> = tars.iter().map(|tar| ("", tar.clone(), tar.as_slice())).collect();
        self.put(&packed);
        block(self.take(&self.uri())).map(|(_, path, bytes)| (path, bytes))
    }

    /// Resolves, pulls and unpacks what a reference names.
    pub async fn take(&self, uri: &str) -> Result<(Image, PathBuf, u64), Error> {
        let image = self.images.resolve(uri).await?;
        self.images.pull(&image).await?;
        let into = self.dir.path().join(format!("root-{}", fs::read_dir(self.dir.path()).expect("reads").count()));
        fs::create_dir(&into).expect("makes");
        let bytes = self.images.unpack(&image, &into).await?;
        Ok((image, into, bytes))
    }

    /// Everything outside the roots is as it was: nothing was written beside them.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).expect("reads").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| !name.starts_with("root-"));
        names.sort();
        names
    }
}

pub fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

pub fn read(root: &Path, name: &str) -> Option<String> {
    fs::read_to_string(root.join(name)).ok()
}
