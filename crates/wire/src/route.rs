//! Which operation a request asks for: by URI template (REST) or by `X-Amz-Target` (JSON).

use crate::Fault;
use crate::codec::query;
use crate::table::{Operation, Protocol, Service};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use std::collections::HashMap;
use std::sync::OnceLock;

/// The path labels of a request by their template names, percent-decoded.
pub type Labels = Vec<(&'static str, String)>;

/// Why a request asks for nothing that its service knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("{service} has no operation {asked}.")]
    UnknownOperation { service: &'static str, asked: String },
    #[error("The request path is not valid percent-encoded UTF-8.")]
    BadPath,
}

impl From<RouteError> for Fault {
    fn from(error: RouteError) -> Self {
        let (code, status) = match error {
            RouteError::UnknownOperation { .. } => ("UnknownOperationException", 404),
            RouteError::BadPath => ("SerializationException", 400),
        };
        Fault::new(code, status, error.to_string())
    }
}

/// Longest part of what was asked that an error repeats.
const ASKED_CHARS_MAX: usize = 200;

/// A method, how many segments a path has, and the first of them. In the index 0 segments stand for any number, and an
/// empty first one for any.
type Way<'a> = (&'a str, usize, &'a str);

/// The operations of a service by method and path, so that a request is held against a few templates and not against
/// all: Lambda has ninety. Made when it is first asked.
#[derive(Debug, Default)]
pub struct Routes(OnceLock<HashMap<Way<'static>, Vec<&'static Operation>>>);

impl Routes {
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Those whose template may fit.
    fn near<'a>(
        &'a self,
        operations: &'static [Operation],
        method: &'a str,
        segments: &[&'a str],
    ) -> impl Iterator<Item = &'static Operation> + 'a {
        let index: &HashMap<Way<'a>, Vec<&'static Operation>> = self.0.get_or_init(|| index(operations));
        let (count, first) = (segments.len(), segments.first().copied().unwrap_or(""));
        let ways = [(method, count, first), (method, count, ""), (method, 0, first), (method, 0, "")];
        ways.into_iter().filter_map(move |way| index.get(&way)).flatten().copied()
    }
}

fn index(operations: &'static [Operation]) -> HashMap<Way<'static>, Vec<&'static Operation>> {
    let mut index: HashMap<Way<'static>, Vec<&'static Operation>> = HashMap::new();
    for op in operations {
        let (parts, _) = template(op.uri);
        let greedy = parts.clone().any(|part| part.ends_with("+}"));
        let count = if greedy { 0 } else { parts.clone().count() };
        let first = parts.clone().next().filter(|part| !part.starts_with('{')).unwrap_or("");
        index.entry((op.method, count, first)).or_default().push(op);
    }
    index
}

impl Service {
    /// The operation that a request means and its path labels. `path` is the raw path, `query` the raw query, `target` the
    /// `X-Amz-Target` header. An operation that Wadi lacks is found too: see [`Operation::implemented`].
    pub fn route(
        &self,
        method: &str,
        path: &str,
        query: Option<&str>,
        target: Option<&str>,
    ) -> Result<(&'static Operation, Labels), RouteError> {
        match self.protocol {
            Protocol::Json10 | Protocol::Json11 => {
                let name = target.and_then(|t| t.split_once('.'));
                let known = name.filter(|(prefix, _)| self.target_prefix == Some(*prefix));
                let found = known.and_then(|(_, name)| self.operation(name));
                Ok((
                    found.ok_or_else(|| self.unknown(target.unwrap_or("without an X-Amz-Target header")))?,
                    Labels::new(),
                ))
            }
            Protocol::Query => Err(self.unknown("without an Action")),
            Protocol::RestJson => {
                // Older clients end collections with a slash.
                let trimmed = path.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(path);
                let segments: Vec<&str> = trimmed.trim_start_matches('/').split('/').collect();
                let fits = |op: &'static Operation| Some((fit(op, &segments, query.unwrap_or(""))?, op));
                let near = self.routes.near(self.operations, method, &segments);
                let best = near.filter_map(fits).max_by_key(|(score, _)| *score);
                let (_, op) = best.ok_or_else(|| self.unknown(&format!("{method} {path}")))?;
                Ok((op, labels(op, &segments)?))
            }
        }
    }

    /// The protocol that a request is in: the service's own, or the query protocol of older clients.
    pub fn spoken(&self, parts: &Parts) -> Protocol {
        let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
        let form = || header("content-type").is_none_or(|t| t.starts_with("application/x-www-form-urlencoded"));
        match self.query {
            Some(_) if header("x-amz-target").is_none() && form() => Protocol::Query,
            _ => self.protocol,
        }
    }

    /// The operation that a request in the query protocol asks for.
    pub fn route_query(&self, parts: &Parts, body: &[u8]) -> Result<&'static Operation, Fault> {
        let form = query::form(parts, body)?;
        match form.get("Action").map(String::as_str) {
            Some(action) => self.operation(action).ok_or_else(|| {
                let asked: String = action.chars().take(ASKED_CHARS_MAX).collect();
                let text = format!("The action {asked} is not valid for this endpoint.");
                Fault::new("InvalidAction", 400, text)
            }),
            None => Err(Fault::new("MissingAction", 400, "The request must contain the parameter Action.")),
        }
    }

    /// An operation by its name, whether Wadi has it or not.
    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        let operations = self.operations;
        let at = operations.binary_search_by(|o| o.name.cmp(name)).ok()?;
        Some(&operations[at])
    }

    fn unknown(&self, asked: &str) -> RouteError {
        RouteError::UnknownOperation { service: self.name, asked: asked.chars().take(ASKED_CHARS_MAX).collect() }
    }
}

