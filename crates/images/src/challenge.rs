//! What a registry asks to be shown: a login, or a token for one repository from the server that it names.

use crate::credentials::Login;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_auth::parser::ChallengeParser;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

/// The challenge that we can answer; a token rather than a login, where a registry takes both.
#[derive(Debug, PartialEq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let mut basic = None;
        for challenge in texts.flat_map(|text| ChallengeParser::new(text).map_while(Result::ok)) {
            let param = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = param("realm")
            {
                return Some(Self::Bearer { realm, service: param("service") });
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            }
        }
        basic
    }
}

/// A request for a token: by a login or nobody's, in its headers; by an identity token, in its body (OAuth 2's refresh token).
pub(crate) struct TokenRequest {
    pub url: Url,
    pub authorization: Option<HeaderValue>,
    pub form: Option<String>,
}

impl TokenRequest {
    /// For reading one repository, whatever more the registry would have us ask for.
    pub(crate) fn new(realm: &Url, service: Option<&str>, repository: &str, login: Option<&Login>) -> Self {
        let (mut url, scope) = (realm.clone(), format!("repository:{repository}:pull"));
        let asked = [("service", service), ("scope", Some(scope.as_str()))];
        let asked = asked.into_iter().filter_map(|(name, value)| Some((name, value?)));
        if let Some(Login::Identity(token)) = login {
            let own = [("grant_type", "refresh_token"), ("client_id", "wadi"), ("refresh_token", token)];
            // A URL's query is a form.
            let mut form = realm.clone();
            form.query_pairs_mut().clear().extend_pairs(asked.chain(own));
            return Self { url, authorization: None, form: form.query().map(str::to_owned) };
        }
        url.query_pairs_mut().extend_pairs(asked);
        Self { url, authorization: login.and_then(basic), form: None }
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// What shows the token that a server answers with.
pub(crate) fn bearer(answer: &[u8]) -> Option<HeaderValue> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty())?;
    secret(&format!("Bearer {token}"))
}

/// What shows a login itself; an identity token is none.
pub(crate) fn basic(login: &Login) -> Option<HeaderValue> {
    match login {
        Login::Password { user, password } => {
            secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        }
        Login::Identity(_) => None,
    }
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&'static str]) -> Option<Challenge> {
        let headers = texts.iter().map(|text| (WWW_AUTHENTICATE, HeaderValue::from_static(text)));
        Challenge::of(&headers.collect())
    }

    #[test]
    fn challenges_of_registries() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        let hub = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:x:pull",error="x""#;
        assert_eq!(of(&[hub]), bearer("https://auth.example/token", Some("registry.example")));
        assert_eq!(of(&["Basic realm=\"r\"", r#"bearer Realm="https://a""#]), bearer("https://a", None));
        assert_eq!(of(&[r#"Basic realm="r", Bearer realm="https://a""#]), bearer("https://a", None));
        assert_eq!(of(&[r#"Basic realm="https://ecr.example/",service="ecr""#]), Some(Challenge::Basic));
        for none in [&[][..], &["Negotiate"], &["Bearer service=\"s\""], &["\"\"="], &["Bearer"]] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn requests_for_tokens() {
        let realm = Url::parse("https://a.example/token?x=1").expect("a URL");
        let login = Login::Password { user: "ada".into(), password: "p:w".into() };
        let request = TokenRequest::new(&realm, Some("s s"), "a/b", Some(&login));
        assert_eq!(request.url.as_str(), "https://a.example/token?x=1&service=s+s&scope=repository%3Aa%2Fb%3Apull");
        assert_eq!(request.authorization.expect("shown"), "Basic YWRhOnA6dw==");
        let request = TokenRequest::new(&realm, None, "a", Some(&Login::Identity("t&t".into())));
        assert!(request.url == realm && request.authorization.is_none());
        let form = "scope=repository%3Aa%3Apull&grant_type=refresh_token&client_id=wadi&refresh_token=t%26t";
        assert_eq!(request.form.as_deref(), Some(form));
    }

    #[test]
    fn answers_of_token_servers() {
        let shown = |answer: &str| bearer(answer.as_bytes()).map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(shown(r#"{"token": "a", "access_token": "b"}"#).as_deref(), Some("Bearer a"));
        assert_eq!(shown(r#"{"access_token": "b", "expires_in": 300}"#).as_deref(), Some("Bearer b"));
        for none in ["", "{}", r#"{"token": ""}"#, r#"{"token": "a\nb"}"#, "[]"] {
            assert_eq!(shown(none), None, "{none}");
        }
    }
}
