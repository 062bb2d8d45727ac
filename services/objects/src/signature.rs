//! How a request says it is signed, read before `s3s` checks it, and what `s3s` leaves open: one signature a request,
//! of a version we take, that covers everything the request asks for.

use crate::error::{Result, invalid_request, not_implemented, refused};
use base::Region;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::collections::HashSet;

/// A presigned URL of version 4 is good for a week at most. (Those of version 2 have no bound on AWS either.)
const EXPIRES_SECONDS_MAX: u64 = 604_800;

/// What an unchecked signature says of its maker.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The region in the credential scope; version 2 has none.
    pub region: Option<Region>,
    /// The session token, wherever it came.
    pub token: Option<String>,
}

/// What is read of a signature of version 4.
#[derive(Debug, Default)]
struct Version4<'a> {
    credential: Cow<'a, str>,
    signed_headers: Cow<'a, str>,
    presigned: bool,
    expires: Option<u64>,
    token: Option<String>,
}

/// Reads how a request is signed, refusing what `s3s` would take and should not. Fields that a version 2 URL carries for
/// headers become headers.
pub fn read<B>(request: &mut Request<B>) -> Result<Claim> {
    let query = pairs(request.uri().query().unwrap_or_default());
    let has = |names: &[&str]| query.iter().any(|(name, _)| names.contains(&name.as_str()));
    let (old, new) = (has(&["Signature", "AWSAccessKeyId"]), has(&["X-Amz-Signature"]));
    let header = request.headers().get(header::AUTHORIZATION).cloned();
    // `s3s` would check one of them, and not always the one that is checked here.
    if usize::from(old) + usize::from(new) + usize::from(header.is_some()) > 1 {
        return Err(refused(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
        ));
    }
    if old {
        read_version_2(&query, request.headers_mut())?;
        return Ok(Claim { region: None, token: token_in(request.headers()) });
    }
    let signature = match &header {
        _ if new => presigned(&query),
        Some(header) => in_header(header)?,
        None => return Ok(Claim { region: None, token: token_in(request.headers()) }),
    };
    check_signed_headers(request.headers(), &signature)?;
    let region = signature.credential.split('/').nth(2).and_then(Region::parse);
    Ok(Claim { region, token: signature.token.or_else(|| token_in(request.headers())) })
}

/// A query's pairs, decoded as `s3s` decodes them.
fn pairs(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| (decoded(n), decoded(v))).collect()
}

fn token_in(headers: &HeaderMap) -> Option<String> {
    headers.get("x-amz-security-token").and_then(|v| v.to_str().ok()).map(str::to_owned)
}

fn presigned(query: &[(String, String)]) -> Version4<'_> {
    let mut signature = Version4 { presigned: true, ..Version4::default() };
    for (name, value) in query {
        match name.as_str() {
            "X-Amz-Credential" => signature.credential = value.into(),
            "X-Amz-SignedHeaders" => signature.signed_headers = value.into(),
            "X-Amz-Expires" => signature.expires = value.parse().ok(),
            "X-Amz-Security-Token" => signature.token = Some(value.clone()),
            _ => {}
        }
    }
    signature
}

/// The `Authorization` header. Version 2, whose requests there never expire, is refused.
fn in_header(header: &HeaderValue) -> Result<Version4<'_>> {
    let fields = header.to_str().ok().and_then(|h| h.strip_prefix("AWS4-HMAC-SHA256"));
    let fields = fields.ok_or_else(|| {
        invalid_request("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
    })?;
    let field = |name: &str| fields.split(',').find_map(|f| f.trim().strip_prefix(name));
    Ok(Version4 {
        credential: Cow::Borrowed(field("Credential=").unwrap_or_default()),
        signed_headers: Cow::Borrowed(field("SignedHeaders=").unwrap_or_default()),
        ..Version4::default()
    })
}

/// `host` and every `x-amz-` header must be signed: else whoever holds a presigned URL could add, say,
/// `x-amz-copy-source` and read with its signer's rights. (`s3s` checks only what the client lists.)
fn check_signed_headers(headers: &HeaderMap, signature: &Version4<'_>) -> Result<()> {
    if signature.expires.is_some_and(|e| e > EXPIRES_SECONDS_MAX) {
        return Err(refused(
            "AuthorizationQueryParametersError",
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds",
        ));
    }
    let signed: Vec<&str> = signature.signed_headers.split(';').collect();
    // The body's hash is checked against the body itself.
    let free = |name: &str| signature.presigned && name == "x-amz-content-sha256";
    let unsigned = headers
        .keys()
        .map(|n| n.as_str())
        .find(|n| n.starts_with("x-amz-") && !free(n) && !signed.iter().any(|s| s.eq_ignore_ascii_case(n)));
    if unsigned.is_some() || !signed.iter().any(|s| s.eq_ignore_ascii_case("host")) {
        return Err(refused("AccessDenied", "There were headers present in the request which were not signed"));
    }
    Ok(())
}

