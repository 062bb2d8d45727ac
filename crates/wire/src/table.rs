//! The shape of the generated tables: what a service model says, without its prose.

/// How a service speaks. A service has one main protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `application/x-amz-json-1.0`
    Json10,
    /// `application/x-amz-json-1.1`
    Json11,
    RestJson,
}

/// One service: all its operations by name, and the shapes of those that Wadi has.
#[derive(Debug)]
pub struct Service {
    /// The name requests are signed for, and the prefix of its IAM actions: `lambda`.
    pub name: &'static str,
    pub protocol: Protocol,
    /// `X-Amz-Target` prefix of the JSON protocols, e.g. `Logs_20140328`.
    pub target_prefix: Option<&'static str>,
    /// Every operation of the model, sorted by name, also those that Wadi lacks.
    pub operations: &'static [Operation],
    pub shapes: &'static [Shape],
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

#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    Structure { members: &'static [Member], payload: Option<&'static str>, required: &'static [&'static str] },
    List { item: ShapeIndex, min: Option<u64>, max: Option<u64> },
    Map { key: ShapeIndex, value: ShapeIndex, min: Option<u64>, max: Option<u64> },
    String { min: Option<u64>, max: Option<u64>, pattern: Option<&'static str>, values: &'static [&'static str] },
    Blob { min: Option<u64>, max: Option<u64> },
    Integer { min: Option<i64>, max: Option<i64> },
    Double { min: Option<f64>, max: Option<f64> },
    Boolean,
    /// Seconds since the epoch, or `iso8601` / `rfc822` where the model says so.
    Timestamp { format: Option<&'static str> },
    /// Any JSON.
    Document,
}

#[derive(Debug)]
pub struct Member {
    pub name: &'static str,
    pub shape: ShapeIndex,
    /// Where it travels, under which name.
    pub location: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    Body(&'static str),
    Uri(&'static str),
    Query(&'static str),
    Header(&'static str),
    /// A map of headers with this prefix.
    Headers(&'static str),
    Status,
}
