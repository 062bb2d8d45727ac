//! A static program, which is raised for each cold call, in each of the networks that every node has.

use super::{Bench, programs};
use crate::line::note;
use crate::starts::Subject;
use anyhow::Result;
use serde_json::json;

pub async fn run(bench: &Bench) -> Result<()> {
    let node = bench.node_in("networks", "internet", &[]).await?;
    let mut subjects = Vec::new();
    for network in ["none", "platform", "internet"] {
        let name = format!("static program, network {network}");
        let mut function = programs::static_function(bench, network)?;
        function.also = json!({ "Tags": { "wadi:network": network } });
        match function.create(node.address).await {
            Ok(()) => subjects.push((name, Subject { node: &node, name: function.name })),
            Err(error) => note(&format!("{name}: absent: {error:#}")),
        }
    }
    bench.compare(subjects, ["", ""]).await
}
