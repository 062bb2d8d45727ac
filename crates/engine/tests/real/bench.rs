//! What the engine's own part of a call costs. Prints; fails only where something is far off.

use crate::support::version;
use base::Start;
use engine::{Runner, Runtime, Version};
use std::time::{Duration, Instant};

const CALLS: u32 = 2_000;

pub fn python(tokio: &tokio::runtime::Runtime) {
    let (minor, _) = crate::python().expect("checked before");
    let files = [("app.py", "def handler(event, context):\n    return event\n")];
    speed(tokio, Runtime::Python { minor }, &files);
}

/// Of a function that answers with what it is given.
pub fn speed(tokio: &tokio::runtime::Runtime, runtime: Runtime, files: &[(&str, &str)]) {
    tokio.block_on(async {
        let world = std::sync::Arc::new(crate::world());
        let code = world.code(files).await;
        let version = Version { runtime, code, memory_mb: 256, ..version("f") };
        world.shelf.put(version.clone(), None);
        world.engine.prepare(&version).await.expect("prepares");

        let mut colds = Vec::new();
        for _ in 0..10 {
            let began = Instant::now();
            let outcome = world.engine.invoke(world.call("f", "{}")).await.expect("runs");
            assert_eq!(outcome.start, Start::Cold);
            colds.push(began.elapsed());
            world.engine.retire(&version.scope, "f", "$LATEST", None).await;
        }
        world.engine.invoke(world.call("f", "{}")).await.expect("runs");
        let mut warms = Vec::new();
        for _ in 0..CALLS {
            let began = Instant::now();
            world.engine.invoke(world.call("f", "{}")).await.expect("runs");
            warms.push(began.elapsed());
        }
        println!("cold start  p50 {:?}  max {:?}", percentile(&mut colds, 50), percentile(&mut colds, 100));
        println!("warm invoke p50 {:?}  p99 {:?}", percentile(&mut warms, 50), percentile(&mut warms, 99));
        for callers in [1, 8, 32] {
            let began = Instant::now();
            let tasks = (0..callers).map(|_| {
                let world = world.clone();
                tokio::spawn(async move {
                    for _ in 0..CALLS / callers {
                        world.engine.invoke(world.call("f", "{}")).await.expect("runs");
                    }
                })
            });
            for task in futures::future::join_all(tasks).await {
                task.expect("joins");
            }
            let rate = f64::from(CALLS) / began.elapsed().as_secs_f64();
            println!("{callers:>2} callers  {rate:.0} invocations/s");
        }
        assert!(percentile(&mut warms, 50) < Duration::from_millis(20));
    });
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}
