//! Images as tools make them.

use super::layout::{Entry, Rig, block, file, gzip, hex, layer, read};
use std::fs;
use std::os::unix::fs::PermissionsExt;

pub fn layers_lie_over_each_other() {
    let rig = Rig::new();
    let low = [
        Entry::Dir("a"),
        file("a/kept", "low"),
        file("a/changed", "low"),
        file("a/removed", "low"),
        Entry::Dir("b"),
        file("b/one", "low"),
        file("b/two", "low"),
        file("whole", "a file"),
        Entry::Link("link", "a/kept"),
        Entry::Hard("hard", "a/kept"),
        Entry::Dir("tmp"),
    ];
    let high = [
        file("a/changed", "high"),
        file("a/.wh.removed", ""),
        file("b/.wh..wh..opq", ""),
        file("b/three", "high"),
        file(".wh.whole", ""),
        Entry::Dir("whole"),
        file("whole/in", "high"),
        file("./c/d/e", "deep"),
    ];
    let (root, bytes) = rig.unpacked(&[&low, &high]).expect("unpacks");
    assert_eq!(read(&root, "a/kept").as_deref(), Some("low"));
    assert_eq!(read(&root, "a/changed").as_deref(), Some("high"));
    assert_eq!((read(&root, "a/removed"), read(&root, "b/one")), (None, None));
    assert_eq!(read(&root, "b/three").as_deref(), Some("high"));
    assert_eq!(read(&root, "whole/in").as_deref(), Some("high"));
    assert_eq!(read(&root, "c/d/e").as_deref(), Some("deep"));
    assert_eq!((read(&root, "link").as_deref(), read(&root, "hard").as_deref()), (Some("low"), Some("low")));
    assert!(!root.join("a/.wh.removed").exists() && bytes > 0);
    for name in ["dev", "proc", "tmp"] {
        assert!(root.join(name).is_dir(), "{name}");
    }
}

pub fn every_packing_and_both_kinds_of_layouts() {
    let rig = Rig::new();
    let tars: Vec<Vec<u8>> = (0..3).map(|n| layer(&[file(&format!("f{n}"), "x")])).collect();
    let zstd = zstd::encode_all(&tars[2][..], 1).expect("packs");
    rig.put(&[("", tars[0].clone(), &tars[0]), ("+gzip", gzip(&tars[1]), &tars[1]), ("+zstd", zstd, &tars[2])]);
    let archive = rig.dir.path().join("image.tar");
    let mut builder = tar::Builder::new(fs::File::create(&archive).expect("makes"));
    builder.append_dir_all(".", rig.layout()).expect("writes");
    builder.finish().expect("ends");
    block(async {
        let (by_dir, root, _) = rig.take(&rig.uri()).await.expect("unpacks");
        assert!((0..3).all(|n| root.join(format!("f{n}")).exists()));
        let (by_file, root, _) = rig.take(&format!("oci-archive:{}", archive.display())).await.expect("unpacks");
        assert!((0..3).all(|n| root.join(format!("f{n}")).exists()));
        assert_eq!((&by_dir.sha256, &by_dir.layers), (&by_file.sha256, &by_file.layers));
        assert_eq!(by_dir.resolved, format!("oci:{}@sha256:{}", rig.layout().display(), by_dir.sha256));
        for missing in ["none", "other"] {
            let error =
                rig.images.resolve(&format!("oci:{}:{missing}", rig.layout().display())).await.expect_err("not there");
            assert!(error.to_string().contains("Provide a valid source image"), "{error}");
        }
    });
}

pub fn what_is_here_is_not_pulled_again() {
    let rig = Rig::new();
    let base = layer(&[file("base", "x")]);
    rig.put(&[("", base.clone(), &base)]);
    block(rig.take(&rig.uri())).expect("unpacks");
    let top = layer(&[file("top", "y")]);
    rig.put(&[("", base.clone(), &base), ("", top.clone(), &top)]);
    fs::remove_file(rig.layout().join("blobs/sha256").join(hex(&base))).expect("gone at its source");
    let (_, root, _) = block(rig.take(&rig.uri())).expect("the base is shared");
    assert_eq!((read(&root, "base").as_deref(), read(&root, "top").as_deref()), (Some("x"), Some("y")));
    // And what has been resolved stays what it is.
    let image = block(rig.images.resolve(&rig.uri())).expect("resolves");
    rig.put(&[("", top.clone(), &top)]);
    let now = block(rig.images.resolve(&rig.uri())).expect("resolves");
    assert_ne!(image.sha256, now.sha256);
    block(rig.images.pull(&image)).expect("by digest, whatever the tag means by now");
}

pub fn rights_are_taken_away() {
    let rig = Rig::new();
    let entries = [
        Entry::File("su", b"x", 0o4755),
        Entry::File("sg", b"x", 0o2755),
        Entry::File("plain", b"x", 0o755),
        Entry::File("shut", b"x", 0o600),
    ];
    let (root, _) = rig.unpacked(&[&entries]).expect("unpacks");
    let mode = |name: &str| fs::metadata(root.join(name)).expect("there").permissions().mode() & 0o7777;
    assert_eq!(["su", "sg", "plain", "shut"].map(mode), [0o755, 0o755, 0o755, 0o600]);
    assert_eq!(fs::metadata(&root).expect("there").permissions().mode() & 0o7777, 0o755);
}
