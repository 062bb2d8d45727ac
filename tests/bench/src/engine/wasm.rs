//! Wasm: a component that gets a fresh instance for each request.

use super::Bench;
use crate::floor::Floor;
use crate::functions::{self, Function, invoke};
use crate::line::{Against, Line, Starts, note, print};
use crate::load::{self, Call, Connection, Figures};
use crate::node::Node;
use crate::starts::right;
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
    let host = function.url(node.address).await?;
    let url = move |_, _| Call::post("/", "hello").with("host", &host);
    let mut connection = Connection::open(node.address).await?;
    let (head, body) = connection.exchange(&url(0, 0)).await?;
    right(&head, &body).context("the node does not run the component")?;
    let (head, body) = connection.exchange(&invoke(&function.name, "{}")).await?;
    right(&head, &body).context("the node does not run the component")?;

    pinned(bench, &node, url.clone()).await?;
    let (starts, figures) = loaded(bench, &node, url).await?;
    let bare = Floor::embedded(component)?.rate(CONNECTIONS, bench.options.seconds, 16).await?;
    let against = vec![
        bench.served("wasmtime serve", &figures, CONNECTIONS, bench.references.wasmtime(component).await).await,
        bench.served("workerd, warm isolate", &figures, CONNECTIONS, bench.references.workerd().await).await,
        Against::rate("wasmtime embedded bare, 1 thread", &figures, &bare),
        Against::rate("bare hyper echo", &figures, &bench.ceiling(CONNECTIONS).await?),
    ];
    let goal = "≥ 3 × wasmtime serve, ≥ 2 × workerd, ≥ 0.7 × embedded";
    let what = "Wasm, fresh instance, function URL".to_owned();
    print(&Line { what, starts, connections: CONNECTIONS, figures, against, goal });
    let (starts, figures) = loaded(bench, &node, |_, _| invoke("component", "{}")).await?;
    let what = "Wasm, fresh instance, signed API".to_owned();
    print(&Line { what, starts, connections: CONNECTIONS, figures, against: Vec::new(), goal: "" });
    Ok(())
}

async fn loaded(
    bench: &Bench,
    node: &Node,
    call: impl Fn(usize, u64) -> Call + Send + Sync + 'static,
) -> Result<(Starts, Figures)> {
    let since = table::now_ms();
    let figures = load::run(node.address, CONNECTIONS, bench.options.seconds, call).await?;
    Ok((Starts::of(node, "component", since).await?, figures))
}

/// One connection, client and server on one core: on two, an idle core's wake-up is most of what is measured.
async fn pinned(bench: &Bench, node: &Node, call: impl Fn(usize, u64) -> Call + Send + Sync + 'static) -> Result<()> {
    let echo = Floor::echo()?;
    let (own, server) = (std::process::id(), node.pid()?);
    [own, server, echo.pid()].into_iter().for_each(|pid| processes::pin(pid, Some(0)));
    let since = table::now_ms();
    let figures = load::run(node.address, 1, bench.options.seconds, call).await;
    let floor = echo.rate(1, bench.options.seconds, 16).await;
    [own, server].into_iter().for_each(|pid| processes::pin(pid, None));
    let (figures, floor) = (figures?, floor?);
    let starts = Starts::of(node, "component", since).await?;
    let (what, goal) = ("Wasm, fresh instance, pinned".to_owned(), "p50 ≤ 2.5 × hyper and ≤ 0.2 ms, p99 ≤ 0.5 ms");
    let against = vec![Against::over("bare hyper echo, pinned", &figures, &floor)];
    print(&Line { what, starts, connections: 1, figures, against, goal });
    Ok(())
}