/// A template's path segments and its fixed query, if any.
fn template(uri: &'static str) -> (impl Iterator<Item = &'static str> + Clone, Option<&'static str>) {
    let (path, query) = match uri.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (uri, None),
    };
    let path = path.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(path);
    (path.trim_start_matches('/').split('/'), query)
}

/// How many segments a greedy label at `at` of the template takes, so that the rest of the template is left over.
fn greedy_width(parts: usize, segments: usize) -> Option<usize> {
    (segments + 1).checked_sub(parts).filter(|n| *n > 0)
}

/// Whether a path and query fit an operation, and how closely: fixed queries before none, then more literal segments.
fn fit(op: &'static Operation, segments: &[&str], query: &str) -> Option<(usize, usize)> {
    let (parts, fixed) = template(op.uri);
    let wanted = fixed.map_or(0, |f| f.split('&').count());
    if fixed.is_some_and(|f| !f.split('&').all(|pair| query_has(query, pair))) {
        return None;
    }
    let (mut at, mut literals) = (0, 0);
    for part in parts.clone() {
        match part.strip_prefix('{') {
            Some(label) if label.ends_with("+}") => {
                let width = greedy_width(parts.clone().count(), segments.len())?;
                at += width;
            }
            // A label never stands for an empty segment.
            Some(_) if segments.get(at)?.is_empty() => return None,
            Some(_) => at += 1,
            None if *segments.get(at)? == part => {
                literals += 1;
                at += 1;
            }
            None => return None,
        }
    }
    (at == segments.len()).then_some((wanted, literals))
}

fn query_has(query: &str, fixed: &str) -> bool {
    let (name, value) = fixed.split_once('=').unwrap_or((fixed, ""));
    query.split('&').any(|pair| pair.split_once('=').unwrap_or((pair, "")) == (name, value))
}

fn labels(op: &'static Operation, segments: &[&str]) -> Result<Labels, RouteError> {
    let (parts, _) = template(op.uri);
    let count = parts.clone().count();
    let mut labels = Labels::new();
    let mut at = 0;
    for part in parts {
        let mut width = 1;
        if let Some(label) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            let (name, text) = match label.strip_suffix('+') {
                Some(name) => {
                    width = greedy_width(count, segments.len()).expect("the operation fits the path");
                    (name, segments[at..at + width].join("/"))
                }
                None => (label, segments[at].to_owned()),
            };
            let text = percent_decode_str(&text).decode_utf8().map_err(|_| RouteError::BadPath)?.into_owned();
            labels.push((name, text));
        }
        at += width;
    }
    Ok(labels)
}
