//! Handlers that stream their response, in chunks of HTTP/1.1, with trailers.

use super::{End, Runtime};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox::Status;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

impl Runtime {
    /// Does what the handler is named after; an end, where the runtime ends with it.
    pub(super) async fn stream(&mut self, word: &str, id: &str) -> Option<End> {
        let mut stream = self.connection().await;
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
             Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: text/plain\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("writes");
        let document = STANDARD.encode(r#"{"errorType":"Oops","errorMessage":"halfway"}"#);
        let trailers =
            format!("Lambda-Runtime-Function-Error-Type: Oops\r\nLambda-Runtime-Function-Error-Body: {document}\r\n");
        let last = match word {
            "stream-empty" => "",
            "stream-fails-at-once" => &trailers,
            "stream-fails" => {
                chunk(&mut stream, b"one").await;
                &trailers
            }
            "stream-exits" => {
                chunk(&mut stream, b"one").await;
                return Some((Status::Exited(3), false));
            }
            "stream-breaks-off" => {
                chunk(&mut stream, b"one").await;
                stream.shutdown().await.expect("closes");
                std::future::pending().await
            }
            "stream-never-ends" => {
                chunk(&mut stream, b"one").await;
                std::future::pending().await
            }
            "stream-and-go-on" => {
                chunk(&mut stream, b"one").await;
                stream.write_all(b"0\r\n\r\n").await.expect("writes");
                self.reply(stream).await;
                self.word.notified().await;
                return None;
            }
            "stream-fails-and-exits" => {
                stream.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await.expect("writes");
                self.reply(stream).await;
                return Some((Status::Exited(129), false));
            }
            "stream-flood" => {
                while chunk(&mut stream, &[b'x'; 10_000]).await {}
                std::future::pending().await
            }
            "stream-in-turn" => {
                chunk(&mut stream, b"one").await;
                self.word.notified().await;
                // While it streams, nothing else is in turn.
                self.stream = None;
                let mut seen = Vec::new();
                for (method, path) in [
                    ("GET", "runtime/invocation/next".to_owned()),
                    ("POST", format!("runtime/invocation/{id}/response")),
                    ("POST", format!("runtime/invocation/{id}/error")),
                ] {
                    seen.push(self.request(method, &path, "").await);
                }
                for (status, body) in seen {
                    assert_eq!(status, 403, "{body}");
                    assert!(body.contains("State transition from InvocationResponse to "), "{body}");
                }
                ""
            }
            _ => {
                chunk(&mut stream, b"one").await;
                self.word.notified().await;
                chunk(&mut stream, b"two").await;
                ""
            }
        };
        stream.write_all(format!("0\r\n{last}\r\n").as_bytes()).await.expect("writes");
        let (head, _) = self.reply(stream).await;
        assert!(head.starts_with("http/1.1 202"), "{head}");
        None
    }
}

/// False when nobody takes it any more.
async fn chunk(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend(bytes);
    framed.extend(b"\r\n");
    stream.write_all(&framed).await.is_ok()
}
