//! The fuzz targets' bodies over seeded mutations of what registries send: a bounded run of what `fuzz/` does without end.

#[path = "../../../fuzz/bodies/images.rs"]
mod bodies;

use kit::Seeded;

const ROUNDS: u32 = 20_000;
const PIECES: [&str; 12] =
    ["\0", "{", "]", "\"", "sha256:", "../", "-1", "18446744073709551615", "null", "1e999", "\\u0000", "[[[[[[[["];

fn manifest() -> Vec<u8> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let digest = format!("sha256:{}", "a".repeat(64));
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"digest": digest, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": 10}],
    });
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest]},
        "config": {"Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=b"], "WorkingDir": "/w"},
    });
    format!("{manifest}\0{config}").into_bytes()
}

fn layer() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", "a/long/name".as_bytes())]).expect("writes");
    for (kind, name, link) in [
        (tar::EntryType::Regular, "a", ""),
        (tar::EntryType::Directory, "d", ""),
        (tar::EntryType::Symlink, "l", "d"),
        (tar::EntryType::Link, "h", "a"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(if kind.is_file() { 4 } else { 0 });
        if !link.is_empty() {
            header.set_link_name(link).expect("a link");
        }
        header.set_path(name).expect("a name");
        header.set_cksum();
        builder.append(&header, if kind.is_file() { &b"text"[..] } else { b"" }).expect("writes");
    }
    builder.into_inner().expect("ends")
}

fn mutated(sound: &[u8], seeded: &Seeded) -> Vec<u8> {
    let mut data = sound.to_vec();
    for _ in 0..=seeded.below(4) {
        let at = seeded.below(data.len() as u64 + 1) as usize;
        let to = (at + seeded.below(16) as usize).min(data.len());
        let piece = PIECES[seeded.below(PIECES.len() as u64) as usize];
        match seeded.below(4) {
            0 => drop(data.drain(at..to)),
            1 => drop(data.splice(at..to, piece.bytes())),
            2 => data.truncate(at),
            _ if at < data.len() => data[at] = seeded.below(256) as u8,
            _ => {}
        }
    }
    data
}

#[test]
fn whatever_a_registry_sends() {
    let (seeded, sound) = (Seeded::new(1), manifest());
    let at = sound.iter().position(|byte| *byte == 0).expect("two documents");
    images::read(&sound[..at], &sound[at + 1..]).expect("sound");
    (0..ROUNDS).for_each(|_| bodies::manifest(&mutated(&sound, &seeded)));
}

#[test]
fn whatever_a_layer_holds() {
    let (seeded, sound) = (Seeded::new(2), layer());
    images::look_through(&sound, 1 << 20, 100).expect("sound");
    (0..ROUNDS).for_each(|_| bodies::layer(&mutated(&sound, &seeded)));
}
