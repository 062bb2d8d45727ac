//! Shared access signatures: `r=<endpoint>&e=<when it ends>&s=<signature>`, each percent-encoded, signed with one of a topic's
//! keys over what stands before `&s=`. No IO.

use base::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

/// What precedes a token in a header `Authorization`.
pub const SCHEME: &str = "SharedAccessSignature ";
/// Longer than any that is honest.
const TOKEN_BYTES_MAX: usize = 4096;

/// Whether a token opens the path of a topic now; the text says why not.
pub fn check(token: &str, keys: &[String], path: &str, now: Timestamp) -> Result<(), &'static str> {
    let malformed = "The SAS token is malformed.";
    if token.len() > TOKEN_BYTES_MAX {
        return Err(malformed);
    }
    let token = token.strip_prefix(SCHEME).unwrap_or(token);
    let (signed, signature) = token.split_once("&s=").ok_or(malformed)?;
    let (resource, ends) = signed.strip_prefix("r=").and_then(|rest| rest.split_once("&e=")).ok_or(malformed)?;
    let [resource, ends, signature] = [plain(resource), plain(ends), plain(signature)];
    let (Some(resource), Some(ends), Some(signature)) = (resource, ends, signature) else { return Err(malformed) };
    // The clients' encoders keep `+` only where it is a space.
    let signature = STANDARD.decode(signature.replace(' ', "+")).map_err(|_| malformed)?;
    // Before anything that it says is believed.
    let is_signed = |key: &String| {
        let hmac = STANDARD.decode(key).ok().and_then(|key| Hmac::<Sha256>::new_from_slice(&key).ok());
        hmac.is_some_and(|hmac| hmac.chain_update(signed).verify_slice(&signature).is_ok())
    };
    if !keys.iter().any(is_signed) {
        return Err("The SAS token's signature is not valid.");
    }
    if path_of(&resource) != Some(path) {
        return Err("The SAS token is for another resource.");
    }
    match instant(&ends) {
        None => Err(malformed),
        Some(ends) if ends <= now => Err("The SAS token has expired."),
        Some(_) => Ok(()),
    }
}

fn plain(encoded: &str) -> Option<String> {
    percent_decode_str(&encoded.replace('+', " ")).decode_utf8().ok().map(|text| text.into_owned())
}

/// Of a URL, or of an authority and a path.
fn path_of(resource: &str) -> Option<&str> {
    let rest = resource.split_once("://").map_or(resource, |(_, rest)| rest);
    let path = &rest[rest.find('/')?..];
    Some(path.split('?').next().unwrap_or(path).trim_end_matches('/'))
}

/// As the clients write it: ISO 8601, or America's way (`11/27/2026 8:05:00 PM`). Without a zone it is UTC's.
fn instant(text: &str) -> Option<Timestamp> {
    let iso =
        |text: &str| [text.to_owned(), format!("{text}Z")].iter().find_map(|text| rules::cloudevent::instant(text));
    iso(text).or_else(|| {
        let mut words = text.split(' ');
        let (date, time, half) = (words.next()?, words.next()?, words.next()?);
        let [month, day, year] = numbers(date, '/')?;
        let [hour, minute, second] = numbers(time, ':')?;
        let hour = match (half, hour) {
            ("AM", 1..=12) => hour % 12,
            ("PM", 1..=12) => hour % 12 + 12,
            _ => return None,
        };
        let zone = words.next().unwrap_or("Z");
        iso(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}"))
    })
}

fn numbers(text: &str, between: char) -> Option<[u32; 3]> {
    let numbers: Vec<u32> = text.split(between).map(|part| part.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/_wadi/eventgrid/orders/api/events";
    /// 2026-11-27T20:00:00Z
    const NOW: Timestamp = Timestamp(1_795_809_600_000);

    fn encoded(text: &str) -> String {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    }

    fn token(key: &[u8], resource: &str, ends: &str) -> String {
        let signed = format!("r={}&e={}", encoded(resource), encoded(ends));
        let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key").chain_update(&signed).finalize();
        format!("{signed}&s={}", encoded(&STANDARD.encode(mac.into_bytes())))
    }

    #[test]
    fn times_are_read_as_clients_write_them() {
        for text in [
            "2026-11-27T20:00:00Z",
            "2026-11-27 20:00:00+00:00",
            "2026-11-27 20:00:00",
            "2026-11-27 21:00:00.000000+01:00",
            "11/27/2026 8:00:00 PM",
            "11/27/2026 8:00:00 PM +00:00",
            "11/27/2026 08:00:00 PM",
        ] {
            assert_eq!(instant(text), Some(NOW), "{text}");
        }
        assert_eq!(instant("11/27/2026 12:00:00 AM"), instant("2026-11-27T00:00:00Z"));
        for text in
            ["", "tomorrow", "27/11/2026 8:00:00 PM", "11/27/2026 13:00:00 PM", "11/27/2026", "11/27/2026 8:00 PM"]
        {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_opens_its_topic_until_it_ends() {
        let keys = [[1; 32], [2; 32]].map(|key| STANDARD.encode(key));
        let whole = "http://wadi.test:4566/_wadi/eventgrid/orders/api/events?apiVersion=2018-01-01";
        let (later, sooner) = ("2026-11-27 20:00:01+00:00", "2026-11-27 20:00:00+00:00");
        let check = |token: &str| check(token, &keys, PATH, NOW);
        for key in [[1; 32], [2; 32]] {
            let good = token(&key, whole, later);
            assert_eq!((check(&good), check(&format!("{SCHEME}{good}"))), (Ok(()), Ok(())));
            // A byte of it, changed: whichever it is.
            for at in 2..good.len() {
                let mut other = good.clone().into_bytes();
                other[at] = if other[at] == b'A' { b'B' } else { b'A' };
                assert!(check(&String::from_utf8(other).expect("ASCII")).is_err(), "{at}");
            }
        }
        assert_eq!(check(&token(&[3; 32], whole, later)), Err("The SAS token's signature is not valid."));
        assert_eq!(check(&token(&[1; 32], whole, sooner)), Err("The SAS token has expired."));
        let other = whole.replace("orders", "orders2");
        assert_eq!(check(&token(&[1; 32], &other, later)), Err("The SAS token is for another resource."));
        assert_eq!(check(&token(&[1; 32], "wadi.test", later)), Err("The SAS token is for another resource."));
        for wrong in ["", "r=&e=&s=", "r=a&s=b", "e=1&r=2&s=3", &"r".repeat(5000), "r=%FF&e=1&s=1"] {
            assert!(check(wrong).is_err(), "{wrong:.40}");
        }
        assert_eq!(check(&token(&[1; 32], whole, "soon")), Err("The SAS token is malformed."));
    }
}
