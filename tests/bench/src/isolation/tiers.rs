//! The same function behind each wall: processes' and components'.

use super::{Bench, programs};
use crate::functions::{self, Function};
use crate::line::note;
use crate::starts::Subject;
use anyhow::{Context, Result};
use serde_json::json;

/// gVisor's own kernel is in it.
const MEMORY_MB: u32 = 256;

pub async fn run(bench: &Bench) -> Result<()> {
    let node = bench.node("tiers", &[]).await?;
    let python = node.newest_python().await?;
    let mut subjects = Vec::new();
    for (name, tier, copies) in [
        ("Python, process, each started by itself", "process", false),
        ("Python, process", "process", true),
        ("Python, container", "container", false),
        ("Python, gvisor", "gvisor", false),
    ] {
        let mut function = programs::python_function(format!("{tier}-{copies}"), &python, MEMORY_MB)?;
        function.also = json!({ "Tags": { "wadi:isolation": tier } });
        if !copies {
            function.also["SnapStart"] = json!({ "ApplyOn": "None" });
        }
        match function.create(node.address).await {
            Ok(()) => subjects.push((name.to_owned(), Subject { node: &node, name: function.name })),
            Err(error) => note(&format!("{name}: absent: {error:#}")),
        }
    }
    bench.compare(subjects, ["", ""]).await?;

    let Some(component) = &bench.options.component else {
        note("components: not measured, name one of wasi:http/proxy with --component");
        return Ok(());
    };
    let bytes = std::fs::read(component).with_context(|| component.display().to_string())?;
    let zip = functions::package_bytes(&[("bootstrap.wasm", &bytes)])?;
    let mut subjects = Vec::new();
    for tier in ["wasm", "wasm-process"] {
        let mut function = Function::new(tier, "provided.al2023", zip.clone());
        function.also = json!({ "Tags": { "wadi:isolation": tier } });
        function.create(node.address).await?;
        subjects.push((format!("component, {tier}"), Subject { node: &node, name: function.name }));
    }
    bench.compare(subjects, ["", ""]).await
}
