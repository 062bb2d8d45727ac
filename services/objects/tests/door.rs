//! The room through its door: what an S3 client would notice.

mod world;

use base::AccountId;
use base::port::ObjectReader;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use world::{Kit, ROOT, SIGNING, Signer};

fn blob() -> Bytes {
    (0..300_000u32).map(|n| n.wrapping_mul(2_654_435_761) as u8).collect::<Vec<u8>>().into()
}

#[tokio::test]
async fn small_and_large_objects_come_back() {
    let kit = Kit::new().await;
    for (key, body) in [("small", Bytes::from("hello")), ("large", blob()), ("empty", Bytes::new())] {
        let path = format!("/photos/{key}");
        let meta = [("x-amz-meta-Who", "me"), ("content-type", "text/x"), ("cache-control", "no-store")];
        kit.send(Method::PUT, &path, &meta, body.clone()).await.succeeds();
        let got = kit.get(&path).await.succeeds();
        assert_eq!(got.body, body);
        assert_eq!((got.header("x-amz-meta-who"), got.header("content-type")), ("me", "text/x"));
        assert_eq!(got.header("cache-control"), "no-store");
        let head = kit.send(Method::HEAD, &path, &[("x-amz-checksum-mode", "ENABLED")], "").await.succeeds();
        assert_eq!(head.header("content-length"), body.len().to_string());
        assert!(!head.header("x-amz-checksum-crc64nvme").is_empty() && head.body.is_empty());
    }
    assert_eq!(kit.blobs_on_disk(), 1);
    let reader = objects::Reader::new(kit.store.clone(), kit.blobs.clone());
    let read = async |key, limit| reader.read(&AccountId::development(), "photos", key, limit).await;
    assert_eq!(read("large", 1 << 20).await.expect("there"), blob());
    assert!(read("large", 10).await.is_err() && read("nope", 10).await.is_err());
}

#[tokio::test]
async fn ranges_and_conditions() {
    let kit = Kit::new().await;
    kit.put("/photos/k", blob()).await.succeeds();
    let get = async |name, value| kit.send(Method::GET, "/photos/k", &[(name, value)], "").await;
    let some = get("range", "bytes=100-199").await;
    assert_eq!((some.status.as_u16(), some.body), (206, blob().slice(100..200)));
    let tail = get("range", "bytes=-7").await;
    assert_eq!((tail.header("content-range"), &tail.body), ("bytes 299993-299999/300000", &blob().slice(299_993..)));
    get("range", "bytes=300000-").await.fails(416, "InvalidRange");
    get("if-match", "\"x\"").await.fails(412, "PreconditionFailed");
    let etag = kit.get("/photos/k").await.header("etag").to_owned();
    let same = get("if-none-match", &etag).await;
    assert_eq!((same.status.as_u16(), same.header("etag"), same.body.len()), (304, etag.as_str(), 0));
    let new = [("if-none-match", "*")];
    kit.send(Method::PUT, "/photos/k", &new, "x").await.fails(412, "PreconditionFailed");
    kit.send(Method::PUT, "/photos/new", &new, "x").await.succeeds();
    kit.send(Method::PUT, "/photos/k", &[("if-match", &etag)], "x").await.succeeds();
    assert_eq!(kit.get("/photos/k").await.text(), "x");
}

