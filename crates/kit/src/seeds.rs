//! Lives under seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::runtime::Builder;

/// Lives once for each seed, one after the other, each in a runtime of its own whose time passes only while everybody
/// waits. A life that panics ends the test and names its seed.
pub fn each<T, F: Future<Output = T>>(seeds: impl IntoIterator<Item = u64>, life: impl Fn(u64) -> F) -> Vec<T> {
    let live = |seed| {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(life(seed))));
        lived.unwrap_or_else(|_| panic!("seed {seed}"))
    };
    seeds.into_iter().map(live).collect()
}
