//! What a request says of its signature, from the `Authorization` header or a presigned query.

use super::{ALGORITHM, EXPIRES_MAX, Parsed};
use crate::table::TimeFormat;
use crate::{Fault, times};
use base::Timestamp;
use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::time::Duration;

/// Headers a signature may name; AWS's clients sign about ten.
const SIGNED_HEADERS_MAX: usize = 100;
/// The longest text of the client that a message repeats.
const SHOWN_CHARS_MAX: usize = 200;

/// # Errors
/// `MissingAuthenticationTokenException` for a request that is not signed at all; `IncompleteSignatureException` for a
/// signature that lacks something; `InvalidSignatureException` for one that contradicts itself.
pub fn parse(parts: &Parts) -> Result<Parsed, Fault> {
    if parts.headers.contains_key(AUTHORIZATION) {
        return from_header(&parts.headers);
    }
    match parts.uri.query() {
        Some(query) if query.contains("X-Amz-Algorithm=") => from_query(query, &parts.headers),
        _ => Err(Fault::new("MissingAuthenticationTokenException", 403, "Missing Authentication Token")),
    }
}

fn incomplete(message: impl Into<String>) -> Fault {
    Fault::new("IncompleteSignatureException", 400, message)
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

fn from_header(headers: &HeaderMap) -> Result<Parsed, Fault> {
    let text = header(headers, &AUTHORIZATION).ok_or_else(|| incomplete("The Authorization header is not ASCII."))?;
    let (algorithm, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
    if algorithm != ALGORITHM {
        let algorithm = shown(algorithm);
        return Err(incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'. Expected '{ALGORITHM}'.")));
    }
    // Items are separated by commas, spaces or both.
    let item = |name: &str| {
        let mut items = rest.split([',', ' ']).filter_map(|item| item.split_once('='));
        items.find(|(n, _)| *n == name).map(|(_, value)| value).filter(|v| !v.is_empty())
    };
    let (credential, signed, signature) = (item("Credential"), item("SignedHeaders"), item("Signature"));
    let time = header(headers, &X_AMZ_DATE).or_else(|| header(headers, &DATE));
    let (Some(credential), Some(signed), Some(signature), Some(time)) = (credential, signed, signature, time) else {
        return Err(incomplete(lacking(credential, signed, signature, time)));
    };
    let from_x_amz_date = headers.contains_key(X_AMZ_DATE);
    let parsed = assemble(credential, signed, signature, time)?;
    if from_x_amz_date && !parsed.signed_headers.iter().any(|h| h == X_AMZ_DATE.as_str()) {
        return Err(incomplete("'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization."));
    }
    Ok(Parsed {
        session_token: header(headers, &X_AMZ_TOKEN).map(str::to_owned),
        content_sha256: header(headers, &X_AMZ_CONTENT_SHA256).map(str::to_owned),
        ..parsed
    })
}

fn lacking(credential: Option<&str>, signed: Option<&str>, signature: Option<&str>, time: Option<&str>) -> String {
    let parts = [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed)];
    let mut missing: Vec<String> = parts
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
        .collect();
    if time.is_none() {
        missing.push("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".into());
    }
    missing.join(" ")
}

fn from_query(query: &str, headers: &HeaderMap) -> Result<Parsed, Fault> {
    let item = |name: &str| -> Option<Cow<'_, str>> {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        percent_decode_str(value).decode_utf8().ok()
    };
    let need = |name: &str| {
        item(name).filter(|v| !v.is_empty()).ok_or_else(|| {
            incomplete(format!(
                "AWS query-string parameters must include '{name}'. Re-examine the query-string parameters."
            ))
        })
    };
    let algorithm = need("X-Amz-Algorithm")?;
    if algorithm != ALGORITHM {
        let algorithm = shown(&algorithm);
        return Err(incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'. Expected '{ALGORITHM}'.")));
    }
    let parsed = assemble(
        &need("X-Amz-Credential")?,
        &need("X-Amz-SignedHeaders")?,
        &need("X-Amz-Signature")?,
        &need("X-Amz-Date")?,
    )?;
    let expires = match item("X-Amz-Expires") {
        // Services other than S3 do not ask for it; a request is then good for as long as one signed in a header.
        None => None,
        Some(text) => match text.parse().map(Duration::from_secs) {
            Ok(expires) if expires <= EXPIRES_MAX => Some(expires),
            Ok(_) => {
                return Err(Fault::new(
                    "AuthorizationQueryParametersError",
                    400,
                    "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less \
                     than 604800 seconds",
                ));
            }
            Err(_) => return Err(incomplete("X-Amz-Expires should be a number")),
        },
    };
    Ok(Parsed {
        session_token: item("X-Amz-Security-Token").map(Cow::into_owned),
        content_sha256: header(headers, &X_AMZ_CONTENT_SHA256).map(str::to_owned),
        expires: Some(expires.unwrap_or(super::verify::SKEW_MAX)),
        ..parsed
    })
}

fn assemble(credential: &str, signed: &str, signature: &str, time: &str) -> Result<Parsed, Fault> {
    let scope: Vec<&str> = credential.split('/').collect();
    let [access_key, date, region, service, terminator] = scope[..] else {
        let credential = shown(credential);
        return Err(incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
        )));
    };
    if terminator != "aws4_request" {
        return Err(incomplete("Credential should be scoped with a valid terminator: 'aws4_request'."));
    }
    let at = moment(time).ok_or_else(|| {
        let time = shown(time);
        incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{time}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ))
    })?;
    let basic = times::print_basic(at);
    if !basic.starts_with(date) || date.len() != 8 {
        return Err(Fault::new(
            "InvalidSignatureException",
            403,
            format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}', \
                 from '{basic}'.",
                shown(date),
                &basic[..8]
            ),
        ));
    }
    let signed_headers: Vec<String> =
        signed.split(';').take(SIGNED_HEADERS_MAX + 1).map(str::to_ascii_lowercase).collect();
    if signed_headers.len() > SIGNED_HEADERS_MAX {
        return Err(incomplete(format!("A signature may cover {SIGNED_HEADERS_MAX} headers.")));
    }
    if !signed_headers.iter().any(|h| h == "host") {
        return Err(incomplete("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    Ok(Parsed {
        access_key: access_key.to_owned(),
        date: date.to_owned(),
        time: at,
        region: region.to_owned(),
        service: service.to_owned(),
        signed_headers,
        signature: signature.to_owned(),
        session_token: None,
        expires: None,
        content_sha256: None,
    })
}

/// ISO 8601 basic, or the form of a `Date` header.
fn moment(text: &str) -> Option<Timestamp> {
    times::parse_basic(text)
        .or_else(|| times::parse(text, TimeFormat::Http).map(|seconds| Timestamp((seconds * 1000.0) as u64)))
}
