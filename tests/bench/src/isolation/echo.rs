//! The static program of `bench isolation`, compiled by rustc alone: an echo on the Runtime API, or a word and an end.

use std::io::{Read, Write};
use std::net::TcpStream;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("here") {
        return println!("here");
    }
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").expect("the Runtime API's address");
    let mut stream = TcpStream::connect(&api).expect("the Runtime API");
    stream.set_nodelay(true).expect("an option");
    loop {
        let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {api}\r\n\r\n");
        let (head, event) = exchange(&mut stream, next.as_bytes());
        let id = field(&head, "lambda-runtime-aws-request-id:").expect("an id");
        let mut answer = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\n\r\n",
            event.len()
        )
        .into_bytes();
        answer.extend(event);
        exchange(&mut stream, &answer);
    }
}

/// Head and body of the answer.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> (String, Vec<u8>) {
    stream.write_all(request).expect("sends");
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
            let length = field(&head, "content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
            if bytes.len() >= at + 4 + length {
                return (head, bytes[at + 4..at + 4 + length].to_vec());
            }
        }
        match stream.read(&mut part).expect("receives") {
            0 => std::process::exit(0),
            n => bytes.extend(&part[..n]),
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