#[tokio::test]
async fn bytes_that_are_not_what_was_claimed_are_not_kept() {
    let kit = Kit::new().await;
    let put = async |headers: &[(&str, &str)], body: Bytes| kit.send(Method::PUT, "/photos/k", headers, body).await;
    put(&[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], blob()).await.fails(400, "BadDigest");
    put(&[("x-amz-checksum-crc32", "AAAAAA==")], blob()).await.fails(400, "BadDigest");
    put(&[("content-md5", "no")], blob()).await.fails(400, "InvalidDigest");
    put(&[("content-length", "300001")], blob()).await.fails(400, "IncompleteBody");
    put(&[("content-length", "10")], Bytes::from("hell")).await.fails(400, "IncompleteBody");
    put(&[("content-length", "5368709121")], Bytes::new()).await.fails(400, "EntityTooLarge");
    let wide = "x".repeat(2049);
    put(&[("x-amz-meta-a", &wide)], Bytes::new()).await.fails(400, "MetadataTooLarge");

    let mut parts = Kit::request(Method::PUT, "/photos/k", &[("content-length", "5")]);
    let claimed = wire::sigv4::hash(b"other");
    let now = base::port::Clock::now(&*kit::RunningClock::real());
    wire::sigv4::sign(&mut parts, wire::sigv4::Payload::Hash(&claimed), &ROOT.credentials(), &SIGNING, now);
    kit.raw(parts, room::full("hello")).await.fails(400, "XAmzContentSHA256Mismatch");

    assert!(kit.get("/photos/k").await.status.as_u16() == 404);
    tokio::time::sleep(Duration::from_millis(20)).await;
    kit.objects.sweep().await.expect("sweeps");
    assert_eq!(kit.blobs_on_disk(), 0);
}

