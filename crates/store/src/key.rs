//! Keys whose byte order is the order of their parts.

/// A key made of parts: text (zero-terminated, inner zeros escaped) and big-endian numbers. A longer key sorts after its
/// own prefix, and no part's bytes can be mistaken for another part's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// Starts a key in a room's space: `Key::of("objects/bucket")`.
    pub fn of(space: &str) -> Self {
        Self(Vec::with_capacity(64)).text(space)
    }

    #[must_use]
    pub fn text(self, part: &str) -> Self {
        self.bytes(part.as_bytes())
    }

    #[must_use]
    pub fn bytes(mut self, part: &[u8]) -> Self {
        for &b in part {
            self.0.push(b);
            if b == 0 {
                self.0.push(0xff);
            }
        }
        self.0.extend([0, 0]);
        self
    }

    #[must_use]
    pub fn number(mut self, part: u64) -> Self {
        self.0.extend(part.to_be_bytes());
        self
    }

    /// Unterminated text: the start of all keys whose next text part begins with `part`.
    #[must_use]
    pub fn partial(mut self, part: &str) -> Self {
        for &b in part.as_bytes() {
            self.0.push(b);
            if b == 0 {
                self.0.push(0xff);
            }
        }
        self
    }

    /// The first key after every key that starts with this one: the exclusive end of a prefix scan.
    pub fn end(&self) -> Vec<u8> {
        let mut end = self.0.clone();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                return end;
            }
        }
        vec![0xff; crate::KEY_BYTES_MAX]
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a key apart again, in the order it was put together. `None` where the bytes are not of that shape.
pub struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    pub fn new(key: &'a [u8]) -> Self {
        Self(key)
    }

    pub fn bytes(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut i = 0;
        loop {
            match (self.0.get(i)?, self.0.get(i + 1)) {
                (0, Some(0)) => {
                    self.0 = &self.0[i + 2..];
                    return Some(out);
                }
                (0, Some(0xff)) => {
                    out.push(0);
                    i += 2;
                }
                (0, _) => return None,
                (&b, _) => {
                    out.push(b);
                    i += 1;
                }
            }
        }
    }

    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    pub fn number(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*head))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_round_trip() {
        let parts = ["", "a", "a\0", "a\0b", "a\u{1}", "ab", "b", "é"];
        for (i, x) in parts.iter().enumerate() {
            for (j, y) in parts.iter().enumerate() {
                let (kx, ky) = (Key::of("t").text(x).number(7), Key::of("t").text(y).number(7));
                assert_eq!(kx.cmp(&ky), i.cmp(&j), "{x:?} {y:?}");
            }
            let key = Key::of("t").text(x).number(9);
            let mut r = KeyReader::new(key.as_bytes());
            assert_eq!((r.text().as_deref(), r.text().as_deref(), r.number()), (Some("t"), Some(*x), Some(9)));
            assert!(r.is_empty());
        }
    }

    #[test]
    fn end_of_prefix() {
        let p = Key::of("t").partial("ab");
        assert!(Key::of("t").text("abz").as_bytes() < p.end().as_slice());
        assert!(Key::of("t").text("ac").as_bytes() >= p.end().as_slice());
    }
}
