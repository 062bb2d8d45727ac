//! `application/vnd.awslambda.http-integration-response`: a streamed response that begins with an HTTP head, as JSON
//! (`statusCode`, `headers`, `cookies`) and eight zero bytes.

use base::{Broken, Head};
use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};
use http::header::SET_COOKIE;
use serde_json::{Map, Value, json};

/// The content type that says so.
pub const INTEGRATION_TYPE: &str = "application/vnd.awslambda.http-integration-response";

const END: [u8; 8] = [0; 8];
/// The longest prelude, its end included.
const BYTES_MAX: usize = 64 << 10;

/// The prelude of an HTTP response; nothing where the response has no head of that kind.
pub fn write(head: &Head) -> Option<Bytes> {
    let Head::Http { status, headers } = head else { return None };
    let text = |value: &Bytes| Value::from(String::from_utf8_lossy(value).into_owned());
    let cookies: Vec<Value> = headers.iter().filter(|(n, _)| n == SET_COOKIE.as_str()).map(|(_, v)| text(v)).collect();
    let named: Map<String, Value> =
        headers.iter().filter(|(n, _)| n != SET_COOKIE.as_str()).map(|(n, v)| (n.clone(), text(v))).collect();
    let mut prelude = json!({"statusCode": status, "headers": named});
    if !cookies.is_empty() {
        prelude["cookies"] = cookies.into();
    }
    let mut bytes = prelude.to_string().into_bytes();
    bytes.extend(END);
    Some(bytes.into())
}

/// Takes the prelude from the front of a response; the chunks go on with what follows it. `None` where it makes no sense
/// or does not come.
pub async fn read(chunks: &mut BoxStream<'static, Result<Bytes, Broken>>) -> Option<(Map<String, Value>, Bytes)> {
    let mut held = BytesMut::new();
    loop {
        let searched = held.len().saturating_sub(END.len() - 1);
        held.extend_from_slice(&chunks.next().await?.ok()?);
        if let Some(at) = held[searched..].windows(END.len()).position(|w| w == END) {
            let prelude = held.split_to(searched + at);
            let rest = held.split_off(END.len());
            return Some((serde_json::from_slice(&prelude).ok()?, rest.freeze()));
        }
        if held.len() > BYTES_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{TryStreamExt, stream};

    async fn taken(pieces: Vec<Bytes>) -> Option<(Map<String, Value>, Vec<u8>)> {
        let mut chunks = stream::iter(pieces.into_iter().map(Ok)).boxed();
        let (prelude, first) = read(&mut chunks).await?;
        let rest: Vec<Bytes> = chunks.try_collect().await.expect("whole");
        Some((prelude, [&first[..], &rest.concat()].concat()))
    }

    #[tokio::test]
    async fn wherever_it_is_cut() {
        let headers =
            vec![("x-a".into(), "b".into()), ("set-cookie".into(), "c=1".into()), ("set-cookie".into(), "d=2".into())];
        let mut whole = write(&Head::Http { status: 201, headers }).expect("a prelude").to_vec();
        whole.extend(b"the \0 body");
        for cut in 1..whole.len() {
            let pieces = whole.chunks(cut).map(Bytes::copy_from_slice).collect();
            let (prelude, body) = taken(pieces).await.expect("it is there");
            assert_eq!(
                Value::from(prelude),
                json!({"statusCode": 201, "headers": {"x-a": "b"}, "cookies": ["c=1", "d=2"]})
            );
            assert_eq!(body, b"the \0 body", "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn what_is_none() {
        for pieces in [vec![], vec!["{}".into()], vec!["{\0\0\0\0\0\0\0\0".into()], vec!["[]\0\0\0\0\0\0\0\0".into()]] {
            assert_eq!(taken(pieces.clone()).await, None, "{pieces:?}");
        }
        assert_eq!(taken(vec![Bytes::from(vec![b' '; 1000]); 100]).await, None, "it never ends");
        assert_eq!(write(&Head::Payload { content_type: None }), None);
    }
}
