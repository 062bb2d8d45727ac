//! What one instance has: its WASI context, what it holds of the host, its limits.

use crate::limits::Limits;
use crate::outward::Outward;
use crate::reach;
use crate::stdio::{Captured, Logged};
use bytes::Bytes;
use sandbox::{Beyond, ComponentRun, Fault};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    outward: Outward,
    pub limits: Limits,
}

impl State {
    /// With `command` the standard output is the answer; else it goes where the standard error goes.
    pub fn new(run: &ComponentRun, command: Option<(Bytes, Captured)>) -> Result<Self, Fault> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.envs(&run.env).envs(&run.env_more).stderr(Logged(run.output.clone()));
        match command {
            Some((input, captured)) => wasi.stdin(MemoryInputPipe::new(input)).stdout(captured),
            None => wasi.stdout(Logged(run.output.clone())),
        };
        if let Some(task) = &run.task {
            // Kept in the node's own cache for as long as the run holds it, so it opens unless the disk is failing.
            let opened = wasi.preopened_dir(task.as_path(), "/var/task", FsPerms::ReadOnly);
            opened.map_err(|e| Fault::Trap(format!("/var/task cannot be opened: {e}")))?;
        }
        match &run.beyond {
            Beyond::Host => {
                wasi.inherit_network().allow_ip_name_lookup(true).allow_tcp(true).allow_udp(true);
            }
            Beyond::Policy(policy) if policy.leads_out() => {
                wasi.allow_ip_name_lookup(policy.resolver).allow_tcp(true).allow_udp(true);
                let policy = policy.clone();
                wasi.socket_addr_check(move |address, usage| {
                    let may = reach::may_use(&policy, address, usage);
                    Box::pin(std::future::ready(may))
                });
            }
            Beyond::Policy(_) => {}
        }
        Ok(Self {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            outward: Outward { platform: run.platform, beyond: run.beyond.clone(), carried: run.network_bytes.clone() },
            limits: Limits::new(run.memory_bytes, run.memory_peak.clone()),
        })
    }
}

impl State {
    /// Where bytes of the network are counted; nothing is where the network is the host's, as with programs.
    pub fn carried(&self) -> Option<&Arc<AtomicU64>> {
        matches!(self.outward.beyond, Beyond::Policy(_)).then_some(&self.outward.carried)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outward }
    }
}
