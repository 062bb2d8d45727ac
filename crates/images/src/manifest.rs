//! What is taken from an image's documents. They are strangers' texts: everything has a bound, and what is odd is refused.

use crate::{Error, IMAGE_BYTES_MAX, Result};
use serde::{Deserialize, Serialize};

/// The longest document.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// As many as overlay file systems and other runtimes take.
const LAYERS_MAX: usize = 127;
const IMAGES_IN_INDEX_MAX: usize = 1024;
/// Arguments, environment and working directory together.
const PROCESS_BYTES_MAX: usize = 32 << 10;

pub(crate) const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
pub(crate) const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

/// An image as it was resolved: all that is needed to pull and run it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Image {
    /// As it was asked for.
    pub uri: String,
    /// The same place, by digest.
    pub resolved: String,
    /// Of the manifest, lower-case hex: the image's name on this node.
    pub sha256: String,
    /// The lowest first.
    pub layers: Vec<Layer>,
    pub process: Process,
}

impl Image {
    /// Bytes of all layers as they are pulled.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }
}

/// A layer, a packed tar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layer {
    /// Of the packed bytes, lower-case hex.
    pub sha256: String,
    pub bytes: u64,
    pub packing: Packing,
    /// Of the unpacked tar, lower-case hex.
    pub diff_sha256: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// What the image says is run. Its user is not among it: functions have one user, as on AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    pub directory: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(crate) struct Platform {
    pub architecture: String,
    pub os: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<Run>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Run {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// `sha256:` and 64 lower-case hexadecimal digits: no other digest is taken.
pub(crate) fn is_digest(text: &str) -> bool {
    hex_of(text).is_some()
}

/// The hexadecimal digits of a digest.
pub(crate) fn hex_of(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then_some(hex)
}

/// What a document is, by what it says and by what it has: older ones do not say.
pub(crate) enum Document {
    Index(Index),
    Manifest(Manifest),
}

pub(crate) fn document(bytes: &[u8]) -> Result<Document> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        schema_version: u32,
        #[serde(default)]
        media_type: String,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    let unread = |error: serde_json::Error| Error::refused(format!("The image's manifest cannot be read: {error}"));
    let head: Head = serde_json::from_slice(bytes).map_err(unread)?;
    if head.schema_version != 2 {
        return Err(Error::refused(format!(
            "The image's manifest has version {}, and only 2 is taken",
            head.schema_version
        )));
    }
    let known = |types: &[&str]| types.contains(&head.media_type.as_str());
    match () {
        () if known(&INDEXES) || (head.media_type.is_empty() && head.manifests.is_some()) => {
            let index: Index = serde_json::from_slice(bytes).map_err(unread)?;
            if index.manifests.len() > IMAGES_IN_INDEX_MAX {
                return Err(Error::refused(format!("The image's index has more than {IMAGES_IN_INDEX_MAX} entries")));
            }
            Ok(Document::Index(index))
        }
        () if known(&MANIFESTS) || head.media_type.is_empty() => {
            serde_json::from_slice(bytes).map(Document::Manifest).map_err(unread)
        }
        () => Err(Error::refused(format!(
            "The image has the media type {:?}, which is no container image's",
            head.media_type
        ))),
    }
}

/// The architecture in OCI's words of one in AWS's.
pub(crate) fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

impl Index {
    /// The image for this machine.
    pub(crate) fn choose(self) -> Result<Descriptor> {
        let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == architecture();
        let several = self.manifests.len();
        let mut images = self.manifests.into_iter().filter(|one| one.platform.as_ref().is_none_or(fits));
        let found = images.next().filter(|one| one.platform.is_some() || several == 1);
        found.ok_or_else(|| Error::refused(format!("The image is not there for linux/{}", architecture())))
    }
}

