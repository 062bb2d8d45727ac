//! Components that are made to take all that a compiler has: what becomes of them, of the compiler, and of who had it compile.

mod bomb;
mod guest;

use bomb::{many_functions, many_values, nested, of_module};
use guest::{COMPILER, bytes_of};
use sandbox::{ComponentError, Components};
use sandbox_wasm::{Config, Wasm};
use std::path::Path;
use std::time::{Duration, Instant};

fn driver_at(dir: &Path) -> Wasm {
    Wasm::new(Config { instances_max: 4, ..Config::new(COMPILER, dir.join("components")) })
}

async fn compile(driver: &Wasm, bytes: &[u8]) -> Result<(), ComponentError> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("writes");
    driver.compiled(file.path()).await.map(drop)
}

fn refusal(made: Result<(), ComponentError>) -> String {
    match made {
        Err(ComponentError::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// Nothing is there but what was kept whole.
fn kept(dir: &Path) -> Vec<String> {
    let items = std::fs::read_dir(dir.join("components")).expect("reads").flatten();
    items.map(|item| item.file_name().to_string_lossy().into_owned()).collect()
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("reads");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

#[tokio::test]
async fn more_memory_than_there_is_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let driver = driver_at(dir.path());
    compile(&driver, &bytes_of("command")).await.expect("compiles");
    let (before, whole) = (resident(), kept(dir.path()));
    let said = refusal(compile(&driver, &of_module(many_values(50_000, 3_000))).await);
    assert!(said.starts_with("compiling it takes more than 2048 MB of memory: leave out"), "{said}");
    assert!(resident() < before + (16 << 20), "{} from {before}", resident());
    assert_eq!(kept(dir.path()), whole, "no half of it is kept");
}

#[tokio::test]
async fn more_time_than_there_is_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let usual = Config::new(COMPILER, dir.path().join("components"));
    let driver = Wasm::new(Config { compile_max: Duration::from_secs(1), ..usual });
    let began = Instant::now();
    let said = refusal(compile(&driver, &of_module(many_functions(1_000, 2_000))).await);
    assert!(said.starts_with("compiling it takes more than 1s: leave out"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(kept(dir.path()).is_empty());
}

#[tokio::test]
async fn depth_and_breadth() {
    let dir = tempfile::tempdir().expect("a directory");
    let driver = driver_at(dir.path());
    for bytes in [of_module(nested(3_000)), nest_of_components(2_000)] {
        let said = refusal(compile(&driver, &bytes).await);
        assert!(!said.is_empty());
    }
    compile(&driver, &bytes_of("command")).await.expect("others are compiled");
}

fn nest_of_components(depth: usize) -> Vec<u8> {
    (0..depth).fold(bomb::COMPONENT.to_vec(), |inner, _| bomb::component_of(4, &inner))
}
