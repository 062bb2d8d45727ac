//! Where logins for registries are: in one file that is named, or where docker, podman and skopeo keep them.

use crate::settings::Images;
use std::ffi::OsString;
use std::path::PathBuf;

/// The files, the first that counts first; none of them has to be there.
pub fn files(images: &Images, uid: u32, env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let dir = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = images.credentials.clone().or_else(|| dir("REGISTRY_AUTH_FILE")) {
        return vec![file];
    }
    let home = |below: &str| dir("HOME").map(|home| home.join(below));
    let docker = dir("DOCKER_CONFIG").or_else(|| home(".docker"));
    let running = dir("XDG_RUNTIME_DIR").map(|dir| dir.join("containers"));
    let running = running.unwrap_or_else(|| format!("/run/containers/{uid}").into());
    let config = dir("XDG_CONFIG_HOME").or_else(|| home(".config")).map(|dir| dir.join("containers"));
    let kept = [Some(running), config].into_iter().flatten().map(|dir| dir.join("auth.json"));
    docker.map(|dir| dir.join("config.json")).into_iter().chain(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(credentials: Option<&str>, env: &[(&str, &str)]) -> Vec<String> {
        let images = Images { credentials: credentials.map(PathBuf::from), ..Images::default() };
        let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        files(&images, 7, env).into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn where_they_are_kept() {
        let usual = ["/h/.docker/config.json", "/run/containers/7/auth.json", "/h/.config/containers/auth.json"];
        assert_eq!(of(None, &[("HOME", "/h")]), usual);
        let moved = [("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("XDG_RUNTIME_DIR", "/r"), ("XDG_CONFIG_HOME", "/c")];
        let there = ["/d/config.json", "/r/containers/auth.json", "/c/containers/auth.json"];
        assert_eq!(of(None, &moved), there);
        assert_eq!(of(None, &[]), ["/run/containers/7/auth.json"]);
        assert_eq!(of(None, &[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a.json")]), ["/a.json"]);
        assert_eq!(of(Some("/own.json"), &[("REGISTRY_AUTH_FILE", "/a.json")]), ["/own.json"]);
    }
}
