//! As much of DNS's messages (RFC 1035) as names that are listed need: one question, and the addresses of its answer. What is
//! said to a sandbox is written anew, of nothing but what was understood.

use std::net::Ipv4Addr;

pub const NO_ERROR: u8 = 0;
pub const FAILED: u8 = 2;
pub const NO_SUCH_NAME: u8 = 3;
pub const ADDRESS: u16 = 1;
pub const INTERNET: u16 = 1;
const ALIAS: u16 = 5;

/// Addresses that one answer gives: with the longest name they fit the 512 bytes that every program takes.
pub const ADDRESSES_MAX: usize = 15;
/// Other names that lead to a name's addresses.
const ALIASES_MAX: usize = 16;
/// A record takes eleven bytes at least, and an answer is 64 KB at most.
const RECORDS_MAX: u16 = 6_000;
const HEADER: usize = 12;
const NAME_BYTES_MAX: usize = 254;

const IS_ANSWER: u16 = 1 << 15;
const OPERATION: u16 = 0xf << 11;
const IS_CUT: u16 = 1 << 9;
const RECURSION_ASKED: u16 = 1 << 8;
const RECURSION: u16 = 1 << 7;

/// What a sandbox asks.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    id: u16,
    recursion: bool,
    /// In small letters.
    pub name: String,
    pub kind: u16,
    pub class: u16,
    /// As it was written: name, kind and class.
    written: Vec<u8>,
}

/// What a resolver says.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: u8,
    /// There is more, for who asks over TCP.
    pub is_cut: bool,
    /// The name's, by whatever other names: at most [`ADDRESSES_MAX`], each with the seconds that it is good for.
    pub addresses: Vec<(Ipv4Addr, u32)>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// A name in small letters, without the last dot. What is in no listed name becomes a sign that is in none either.
    fn name(&mut self) -> Option<String> {
        let (mut name, mut at, mut start, mut after) = (String::new(), self.at, self.at, None);
        loop {
            let length = usize::from(*self.bytes.get(at)?);
            match length {
                0 => break,
                1..=63 => {
                    let label = self.bytes.get(at + 1..at + 1 + length)?;
                    let sign = |b: &u8| match b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_') {
                        true => char::from(b.to_ascii_lowercase()),
                        false => '?',
                    };
                    let dot = (!name.is_empty()).then_some('.');
                    name.extend(dot.into_iter().chain(label.iter().map(sign)));
                    at += 1 + length;
                }
                0xc0.. => {
                    let to = (length & 0x3f) << 8 | usize::from(*self.bytes.get(at + 1)?);
                    after.get_or_insert(at + 2);
                    // Only ever backwards, so it ends.
                    if to >= start {
                        return None;
                    }
                    (at, start) = (to, to);
                }
                _ => return None,
            }
            if name.len() > NAME_BYTES_MAX {
                return None;
            }
        }
        self.at = after.unwrap_or(at + 1);
        Some(name)
    }
}

/// Number, flags, and the four counts.
fn header(reader: &mut Reader<'_>) -> Option<(u16, u16, [u16; 4])> {
    let (id, flags) = (reader.u16()?, reader.u16()?);
    Some((id, flags, [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?]))
}

/// `None` for what is no question about one name.
pub fn question(message: &[u8]) -> Option<Question> {
    let mut reader = Reader { bytes: message, at: 0 };
    let (id, flags, [questions, ..]) = header(&mut reader)?;
    if flags & (IS_ANSWER | OPERATION) != 0 || questions != 1 {
        return None;
    }
    let name = reader.name()?;
    let plain = HEADER + if name.is_empty() { 1 } else { name.len() + 2 };
    let is_plain = reader.at == plain;
    let (kind, class) = (reader.u16()?, reader.u16()?);
    let written = message.get(HEADER..reader.at)?.to_vec();
    is_plain.then_some(Question { id, recursion: flags & RECURSION_ASKED != 0, name, kind, class, written })
}

