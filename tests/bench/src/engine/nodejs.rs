//! Node.js with no instance alive: a small handler, and one that loads express.

use super::Bench;
use crate::functions::{self, Function};
use crate::line::{Against, Line, note, print};
use crate::references::Which;
use crate::starts::{cold_starts, timed};
use anyhow::Result;
use std::process::Command;

const SMALL: &str = "exports.handler = async (event) => event;\n";
const EXPRESS: &str = "const app = require('express')();\nexports.handler = async (event) => typeof app;\n";
const PLAIN_STARTS: usize = 8;

pub async fn cold(bench: &Bench) -> Result<()> {
    let node = bench.node("nodejs", &["--idle-seconds", "1"]).await?;
    let Some(runtime) = node.newest_nodejs().await? else {
        note("Node.js: the node has no runtime for it");
        return Ok(());
    };
    let express = bench.references.npm("express", &["express@4"])?;
    let mut cases = vec![("small", functions::package(&[("app.js", SMALL)])?, "", "p50 ≤ 4 ms")];
    let packed = functions::package_with(&[("app.js", EXPRESS)], &express, "node_modules")?;
    cases.push(("express", packed, "require('express')", "≥ 3 × plain"));
    for (name, zip, script, goal) in cases {
        let mut function = Function::new(name, &runtime, zip);
        function.memory_mb = 256;
        function.create(node.address).await?;
        let (figures, starts) = cold_starts(&node, &function, bench.options.samples).await?;
        let plain = bench.references.wanted(Which::Plain).and_then(|()| {
            timed(PLAIN_STARTS, || {
                let mut command = Command::new("node");
                command.args(["-e", script]).current_dir(&express);
                command
            })
        });
        let reference = "plain node, same modules";
        let against = match plain {
            Ok(plain) => Against::p50(reference, &figures, &plain),
            Err(error) => Against::absent(reference, &error),
        };
        let what = format!("Node.js, {name}, no instance alive, one call");
        print(&Line { what, starts, connections: 1, figures, against: vec![against], goal });
    }
    Ok(())
}