impl Manifest {
    /// Checks the manifest and its configuration, and takes from them what an image needs.
    pub(crate) fn image(self, uri: &str, resolved: String, sha256: String, config: &[u8]) -> Result<Image> {
        let config: ConfigFile = serde_json::from_slice(config)
            .map_err(|error| Error::refused(format!("The image's configuration cannot be read: {error}")))?;
        if config.os != "linux" || config.architecture != architecture() {
            return Err(Error::refused(format!(
                "The image is for {:?}/{:?}, and this node is linux/{}",
                config.os,
                config.architecture,
                architecture()
            )));
        }
        if self.layers.is_empty() || self.layers.len() > LAYERS_MAX {
            return Err(Error::refused(format!(
                "The image has {} layers, and 1 to {LAYERS_MAX} are taken",
                self.layers.len()
            )));
        }
        if self.layers.len() != config.rootfs.diff_ids.len() {
            return Err(Error::refused("The image's manifest and its configuration disagree on its layers"));
        }
        let layers: Vec<Layer> = self
            .layers
            .iter()
            .zip(&config.rootfs.diff_ids)
            .map(|(layer, diff)| layer.layer(diff))
            .collect::<Result<_>>()?;
        let total = layers.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer.bytes));
        if total.is_none_or(|total| total > IMAGE_BYTES_MAX) {
            return Err(Error::refused(format!("The image is larger than {IMAGE_BYTES_MAX} bytes")));
        }
        let run = config.config.unwrap_or_default();
        let process = Process {
            entrypoint: run.entrypoint.unwrap_or_default(),
            command: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default(),
            directory: run.working_dir.filter(|dir| !dir.is_empty()),
        };
        process.check()?;
        Ok(Image { uri: uri.to_owned(), resolved, sha256, layers, process })
    }
}

impl Process {
    fn check(&self) -> Result<()> {
        let texts = || self.entrypoint.iter().chain(&self.command).chain(&self.env).chain(&self.directory);
        if texts().map(|text| text.len() + 1).sum::<usize>() > PROCESS_BYTES_MAX {
            return Err(Error::refused(format!(
                "The image's arguments and environment take more than {PROCESS_BYTES_MAX} bytes"
            )));
        }
        if texts().any(|text| text.contains('\0'))
            || self.env.iter().any(|pair| pair.split_once('=').is_none_or(|(name, _)| name.is_empty()))
        {
            return Err(Error::refused("The image's arguments or environment are malformed"));
        }
        Ok(())
    }
}

impl Descriptor {
    /// The hexadecimal digits of a digest that is as it should be.
    pub(crate) fn hex(&self) -> Result<&str> {
        hex_of(&self.digest).ok_or_else(|| {
            Error::refused(format!("The image names the digest {:.100?}, which is no sha256", self.digest))
        })
    }

    fn layer(&self, diff: &str) -> Result<Layer> {
        let packing = match self.media_type.as_str() {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => Packing::Plain,
            "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Packing::Gzip
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" => Packing::Zstd,
            other => {
                return Err(Error::refused(format!(
                    "The image has a layer of the type {other:.100?}, which is not taken"
                )));
            }
        };
        let diff_sha256 =
            hex_of(diff).ok_or_else(|| Error::refused("The image's configuration names a layer by no sha256"))?;
        Ok(Layer { sha256: self.hex()?.to_owned(), bytes: self.size, packing, diff_sha256: diff_sha256.to_owned() })
    }
}