impl Question {
    /// The same question, for a resolver.
    pub fn ask(&self, id: u16) -> Vec<u8> {
        let words = [id, RECURSION_ASKED, 1, 0, 0, 0];
        words.iter().flat_map(|word| word.to_be_bytes()).chain(self.written.iter().copied()).collect()
    }

    /// What the sandbox is told.
    pub fn reply(&self, code: u8, addresses: &[(Ipv4Addr, u32)]) -> Vec<u8> {
        let asked = if self.recursion { RECURSION_ASKED } else { 0 };
        let flags = IS_ANSWER | RECURSION | asked | u16::from(code);
        let words = [self.id, flags, 1, addresses.len() as u16, 0, 0];
        let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        message.extend(&self.written);
        for (address, seconds) in addresses {
            // Its name is the question's.
            message.extend([0xc0, HEADER as u8, 0, ADDRESS as u8, 0, INTERNET as u8]);
            message.extend(seconds.to_be_bytes());
            message.extend([0, 4]);
            message.extend(address.octets());
        }
        message
    }

    /// What a message says to [`Question::ask`] with this number; `None` where it is no answer to that.
    pub fn answer(&self, message: &[u8], id: u16) -> Option<Answer> {
        let mut reader = Reader { bytes: message, at: 0 };
        let (its, flags, [questions, answers, ..]) = header(&mut reader)?;
        if its != id || flags & IS_ANSWER == 0 || questions != 1 || reader.name()? != self.name {
            return None;
        }
        if (reader.u16()?, reader.u16()?) != (self.kind, self.class) {
            return None;
        }
        let addresses = follow(&self.name, &records(&mut reader, answers.min(RECORDS_MAX)));
        Some(Answer { code: (flags & 0xf) as u8, is_cut: flags & IS_CUT != 0, addresses })
    }
}

enum Leads {
    To(Ipv4Addr),
    On(String),
}

struct Record {
    owner: String,
    seconds: u32,
    leads: Leads,
}

/// Those that are understood, as far as the message can be.
fn records(reader: &mut Reader<'_>, count: u16) -> Vec<Record> {
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(record) = record(reader) else { break };
        found.extend(record);
    }
    found
}

fn record(reader: &mut Reader<'_>) -> Option<Option<Record>> {
    let owner = reader.name()?;
    let (kind, class, seconds) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let length = usize::from(reader.u16()?);
    let start = reader.at;
    let data = reader.take(length)?;
    let leads = match (kind, class, <[u8; 4]>::try_from(data)) {
        (ADDRESS, INTERNET, Ok(octets)) => Leads::To(octets.into()),
        (ALIAS, INTERNET, _) => Leads::On(Reader { bytes: reader.bytes, at: start }.name()?),
        _ => return Some(None),
    };
    Some(Some(Record { owner, seconds, leads }))
}

