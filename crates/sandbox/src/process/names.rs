//! Resolves names for sandboxes that are led out. Where all names may be asked for, what is asked of the router is handed to
//! the resolvers that the host asks, and the answer back, both as they are: nothing is read but the number that pairs them.
//! Where names are listed, `listed` answers. A thread of its own.

mod listed;
mod message;

use crate::launcher::{Resolvers, naming};
use base::network::Policy;
use base::port::Entropy;
use listed::Listing;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Questions on their way at once, and connections, for each network that lists names and for all others together; more
/// questions are not answered, more connections wait.
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
    pub fn serve(
        resolvers: Resolvers,
        networks: &BTreeMap<String, Policy>,
        entropy: Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        let Resolvers { sockets, sets } = resolvers;
        let sets = Arc::new(sets);
        let listing = |(group, _, policy): (u32, u16, &Policy)| {
            Whose::Listed(Arc::new(Listing {
                group,
                policy: policy.clone(),
                sets: sets.clone(),
                entropy: entropy.clone(),
            }))
        };
        let whose: Vec<_> = std::iter::once(Whose::All).chain(naming(networks).map(listing)).collect();
        if whose.len() != sockets.len() {
            return Err(io::Error::other("not all sockets arrived (ulimit -n)"));
        }
        for (udp, tcp) in &sockets {
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            runtime.block_on(async {
                let mut serving = JoinSet::new();
                for ((udp, tcp), whose) in sockets.into_iter().zip(whose) {
                    let (Ok(udp), Ok(tcp)) = (UdpSocket::from_std(udp), TcpListener::from_std(tcp)) else { return };
                    serving.spawn(questions(Arc::new(udp), whose.clone()));
                    serving.spawn(connections(tcp, whose));
                }
                let _ = stopped.await;
            });
        };
        let thread = std::thread::Builder::new().name("names".into()).spawn(work)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

/// For whom names are resolved, and so which.
#[derive(Clone)]
enum Whose {
    All,
    Listed(Arc<Listing>),
}

impl Whose {
    async fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::All => answer(question, &resolvers()).await,
            Self::Listed(listing) => listing.answer(question).await,
        }
    }

    async fn carry(&self, inside: TcpStream) {
        match self {
            Self::All => carry(inside).await,
            // Ended by who asks, or for what makes no sense.
            Self::Listed(listing) => drop(listed::carry(inside, listing).await),
        }
    }
}

async fn questions(socket: Arc<UdpSocket>, whose: Whose) {
    let slots = Arc::new(Semaphore::new(QUESTIONS_MAX));
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let (question, socket, whose) = (buffer[..length].to_vec(), socket.clone(), whose.clone());
        tokio::spawn(async move {
            if let Some(answer) = whose.answer(&question).await {
                let _ = socket.send_to(&answer, from).await;
            }
            drop(slot);
        });
    }
}

/// A socket to a resolver, which nobody else's messages come in by.
async fn toward(resolver: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(if resolver.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
    socket.connect(resolver).await?;
    Ok(socket)
}

/// The first answer to this question that one of the resolvers gives.
async fn answer(question: &[u8], resolvers: &[SocketAddr]) -> Option<Vec<u8>> {
    let number = question.get(..2)?;
    for resolver in resolvers {
        let asked = async {
            let socket = toward(*resolver).await?;
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

async fn connections(listener: TcpListener, whose: Whose) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok((inside, _)) = listener.accept().await else {
            // Out of descriptors, most likely: the connection stays in the queue.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let whose = whose.clone();
        tokio::spawn(async move {
            let _ = timeout(CONNECTION_MAX, whose.carry(inside)).await;
            drop(slot);
        });
    }
}

/// To the first resolver that takes it.
async fn carry(mut inside: TcpStream) {
    for resolver in resolvers() {
        if let Ok(Ok(mut outside)) = timeout(PATIENCE, TcpStream::connect(resolver)).await {
            let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            return;
        }
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
