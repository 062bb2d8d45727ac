//! The operation table: one entry an operation, checked against the generated service table when it is built.

use crate::{Access, Context};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use wire::{Decoded, Encoded, Fault, Input, Operation, Output, Service};

/// A room as the gate sees it.
pub trait Room: Send + Sync {
    fn service(&self) -> &'static Service;
    /// The largest request body the operation takes, in bytes.
    fn body_bytes_max(&self, operation: &Operation) -> usize;
    /// Types the input and says what it touches; the caller authorises `access` before it awaits `run`.
    fn prepare(&self, cx: Context, operation: &Operation, request: Decoded) -> Result<Prepared, Fault>;
}

/// An operation ready to run.
pub struct Prepared {
    /// All must be allowed.
    pub access: Vec<Access>,
    pub run: BoxFuture<'static, Result<Encoded, Fault>>,
}

type Prepare<R> = Box<dyn Fn(Arc<R>, Context, Decoded) -> Result<Prepared, Fault> + Send + Sync>;

struct Entry<R> {
    body_bytes_max: usize,
    prepare: Prepare<R>,
}

/// The operations of a room of type `R`.
pub struct Table<R> {
    service: &'static Service,
    entries: BTreeMap<&'static str, Entry<R>>,
}

/// Requests of most operations are small; those that carry code or payloads say so.
const BODY_BYTES_MAX: usize = 1 << 20;

impl<R: Send + Sync + 'static> Table<R> {
    pub fn new(service: &'static Service) -> Self {
        Self { service, entries: BTreeMap::new() }
    }

    /// Adds an operation. `access` names the IAM action and resource from the typed input; `run` does it.
    #[must_use]
    pub fn op<I, O, E, Fut>(
        self,
        name: &'static str,
        access: fn(&Context, &I) -> Access,
        run: fn(Arc<R>, Context, I) -> Fut,
    ) -> Self
    where
        I: Input,
        O: Output,
        E: Into<Fault>,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
    {
        self.large_op(name, BODY_BYTES_MAX, access, run)
    }

    /// As [`Table::op`], for bodies larger than 1 MiB.
    #[must_use]
    pub fn large_op<I, O, E, Fut>(
        mut self,
        name: &'static str,
        body_bytes_max: usize,
        access: fn(&Context, &I) -> Access,
        run: fn(Arc<R>, Context, I) -> Fut,
    ) -> Self
    where
        I: Input,
        O: Output,
        E: Into<Fault>,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
    {
        let known = self.service.operations.iter().any(|o| o.name == name && o.implemented);
        assert!(known, "{name} is not marked as implemented in the generated table of {}", self.service.name);
        let prepare: Prepare<R> = Box::new(move |room, cx, request| {
            let mut input: I = serde_json::from_value(request.input)
                .map_err(|e| Fault::new("SerializationException", 400, e.to_string()))?;
            input.set_payload(request.payload);
            let access = vec![access(&cx, &input)];
            let reply = run(room, cx, input);
            let run = Box::pin(async move {
                let mut output = reply.await.map_err(Into::into)?;
                let (payload, events) = (output.take_payload(), output.take_events());
                let status = output.status();
                let output = serde_json::to_value(&output)
                    .map_err(|e| Fault::new("InternalFailure", 500, "The reply could not be written.").because(e))?;
                Ok(Encoded { output, payload, events, status })
            });
            Ok(Prepared { access, run })
        });
        self.entries.insert(name, Entry { body_bytes_max, prepare });
        self
    }

    /// Binds the table to its room. Panics if an operation that the generated table calls implemented is missing here.
    pub fn room(self, room: Arc<R>) -> TableRoom<R> {
        for op in self.service.operations.iter().filter(|o| o.implemented) {
            assert!(self.entries.contains_key(op.name), "{} lists {} but has no entry for it", self.service.name, op.name);
        }
        TableRoom { table: self, room }
    }
}

/// A table with its room: what `node` hands to the gate.
pub struct TableRoom<R> {
    table: Table<R>,
    room: Arc<R>,
}

impl<R: Send + Sync + 'static> Room for TableRoom<R> {
    fn service(&self) -> &'static Service {
        self.table.service
    }

    fn body_bytes_max(&self, operation: &Operation) -> usize {
        self.table.entries.get(operation.name).map_or(BODY_BYTES_MAX, |e| e.body_bytes_max)
    }

    fn prepare(&self, cx: Context, operation: &Operation, request: Decoded) -> Result<Prepared, Fault> {
        match self.table.entries.get(operation.name) {
            Some(entry) => (entry.prepare)(self.room.clone(), cx, request),
            None => Err(Fault::new(
                "NotImplemented",
                501,
                format!("Wadi does not have the operation {}.{} yet.", self.table.service.name, operation.name),
            )),
        }
    }
}
