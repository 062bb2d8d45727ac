//! Images that somebody made to get out of where they are unpacked, or to use up what there is.

use super::layout::{Entry, Rig, block, file, gzip, layer, read};
use images::Error;
use kit::Seeded;
use std::fs;

fn refused(rig: &Rig, layers: &[&[Entry<'_>]], expect: &str) {
    match rig.unpacked(layers) {
        Err(Error::Refused(why)) => assert!(why.contains(expect), "{expect}: {why}"),
        other => panic!("{expect}: {other:?}"),
    }
}

pub fn a_layer_that_is_another_is_refused() {
    let rig = Rig::new();
    let (right, wrong) = (layer(&[file("a", "x")]), layer(&[file("a", "y")]));
    rig.put(&[("", right.clone(), &wrong)]);
    let why = block(rig.take(&rig.uri())).expect_err("another tar").to_string();
    assert!(why.contains("is not what the image's configuration says"), "{why}");
    rig.put(&[("", right.clone(), &right)]);
    let image = block(rig.images.resolve(&rig.uri())).expect("resolves");
    let blob = rig.layout().join("blobs/sha256").join(&image.layers[0].sha256);
    for bytes in [wrong.clone(), [&right[..], b"x"].concat(), right[1..].to_vec(), Vec::new()] {
        fs::write(&blob, bytes).expect("writes");
        // The one before was kept already where it was right: start anew.
        let rig = Rig { blobs: rig.blobs.clone(), ..Rig::new() };
        let why = block(rig.images.pull(&image)).expect_err("another blob").to_string();
        assert!(why.contains("is not what its digest and size say"), "{why}");
    }
}

pub fn odd_entries_are_refused() {
    let rig = Rig::new();
    use tar::EntryType as Kind;
    for name in ["../x", "a/../../x", "/../x", "a/.."] {
        refused(&rig, &[&[Entry::File(name, b"x", 0o644)]], "leads out of the image");
    }
    for to in ["../x", "/../x", "a/../../x"] {
        refused(&rig, &[&[Entry::Hard("h", to)]], "leads out of the image");
    }
    for name in [".wh...", "a/.wh..", ".wh."] {
        refused(&rig, &[&[file("a/b", "x")], &[file(name, "")]], "removes what has no name");
    }
    for kind in [Kind::Char, Kind::Block, Kind::Fifo] {
        refused(&rig, &[&[Entry::Raw("node", kind)]], "is a device or a pipe");
    }
    // Neither kind of sparse file gets past its header.
    refused(&rig, &[&[Entry::Raw("s", Kind::GNUSparse)]], "cannot be unpacked");
    for place in ["tmp", "dev", "proc"] {
        refused(&rig, &[&[Entry::Link(place, "/etc")]], "is not a directory");
        refused(&rig, &[&[file(place, "")]], "is not a directory");
    }
    assert_eq!(rig.names(), ["blobs", "layout"]);
}

pub fn links_lead_nowhere() {
    let rig = Rig::new();
    let outside = rig.dir.path().join("outside");
    fs::create_dir(&outside).expect("makes");
    fs::write(outside.join("file"), "untouched").expect("writes");
    let out = outside.display().to_string();
    let escapes: [&[&[Entry<'_>]]; 6] = [
        &[&[Entry::Link("l", &out), file("l/file", "written")]],
        &[&[Entry::Link("l", &out)], &[file("l/file", "written")]],
        &[&[file("l/file", "written")], &[Entry::Link("l", &out)]],
        &[&[Entry::Link("l", &out), Entry::Link("m", "l"), file("m/new", "written")]],
        &[&[Entry::Link("l", "../outside"), file("l/file", "written")]],
        &[&[Entry::Link("l", &out), Entry::Hard("h", "l/file"), Entry::File("h", b"written", 0o644)]],
    ];
    for layers in escapes {
        // Refused or harmless: what matters is outside.
        let _ = rig.unpacked(layers);
        assert_eq!(read(&outside, "file").as_deref(), Some("untouched"));
        assert_eq!(fs::read_dir(&outside).expect("reads").count(), 1);
    }
    let absolute = [Entry::File("/etc/own", b"x", 0o644), Entry::Link("s", "/etc/shadow")];
    let (root, _) = rig.unpacked(&[&absolute]).expect("absolute names are the image's own");
    assert_eq!(read(&root, "etc/own").as_deref(), Some("x"));
    assert!(!std::path::Path::new("/etc/own").exists());
    assert_eq!(fs::read_link(root.join("s")).expect("a link").to_str(), Some("/etc/shadow"));
}

pub fn bombs_are_bounded() {
    let rig = Rig::new();
    // Eleven gigabytes of nothing in a few megabytes, in a file whose header says so.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").expect("a name");
    header.set_size(11 << 30);
    header.set_cksum();
    std::io::Write::write_all(&mut packed, header.as_bytes()).expect("packs");
    let packed = packed.finish().expect("packs");
    let zeros = gzip(&vec![0; 64 << 20]);
    let bomb = std::iter::once(&packed).chain(std::iter::repeat_n(&zeros, 11 * 16)).flatten().copied().collect();
    rig.put(&[("+gzip", bomb, b"?")]);
    let why = block(rig.take(&rig.uri())).expect_err("too large").to_string();
    assert!(why.contains("it is too large"), "{why}");
    let names: Vec<String> = (0..600_000).map(|n| format!("{n}")).collect();
    let many: Vec<Entry<'_>> = names.iter().map(|name| Entry::Dir(name)).collect();
    let tar = layer(&many);
    rig.put(&[("+gzip", gzip(&tar), &tar)]);
    let why = block(rig.take(&rig.uri())).expect_err("too many").to_string();
    assert!(why.contains("too many entries"), "{why}");
}

pub fn noise_is_refused() {
    let rig = Rig::new();
    let seeded = Seeded::new(7);
    let sound = layer(&[Entry::Dir("d"), file("d/f", "text"), Entry::Link("l", "d"), Entry::Hard("h", "d/f")]);
    for round in 0..60 {
        let mut tar = sound.clone();
        for _ in 0..=seeded.below(8) {
            let at = seeded.below(tar.len() as u64) as usize;
            tar[at] = seeded.below(256) as u8;
        }
        if seeded.below(3) == 0 {
            tar.truncate(seeded.below(tar.len() as u64) as usize);
        }
        let packed = if round % 2 == 0 { tar.clone() } else { gzip(&tar) };
        rig.put(&[(if round % 2 == 0 { "" } else { "+gzip" }, packed, &tar)]);
        // Whatever comes of it: it ends, with an answer, and writes nowhere else.
        if let Err(error) = block(rig.take(&rig.uri())) {
            assert!(matches!(error, Error::Refused(_)), "{round}: {error}");
        }
        assert_eq!(rig.names(), ["blobs", "layout"], "{round}");
    }
}