/// For fuzzing: the way from two documents to an image.
pub(crate) fn image_of(manifest: &[u8], config: &[u8]) -> Result<Image> {
    match document(manifest)? {
        Document::Manifest(manifest) => manifest.image("u", "r".into(), "0".repeat(64), config),
        Document::Index(index) => index.choose().and_then(|one| Err(Error::refused(one.hex()?.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn digest(of: &str) -> String {
        format!("sha256:{}", of.repeat(64))
    }

    fn manifest() -> Value {
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        json!({
            "schemaVersion": 2, "config": {"digest": digest("c"), "size": 2},
            "layers": [{"mediaType": layer, "digest": digest("a"), "size": 10}],
        })
    }

    fn config() -> Value {
        json!({
            "architecture": architecture(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest("d")]},
            "config": {"Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=b"], "WorkingDir": "/w"},
        })
    }

    fn made(manifest: &Value, config: &Value) -> Result<Image> {
        image_of(manifest.to_string().as_bytes(), config.to_string().as_bytes())
    }

    #[test]
    fn takes_what_an_image_needs() {
        let image = made(&manifest(), &config()).expect("an image");
        let layer = Layer { sha256: "a".repeat(64), bytes: 10, packing: Packing::Gzip, diff_sha256: "d".repeat(64) };
        assert_eq!(image.layers, [layer]);
        let process = Process {
            entrypoint: vec!["/e".into()],
            command: vec!["c".into()],
            env: vec!["A=b".into()],
            directory: Some("/w".into()),
        };
        assert_eq!(image.process, process);
    }

    #[test]
    fn hostile_documents_are_refused_with_the_reason() {
        type Break<'a> = &'a dyn Fn(&mut Value, &mut Value);
        let many = |n: usize| Value::from(vec![manifest()["layers"][0].clone(); n]);
        let cases: [(&str, Break<'_>); 14] = [
            ("version 1", &|m, _| m["schemaVersion"] = 1.into()),
            ("no container image's", &|m, _| m["mediaType"] = "text/html".into()),
            ("cannot be read", &|m, _| m["layers"] = "x".into()),
            ("0 layers", &|m, _| m["layers"] = json!([])),
            ("128 layers", &|m, _| m["layers"] = many(128)),
            ("disagree", &|m, _| m["layers"] = many(2)),
            ("no sha256", &|m, _| m["layers"][0]["digest"] = "sha256:../../etc/passwd".into()),
            ("no sha256", &|m, _| m["layers"][0]["digest"] = digest("A").into()),
            ("by no sha256", &|_, c| c["rootfs"]["diff_ids"] = json!(["md5:0"])),
            ("not taken", &|m, _| m["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+xz".into()),
            ("larger than", &|m, _| m["layers"][0]["size"] = u64::MAX.into()),
            ("is for", &|_, c| c["architecture"] = "s390x".into()),
            ("more than", &|_, c| c["config"]["Env"] = json!([format!("A={}", "x".repeat(40_000))])),
            ("malformed", &|_, c| c["config"]["Env"] = json!(["=x"])),
        ];
        for (expect, break_it) in cases {
            let (mut manifest, mut config) = (manifest(), config());
            break_it(&mut manifest, &mut config);
            let error = made(&manifest, &config).expect_err(expect).to_string();
            assert!(error.contains(expect), "{expect}: {error}");
        }
        let mut sums = manifest();
        sums["layers"] = json!([{"mediaType": sums["layers"][0]["mediaType"], "digest": digest("a"), "size": u64::MAX}, sums["layers"][0]]);
        let mut two = config();
        two["rootfs"]["diff_ids"] = json!([digest("d"), digest("d")]);
        assert!(made(&sums, &two).expect_err("overflows").to_string().contains("larger than"));
        for text in ["", "{}", "[]", "{\"schemaVersion\":2}", &"[".repeat(100_000)] {
            assert!(matches!(image_of(text.as_bytes(), b"{}"), Err(Error::Refused(_))), "{text:.20}");
        }
    }

    #[test]
    fn an_index_gives_the_image_for_this_machine() {
        let one = |arch: &str, of: &str| json!({"digest": digest(of), "size": 1, "platform": {"os": "linux", "architecture": arch}});
        let index = |manifests: Value| match document(
            json!({"schemaVersion": 2, "manifests": manifests}).to_string().as_bytes(),
        ) {
            Ok(Document::Index(index)) => index.choose().map(|found| found.digest),
            _ => panic!("it is an index"),
        };
        assert_eq!(index(json!([one("s390x", "1"), one(architecture(), "2")])).expect("ours"), digest("2"));
        assert!(index(json!([one("s390x", "1")])).is_err() && index(json!([])).is_err());
        assert_eq!(index(json!([{"digest": digest("3"), "size": 1}])).expect("the only one"), digest("3"));
    }
}
