//! Cross-origin sharing, as a function URL's `Cors` says. Its headers win over the function's own.

use crate::api::shapes::Cors;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use room::{Body, empty};
use rules::policy::like;

/// The answer to a preflight request; the function never sees one.
pub fn preflight(cors: &Cors, parts: &Parts) -> Option<Response<Body>> {
    if parts.method != Method::OPTIONS || !parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let origin = parts.headers.get(ORIGIN)?.to_str().ok()?;
    let mut response = Response::new(empty());
    let headers = response.headers_mut();
    if decorate(cors, origin, headers) {
        set_list(headers, ACCESS_CONTROL_ALLOW_METHODS, cors.allow_methods.as_deref());
        set_list(headers, ACCESS_CONTROL_ALLOW_HEADERS, cors.allow_headers.as_deref());
        if let Some(seconds) = cors.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
        }
    }
    Some(response)
}

/// Sets what any response to `origin` carries; `false`, and nothing but `Vary`, if the origin is not allowed.
pub fn decorate(cors: &Cors, origin: &str, headers: &mut HeaderMap) -> bool {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
    ] {
        headers.remove(name);
    }
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let origins = cors.allow_origins.as_deref().unwrap_or_default();
    if !origins.iter().any(|pattern| like(pattern, origin)) {
        return false;
    }
    let with_credentials = cors.allow_credentials == Some(true);
    let everyone = origins.iter().any(|o| o == "*") && !with_credentials;
    // An origin came in as a header, so it can go out as one.
    let Ok(value) = HeaderValue::from_str(if everyone { "*" } else { origin }) else { return false };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value);
    if with_credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    set_list(headers, ACCESS_CONTROL_EXPOSE_HEADERS, cors.expose_headers.as_deref());
    true
}

fn set_list(headers: &mut HeaderMap, name: HeaderName, list: Option<&[String]>) {
    let joined = list.unwrap_or_default().join(",");
    if let Ok(value) = HeaderValue::from_str(&joined)
        && !joined.is_empty()
    {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        Cors {
            allow_origins: Some(vec!["https://*.example.com".into()]),
            allow_methods: Some(vec!["GET".into(), "PUT".into()]),
            allow_headers: Some(vec!["x-key".into()]),
            allow_credentials: Some(true),
            max_age: Some(60),
            ..Cors::default()
        }
    }

    fn options(origin: &str) -> Parts {
        let request = http::Request::options("/").header("origin", origin);
        request.header("access-control-request-method", "PUT").body(()).expect("valid").into_parts().0
    }

    #[test]
    fn preflight_of_an_allowed_origin() {
        let response = preflight(&cors(), &options("https://a.example.com")).expect("a preflight");
        let of = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok());
        assert_eq!(of("access-control-allow-origin"), Some("https://a.example.com"));
        assert_eq!(of("access-control-allow-methods"), Some("GET,PUT"));
        assert_eq!(of("access-control-allow-headers"), Some("x-key"));
        assert_eq!(of("access-control-allow-credentials"), Some("true"));
        assert_eq!(of("access-control-max-age"), Some("60"));
    }

    #[test]
    fn others_get_nothing() {
        let response = preflight(&cors(), &options("https://evil.test")).expect("a preflight");
        assert!(response.headers().get("access-control-allow-origin").is_none());
        let (get, ()) =
            http::Request::get("/").header("origin", "https://a.example.com").body(()).expect("valid").into_parts();
        assert!(preflight(&cors(), &get).is_none());
    }

    #[test]
    fn the_functions_own_headers_lose() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        assert!(!decorate(&cors(), "https://evil.test", &mut headers));
        assert!(headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
    }
}
