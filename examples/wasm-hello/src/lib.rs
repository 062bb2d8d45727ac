//! A function as a WebAssembly component of the `wasi:http/proxy` world: it answers HTTP requests.
//!
//!     cargo build --release --target wasm32-wasip2
//!     wadi deploy target/wasm32-wasip2/release/bootstrap.wasm --name wasm-hello

use std::io::{Read, Write};
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasi::http::proxy::export!(Hello);

impl wasi::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let mut name = String::new();
        let body = request.consume().expect("a request has one body");
        let mut stream = body.stream().expect("a body has one stream");
        stream.read_to_string(&mut name).expect("text");
        let name = if name.is_empty() { "world" } else { name.trim() };
        println!("greeting {name} at {path}");

        let headers = Fields::from_list(&[("content-type".to_owned(), b"text/plain".to_vec())]).expect("valid headers");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("a response has one body");
        ResponseOutparam::set(out, Ok(response));
        let mut stream = body.write().expect("a body has one stream");
        writeln!(stream, "Hello, {name}!").expect("the client reads");
        drop(stream);
        OutgoingBody::finish(body, None).expect("the body is whole");
    }
}