#[tokio::test]
async fn trailing_checksums() {
    let kit = Kit::new().await;
    let chunked = async |body: &'static str, length: &str| {
        let headers = [
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("x-amz-decoded-content-length", length),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("content-encoding", "aws-chunked"),
        ];
        // Presigned requests may not stream, so this one is signed by hand over the announced payload.
        let parts = world::streaming(Kit::request(Method::PUT, "/photos/t", &headers));
        kit.raw(parts, room::full(body)).await
    };
    chunked("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "5").await.succeeds();
    assert_eq!(kit.get("/photos/t").await.header("content-encoding"), "");
    chunked("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "5").await.fails(400, "BadDigest");
    chunked("5\r\nhello\r\n0\r\n\r\n", "5").await.fails(400, "MalformedTrailerError");
    chunked("5\r\nhello\r\n", "6").await.fails(400, "IncompleteBody");
    chunked("zz\r\nhello\r\n", "5").await.fails(400, "InvalidRequest");
}

#[tokio::test]
async fn hostile_keys_are_just_keys() {
    let kit = Kit::new().await;
    let keys = ["../../etc/passwd", "..", "/lead", "a//b", "x/../y", "\u{202e}é", "\u{1}\u{7f}", "a b+c%d?#&", "."];
    for key in keys {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        let encoded = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
        let path: String = key.bytes().map(encoded).collect();
        kit.put(&format!("/photos/{path}"), key.to_owned()).await.succeeds();
        assert_eq!(kit.get(&format!("/photos/{path}")).await.text(), key);
    }
    kit.put(&format!("/photos/{}", "k".repeat(1024)), "").await.succeeds();
    kit.put(&format!("/photos/{}", "k".repeat(1025)), "").await.fails(400, "KeyTooLongError");
    kit.put("/photos/%FF", "").await.fails(400, "InvalidURI");
    assert_eq!(kit.get("/photos?list-type=2&encoding-type=url").await.all("Key").len(), keys.len() + 1);
}

#[tokio::test]
async fn who_may() {
    let kit = Kit::new().await;
    kit.put("/photos/allowed/x", "x").await.succeeds();
    kit.put("/photos/y", "y").await.succeeds();
    let get = async |signer, path| kit.send_as(signer, Method::GET, path, &[], "").await;
    let temp = Signer { key: "temp", token: Some("token"), ..ROOT };
    get(temp, "/photos/allowed/x").await.succeeds();
    get(temp, "/photos/y").await.fails(403, "AccessDenied");
    get(Signer { token: Some("wrong"), ..temp }, "/photos/allowed/x").await.fails(400, "InvalidToken");
    get(Signer { key: "nobody", ..ROOT }, "/photos/y").await.fails(403, "InvalidAccessKeyId");
    get(Signer { secret: "wrong", ..ROOT }, "/photos/y").await.fails(403, "SignatureDoesNotMatch");
    get(Signer { key: "other", ..ROOT }, "/photos/y").await.fails(403, "AccessDenied");
    let copy = [("x-amz-copy-source", "photos/y")];
    kit.send_as(temp, Method::PUT, "/photos/allowed/z", &copy, "").await.fails(403, "AccessDenied");
    kit.raw(Kit::request(Method::GET, "/photos/y", &[]), room::empty()).await.fails(403, "AccessDenied");
    kit.send_as(Signer { key: "other", ..ROOT }, Method::PUT, "/photos", &[], "")
        .await
        .fails(409, "BucketAlreadyExists");
}

#[tokio::test]
async fn presigned_urls() {
    let kit = Kit::new().await;
    let week = Duration::from_secs(604_800);
    let mut put = kit.presigned(Method::PUT, "/photos/p", week);
    put.headers.insert("content-length", 2.into());
    kit.raw(put.clone(), room::full("ok")).await.succeeds();
    let got = kit.presigned(Method::GET, "/photos/p?response-content-type=a%2Fb", week);
    assert_eq!(kit.raw(got, room::empty()).await.header("content-type"), "a/b");
    // What the URL's holder adds is not what its signer allowed.
    put.headers.insert("x-amz-copy-source", "photos/p".parse().expect("a value"));
    kit.raw(put, room::empty()).await.fails(403, "AccessDenied");
    let long = kit.presigned(Method::GET, "/photos/p", week + Duration::from_secs(1));
    assert_eq!(kit.raw(long, room::empty()).await.all("Code"), ["AuthorizationQueryParametersError"]);
}

#[tokio::test]
async fn presigned_urls_of_version_2() {
    const LATER: u64 = 4_000_000_000;
    let kit = Kit::new().await;
    kit.put("/photos/secret", "secret").await.succeeds();
    let url = async |method: Method, path: &str, signed: &str, expires: u64, headers: &[(&str, &str)], body: &str| {
        let mut parts = world::version_2(method, path, signed, expires);
        for (name, value) in headers {
            parts.headers.insert(name.parse::<http::HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        parts.headers.insert("content-length", body.len().into());
        kit.raw(parts, room::full(body.to_owned())).await
    };
    url(Method::PUT, "/photos/p", "/photos/p", LATER, &[], "ok").await.succeeds();
    let path = "/photos/p?response-content-type=a%2Fb";
    let got = url(Method::GET, path, "/photos/p?response-content-type=a/b", LATER, &[], "").await.succeeds();
    assert_eq!((got.text(), got.header("content-type")), ("ok", "a/b"));
    let host = [("host", "photos.s3.localhost")];
    assert_eq!(url(Method::GET, "/p", "/photos/p", LATER, &host, "").await.text(), "ok");
    // A header that was signed may come in the URL.
    let path = "/photos/m?x-amz-meta-who=me";
    url(Method::PUT, path, "x-amz-meta-who:me\n/photos/m", LATER, &[], "ok").await.succeeds();
    assert_eq!(kit.get("/photos/m").await.header("x-amz-meta-who"), "me");

    let refused = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        url(method, path, "/photos/p", LATER, headers, "").await.fails(403, "SignatureDoesNotMatch");
    };
    refused(Method::GET, "/photos/secret", &[]).await;
    refused(Method::PUT, "/photos/p", &[("x-amz-copy-source", "photos/secret")]).await;
    refused(Method::PUT, "/photos/p?x-amz-copy-source=photos%2Fsecret", &[]).await;
    refused(Method::PUT, "/photos/p", &[("content-type", "text/html")]).await;
    refused(Method::PUT, "/photos/p?tagging", &[]).await;
    refused(Method::GET, "/photos/p?response-content-type=a%2Fb", &[]).await;
    let twice = url(Method::PUT, "/photos/p?tagging&tagging", "/photos/p", LATER, &[], "").await;
    twice.fails(400, "InvalidRequest");
    let mut parts = world::version_2(Method::PUT, "/photos/p", "/photos/p", LATER);
    parts.headers.insert("x-amz-copy-source", http::HeaderValue::from_bytes(b"photos/\xff").expect("a value"));
    kit.raw(parts, room::empty()).await.fails(400, "InvalidRequest");
    let old = url(Method::GET, "/photos/p", "/photos/p", 1, &[], "").await;
    old.fails(403, "AccessDenied");
    assert_eq!(old.all("Message"), ["Request has expired"]);
    let header = [("authorization", "AWS test:c2lnbmF0dXJl")];
    kit.raw(Kit::request(Method::GET, "/photos/p", &header), room::empty()).await.fails(400, "InvalidRequest");
}

#[tokio::test]
async fn old_and_future_signatures_are_refused() {
    let kit = Kit::new().await;
    let now = base::port::Clock::now(&*kit::RunningClock::real());
    for at in [now.plus(Duration::from_secs(1000)), base::Timestamp(now.millis() - 1_000_000)] {
        let mut parts = Kit::request(Method::GET, "/photos", &[]);
        let payload = wire::sigv4::Payload::Unsigned;
        wire::sigv4::sign(&mut parts, payload, &ROOT.credentials(), &SIGNING, at);
        kit.raw(parts, room::empty()).await.fails(403, "RequestTimeTooSkewed");
    }
}

#[tokio::test]
async fn listing_pages() {
    let kit = Kit::new().await;
    for key in ["a/1", "a/2", "b", "c/1", "d"] {
        kit.put(&format!("/photos/{key}"), "x").await.succeeds();
    }
    let page = kit.get("/photos?list-type=2&delimiter=%2F&max-keys=2").await.succeeds();
    assert_eq!((page.all("Prefix")[1..].to_vec(), page.all("Key")), (vec!["a/"], vec!["b"]));
    assert_eq!((page.all("KeyCount"), page.all("IsTruncated")), (vec!["2"], vec!["true"]));
    let token = page.all("NextContinuationToken")[0].to_owned();
    let next = kit.get(&format!("/photos?list-type=2&delimiter=%2F&continuation-token={token}")).await;
    assert_eq!((next.all("Key"), next.all("KeyCount")), (vec!["d"], vec!["2"]));
    kit.get("/photos?list-type=2&continuation-token=%21").await.fails(400, "InvalidArgument");
    kit.get("/photos?max-keys=-1").await.fails(400, "InvalidArgument");
    assert_eq!(kit.get("/photos?marker=b&max-keys=1").await.all("Key"), ["c/1"]);
}

#[tokio::test]
async fn multipart() {
    let kit = Kit::new().await;
    let begun = kit.send(Method::POST, "/photos/m?uploads", &[("content-type", "a/b")], "").await.succeeds();
    let id = begun.all("UploadId")[0].to_owned();
    let five = Bytes::from(vec![7u8; 5 << 20]);
    let part = async |n: u32, body: Bytes| {
        kit.put(&format!("/photos/m?partNumber={n}&uploadId={id}"), body).await.succeeds().header("etag").to_owned()
    };
    let (one, two, stray) = (part(1, five.clone()).await, part(3, Bytes::from("tail")).await, part(9, blob()).await);
    assert_ne!(stray, one);
    let complete = async |parts: &[(u32, &str)]| {
        let parts: String =
            parts.iter().map(|(n, e)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{e}</ETag></Part>")).collect();
        let xml = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        kit.send(Method::POST, &format!("/photos/m?uploadId={id}"), &[], xml).await
    };
    complete(&[(3, &two), (1, &one)]).await.fails(400, "InvalidPartOrder");
    complete(&[(1, &two)]).await.fails(400, "InvalidPart");
    complete(&[(3, &two), (9, &stray)]).await.fails(400, "EntityTooSmall");
    complete(&[]).await.fails(400, "MalformedXML");
    kit.delete("/photos").await.fails(409, "BucketNotEmpty");
    let done = complete(&[(1, &one), (3, &two)]).await.succeeds();
    assert!(done.all("ETag")[0].contains("-2"));
    assert_eq!(complete(&[(1, &one), (3, &two)]).await.all("ETag"), done.all("ETag"), "asked again");
    let whole = kit.get("/photos/m").await;
    assert_eq!((whole.body.len(), whole.header("content-type")), ((5 << 20) + 4, "a/b"));
    let seam = kit.send(Method::GET, "/photos/m", &[("range", "bytes=5242878-5242881")], "").await;
    assert_eq!(&seam.body[..], b"\x07\x07ta");
    let second = kit.get("/photos/m?partNumber=2").await;
    assert_eq!((second.text(), second.header("x-amz-mp-parts-count")), ("tail", "2"));

    // The part left out, and all of the object once deleted, go from the disk.
    kit.delete("/photos/m").await.succeeds();
    let stop = CancellationToken::new();
    let work = tokio::spawn(kit.objects.clone().work(stop.clone()));
    for _ in 0..500 {
        if kit.blobs_on_disk() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    work.await.expect("stops");
    assert_eq!(kit.blobs_on_disk(), 0);
}

/// Uploads `parts` as one object.
async fn upload(kit: &Kit, path: &str, parts: &[Bytes]) {
    let id = kit.send(Method::POST, &format!("{path}?uploads"), &[], "").await.succeeds().all("UploadId")[0].to_owned();
    let mut xml = String::new();
    for (body, n) in parts.iter().zip(1..) {
        let part = kit.put(&format!("{path}?partNumber={n}&uploadId={id}"), body.clone()).await.succeeds();
        xml += &format!("<Part><PartNumber>{n}</PartNumber><ETag>{}</ETag></Part>", part.header("etag"));
    }
    let xml = format!("<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>");
    kit.send(Method::POST, &format!("{path}?uploadId={id}"), &[], xml).await.succeeds();
}

#[tokio::test]
async fn who_reads_reads_to_the_end() {
    let kit = Kit::new().await;
    let (five, tail) = (Bytes::from(vec![7u8; 5 << 20]), Bytes::from("tail"));
    let stop = CancellationToken::new();
    let work = tokio::spawn(kit.objects.clone().work(stop.clone()));
    for (last, swept) in [(tail, false), (blob(), false), (blob(), true)] {
        let length = five.len() + last.len();
        upload(&kit, "/photos/m", &[five.clone(), last]).await;
        let week = Duration::from_secs(604_800);
        let mut body = kit.begin(kit.presigned(Method::GET, "/photos/m", week)).await.into_body();
        let first = body.frame().await.expect("a piece").expect("bytes").into_data().expect("data").len();
        if swept {
            // As if whoever deletes it were cut off between the commit and letting go of its blobs.
            kit.forget("objects/object").await;
            kit.forget("objects/blob").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            kit.objects.sweep().await.expect("sweeps");
        } else {
            kit.delete("/photos/m").await.succeeds();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(kit.blobs_on_disk() > 0, "somebody reads them");
        assert_eq!(first + body.collect().await.expect("all of it").to_bytes().len(), length);
    }
    kit.objects.sweep().await.expect("sweeps");
    stop.cancel();
    work.await.expect("stops");
    assert_eq!(kit.blobs_on_disk(), 0);
}

/// Readers that begin at any moment of an object's life have all of it or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_race_with_deletes() {
    let kit = std::sync::Arc::new(Kit::new().await);
    let stop = CancellationToken::new();
    let work = tokio::spawn(kit.objects.clone().work(stop.clone()));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (kit, stop) = (kit.clone(), stop.clone());
            tokio::spawn(async move {
                let mut found = 0;
                while !stop.is_cancelled() {
                    let got = kit.get("/photos/m").await;
                    match got.status.as_u16() {
                        200 => assert_eq!(got.body, blob()),
                        status => assert_eq!(status, 404, "{}", got.text()),
                    }
                    found += usize::from(got.status.is_success());
                }
                found
            })
        })
        .collect();
    for _ in 0..30 {
        upload(&kit, "/photos/m", &[blob()]).await;
        kit.delete("/photos/m").await.succeeds();
    }
    stop.cancel();
    let mut found = 0;
    for reader in readers {
        found += reader.await.expect("whole or not there");
    }
    work.await.expect("stops");
    assert!(found > 0);
}

const NOTIFY: &str = "<NotificationConfiguration><CloudFunctionConfiguration><Id>one</Id>\
    <CloudFunction>arn:aws:lambda:us-east-1:000000000000:function:NAME</CloudFunction>\
    <Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name>\
    <Value>in/</Value></FilterRule></S3Key></Filter></CloudFunctionConfiguration></NotificationConfiguration>";

#[tokio::test]
async fn changes_emit_their_events() {
    let kit = Kit::new().await;
    let refused = kit.put("/photos?notification", NOTIFY.replace("NAME", "g")).await;
    assert!(refused.text().contains("Unable to validate the following destination configurations"));
    kit.put("/photos?notification", NOTIFY.replace("NAME", "f")).await.succeeds();
    assert_eq!(kit.get("/photos?notification").await.all("Value"), ["in/"]);
    kit.put("/photos/in/a%20b", "x").await.succeeds();
    kit.put("/photos/out/a", "x").await.succeeds();
    kit.send(Method::PUT, "/photos/in/c", &[("x-amz-copy-source", "photos/out/a")], "").await.succeeds();
    kit.send(Method::PUT, "/photos/in/c", &[("if-none-match", "*")], "x").await.fails(412, "PreconditionFailed");
    kit.delete("/photos/in/c").await.succeeds();
    kit.delete("/photos/in/c").await.succeeds();
    let mut events = kit.events().await;
    events.sort_by_key(|(_, record)| record["s3"]["object"]["sequencer"].to_string());
    let names: Vec<_> = events.iter().map(|(_, r)| r["eventName"].as_str().expect("text")).collect();
    assert_eq!(names, ["ObjectCreated:Put", "ObjectCreated:Copy", "ObjectRemoved:Delete"]);
    let (event, put) = &events[0];
    assert_eq!(event.target.to_string(), "arn:aws:lambda:us-east-1:000000000000:function:f");
    assert_eq!(
        (event.source.service.as_deref(), event.source.account.as_str()),
        (Some("s3.amazonaws.com"), "000000000000")
    );
    assert_eq!(put["s3"]["object"]["key"], "in/a+b");
    assert_eq!((&put["s3"]["object"]["size"], &put["awsRegion"]), (&1.into(), &"us-east-1".into()));
    assert_eq!(put["requestParameters"]["sourceIPAddress"], "203.0.113.7");
    assert!(events[2].1["s3"]["object"].get("size").is_none());
}

#[tokio::test]
async fn a_queue_is_told_that_it_is_configured_and_then_of_changes() {
    let kit = Kit::new().await;
    let notify = |name: &str| {
        NOTIFY
            .replace("lambda:us-east-1:000000000000:function:NAME", &format!("sqs:us-east-1:000000000000:{name}"))
            .replace("CloudFunctionConfiguration", "QueueConfiguration")
            .replace("CloudFunction>", "Queue>")
    };
    for refused in ["other", "q.fifo"] {
        let refused = kit.put("/photos?notification", notify(refused)).await;
        assert!(refused.text().contains("Unable to validate the following destination configurations"));
    }
    kit.put("/photos?notification", notify("q")).await.succeeds();
    let read = kit.get("/photos?notification").await;
    assert_eq!((read.all("Queue"), read.all("Value")), (vec![QUEUE], vec!["in/"]));
    kit.put("/photos/in/a", "x").await.succeeds();
    let waiting = store::outbox::waiting(&kit.store, None, 10).await.expect("reads");
    let payload = |w: &store::outbox::Waiting| -> serde_json::Value {
        serde_json::from_str(w.event.payload.get()).expect("JSON")
    };
    assert!(waiting.iter().all(|w| w.event.target.to_string() == QUEUE));
    let (test, change): (Vec<_>, Vec<_>) = waiting.iter().map(payload).partition(|p| p["Event"] == "s3:TestEvent");
    assert_eq!((test.len(), change.len(), &test[0]["Bucket"]), (1, 1, &"photos".into()));
    assert_eq!(change[0]["Records"][0]["eventName"], "ObjectCreated:Put");
}

const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";

#[tokio::test]
async fn a_bus_is_told_what_eventbridge_would_be() {
    let kit = Kit::new().await;
    let on = "<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>";
    kit.put("/photos?notification", on).await.succeeds();
    assert!(kit.get("/photos?notification").await.text().contains("<EventBridgeConfiguration"));
    kit.put("/photos/a%20b", "xyz").await.succeeds();
    kit.delete("/photos/a%20b").await.succeeds();
    let waiting = store::outbox::waiting(&kit.store, None, 10).await.expect("memory");
    let mut told: Vec<serde_json::Value> =
        waiting.iter().map(|w| serde_json::from_str(w.event.payload.get()).expect("JSON")).collect();
    told.sort_by_key(|event| event["detail"]["object"]["sequencer"].to_string());
    assert_eq!(waiting[0].event.target.to_string(), "arn:aws:events:us-east-1:000000000000:event-bus/default");
    assert_eq!(
        (told.len(), &told[0]["detail-type"], &told[1]["detail-type"]),
        (2, &"Object Created".into(), &"Object Deleted".into())
    );
    assert_eq!((&told[0]["source"], &told[0]["resources"][0]), (&"aws.s3".into(), &"arn:aws:s3:::photos".into()));
    let detail = &told[0]["detail"];
    assert_eq!(
        (&detail["object"]["key"], &detail["object"]["size"], &detail["reason"]),
        (&"a b".into(), &3.into(), &"PutObject".into())
    );
    assert_eq!((&detail["requester"], &detail["source-ip-address"]), (&"000000000000".into(), &"203.0.113.7".into()));
    assert_eq!(
        (&told[1]["detail"]["reason"], &told[1]["detail"]["deletion-type"]),
        (&"DeleteObject".into(), &"Permanently Deleted".into())
    );
    kit.put("/photos?notification", "<NotificationConfiguration/>").await.succeeds();
    kit.put("/photos/k", "x").await.succeeds();
    assert_eq!(store::outbox::waiting(&kit.store, None, 10).await.expect("memory").len(), 2);
}

#[tokio::test]
async fn what_is_lacking_is_refused_by_name() {
    let kit = Kit::new().await;
    let refused = kit.put("/photos?versioning", "<VersioningConfiguration/>").await;
    refused.fails(501, "NotImplemented");
    assert!(refused.all("Message")[0].contains("PutBucketVersioning"));
    let sse = kit.send(Method::PUT, "/photos/k", &[("x-amz-server-side-encryption", "aws:kms")], "").await;
    assert!(sse.all("Message")[0].contains("x-amz-server-side-encryption"));
    let class = kit.send(Method::PUT, "/photos/k", &[("x-amz-storage-class", "GLACIER")], "").await;
    assert!(class.all("Message")[0].contains("GLACIER"));
    kit.put("/photos?tagging", "<Tagging><TagSet>").await.fails(400, "MalformedXML");
    kit.send(Method::PUT, "/photos?tagging", &[("content-length", "99")], "<Tagging>")
        .await
        .fails(400, "IncompleteBody");
    kit.put("/photos?tagging", "x".repeat(9 << 20)).await.fails(400, "MaxMessageLengthExceeded");
    kit.put("/Bad_Name", "").await.fails(400, "InvalidBucketName");
    kit.get("/no-such-bucket/k").await.fails(404, "NoSuchBucket");
}

#[tokio::test]
async fn buckets_in_the_host() {
    let kit = Kit::new().await;
    kit.put("/photos/k", "v").await.succeeds();
    let mut parts = Kit::request(Method::GET, "/k", &[]);
    parts.headers.insert("host", "photos.s3.localhost:4566".parse().expect("a host"));
    let now = base::port::Clock::now(&*kit::RunningClock::real());
    wire::sigv4::sign(&mut parts, wire::sigv4::Payload::Unsigned, &ROOT.credentials(), &SIGNING, now);
    assert_eq!(kit.raw(parts, room::empty()).await.text(), "v");
}
