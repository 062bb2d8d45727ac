//! Wasm: a component that gets a fresh instance for each request.

use super::line::{Against, Line, Starts, note, print};
use super::{Bench, right};
use crate::floor::Echo;
use crate::functions::{self, Function, invoke};
use crate::load::{self, Connection};
use crate::node::Node;
use crate::{processes, table};
use anyhow::{Context, Result};

const CONNECTIONS: usize = 32;

pub async fn run(bench: &Bench) -> Result<()> {
    let Some(component) = &bench.options.component else {
        note("Wasm: not measured, name a component of wasi:http/proxy with --component");
        return Ok(());
    };
    let bytes = std::fs::read(component).with_context(|| component.display().to_string())?;
    let node = bench.node("wasm", &[]).await?;
    let zip = functions::package_bytes(&[("bootstrap.wasm", &bytes)])?;
    let function = Function::new("component", "provided.al2023", zip);
    function.create(node.address).await?;
    let mut connection = Connection::open(node.address).await?;
    let (head, body) = connection.exchange(&invoke(&function.name, "{}")).await?;
    right(&head, &body).context("the node does not run the component")?;

    pinned(bench, &node).await?;
    let since = table::now_ms();
    let figures = load::run(node.address, CONNECTIONS, bench.options.seconds, call()).await?;
    let starts = Starts::of(&node, "component", since).await?;
    let against = vec![
        bench.served("wasmtime serve", &figures, CONNECTIONS, bench.references.wasmtime(component).await).await,
        bench.served("workerd, warm isolate", &figures, CONNECTIONS, bench.references.workerd().await).await,
        Against::rate("bare hyper echo", &figures, &bench.ceiling(CONNECTIONS).await?),
    ];
    let (what, goal) = ("Wasm, fresh instance".to_owned(), "≥ 3 × wasmtime serve, ≥ 2 × workerd");
    print(&Line { what, starts, connections: CONNECTIONS, figures, against, goal });
    Ok(())
}

fn call() -> impl Fn(usize, u64) -> load::Call + Clone + Send + Sync + 'static {
    |_, _| invoke("component", "{}")
}

/// One connection, client and server on one core: on two, an idle core's wake-up is most of what is measured.
async fn pinned(bench: &Bench, node: &Node) -> Result<()> {
    let echo = Echo::start()?;
    let (own, server) = (std::process::id(), node.pid()?);
    [own, server, echo.pid()].into_iter().for_each(|pid| processes::pin(pid, Some(0)));
    let since = table::now_ms();
    let figures = load::run(node.address, 1, bench.options.seconds, call()).await;
    let floor = echo.rate(1, bench.options.seconds, 16).await;
    [own, server].into_iter().for_each(|pid| processes::pin(pid, None));
    let (figures, floor) = (figures?, floor?);
    let starts = Starts::of(node, "component", since).await?;
    let (what, goal) = ("Wasm, fresh instance, pinned".to_owned(), "p50 ≤ 2.5 × hyper and ≤ 0.2 ms, p99 ≤ 0.5 ms");
    let against = vec![Against::over("bare hyper echo, pinned", &figures, &floor)];
    print(&Line { what, starts, connections: 1, figures, against, goal });
    Ok(())
}
