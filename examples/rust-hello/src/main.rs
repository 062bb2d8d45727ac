//! A function in Rust on the public `lambda_runtime` crate, as it would be written for AWS (`provided.al2023`).

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(hello)).await
}

async fn hello(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let name = event.payload["name"].as_str().ok_or("the event has no \"name\"")?;
    println!("greeting {name}");
    Ok(json!({ "greeting": format!("Hello, {name}!"), "request": event.context.request_id }))
}
