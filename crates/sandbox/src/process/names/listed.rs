//! Names for those who may reach what a list names and no more. A name that is listed is asked for, what it stands for is
//! opened for as long as that is good, and only then is the answer given; any other name does not exist.

use super::message::{self, Answer, Question};
use super::{ANSWER_BYTES_MAX, PATIENCE, resolvers};
use crate::launcher::{Sets, set};
use base::network::Policy;
use base::port::Entropy;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// The longest that an address is good for without being asked for again.
const SECONDS_MAX: u32 = 24 * 60 * 60;
/// How much longer than it is good for an address is open: who has just been told of one has yet to connect.
const LINGER_SECONDS: u32 = 5;
const QUESTION_BYTES_MAX: usize = 4096;

/// One network's list.
pub struct Listing {
    pub group: u32,
    pub policy: Policy,
    pub sets: Arc<Sets>,
    pub entropy: Arc<dyn Entropy>,
}

impl Listing {
    /// What is said to this message; nothing to what is no question.
    pub async fn answer(&self, asked: &[u8]) -> Option<Vec<u8>> {
        let question = message::question(asked)?;
        let places: Vec<_> = self.policy.naming(&question.name).collect();
        if places.is_empty() {
            return Some(question.reply(message::NO_SUCH_NAME, &[]));
        }
        if (question.kind, question.class) != (message::ADDRESS, message::INTERNET) {
            // It has addresses and nothing else, and those of IPv6 lead nowhere.
            return Some(question.reply(message::NO_ERROR, &[]));
        }
        let Some(answer) = self.ask(&question, &resolvers()).await else {
            return Some(question.reply(message::FAILED, &[]));
        };
        let reached = self.reached(answer.addresses);
        let sets: Vec<_> = places.into_iter().map(|place| set(self.group, place)).collect();
        match self.sets.hold(&sets, &to_open(&reached)) {
            Ok(()) => Some(question.reply(told(answer.code), &reached)),
            Err(error) => {
                tracing::warn!(name = question.name, %error, "what a listed name stands for cannot be opened");
                Some(question.reply(message::FAILED, &[]))
            }
        }
    }

    /// Of a name's addresses those that can be reached by it, or are listed as addresses: a name may not lead to what is near
    /// because whoever owns it says so.
    fn reached(&self, addresses: Vec<(Ipv4Addr, u32)>) -> Vec<(Ipv4Addr, u32)> {
        let listed =
            |at: Ipv4Addr| self.policy.allow.iter().filter_map(|listed| listed.block()).any(|block| block.contains(at));
        let mut reached: Vec<_> = addresses
            .into_iter()
            .filter(|(address, _)| Policy::may_stand_for(*address) || listed(*address))
            .map(|(address, seconds)| (address, seconds.min(SECONDS_MAX)))
            .collect();
        reached.sort_by_key(|(address, _)| *address);
        reached.dedup_by_key(|(address, _)| *address);
        reached
    }

    /// The first answer that one of the resolvers gives.
    async fn ask(&self, question: &Question, resolvers: &[SocketAddr]) -> Option<Answer> {
        for resolver in resolvers {
            // Nobody who does not see it can answer it: not even who asked knows its number.
            let id = self.entropy.u64() as u16;
            match timeout(PATIENCE, over_udp(question, id, *resolver)).await {
                Ok(Ok(answer)) if answer.is_cut => {}
                Ok(Ok(answer)) => return Some(answer),
                _ => continue,
            }
            if let Ok(Ok(answer)) = timeout(PATIENCE, over_tcp(question, id, *resolver)).await {
                return Some(answer);
            }
        }
        None
    }
}

/// What a resolver's answer is to the sandbox.
fn told(code: u8) -> u8 {
    match code {
        message::NO_ERROR | message::NO_SUCH_NAME => code,
        _ => message::FAILED,
    }
}

/// What is near and listed is open already.
fn to_open(reached: &[(Ipv4Addr, u32)]) -> Vec<(Ipv4Addr, u32)> {
    let far = reached.iter().filter(|(address, _)| Policy::may_stand_for(*address));
    far.map(|(address, seconds)| (*address, seconds + LINGER_SECONDS)).collect()
}

async fn over_udp(question: &Question, id: u16, resolver: SocketAddr) -> io::Result<Answer> {
    let socket = super::toward(resolver).await?;
    socket.send(&question.ask(id)).await?;
    heard(&socket, question, id).await
}

async fn heard(socket: &UdpSocket, question: &Question, id: u16) -> io::Result<Answer> {
    let mut message = vec![0; ANSWER_BYTES_MAX];
    loop {
        let length = socket.recv(&mut message).await?;
        if let Some(answer) = question.answer(&message[..length], id) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(question: &Question, id: u16, resolver: SocketAddr) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(resolver).await?;
    put(&mut stream, &question.ask(id)).await?;
    let message = get(&mut stream, ANSWER_BYTES_MAX).await?;
    question.answer(&message, id).ok_or(io::ErrorKind::InvalidData.into())
}

/// Answers one question after another on a connection, until it ends.
pub async fn carry(mut inside: TcpStream, listing: &Listing) -> io::Result<()> {
    loop {
        let asked = get(&mut inside, QUESTION_BYTES_MAX).await?;
        let answer = listing.answer(&asked).await.ok_or(io::ErrorKind::InvalidData)?;
        put(&mut inside, &answer).await?;
    }
}

async fn get(stream: &mut TcpStream, most: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    let mut message = vec![0; if length <= most { length } else { return Err(io::ErrorKind::InvalidData.into()) }];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn put(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(&[&(message.len() as u16).to_be_bytes()[..], message].concat()).await
}
