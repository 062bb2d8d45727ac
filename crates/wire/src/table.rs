//! The shape of the generated tables: what a service model says, without its prose.

pub use crate::route::Routes;

use regex::Regex;
use std::sync::OnceLock;

/// How a service speaks. A service has one main protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `application/x-amz-json-1.0`
    Json10,
    /// `application/x-amz-json-1.1`
    Json11,
    RestJson,
    /// Forms in, XML out.
    Query,
}

/// One service: all its operations by name, and the shapes of those that Wadi has.
#[derive(Debug)]
pub struct Service {
    /// The name requests are signed for, and the prefix of its IAM actions: `lambda`.
    pub name: &'static str,
    pub protocol: Protocol,
    /// `X-Amz-Target` prefix of the JSON protocols, e.g. `Logs_20140328`.
    pub target_prefix: Option<&'static str>,
    /// The error code for input that breaks a constraint of the model: `ValidationException` for most services.
    pub validation_code: &'static str,
    /// `Content-Type` of a reply whose body is a blob payload, unless a header member says otherwise.
    pub payload_type: &'static str,
    /// Every operation of the model, sorted by name, also those that Wadi lacks.
    pub operations: &'static [Operation],
    /// The same by where REST requests for them go.
    pub routes: Routes,
    pub shapes: &'static [Shape],
    /// The modelled errors of the operations that Wadi has, sorted by code.
    pub errors: &'static [ErrorShape],
    /// What the query protocol needs, where the service speaks it: alone, or for older clients beside another.
    pub query: Option<Query>,
}

/// How a service speaks the query protocol.
#[derive(Debug)]
pub struct Query {
    /// The namespace of its XML.
    pub namespace: &'static str,
    /// The input member that is the URL a request went to, where its form does not have it.
    pub path_member: Option<&'static str>,
    /// The error code for a member that is missing, if it is not the service's `validation_code`.
    pub missing_code: Option<&'static str>,
    /// Lists and maps whose content is not named `member`, or `entry` with `key` and `value`; sorted by shape.
    pub names: &'static [(ShapeIndex, Names)],
    /// What errors are called in this protocol where it is not their code, sorted by code.
    pub codes: &'static [(&'static str, &'static str)],
}

/// How the content of a list or map is named in the query protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// Items stand where the list or map would, without an element around them.
    pub flat: bool,
    /// `None` in a flat one: the name of the member that it is.
    pub item: Option<&'static str>,
    pub key: &'static str,
    pub value: &'static str,
}

impl Query {
    /// What an error is called in this protocol.
    pub fn code<'c>(&self, code: &'c str) -> &'c str {
        self.codes.binary_search_by(|(own, _)| (*own).cmp(code)).map_or(code, |at| self.codes[at].1)
    }

    pub(crate) fn names(&self, shape: ShapeIndex) -> Names {
        const USUAL: Names = Names { flat: false, item: None, key: "key", value: "value" };
        self.names.binary_search_by_key(&shape, |(of, _)| *of).map_or(USUAL, |at| self.names[at].1)
    }
}

/// An index into [`Service::shapes`].
pub type ShapeIndex = u16;

#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    pub method: &'static str,
    /// URI template, `/2015-03-31/functions/{FunctionName}`, with any fixed query after `?`.
    pub uri: &'static str,
    pub status: u16,
    pub input: Option<ShapeIndex>,
    pub output: Option<ShapeIndex>,
    /// Whether Wadi has it; shapes are only there for those it has.
    pub implemented: bool,
}

/// How a modelled error is written.
#[derive(Debug)]
pub struct ErrorShape {
    pub code: &'static str,
    /// The member that carries the message: `message` or `Message`.
    pub message: &'static str,
    /// Has a `Type` member, which says `User` or `Service`.
    pub typed: bool,
    /// Members that travel as headers: `(member, header)`.
    pub headers: &'static [(&'static str, &'static str)],
}

#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    /// Its value is not repeated in error messages.
    pub sensitive: bool,
    pub kind: Kind,
}

/// Constraints are only there for shapes that requests use.
#[derive(Debug)]
pub enum Kind {
    Structure {
        members: &'static [Member],
        payload: Option<&'static str>,
    },
    List {
        item: ShapeIndex,
        min: Option<u64>,
        max: Option<u64>,
    },
    Map {
        key: ShapeIndex,
        value: ShapeIndex,
        min: Option<u64>,
        max: Option<u64>,
    },
    String {
        min: Option<u64>,
        max: Option<u64>,
        pattern: Option<&'static Pattern>,
        values: &'static [&'static str],
    },
    Blob {
        min: Option<u64>,
        max: Option<u64>,
    },
    /// 32 bits, or 64 where `long`.
    Integer {
        long: bool,
        min: Option<i64>,
        max: Option<i64>,
    },
    Double {
        min: Option<f64>,
        max: Option<f64>,
    },
    Boolean,
    Timestamp {
        format: Option<TimeFormat>,
    },
    /// Any JSON.
    Document,
}

/// How a time is written. Without one: epoch seconds in a JSON body, `Http` in a header, `Iso8601` in a URI or query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    Epoch,
    Iso8601,
    /// `Sun, 02 Jan 2000 20:34:56 GMT` (`rfc822` in the models)
    Http,
}

#[derive(Debug)]
pub struct Member {
    pub name: &'static str,
    pub shape: ShapeIndex,
    pub required: bool,
    /// Where it travels, under which name.
    pub location: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    Body(&'static str),
    Uri(&'static str),
    Query(&'static str),
    /// A map of all query parameters.
    QueryMap,
    Header(&'static str),
    /// A map of headers with this prefix.
    Headers(&'static str),
    Status,
}

/// A regular expression that a whole string must match.
#[derive(Debug)]
pub struct Pattern {
    /// As the model has it, in Java's dialect; this is what messages show.
    pub text: &'static str,
    /// The same for the `regex` crate; codegen has compiled it once.
    regex: &'static str,
    compiled: OnceLock<Regex>,
}

impl Pattern {
    pub const fn new(text: &'static str, regex: &'static str) -> Self {
        Self { text, regex, compiled: OnceLock::new() }
    }

    /// The expression that [`Pattern::matches`] uses, for codegen to write.
    pub const fn regex(&self) -> &'static str {
        self.regex
    }

    pub fn matches(&self, text: &str) -> bool {
        self.compiled
            .get_or_init(|| Regex::new(self.regex).expect("codegen compiles every pattern before it writes it"))
            .is_match(text)
    }
}
