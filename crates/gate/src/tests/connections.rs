//! Many connections, and the end of them.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HEALTH: &[u8] = b"GET /_wadi/health HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn stop_lets_requests_finish_and_takes_no_more() {
    let gate = start().await;
    let mut idle = TcpStream::connect(gate.address).await.expect("connects");
    idle.write_all(HEALTH).await.expect("writes");
    assert!(idle.read(&mut [0; 2048]).await.expect("reads") > 0);

    let running = gate.send(toy_call(gate.address, "Wait", "{}"));
    let stopper = async {
        while gate.toy.ran.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gate.stop.cancel();
    };
    let (reply, ()) = tokio::join!(running, stopper);
    assert_eq!(reply.status, 200, "what was in flight ends well");
    tokio::time::timeout(Duration::from_secs(5), gate.serving).await.expect("serve returns").expect("without a panic");
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap_or(0), 0, "idle connections are closed");
    assert!(TcpStream::connect(gate.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn stop_does_not_wait_longer_than_it_may() {
    let config = Config { drain_timeout: Duration::from_millis(50), ..Config::default() };
    let gate = start_with(config).await;
    let mut stream = TcpStream::connect(gate.address).await.expect("connects");
    let request = toy_call(gate.address, "Wait", "{}");
    let mut head = String::from("POST / HTTP/1.1\r\ncontent-length: 2\r\n");
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
    }
    stream.write_all(format!("{head}\r\n{{}}").as_bytes()).await.expect("writes");
    while gate.toy.ran.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.stop.cancel();
    tokio::time::timeout(Duration::from_millis(250), gate.serving).await.expect("cut off").expect("without a panic");
}

#[tokio::test]
async fn connections_are_bounded_and_the_next_waits() {
    let gate = start_with(Config { connections_max: 2, ..Config::default() }).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(gate.address).await.expect("connects");
        stream.write_all(HEALTH).await.expect("writes");
        open.push(stream);
    }
    for stream in &mut open[..2] {
        assert!(stream.read(&mut [0; 2048]).await.expect("reads") > 0);
    }
    let early = tokio::time::timeout(Duration::from_millis(100), open[2].read(&mut [0; 2048])).await;
    assert!(early.is_err(), "the third waits");
    drop(open.remove(0));
    let read = tokio::time::timeout(Duration::from_secs(5), open[1].read(&mut [0; 2048])).await;
    assert!(read.expect("served once there is a place").expect("reads") > 0);
}

#[tokio::test]
async fn a_keep_alive_connection_serves_many() {
    let gate = start().await;
    let stream = TcpStream::connect(gate.address).await.expect("connects");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("http");
    let driver = tokio::spawn(connection);
    for i in 0..100 {
        let body = format!(r#"{{"text":"{i}"}}"#);
        let reply = Reply::of(sender.send_request(toy_call(gate.address, "Echo", &body)).await.expect("a reply")).await;
        assert_eq!(reply.json()["text"], format!("000000000000 eu-west-1 {i}"));
    }
    driver.abort();
}