/// The addresses of a name, and of that which it is another name of. They are good for as long as all that led there.
fn follow(name: &str, records: &[Record]) -> Vec<(Ipv4Addr, u32)> {
    let (mut name, mut seconds) = (name, u32::MAX);
    for _ in 0..ALIASES_MAX {
        let of = records.iter().filter(|record| record.owner == name);
        let addresses = of.clone().filter_map(|record| match record.leads {
            Leads::To(address) => Some((address, record.seconds.min(seconds))),
            Leads::On(_) => None,
        });
        let addresses: Vec<_> = addresses.take(ADDRESSES_MAX).collect();
        let mut on = of.filter_map(|record| match &record.leads {
            Leads::On(to) => Some((to, record.seconds)),
            Leads::To(_) => None,
        });
        match on.next() {
            Some((to, its)) if addresses.is_empty() => (name, seconds) = (to, seconds.min(its)),
            _ => return addresses,
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str) -> Vec<u8> {
        let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        labels.chain([0]).collect()
    }

    fn asked(name: &str) -> Vec<u8> {
        [&[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &label(name), &[0, 1, 0, 1]].concat()
    }

    fn said(name: &str, records: &[(&str, u16, u32, Vec<u8>)]) -> Vec<u8> {
        let mut message = asked(name);
        message[..12].copy_from_slice(&[0, 9, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        for (owner, kind, seconds, data) in records {
            message.extend(label(owner));
            message.extend(kind.to_be_bytes());
            message.extend([0, 1]);
            message.extend(seconds.to_be_bytes());
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(data);
        }
        message
    }

    #[test]
    fn addresses_are_found_by_whatever_names() {
        let question = question(&asked("WWW.example")).expect("a question");
        assert_eq!((question.name.as_str(), question.kind, question.class), ("www.example", 1, 1));
        let ask = question.ask(9);
        assert_eq!((&ask[..2], &ask[12..]), (&[0, 9][..], &asked("WWW.example")[12..]));
        let message = said(
            "www.example",
            &[
                ("edge.other", 1, 30, vec![192, 0, 2, 1]),
                ("stray.example", 1, 30, vec![192, 0, 2, 9]),
                ("www.example", 5, 20, label("edge.other")),
                ("edge.other", 28, 30, vec![0; 16]),
                ("edge.other", 1, 10, vec![192, 0, 2, 2]),
            ],
        );
        let answer = question.answer(&message, 9).expect("an answer");
        let want = vec![([192, 0, 2, 1].into(), 20), ([192, 0, 2, 2].into(), 10)];
        assert_eq!(answer, Answer { code: NO_ERROR, is_cut: false, addresses: want.clone() });
        assert_eq!(question.answer(&message, 8), None, "another's number");
        assert_eq!(question.answer(&said("other.example", &[]), 9), None, "another question's");

        let reply = question.reply(NO_ERROR, &want);
        let read = question.answer(&reply, 0x0707).expect("what is written can be read");
        assert_eq!(read.addresses, want);
    }

    #[test]
    fn names_that_go_round_end() {
        let question = question(&asked("a.example")).expect("a question");
        let round =
            said("a.example", &[("a.example", 5, 1, label("b.example")), ("b.example", 5, 1, label("a.example"))]);
        assert_eq!(question.answer(&round, 9).expect("an answer").addresses, []);
        let mut itself = said("a.example", &[]);
        (itself[7], itself[6]) = (1, 0);
        let at = itself.len() as u16 | 0xc000;
        itself.extend(at.to_be_bytes());
        assert_eq!(question.answer(&itself, 9).expect("an answer").addresses, []);
    }

    #[test]
    fn what_is_given_fits_what_every_program_takes() {
        let name = [["a"; 63].concat(), ["b"; 63].concat(), ["c"; 63].concat(), ["d"; 61].concat()].join(".");
        let question = question(&asked(&name)).expect("a question");
        let many: Vec<_> = (0..200).map(|n| (name.as_str(), 1, 5, vec![192, 0, 2, n])).collect();
        let answer = question.answer(&said(&name, &many), 9).expect("an answer");
        assert_eq!(answer.addresses.len(), ADDRESSES_MAX);
        assert!(question.reply(NO_ERROR, &answer.addresses).len() <= 512);
    }

    /// Seeded damage to messages: whatever comes is read or refused, and what is read is within its bounds.
    #[test]
    fn damage_is_borne() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % n as u64) as usize
        };
        let question_of = asked("www.example");
        let good = question(&question_of).expect("a question");
        let records = [("www.example", 5, 20, label("edge.other")), ("edge.other", 1, 30, vec![192, 0, 2, 1])];
        let message = said("www.example", &records);
        for _ in 0..50_000 {
            let mut damaged = if below(2) == 0 { message.clone() } else { question_of.clone() };
            for _ in 0..=below(4) {
                let (at, to) = (below(damaged.len()), below(256) as u8);
                damaged[at] = if below(3) == 0 { 0xc0 } else { to };
            }
            damaged.truncate(1 + below(damaged.len()));
            if let Some(answer) = good.answer(&damaged, 9) {
                assert!(answer.addresses.len() <= ADDRESSES_MAX);
            }
            if let Some(question) = question(&damaged) {
                assert!(question.reply(FAILED, &[]).len() <= 12 + 255 + 4);
            }
        }
    }
}