/// A presigned URL of version 2, as boto3 still makes them: `?AWSAccessKeyId=…&Signature=…&Expires=…`. Its string to sign
/// has every `x-amz-` header and the queries that choose an operation; here goes what would escape it.
fn read_version_2(query: &[(String, String)], headers: &mut HeaderMap) -> Result<()> {
    // `s3s` signs a parameter that comes once and obeys one that comes twice: `?tagging&tagging` would be unsigned.
    let mut seen = HashSet::new();
    if let Some((name, _)) = query.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        return Err(invalid_request(format!("The query parameter {name} is given more than once.")));
    }
    let value = |wanted: &str| query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let (Some(expires), Some(_), Some(_)) = (value("Expires"), value("Signature"), value("AWSAccessKeyId")) else {
        return Err(refused(
            "AccessDenied",
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
        ));
    };
    if expires.parse::<u64>().is_err() {
        let message = format!("Invalid date (should be seconds since epoch): {expires}");
        return Err(refused("AccessDenied", message));
    }
    for (name, value) in query {
        lift(name, value, headers)?;
    }
    let covered = |name: &str| name.starts_with("x-amz-") || matches!(name, "content-md5" | "content-type");
    for name in headers.keys().filter(|n| covered(n.as_str())) {
        // `s3s` leaves values that are not UTF-8 out of the string, and of these two any that comes twice.
        let mut values = headers.get_all(name).iter();
        let text = values.all(|v| std::str::from_utf8(v.as_bytes()).is_ok());
        if !text || (!name.as_str().starts_with("x-amz-") && headers.get_all(name).iter().count() > 1) {
            return Err(invalid_request(format!("The header {name} cannot be part of a signature of version 2.")));
        }
    }
    match headers.get("x-amz-content-sha256") {
        Some(hash) if hash != "UNSIGNED-PAYLOAD" => Err(not_implemented("a signed payload with a version 2 URL")),
        _ => Ok(()),
    }
}

/// Signers put the headers they signed into the URL, so that its user need not send them; S3 reads them there.
fn lift(name: &str, value: &str, headers: &mut HeaderMap) -> Result<()> {
    let lower = name.to_ascii_lowercase();
    if !lower.starts_with("x-amz-") && lower != "content-type" && lower != "content-md5" {
        return Ok(());
    }
    let bad = || invalid_request(format!("The query parameter {name} is not a header's."));
    let field = HeaderName::from_bytes(lower.as_bytes()).map_err(|_| bad())?;
    if !headers.contains_key(&field) {
        headers.insert(field, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_url(query: &str, headers: &[(&'static str, &'static [u8])]) -> (Result<Claim>, HeaderMap) {
        let mut request = Request::builder().uri(format!("/b/k?{query}")).body(()).expect("a request");
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_bytes(value).expect("a value"));
        }
        (read(&mut request), std::mem::take(request.headers_mut()))
    }

    #[test]
    fn headers_must_be_signed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", HeaderValue::from_static("x"));
        let signature = |signed: &'static str, presigned| Version4 {
            signed_headers: signed.into(),
            presigned,
            ..Version4::default()
        };
        assert!(check_signed_headers(&headers, &signature("host;x-amz-date", false)).is_ok());
        assert!(check_signed_headers(&headers, &signature("host", false)).is_err());
        assert!(check_signed_headers(&headers, &signature("x-amz-date", false)).is_err());
        headers.insert("x-amz-content-sha256", HeaderValue::from_static("x"));
        assert!(check_signed_headers(&headers, &signature("host;x-amz-date", true)).is_ok());
        assert!(check_signed_headers(&headers, &signature("host;x-amz-date", false)).is_err());
        headers.insert("x-amz-copy-source", HeaderValue::from_static("b/k"));
        assert!(check_signed_headers(&headers, &signature("host;x-amz-date", true)).is_err());
    }

    #[test]
    fn only_one_signature_of_a_version_we_take() {
        const OLD: &str = "AWSAccessKeyId=test&Signature=x&Expires=1";
        let taken = |query: &str, headers: &[(&'static str, &'static [u8])]| read_url(query, headers).0.is_ok();
        assert!(taken("", &[]) && taken(OLD, &[]));
        assert!(!taken("", &[("authorization", b"AWS test:signature")]));
        let v4 = b"AWS4-HMAC-SHA256 Credential=k/d/r/s3/aws4_request, SignedHeaders=host, Signature=x";
        assert!(taken("", &[("authorization", v4)]));
        assert!(!taken(OLD, &[("authorization", v4)]));
        assert!(!taken(&format!("{OLD}&X-Amz-Signature=x&X-Amz-SignedHeaders=host"), &[]));
        assert!(!taken("X-Amz-Signature=x&X-Amz-SignedHeaders=host", &[("authorization", b"AWS test:signature")]));
    }

    #[test]
    fn nothing_escapes_a_signature_of_version_2() {
        const OLD: &str = "AWSAccessKeyId=test&Signature=x&Expires=1";
        let taken = |more: &str, headers: &[(&'static str, &'static [u8])]| {
            read_url(&format!("{OLD}&{more}"), headers).0.is_ok()
        };
        assert!(
            taken("tagging&versionId=null", &[]) && !taken("tagging&tagging", &[]) && !taken("tagging&t%61gging", &[])
        );
        assert!(!taken("", &[("x-amz-meta-a", b"\xff")]) && !taken("", &[("content-type", b"\xff")]));
        assert!(!taken("", &[("content-type", b"a"), ("content-type", b"b")]));
        assert!(!taken("", &[("x-amz-content-sha256", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER")]));
        for bad in
            ["AWSAccessKeyId=test&Signature=x", "Signature=x&Expires=1", "AWSAccessKeyId=t&Signature=x&Expires=-1"]
        {
            assert!(read_url(bad, &[]).0.is_err(), "{bad}");
        }
        let (claim, headers) = read_url(&format!("{OLD}&x-amz-security-token=a%2Bb&Content-Type=t%2Fx&x-id=y"), &[]);
        assert_eq!(claim.expect("well-formed").token.as_deref(), Some("a+b"));
        assert_eq!((headers.len(), &headers["content-type"]), (2, &HeaderValue::from_static("t/x")));
    }
}
