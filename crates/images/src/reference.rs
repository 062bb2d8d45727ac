//! Where an image is: in a registry, or in an OCI layout on this machine; and whether this node may look there.

use crate::{Error, Result};
use oci_spec::distribution::{ParseError, Reference};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

/// What a node lets people name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Registries (`registry.example:5000`); `None` is any.
    pub registries: Option<Vec<String>>,
    /// Directories in which layouts may lie; `None` is anywhere.
    pub layouts: Option<Vec<PathBuf>>,
}

/// A parsed `ImageUri`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Registry(Reference),
    /// `oci:/directory[:tag]`
    Layout {
        path: PathBuf,
        tag: Option<String>,
    },
    /// `oci-archive:/file.tar[:tag]`
    Archive {
        path: PathBuf,
        tag: Option<String>,
    },
}

/// AWS's own bound is 2,048 as well.
const URI_BYTES_MAX: usize = 2048;

impl Place {
    pub(crate) fn parse(uri: &str, allowed: &Allowed) -> Result<Self> {
        let invalid = |why: &str| {
            Error::refused(format!("Source image {uri} is not valid: {why}. Provide a valid source image."))
        };
        if uri.len() > URI_BYTES_MAX || uri.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::refused(
                "Source image is not valid: it is too long, or has spaces. Provide a valid source image.",
            ));
        }
        for (scheme, archive) in [("oci-archive:", true), ("oci:", false)] {
            if let Some(rest) = uri.strip_prefix(scheme) {
                let (path, tag) = layout(rest).map_err(invalid)?;
                may_read(&path, allowed)?;
                return Ok(if archive { Self::Archive { path, tag } } else { Self::Layout { path, tag } });
            }
        }
        let reference: Reference = uri.parse().map_err(|error: ParseError| invalid(&error.to_string()))?;
        if reference.digest().is_some_and(|digest| !crate::manifest::is_digest(digest)) {
            return Err(invalid("only sha256 digests are taken"));
        }
        let host = reference.resolve_registry();
        if let Some(registries) = &allowed.registries
            && !registries.iter().any(|registry| registry == host || registry == reference.registry())
        {
            return Err(Error::refused(format!(
                "Source image {uri} is not in a registry that this node pulls from. Its operator names those under \
                 [images] registries in wadi.toml."
            )));
        }
        Ok(Self::Registry(reference))
    }

    /// The same place with the digest that was found there.
    pub(crate) fn resolved(&self, digest: &str) -> String {
        match self {
            Self::Registry(reference) => format!("{}/{}@{digest}", reference.registry(), reference.repository()),
            Self::Layout { path, .. } => format!("oci:{}@{digest}", path.display()),
            Self::Archive { path, .. } => format!("oci-archive:{}@{digest}", path.display()),
        }
    }
}

/// Registries that are spoken to without TLS.
pub(crate) fn is_loopback(registry: &str) -> bool {
    let host = registry
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(registry, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn layout(rest: &str) -> Result<(PathBuf, Option<String>), &'static str> {
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
        _ => (rest, None),
    };
    let path = Path::new(path);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    match path.is_absolute() && plain && tag.as_ref().is_none_or(|tag| !tag.is_empty()) {
        true => Ok((path.to_owned(), tag)),
        false => Err("it wants an absolute path, and a tag behind the colon"),
    }
}

fn may_read(path: &Path, allowed: &Allowed) -> Result<()> {
    let Some(layouts) = &allowed.layouts else { return Ok(()) };
    // Links in it lead where they lead.
    let inside = std::fs::canonicalize(path).is_ok_and(|path| layouts.iter().any(|dir| path.starts_with(dir)));
    match inside {
        true => Ok(()),
        false => Err(Error::refused(format!(
            "Source image at {} is not in a directory that this node reads images from. Its operator names those under \
             [images] layouts in wadi.toml.",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(uri: &str) -> Result<Place> {
        Place::parse(uri, &Allowed::default())
    }

    #[test]
    fn registries_and_layouts() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let place = any(&format!("localhost:5000/a/b:1@{digest}")).expect("a reference");
        assert_eq!(place.resolved(&digest), format!("localhost:5000/a/b@{digest}"));
        assert_eq!(any("oci:/a/b:c").expect("a layout"), Place::Layout { path: "/a/b".into(), tag: Some("c".into()) });
        assert_eq!(any("oci-archive:/a/b.tar").expect("a file"), Place::Archive { path: "/a/b.tar".into(), tag: None });
        for bad in [
            "",
            "oci:a",
            "oci:/a/../b",
            "oci:/a:",
            "a b",
            "r.example/UPPER",
            "r/x@sha512:00",
            "x@sha256:0",
            "\u{7}",
            &"a".repeat(3000),
        ] {
            assert!(matches!(any(bad), Err(Error::Refused(_))), "{bad}");
        }
        assert!(["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000"].iter().all(|r| is_loopback(r)));
        assert!(["localhost.example", "128.0.0.1:5000", "docker.io", "[::2]:1", ""].iter().all(|r| !is_loopback(r)));
    }

    #[test]
    fn only_where_this_node_may() {
        let dir = tempfile::tempdir().expect("a directory");
        let here = std::fs::canonicalize(dir.path()).expect("there");
        std::fs::create_dir(here.join("in")).expect("makes");
        std::os::unix::fs::symlink("/", here.join("in/out")).expect("links");
        let allowed = Allowed {
            registries: Some(vec!["a.example".into(), "docker.io".into()]),
            layouts: Some(vec![here.join("in")]),
        };
        let may = |uri: &str| Place::parse(uri, &allowed).is_ok();
        assert!(may("a.example/x:1") && may("busybox") && may(&format!("oci:{}", here.join("in").display())));
        assert!(!may("b.example/x:1") && !may("a.example:5000/x") && !may(&format!("oci:{}", here.display())));
        assert!(!may(&format!("oci:{}/tmp", here.join("in/out").display())), "a link leads out");
    }
}
