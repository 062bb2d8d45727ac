//! Serves the room alone over HTTP, for trying real S3 clients by hand: `serve <directory> <port>`; keys test/test.

use async_trait::async_trait;
use base::port::{Clock, Denied, Entropy, Target, Targets};
use base::{Arn, Event, Source, Verdict};
use http_body_util::BodyExt;
use kit::{Keys, RunningClock, Seeded};
use room::{Body, Door};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

struct Everything;

#[async_trait]
impl Target for Everything {
    async fn accepts(&self, _: &Arn, _: &Source) -> Result<(), Denied> {
        Ok(())
    }
    async fn deliver(&self, _: &Event, _: u32) -> Verdict {
        Verdict::Done
    }
}

impl Targets for Everything {
    fn find(&self, target: &Arn) -> Option<&dyn Target> {
        (target.resource == "function:f").then_some(self as &dyn Target)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let directory = std::path::PathBuf::from(args.next().expect("a directory"));
    let port: u16 = args.next().and_then(|p| p.parse().ok()).unwrap_or(4599);
    std::fs::create_dir_all(&directory).expect("can be made");
    let engine = store::sqlite::Sqlite::open(&directory.join("store.db")).expect("opens");
    let clock = RunningClock::real();
    let entropy = Arc::new(Seeded::new(clock.now().millis()));
    let objects = objects::Objects::open(objects::Parts {
        store: store::Store::new(Arc::new(engine)),
        blobs: store::Blobs::directory(&directory.join("blobs")).expect("opens"),
        clock,
        entropy: entropy.clone(),
        identity: Arc::new(Keys::test()),
        targets: Arc::new(Everything),
        config: objects::Config::default(),
    });
    let work = tokio::spawn(objects.clone().work(tokio_util::sync::CancellationToken::new()));
    let door = Arc::new(objects::door(objects));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the port is free");
    println!("listening on {port}");
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a TCP socket");
        let (door, entropy) = (door.clone(), entropy.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (door, id) = (door.clone(), entropy.uuid());
                async move {
                    let request = request.map(|b| -> Body { b.map_err(Into::into).boxed_unsync() });
                    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    Ok::<_, std::convert::Infallible>(door.serve(request, &id, ip).await)
                }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
    work.abort();
}
