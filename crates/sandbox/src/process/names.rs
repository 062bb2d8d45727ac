//! Resolves names for sandboxes that are led out: what they ask the router is handed to the resolvers that the host asks,
//! and the answer back, both as they are. A thread of its own; nothing is read but the number that pairs an answer with its
//! question.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

/// Questions on their way at once, and connections; more questions are not answered, more connections wait.
const QUESTIONS_MAX: usize = 512;
const CONNECTIONS_MAX: usize = 64;
/// How long one resolver has to answer before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection lasts at most.
const CONNECTION_MAX: Duration = Duration::from_secs(15);
/// Without EDNS an answer has 512 bytes; no answer over UDP has more than this.
const ANSWER_BYTES_MAX: usize = 65_535;
/// As many as the C library asks.
const RESOLVERS_MAX: usize = 3;

/// The thread; it ends with this.
pub struct Names {
    /// Dropped first.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Names {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Names {
    /// Answers on these sockets, which are in the router's network, until this is dropped.
    pub fn serve(udp: std::net::UdpSocket, tcp: std::net::TcpListener) -> io::Result<Self> {
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            runtime.block_on(async {
                let (Ok(udp), Ok(tcp)) = (UdpSocket::from_std(udp), TcpListener::from_std(tcp)) else { return };
                tokio::select! {
                    _ = stopped => {}
                    () = questions(Arc::new(udp)) => {}
                    () = connections(tcp) => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("names".into()).spawn(work)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

async fn questions(socket: Arc<UdpSocket>) {
    let slots = Arc::new(Semaphore::new(QUESTIONS_MAX));
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let (question, socket) = (buffer[..length].to_vec(), socket.clone());
        tokio::spawn(async move {
            if let Some(answer) = answer(&question, &resolvers()).await {
                let _ = socket.send_to(&answer, from).await;
            }
            drop(slot);
        });
    }
}

/// The first answer to this question that one of the resolvers gives.
async fn answer(question: &[u8], resolvers: &[SocketAddr]) -> Option<Vec<u8>> {
    let number = question.get(..2)?;
    for resolver in resolvers {
        let asked = async {
            let any = if resolver.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(resolver).await?;
            socket.send(question).await?;
            let mut answer = vec![0; ANSWER_BYTES_MAX];
            loop {
                let length = socket.recv(&mut answer).await?;
                if answer[..length].starts_with(number) {
                    answer.truncate(length);
                    return Ok::<_, io::Error>(answer);
                }
            }
        };
        if let Ok(Ok(answer)) = timeout(PATIENCE, asked).await {
            return Some(answer);
        }
    }
    None
}

async fn connections(listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok((mut inside, _)) = listener.accept().await else {
            // Out of descriptors, most likely: the connection stays in the queue.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(async move {
            let carried = async {
                for resolver in resolvers() {
                    if let Ok(Ok(mut outside)) = timeout(PATIENCE, TcpStream::connect(resolver)).await {
                        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                        return;
                    }
                }
            };
            let _ = timeout(CONNECTION_MAX, carried).await;
            drop(slot);
        });
    }
}

/// Whom the host asks now, as its C library finds out.
fn resolvers() -> Vec<SocketAddr> {
    parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().map(|line| line.split_whitespace());
    let named = words.filter_map(|mut words| (words.next() == Some("nameserver")).then(|| words.next()).flatten());
    let found: Vec<_> = named.filter_map(|word| Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, 53))).collect();
    match found.is_empty() {
        true => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))],
        false => found.into_iter().take(RESOLVERS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_of_the_file() {
        let text = "# nameserver 9.9.9.9\nsearch x\nnameserver 10.0.0.53\n nameserver\t::1 \nnameserver nonsense\n";
        let want: [SocketAddr; 2] = ["10.0.0.53:53".parse().expect("one"), "[::1]:53".parse().expect("one")];
        assert_eq!(parse(text), want);
        assert_eq!(parse(""), ["127.0.0.1:53".parse().expect("one")]);
    }

    #[tokio::test]
    async fn an_answer_is_to_its_question() {
        let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let at = resolver.local_addr().expect("an address");
        let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let asked = tokio::spawn({
            let silent = silent.local_addr().expect("an address");
            async move { answer(b"\x01\x02?", &[silent, at]).await }
        });
        let mut question = [0; 16];
        let (length, from) = resolver.recv_from(&mut question).await.expect("a question");
        assert_eq!(&question[..length], b"\x01\x02?");
        for text in [&b"\x02\x01forged"[..], b"\x01\x02right"] {
            resolver.send_to(text, from).await.expect("sent");
        }
        assert_eq!(asked.await.expect("it ends").as_deref(), Some(&b"\x01\x02right"[..]));
    }
}
