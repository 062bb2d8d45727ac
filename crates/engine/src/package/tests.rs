//! Packages as honest tools make them, and as nobody should.

use super::*;
use std::io::Write;
use zip::write::{SimpleFileOptions, ZipWriter};

#[path = "../../../../fuzz/bodies/package.rs"]
mod body;

type Writer = ZipWriter<Cursor<Vec<u8>>>;

fn zip(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    fill(&mut writer);
    writer.finish().expect("finishes").into_inner()
}

fn file(writer: &mut Writer, name: &str, mode: u32, bytes: &[u8]) {
    writer.start_file(name, SimpleFileOptions::default().unix_permissions(mode)).expect("starts");
    writer.write_all(bytes).expect("writes");
}

fn link(writer: &mut Writer, name: &str, target: &str) {
    writer.add_symlink(name, target, SimpleFileOptions::default()).expect("adds");
}

/// Unpacks into a directory inside another one, which must stay otherwise empty.
fn unpacked(bytes: &[u8]) -> Result<(tempfile::TempDir, Inspection), PackageError> {
    let dir = tempfile::tempdir().expect("a directory");
    let into = dir.path().join("into");
    fs::create_dir(&into).expect("makes");
    let inspected = inspect(bytes, &Limits::default());
    let unpacked = unpack(Cursor::new(bytes), &Limits::default(), &into);
    assert_eq!(inspected.is_ok(), unpacked.is_ok(), "inspect and unpack agree");
    assert_eq!(fs::read_dir(dir.path()).expect("reads").count(), 1, "nothing was written outside");
    Ok((dir, unpacked?))
}

fn refused(fill: impl FnOnce(&mut Writer)) -> String {
    match unpacked(&zip(fill)) {
        Err(PackageError::Unsafe { reason, .. }) => reason.to_owned(),
        other => panic!("not refused as unsafe: {:?}", other.map(|(_, found)| found)),
    }
}

#[test]
fn modes_links_and_directories_survive() {
    let bytes = zip(|w| {
        file(w, "bootstrap", 0o700, b"#!/bin/sh");
        file(w, "./lib//secret.py", 0o600, b"x = 1");
        w.add_directory("empty/", SimpleFileOptions::default()).expect("adds");
        link(w, "lib/deep/up.py", "../secret.py");
        link(w, "current", "lib");
    });
    let (dir, found) = unpacked(&bytes).expect("sound");
    assert_eq!(found, Inspection { unpacked_bytes: 14, entries: 5, has_bootstrap: true });
    let at = |path: &str| dir.path().join("into").join(path);
    let mode = |path: &str| fs::metadata(at(path)).expect("is there").permissions().mode() & 0o777;
    assert_eq!((mode("bootstrap"), mode("lib/secret.py"), mode("lib"), mode("empty")), (0o755, 0o644, 0o755, 0o755));
    assert_eq!(fs::read_to_string(at("lib/deep/up.py")).expect("reads"), "x = 1");
    assert_eq!(fs::read_to_string(at("current/secret.py")).expect("reads"), "x = 1");
}

#[test]
fn names_that_lead_out_are_refused() {
    let out = "a name that leads out of the package";
    assert_eq!(refused(|w| file(w, "../x", 0o644, b"")), out);
    assert_eq!(refused(|w| file(w, "a/../../x", 0o644, b"")), out);
    assert_eq!(refused(|w| file(w, "/etc/x", 0o644, b"")), "an absolute name");
    assert_eq!(refused(|w| file(w, &"n".repeat(256), 0o644, b"")), "the name is too long");
    assert_eq!(refused(|w| file(w, &"n/".repeat(600), 0o644, b"")), "the name is too long");
}

#[test]
fn links_that_lead_out_are_refused() {
    let out = "a link that leads out of the package";
    assert_eq!(refused(|w| link(w, "x", "/etc/passwd")), out);
    assert_eq!(refused(|w| link(w, "a/x", "../../x")), out);
    // Harmless by its letters, but through the other link it would lead out.
    let twisted = |w: &mut Writer| {
        link(w, "a/b/up", "../..");
        link(w, "x", "a/b/up/../../x");
    };
    assert_eq!(refused(twisted), out);
    let through = |w: &mut Writer| {
        link(w, "d", "a");
        file(w, "d/x", 0o644, b"");
    };
    assert_eq!(refused(through), "both a file and a directory");
}

#[test]
fn one_place_named_twice_is_refused() {
    let twice = |w: &mut Writer| {
        file(w, "a/x", 0o644, b"1");
        file(w, "a//x", 0o644, b"2");
    };
    assert_eq!(refused(twice), "the same name twice");
}

