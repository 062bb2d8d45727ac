//! What a confined errand is still let through with, and how it ends when it takes more than it has.

use crate::bench::block;
use sandbox::errands::{self, Answer, Bounds, Unanswered};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub const VERB: &str = "errand-of-the-tests";

#[derive(Serialize, Deserialize)]
enum Deed {
    Try,
    TakeMemory,
    TakeTime,
}

#[derive(Serialize, Deserialize)]
struct Order {
    file: PathBuf,
    deed: Deed,
}

/// Gives what was in its file, and the kernel's word on each thing that it tries.
pub fn errand_main() -> ! {
    errands::carry_out(|order: Order| {
        let (mut file, mut text) = (File::open(&order.file)?, String::new());
        errands::confine(&Bounds {
            memory_bytes: 64 << 20,
            address_bytes: 8 << 30,
            file_bytes: 1 << 20,
            processor: Duration::from_secs(1),
            reads: &[],
            writes: &[],
            user: None,
        })?;
        match order.deed {
            Deed::Try => {}
            Deed::TakeMemory => drop(vec![1_u8; 256 << 20]),
            Deed::TakeTime => loop {
                std::hint::spin_loop();
            },
        }
        file.read_to_string(&mut text)?;
        std::thread::spawn(|| ()).join().map_err(|_| io::Error::other("no thread"))?;
        let parent = rustix::process::getppid().expect("a parent");
        let tried: [io::Result<()>; 5] = [
            File::open(&order.file).map(drop),
            UdpSocket::bind("127.0.0.1:0").map(drop),
            Command::new("/bin/true").status().map(drop),
            rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty()).map(drop).map_err(Into::into),
            rustix::process::test_kill_process(parent).map_err(Into::into),
        ];
        Ok((text, tried.map(|one| one.err().and_then(|error| error.raw_os_error()))))
    })
}

pub fn has_its_files_and_nothing_else() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "given").expect("writes");
    let send = |deed| {
        let (program, order) = (std::env::current_exe().expect("this"), Order { file: file.path().to_owned(), deed });
        let within = Duration::from_secs(20);
        block(async move { errands::send::<(String, [Option<i32>; 5])>(&program, VERB, &order, within).await })
    };
    match send(Deed::Try) {
        Ok(Answer::Done((text, refused))) => {
            assert_eq!(text, "given");
            assert_eq!(refused, [13, 1, 1, 1, 1].map(Some));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(send(Deed::TakeMemory), Err(Unanswered::OutOfMemory)));
    assert!(matches!(send(Deed::TakeTime), Err(Unanswered::Late)));
}
