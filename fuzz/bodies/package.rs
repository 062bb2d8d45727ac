//! The body of the fuzz target for deployment packages: a plain function that panics where an invariant does not hold.

use engine::package::{Limits, inspect, unpack};
use std::fs;
use std::io::Cursor;

/// Whatever comes in: looking and unpacking agree, sizes stay within the limit, nothing is written outside.
pub fn package(data: &[u8]) {
    let limits = Limits { unpacked_bytes_max: 1 << 20, entries_max: 100 };
    let dir = tempfile::tempdir().expect("a directory");
    let into = dir.path().join("into");
    fs::create_dir(&into).expect("makes it");
    let (inspected, unpacked) = (inspect(data, &limits), unpack(Cursor::new(data), &limits, &into));
    assert_eq!(inspected.is_ok(), unpacked.is_ok());
    if let (Ok(inspected), Ok(unpacked)) = (inspected, unpacked) {
        assert_eq!(inspected, unpacked);
        assert!(unpacked.unpacked_bytes <= limits.unpacked_bytes_max && unpacked.entries <= limits.entries_max);
    }
    assert_eq!(fs::read_dir(dir.path()).expect("reads it").count(), 1);
}
