//! An HTTP component that does what the path of the request says.

use std::io::{Read, Write};
use wasi::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};

struct Guest;

wasi::http::proxy::export!(Guest);

impl wasi::exports::http::incoming_handler::Guest for Guest {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (path, argument) = path.split_once('?').unwrap_or((&path, ""));
        match path {
            "/panic" => panic!("as asked"),
            "/loop" => loop {
                std::hint::black_box(0);
            },
            "/overflow" => {
                std::hint::black_box(dig(1));
            }
            "/grow" => {
                let mut held: Vec<Vec<u8>> = Vec::new();
                loop {
                    held.push(vec![1; 1 << 20]);
                    std::hint::black_box(&held);
                }
            }
            "/silent" => {}
            "/decline" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("as asked".into())))),
            "/stay" => {
                answer(out, 200, |stream| stream.write_all(b"first\n").and_then(|()| stream.flush()).expect("reads"));
                std::thread::sleep(std::time::Duration::from_millis(300));
                println!("stayed");
            }
            "/stream" => answer(out, 200, |stream| {
                for i in 0..3 {
                    stream.write_all(format!("piece {i}\n").as_bytes()).and_then(|()| stream.flush()).expect("reads");
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            }),
            "/half" => answer(out, 200, |stream| {
                stream.write_all(b"half").and_then(|()| stream.flush()).expect("reads");
                std::thread::sleep(std::time::Duration::from_millis(50));
                panic!("in the middle");
            }),
            "/count" => {
                let body = request.consume().expect("one");
                let mut stream = body.stream().expect("one");
                let (mut bytes, mut buffer) = (0, vec![0; 64 << 10]);
                while let Ok(n @ 1..) = Read::read(&mut stream, &mut buffer) {
                    bytes += n;
                }
                answer(out, 200, |stream| write!(stream, "{bytes}").expect("reads"));
            }
            "/env" => answer(out, 200, |stream| {
                write!(stream, "{}", std::env::var(argument).unwrap_or_default()).expect("reads");
            }),
            "/fetch" => {
                let got = fetch(argument);
                answer(out, 200, |stream| write!(stream, "{got}").expect("reads"));
            }
            "/connect" => {
                let got = std::net::TcpStream::connect(argument).map(|_| "GOT a connection".to_owned());
                let got = got.unwrap_or_else(|error| error.kind().to_string());
                answer(out, 200, |stream| write!(stream, "{got}").expect("reads"));
            }
            "/tcp" => {
                let mut stream = std::net::TcpStream::connect(argument).expect("reached");
                let mut back = Vec::new();
                stream.write_all(&[b'x'; 1000]).and_then(|()| stream.read_to_end(&mut back)).expect("answered");
                answer(out, 200, |stream| write!(stream, "{}", back.len()).expect("reads"));
            }
            "/udp" => {
                let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
                let mut back = [0; 4096];
                socket.send_to(&[b'x'; 300], argument).expect("sent");
                let (bytes, _) = socket.recv_from(&mut back).expect("answered");
                answer(out, 200, |stream| write!(stream, "{bytes}").expect("reads"));
            }
            "/list" => {
                let found = std::fs::read_dir(argument).map(|items| items.flatten().count());
                let got = found.map_or_else(|error| error.kind().to_string(), |n| format!("GOT {n} names"));
                answer(out, 200, |stream| write!(stream, "{got}").expect("reads"));
            }
            "/write" => {
                let got = std::fs::write(argument, "x").map(|()| "GOT it written".to_owned());
                let got = got.unwrap_or_else(|error| error.kind().to_string());
                answer(out, 200, |stream| write!(stream, "{got}").expect("reads"));
            }
            "/flood" => {
                for line in 0..argument.parse().expect("a number") {
                    println!("{line} {}", "x".repeat(1000));
                }
                answer(out, 200, |stream| stream.write_all(b"ok").expect("reads"));
            }
            "/hoard" => {
                // What the host holds for it, not what it holds itself.
                let mut held = Vec::new();
                loop {
                    let fields = Fields::new();
                    let name = format!("x-{}", held.len());
                    if fields.append(&name, &vec![b'x'; 32 << 10]).is_err() {
                        break answer(out, 200, |stream| write!(stream, "refused at {}", held.len()).expect("reads"));
                    }
                    held.push(fields);
                }
            }
            "/status" => {
                answer(out, argument.parse().expect("a status"), |stream| stream.write_all(b"no").expect("reads"))
            }
            "/log" => {
                println!("said");
                eprint!("complained");
                answer(out, 200, |stream| stream.write_all(b"ok").expect("reads"));
            }
            _ => {
                let mut text = Vec::new();
                let body = request.consume().expect("one");
                body.stream().expect("one").read_to_end(&mut text).expect("reads");
                let header = |name: &str| {
                    let value = request.headers().get(&name.to_owned()).into_iter().next().unwrap_or_default();
                    String::from_utf8_lossy(&value).into_owned()
                };
                let about = format!("{:?} {path} {}", request.method(), header("lambda-runtime-aws-request-id"));
                answer(out, 200, |stream| {
                    stream.write_all(about.trim_end().as_bytes()).expect("reads");
                    stream.write_all(b"\n").expect("reads");
                    stream.write_all(&text).expect("reads");
                });
            }
        }
    }
}

/// Frames that are small in memory, so that it is the engine's stack that is exhausted.
fn dig(n: u64) -> u64 {
    if n == 0 { 0 } else { std::hint::black_box(dig(n + 1)) + 1 }
}

fn answer(out: ResponseOutparam, status: u16, write: impl FnOnce(&mut dyn Write)) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("one");
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().expect("one");
    write(&mut stream);
    drop(stream);
    OutgoingBody::finish(body, None).expect("whole");
}

/// The status of `authority/path`, or how the request failed.
fn fetch(place: &str) -> String {
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).expect("http");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a path");
    let response = match wasi::http::outgoing_handler::handle(request, None) {
        Ok(response) => response,
        Err(code) => return code.to_string(),
    };
    response.subscribe().block();
    match response.get().expect("ready").expect("once") {
        Ok(response) => response.status().to_string(),
        Err(code) => format!("{code:?}"),
    }
}
