//! A compiled component, ready to run: each run is an instance of its own that nothing outlives.

use crate::machine::{Machine, Ticking};
use crate::state::State;
use crate::stdio::Captured;
use crate::verdict;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use sandbox::{Component, ComponentError, ComponentRun, Ended, Fault, HttpBody, Output, World};
use std::sync::Arc;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, WasiHttpView};

pub struct Program {
    machine: Arc<Machine>,
    pre: Pre,
}

/// All of instantiation that does not depend on the run.
#[derive(Clone)]
enum Pre {
    Http(ProxyPre<State>),
    Command(CommandPre<State>),
}

impl Program {
    pub fn new(machine: Arc<Machine>, component: &wasmtime::component::Component) -> Result<Self, ComponentError> {
        let world = verdict::world(&machine.engine, component)?;
        let pre = machine.linker.instantiate_pre(component).map_err(|e| verdict::unlinkable(&e))?;
        let pre = match world {
            World::Http => ProxyPre::new(pre).map(Pre::Http),
            World::Command => CommandPre::new(pre).map(Pre::Command),
        };
        Ok(Self { machine, pre: pre.map_err(|e| verdict::unlinkable(&e))? })
    }

    fn start(&self, run: &ComponentRun, command: Option<(Bytes, Captured)>) -> Result<Running, Fault> {
        let mut store = Store::new(&self.machine.engine, State::new(run, command)?);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        Ok(Running { store, output: run.output.clone(), _ticking: self.machine.ticking() })
    }
}

/// An instance's store and what must last as long.
struct Running {
    store: Store<State>,
    output: Arc<dyn Output>,
    _ticking: Ticking,
}

impl Running {
    /// How it ended, with what there is to say about it in the function's log.
    fn ended(&self, result: wasmtime::Result<()>) -> Ended {
        let refused = self.store.data().limits.refused;
        if let Err(error) = &result
            && let Some(I32Exit(0)) = error.downcast_ref()
        {
            return Ok(());
        }
        result.map_err(|error| verdict::fault(&error, refused, self.output.as_ref()))
    }
}

impl Component for Program {
    fn world(&self) -> World {
        match self.pre {
            Pre::Http(_) => World::Http,
            Pre::Command(_) => World::Command,
        }
    }

    fn rehearse(&self, run: ComponentRun) -> BoxFuture<'static, Ended> {
        let (started, pre) = (self.start(&run, None), self.pre.clone());
        async move {
            let mut running = started?;
            let made = match &pre {
                Pre::Http(pre) => pre.instantiate_async(&mut running.store).await.map(drop),
                Pre::Command(pre) => pre.instantiate_async(&mut running.store).await.map(drop),
            };
            running.ended(made)
        }
        .boxed()
    }

    fn serve(
        &self,
        run: ComponentRun,
        request: http::Request<HttpBody>,
        head: oneshot::Sender<http::Response<HttpBody>>,
    ) -> BoxFuture<'static, Ended> {
        let (started, pre) = (self.start(&run, None), self.pre.clone());
        async move {
            let mut running = started?;
            let Pre::Http(pre) = pre else { return Err(Fault::Declined("it is a command".into())) };
            let declined = Arc::new(parking_lot::Mutex::new(None));
            let told = declined.clone();
            let answered = move |answer: Result<http::Response<HyperOutgoingBody>, ErrorCode>| match answer {
                // Whoever waited may have gone; the run goes on.
                Ok(response) => drop(head.send(response.map(|body| body.map_err(Into::into).boxed_unsync()))),
                Err(code) => *told.lock() = Some(code),
            };
            let result = answer(&mut running.store, &pre, request, answered).await;
            running.ended(result)?;
            match declined.lock().take() {
                None => Ok(()),
                Some(code) => Err(Fault::Declined(code.to_string())),
            }
        }
        .boxed()
    }

    fn command(&self, run: ComponentRun, input: Bytes, output_max: usize) -> BoxFuture<'static, (Ended, Bytes)> {
        let captured = Captured::new(output_max);
        let (started, pre) = (self.start(&run, Some((input, captured.clone()))), self.pre.clone());
        async move {
            let mut running = match started {
                Ok(running) => running,
                Err(fault) => return (Err(fault), Bytes::new()),
            };
            let Pre::Command(pre) = pre else {
                return (Err(Fault::Declined("it answers HTTP requests".into())), Bytes::new());
            };
            let exit = carry_out(&mut running.store, &pre).await;
            match (captured.take(), running.ended(exit)) {
                (Some(output), ended) => (ended, output),
                (None, _) => (Err(Fault::OutputTooLarge), Bytes::new()),
            }
        }
        .boxed()
    }
}

async fn answer(
    store: &mut Store<State>,
    pre: &ProxyPre<State>,
    request: http::Request<HttpBody>,
    answered: impl FnOnce(Result<http::Response<HyperOutgoingBody>, ErrorCode>) + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let request = request.map(|body| body.map_err(|e| Error::InternalError(Some(e.to_string()))));
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let out = http.new_response_outparam_from_callback(answered)?;
    let proxy = pre.instantiate_async(&mut *store).await?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

async fn carry_out(store: &mut Store<State>, pre: &CommandPre<State>) -> wasmtime::Result<()> {
    let command = pre.instantiate_async(&mut *store).await?;
    match command.wasi_cli_run().call_run(store).await? {
        Ok(()) => Ok(()),
        Err(()) => Err(I32Exit(1).into()),
    }
}