#[test]
fn devices_are_refused() {
    let mut bytes = zip(|w| file(w, "dev", 0o644, b""));
    // The central directory's external attributes: make it a character device.
    let at = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").expect("has one") + 40;
    bytes[at..at + 2].copy_from_slice(&0o020_644u16.to_le_bytes());
    match unpacked(&bytes) {
        Err(PackageError::Unsafe { reason, .. }) => assert!(reason.starts_with("neither a file")),
        other => panic!("{:?}", other.map(|(_, found)| found)),
    }
}

#[test]
fn bombs_stop_at_the_limit_whatever_their_headers_say() {
    let limits = Limits { unpacked_bytes_max: 1 << 20, entries_max: 10 };
    let bomb = zip(|w| file(w, "zeros", 0o644, &vec![0; 8 << 20]));
    assert!(bomb.len() < 64 << 10);
    let too_large = |bytes: &[u8]| matches!(inspect(bytes, &limits), Err(PackageError::TooLarge { max: 0x10_0000 }));
    assert!(too_large(&bomb));
    let mut liar = bomb.clone();
    for (mark, offset) in [(b"PK\x03\x04", 22), (b"PK\x01\x02", 24)] {
        let at = liar.windows(4).position(|w| w == mark).expect("has one") + offset;
        liar[at..at + 4].copy_from_slice(&5u32.to_le_bytes());
    }
    assert!(inspect(&liar, &limits).is_err());
    let many = zip(|w| (0..11).for_each(|n| file(w, &n.to_string(), 0o644, b"")));
    assert!(matches!(inspect(&many, &limits), Err(PackageError::TooManyEntries { entries: 11, max: 10 })));
    let parts = zip(|w| (0..3).for_each(|n| file(w, &n.to_string(), 0o644, &vec![0; 400 << 10])));
    assert!(too_large(&parts), "the sum counts");
}

#[test]
fn broken_zips_are_told_in_awss_words() {
    let sound = zip(|w| file(w, "app.py", 0o644, b"print('hello hello hello hello')"));
    let mut damaged = sound.clone();
    damaged[45] ^= 0xff;
    for bytes in [&b""[..], b"PK", b"not a zip at all", &sound[..sound.len() - 10], &damaged] {
        let error = inspect(bytes, &Limits::default()).expect_err("broken");
        let want = "Could not unzip uploaded file. Please check your file, then try to upload again.";
        assert_eq!(error.to_string(), want);
    }
}

/// Three hundred damaged packages from one seed: none may panic, write outside, or make the two entrances disagree.
#[test]
fn damaged_packages_do_no_harm() {
    let sound = zip(|w| {
        file(w, "bootstrap", 0o755, b"#!/bin/sh\necho hello hello hello hello\n");
        file(w, "a/b/c.txt", 0o644, &[b'x'; 2000]);
        link(w, "a/l", "b/c.txt");
        w.add_directory("d/", SimpleFileOptions::default()).expect("adds");
    });
    let mut seed = 0x5eed_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for _ in 0..300 {
        let mut bytes = sound.clone();
        for _ in 0..=random(6) {
            match random(3) {
                0 => {
                    let at = random(bytes.len());
                    bytes[at] = [0, 0xff, b'.', b'/', 0x7f, bytes[at] ^ 1][random(6)];
                }
                1 => bytes.truncate(1 + random(bytes.len())),
                _ => {
                    let (from, to) = (random(bytes.len()), random(bytes.len()));
                    bytes[to] = bytes[from];
                }
            }
        }
        body::package(&bytes);
    }
}

#[test]
fn a_later_layer_replaces_what_an_earlier_one_put_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let lay = |fill: &dyn Fn(&mut Writer)| {
        unpack(Cursor::new(zip(|w| fill(w))), &Limits::default(), dir.path()).expect("sound");
    };
    lay(&|w| {
        file(w, "x", 0o644, b"1");
        file(w, "d/y", 0o644, b"1");
        link(w, "l", "d");
    });
    lay(&|w| {
        file(w, "x/now/a/directory", 0o644, b"2");
        file(w, "l/z", 0o644, b"2");
        file(w, "d/z", 0o644, b"2");
    });
    let read = |path: &str| fs::read_to_string(dir.path().join(path)).expect("is there");
    assert_eq!(
        (read("x/now/a/directory"), read("d/y"), read("d/z"), read("l/z")),
        ("2".into(), "1".into(), "2".into(), "2".into())
    );
    assert!(!dir.path().join("l/y").exists(), "the link became a directory of its own");
}
