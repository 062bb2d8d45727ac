//! Against servers on loopback that the test makes itself.

use super::*;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(5);

/// Answers every request on every connection with `answer`, and says how many connections there were.
async fn server(answer: Vec<u8>) -> (SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                // The tests' requests fit into one read.
                while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    if stream.write_all(&answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, count)
}

fn get(to: SocketAddr) -> Request<Bytes> {
    Request::get(format!("http://{to}/x?y=1")).body(Bytes::new()).expect("a request")
}

#[tokio::test]
async fn answers_come_back_and_connections_are_used_again() {
    let (to, connections) = server(b"HTTP/1.1 302 Found\r\nlocation: /y\r\ncontent-length: 2\r\n\r\nhi".to_vec()).await;
    let courier = Http::new(Reach::Anywhere);
    for _ in 0..3 {
        let answer = courier.send(get(to), SOON).await.expect("an answer");
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (302, &b"hi"[..]), "a redirect is an answer");
        // The connection goes back into the pool in a task of hyper's own.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn no_more_is_read_than_is_kept() {
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 200_000, b'x');
    // The rest never comes: who waited for it would be late.
    let (to, _) = server(answer).await;
    let answer = Http::new(Reach::Anywhere).send(get(to), SOON).await.expect("an answer");
    assert_eq!(answer.body().len(), ANSWER_BYTES_MAX);
}

#[tokio::test]
async fn who_says_nothing_is_late_and_who_is_not_there_is_told() {
    let (to, _) = server(Vec::new()).await;
    let courier = Http::new(Reach::Anywhere);
    let short = Duration::from_millis(50);
    assert_eq!(courier.send(get(to), short).await.expect_err("no answer"), SendError::Late(short));
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    match courier.send(get(closed), SOON).await.expect_err("nobody") {
        SendError::Failed(why) => assert!(why.contains("refused"), "{why}"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_node_that_strangers_use_does_not_send_to_itself() {
    let (to, connections) = server(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).await;
    let courier = Http::new(Reach::Within(Policy::INTERNET));
    for host in [to.to_string(), format!("localhost:{}", to.port()), format!("[::ffff:127.0.0.1]:{}", to.port())] {
        let request = Request::get(format!("http://{host}/")).body(Bytes::new()).expect("a request");
        let refused = courier.send(request, SOON).await.expect_err("its own address");
        assert!(matches!(refused, SendError::Forbidden(_)), "{host}: {refused}");
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), 0);
    let listed = Policy { allow: vec!["127.0.0.1 tcp".parse().expect("listed")], ..Policy::INTERNET };
    let answer = Http::new(Reach::Within(listed)).send(get(to), SOON).await.expect("listed");
    assert_eq!(answer.status().as_u16(), 204);
}
