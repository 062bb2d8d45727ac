//! Calls of living instances through the signed API, against servers that check nothing, meter nothing and isolate nothing.

use super::Bench;
use crate::functions::{self, Function, invoke};
use crate::line::{Against, Line, Starts, note, print};
use crate::load;
use crate::table;
use anyhow::Result;

const PYTHON: &str = "def handler(event, context):\n    return event\n";
const NODEJS: &str = "exports.handler = async (event) => event;\n";
const CONNECTIONS: usize = 8;

pub async fn run(bench: &Bench) -> Result<()> {
    let node = bench.node("warm", &[]).await?;
    let python = node.newest_python().await?;
    let mut cases = vec![("Python", "app.py", PYTHON, python, "≥ 3 × functions-framework")];
    match node.newest_nodejs().await? {
        Some(runtime) => cases.push(("Node.js", "app.js", NODEJS, runtime, "≥ 2 × functions-framework")),
        None => note("Node.js: the node has no runtime for it"),
    }
    for (name, file, source, runtime, goal) in cases {
        let function =
            Function::new(format!("echo-{file}").replace('.', "-"), &runtime, functions::package(&[(file, source)])?);
        function.create(node.address).await?;
        let called = function.name.clone();
        let call = move |_, _| invoke(&called, "{\"hello\":\"wadi\"}");
        // The first calls start the instances.
        load::run(node.address, CONNECTIONS, bench.options.seconds.max(2.0) / 2.0, call.clone()).await?;
        let since = table::now_ms();
        let figures = load::run(node.address, CONNECTIONS, bench.options.seconds, call).await?;
        let starts = Starts::of(&node, &function.name, since).await?;
        let references = &bench.references;
        let mut against = match name {
            "Python" => vec![
                bench
                    .served("functions-framework, Python", &figures, CONNECTIONS, references.framework_python().await)
                    .await,
            ],
            _ => vec![
                bench
                    .served("functions-framework, Node.js", &figures, CONNECTIONS, references.framework_nodejs().await)
                    .await,
                bench.served("serverless-offline", &figures, CONNECTIONS, references.serverless_offline().await).await,
            ],
        };
        against.push(Against::rate("bare hyper echo", &figures, &bench.ceiling(CONNECTIONS).await?));
        let what = format!("{name}, warm echo, signed");
        print(&Line { what, starts, connections: CONNECTIONS, figures, against, goal });
    }
    Ok(())
}
