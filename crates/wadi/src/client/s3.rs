//! The S3 operations that the demo uses, path style.

use super::{Call, Client, Payload, Reply, encoded};
use crate::error::Result;
use http::Method;
use quick_xml::events::Event;
use std::path::Path;

/// A page lists a thousand keys.
const PAGES_MAX: usize = 1_000;

/// An object in a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
}

fn object_path(bucket: &str, key: &str) -> String {
    let key: Vec<String> = key.split('/').map(encoded).collect();
    format!("/{bucket}/{}", key.join("/"))
}

impl Client {
    async fn s3(&self, operation: &'static str, method: Method, path: String, body: Payload) -> Result<Reply> {
        self.send(Call { operation, service: "s3", method, path, headers: Vec::new(), body }).await
    }

    /// Makes a bucket unless the caller has it already.
    pub async fn make_bucket(&self, bucket: &str) -> Result<()> {
        let place = match self.region.as_str() {
            "us-east-1" => String::new(),
            region => format!(
                "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ),
        };
        match self.s3("CreateBucket", Method::PUT, format!("/{bucket}"), Payload::Bytes(place.into())).await {
            Err(e) if e.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            reply => reply.map(|_| ()),
        }
    }

    pub async fn put_file(&self, bucket: &str, key: &str, file: &Path, sent: indicatif::ProgressBar) -> Result<()> {
        let body = Payload::File { path: file.to_owned(), sent };
        self.s3("PutObject", Method::PUT, object_path(bucket, key), body).await.map(|_| ())
    }

    pub async fn head_object(&self, bucket: &str, key: &str) -> Result<Reply> {
        self.s3("HeadObject", Method::HEAD, object_path(bucket, key), Payload::Bytes(Default::default())).await
    }

    pub async fn delete_object(&self, bucket: &str, key: &str) -> Result<()> {
        let none = Payload::Bytes(Default::default());
        self.s3("DeleteObject", Method::DELETE, object_path(bucket, key), none).await.map(|_| ())
    }

    /// All objects under a prefix, in key order.
    pub async fn list_objects(&self, bucket: &str, prefix: &str) -> Result<Vec<Listed>> {
        let (mut all, mut token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let path = format!("/{bucket}?{token}list-type=2&prefix={}", encoded(prefix));
            let reply = self.s3("ListObjectsV2", Method::GET, path, Payload::Bytes(Default::default())).await?;
            for row in texts(&reply.body, "Contents", &["Key", "Size"]) {
                all.push(Listed { key: row[0].clone(), bytes: row[1].parse().unwrap_or(0) });
            }
            match texts(&reply.body, "ListBucketResult", &["NextContinuationToken"]).pop().and_then(|mut r| r.pop()) {
                Some(next) if !next.is_empty() => token = format!("continuation-token={}&", encoded(&next)),
                _ => break,
            }
        }
        Ok(all)
    }

    /// Sends every object made under `prefix` to a function.
    pub async fn notify_function(&self, bucket: &str, function_arn: &str, prefix: &str) -> Result<()> {
        let body = format!(
            "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><CloudFunctionConfiguration>\
             <Id>photos</Id><CloudFunction>{function_arn}</CloudFunction><Event>s3:ObjectCreated:*</Event>\
             <Filter><S3Key><FilterRule><Name>prefix</Name><Value>{prefix}</Value></FilterRule></S3Key></Filter>\
             </CloudFunctionConfiguration></NotificationConfiguration>"
        );
        let path = format!("/{bucket}?notification=");
        self.s3("PutBucketNotificationConfiguration", Method::PUT, path, Payload::Bytes(body.into())).await.map(|_| ())
    }
}

/// For each element named `row`, the texts of its direct children of these names (empty where there is none).
pub fn texts(xml: &[u8], row: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let mut reader = quick_xml::Reader::from_reader(xml);
    let (mut rows, mut path, mut current) = (Vec::new(), Vec::<String>::new(), None::<(usize, Vec<String>)>);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                path.push(name.clone());
                if name == row && current.is_none() {
                    current = Some((path.len(), vec![String::new(); columns.len()]));
                }
            }
            Ok(Event::Text(text)) => add(&path, &mut current, columns, &text.decode().unwrap_or_default()),
            Ok(Event::GeneralRef(entity)) => {
                let raw = format!("&{};", entity.decode().unwrap_or_default());
                let plain = quick_xml::escape::unescape(&raw).unwrap_or_default().into_owned();
                add(&path, &mut current, columns, &plain);
            }
            Ok(Event::End(_)) => {
                if current.as_ref().is_some_and(|(depth, _)| *depth == path.len()) {
                    rows.extend(current.take().map(|(_, row)| row));
                }
                path.pop();
            }
            Ok(Event::Eof) | Err(_) => return rows,
            Ok(_) => {}
        }
    }
}

fn add(path: &[String], current: &mut Option<(usize, Vec<String>)>, columns: &[&str], text: &str) {
    if let Some((depth, row)) = current
        && path.len() == *depth + 1
        && let Some(at) = columns.iter().position(|c| path.last().is_some_and(|name| name == c))
    {
        row[at].push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_read() {
        let xml = b"<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\"><Name>b</Name>\
            <NextContinuationToken>t&amp;1</NextContinuationToken>\
            <Contents><Key>a b&#38;&lt;c&gt;</Key><Owner><Key>not this</Key></Owner><Size>12</Size></Contents>\
            <Contents><Size>3</Size><Key>d</Key></Contents></ListBucketResult>";
        assert_eq!(texts(xml, "Contents", &["Key", "Size"]), [["a b&<c>", "12"], ["d", "3"]]);
        assert_eq!(texts(xml, "ListBucketResult", &["NextContinuationToken"]), [["t&1"]]);
        assert!(texts(b"<a><b", "a", &["b"]).is_empty());
    }

    #[test]
    fn keys_are_encoded_but_for_slashes() {
        assert_eq!(object_path("b", "photos/été 1.jpg"), "/b/photos/%C3%A9t%C3%A9%201.jpg");
    }
}
