//! Bodies that are too large, too slow or cut off.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends raw bytes, piece by piece, and reads what comes until the connection ends.
async fn raw(gate: &Running, pieces: &[&[u8]], pause: Duration, half_close: bool) -> String {
    let mut stream = TcpStream::connect(gate.address).await.expect("connects");
    for piece in pieces {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    if half_close {
        stream.shutdown().await.expect("half closes");
    }
    let mut reply = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut reply)).await;
    assert!(read.is_ok(), "the gate keeps the connection");
    String::from_utf8_lossy(&reply).into_owned()
}

/// The head of a signed request, as it goes over the wire, and its body.
fn head_and_body(request: Request<Full<Bytes>>, length: usize) -> Vec<u8> {
    let mut head = format!("POST {} HTTP/1.1\r\ncontent-length: {length}\r\nconnection: close\r\n", request.uri());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

#[tokio::test]
async fn truncated_bodies_run_nothing() {
    let gate = start().await;
    let body = r#"{"text":"hello"}"#;
    let head = head_and_body(toy_call(gate.address, "Echo", body), body.len());
    let reply = raw(&gate, &[&head, &body.as_bytes()[..8]], Duration::ZERO, true).await;
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    assert!(reply.contains("SerializationException"), "{reply}");
    assert_eq!(gate.toy.ran.load(Ordering::Relaxed), 0);
    let whole = raw(&gate, &[&head, body.as_bytes()], Duration::ZERO, false).await;
    assert!(whole.starts_with("HTTP/1.1 200"), "{whole}");
}

#[tokio::test]
async fn oversize_bodies_are_refused() {
    let gate = start().await;
    let fits = format!(r#"{{"text":"{}"}}"#, "x".repeat(toy::BODY_BYTES_MAX - 11));
    assert_eq!(gate.send(toy_call(gate.address, "Echo", &fits)).await.status, 200);
    let large = format!("{fits} ");
    gate.send(toy_call(gate.address, "Echo", &large)).await.check(
        413,
        "RequestEntityTooLargeException",
        "Request must be smaller than 200000 bytes for the Echo operation",
    );
    // Chunked, so that nothing says so beforehand.
    let request = toy_call(gate.address, "Echo", &large);
    let mut head = String::from_utf8(head_and_body(request, 0)).expect("text");
    head = head.replace("content-length: 0", "transfer-encoding: chunked");
    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let reply = raw(&gate, &[head.as_bytes(), chunk.as_bytes()], Duration::ZERO, false).await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    assert_eq!(gate.toy.ran.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let short = Duration::from_millis(150);
    let gate = start_with(Config { header_timeout: short, body_stall_timeout: short, ..Config::default() }).await;
    let none = Duration::ZERO;
    for pieces in [&[][..], &[&b"P"[..]][..], &[&b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "[..]][..]] {
        assert_eq!(raw(&gate, pieces, none, false).await, "", "closed, without a reply");
    }
    let body = r#"{"text":"hello"}"#;
    let head = head_and_body(toy_call(gate.address, "Echo", body), body.len());
    let reply = raw(&gate, &[&head, b"{"], none, false).await;
    assert!(reply.starts_with("HTTP/1.1 408") && reply.contains("RequestTimeout"), "{reply}");
    // A byte now and then is not progress.
    let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    let pieces: Vec<&[u8]> = std::iter::once(head.as_slice()).chain(bytes).collect();
    let reply = raw(&gate, &pieces, Duration::from_millis(50), false).await;
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    assert_eq!(gate.toy.ran.load(Ordering::Relaxed), 0);

    let put = b"PUT /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nConnection: close\r\n\r\n123";
    let reply = raw(&gate, &[put], none, false).await;
    assert!(reply.contains("broken: Your socket connection"), "doors too: {reply}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let short = Duration::from_millis(150);
    let gate = start_with(Config { body_stall_timeout: short, connections_max: 1, ..Config::default() }).await;
    let mut stream = TcpStream::connect(gate.address).await.expect("connects");
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("writes");
    let next = gate.send(toy_call(gate.address, "Echo", "{}"));
    let next = tokio::time::timeout(Duration::from_secs(10), next).await.expect("its place is free again");
    assert_eq!(next.status, 200);
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got).await;
    assert!(got.len() < toy::LARGE_BYTES, "{} bytes", got.len());
}

#[tokio::test]
async fn early_refusals_reach_clients_that_are_still_sending() {
    let gate = start().await;
    let body = "x".repeat(8 << 20);
    for (operation, status) in [("Lacking", 501), ("Nonsense", 404)] {
        assert_eq!(gate.send(toy_call(gate.address, operation, &body)).await.status, status);
    }
    assert_eq!(gate.send(plain(gate.address, "Echo", &body)).await.status, 403);
    assert_eq!(gate.send(signed(plain(gate.address, "Send", &body), &body, "test", "sqs", now())).await.status, 501);
}

/// hyper answers these by itself, and must get to write its answer.
#[tokio::test]
async fn heads_that_cannot_be_read_are_answered() {
    let gate = start().await;
    let host = "Host: localhost\r\n";
    for head in [
        format!("GET /a b HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/9.9\r\n{host}\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 4\r\nContent-Length: 40\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length : 4\r\n\r\n"),
    ] {
        let reply = raw(&gate, &[head.as_bytes()], Duration::ZERO, false).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{head:?}: {reply:?}");
    }
    // Cut off while it is still sending, a client may lose the answer; it never gets another.
    let long = format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(70_000));
    let reply = raw(&gate, &[long.as_bytes()], Duration::ZERO, false).await;
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 431 "), "{reply}");
    assert_eq!(gate.toy.ran.load(Ordering::Relaxed), 0);
}
