//! The floor of Wasm behind HTTP: hyper and wasmtime in one thread, a fresh instance for each request and nothing else.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::error::Context;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, RequestOptions, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// Resident memory that an instance leaves to the next; it is written over, dirty or not.
const MEMORY_KEPT: usize = 64 << 10;
const TABLE_KEPT: usize = 64 << 10;
const TICK: Duration = Duration::from_millis(10);

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: Closed,
}

/// No way out.
struct Closed;

type Later<T> = Box<dyn Future<Output = std::result::Result<T, Error>> + Send>;
type Outgoing = UnsyncBoxBody<Bytes, Error>;

impl WasiHttpHooks for Closed {
    fn send_request(
        &mut self,
        _: Request<Outgoing>,
        _: Option<RequestOptions>,
        _: Later<()>,
    ) -> Later<(Response<Outgoing>, Later<()>)> {
        unreachable!("the component that is measured sends nothing")
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Serves until it is killed; prints its address first.
pub fn serve(component: &Path) -> Result<()> {
    let mut pool = PoolingAllocationConfig::default();
    pool.linear_memory_keep_resident(MEMORY_KEPT).table_keep_resident(TABLE_KEPT);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool)).epoch_interruption(true);
    let engine = Engine::new(&config)?;
    let component = Component::from_file(&engine, component)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let pre = Arc::new(ProxyPre::new(linker.instantiate_pre(&component)?)?);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(TICK);
            engine.increment_epoch();
        }
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(listen(pre))
}

async fn listen(pre: Arc<ProxyPre<State>>) -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pre = pre.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(pre.clone(), request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(pre: Arc<ProxyPre<State>>, request: Request<Incoming>) -> Result<Response<HyperOutgoingBody>> {
    let (wasi, http, table) = (WasiCtx::builder().build(), WasiHttpCtx::new(), ResourceTable::new());
    let mut store = Store::new(pre.engine(), State { wasi, http, table, hooks: Closed });
    store.set_epoch_deadline(1000);
    let (told, head) = tokio::sync::oneshot::channel();
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
    let out = store.data_mut().http().new_response_outparam(told)?;
    tokio::spawn(async move {
        let proxy = pre.instantiate_async(&mut store).await?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
    });
    head.await.context("the component gave no response")?.context("the component refused")
}
