//! What a target receives of an event: a part of it, or a template filled with parts of it (EventBridge's `InputPath` and
//! `InputTransformer`).
//!
//! A path is `$`, then `.name`, `['name']`, `[3]` or `[*]`. A template is a JSON value, or text in quotes, one or several
//! lines, with `<name>`s for variables; `\<` is the character. Within quotes a variable is its text, escaped as JSON
//! wants it; elsewhere it is its JSON. A variable whose path leads nowhere is nothing within quotes and `null` elsewhere.
//!
//! Source: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html>.

mod path;
#[cfg(test)]
mod tests;

pub use path::Path;

use serde_json::Value;
use std::collections::BTreeMap;

/// The longest result, in bytes.
pub const RESULT_BYTES_MAX: usize = 1 << 20;
/// The most variables.
const VARIABLES_MAX: usize = 100;
/// Names that every template may use.
const RESERVED: [&str; 5] = [
    "aws.events.rule-arn",
    "aws.events.rule-name",
    "aws.events.event.ingestion-time",
    "aws.events.event",
    "aws.events.event.json",
];

/// A template, ready to be filled.
#[derive(Clone, Debug)]
pub struct Transformer {
    paths: BTreeMap<String, Path>,
    template: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable { name: String, quoted: bool },
}

/// What reserved variables stand for, besides the event itself.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    pub rule_arn: &'a str,
    pub rule_name: &'a str,
    /// ISO 8601.
    pub ingested: &'a str,
}

/// Why a path or template is refused, or cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    #[error("invalid path {0}")]
    Path(String),
    #[error("invalid placeholder {0}")]
    Placeholder(String),
    #[error("more than {VARIABLES_MAX} variables")]
    TooMany,
    #[error("the result is longer than {RESULT_BYTES_MAX} bytes")]
    TooLong,
}

impl Transformer {
    /// `paths` are the variables; a template may use those and the reserved ones.
    pub fn parse(paths: &BTreeMap<String, String>, template: &str) -> Result<Self, TransformError> {
        if paths.len() > VARIABLES_MAX {
            return Err(TransformError::TooMany);
        }
        let parse = |(name, path): (&String, &String)| Ok((name.clone(), Path::parse(path)?));
        let paths: BTreeMap<String, Path> = paths.iter().map(parse).collect::<Result<_, _>>()?;
        let template = pieces(template);
        for piece in &template {
            if let Piece::Variable { name, .. } = piece
                && !paths.contains_key(name)
                && !RESERVED.contains(&name.as_str())
            {
                return Err(TransformError::Placeholder(name.clone()));
            }
        }
        Ok(Self { paths, template })
    }

    /// The filled template: JSON if the template is.
    pub fn apply(&self, event: &Value, occasion: &Occasion<'_>) -> Result<String, TransformError> {
        let mut filled: BTreeMap<(&str, bool), String> = BTreeMap::new();
        let mut result = String::new();
        for piece in &self.template {
            match piece {
                Piece::Text(text) => result.push_str(text),
                Piece::Variable { name, quoted } => {
                    let make = || write(self.value(name, event, occasion), *quoted);
                    result.push_str(filled.entry((name, *quoted)).or_insert_with(make));
                }
            }
            if result.len() > RESULT_BYTES_MAX {
                return Err(TransformError::TooLong);
            }
        }
        Ok(result)
    }

    fn value(&self, name: &str, event: &Value, occasion: &Occasion<'_>) -> Option<Value> {
        if let Some(path) = self.paths.get(name) {
            return path.find(event);
        }
        match name {
            "aws.events.rule-arn" => Some(occasion.rule_arn.into()),
            "aws.events.rule-name" => Some(occasion.rule_name.into()),
            "aws.events.event.ingestion-time" => Some(occasion.ingested.into()),
            "aws.events.event.json" => Some(event.clone()),
            "aws.events.event" => {
                let mut event = event.clone();
                if let Some(fields) = event.as_object_mut() {
                    fields.remove("detail");
                }
                Some(event)
            }
            _ => None,
        }
    }
}

/// Text as it is written within quotes, JSON as it is.
fn write(value: Option<Value>, quoted: bool) -> String {
    match (value, quoted) {
        (None, true) => String::new(),
        (None, false) => "null".into(),
        (Some(Value::String(text)), true) => escaped(&text),
        (Some(value), true) => escaped(&value.to_string()),
        (Some(value), false) => value.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A variable's name: what EventBridge allows between `<` and `>`.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn pieces(template: &str) -> Vec<Piece> {
    let (mut pieces, mut text, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        let name = rest.strip_prefix('<').and_then(|r| r.split_once('>')).map(|(name, _)| name);
        if let Some(name) = name.filter(|name| is_name(name)) {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Variable { name: name.to_owned(), quoted });
            rest = &rest[name.len() + 2..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match (c, rest.chars().next()) {
            ('\\', Some('<')) => {
                text.push('<');
                rest = &rest[1..];
            }
            ('\\', Some(next)) => {
                text.extend(['\\', next]);
                rest = &rest[next.len_utf8()..];
            }
            (c, _) => {
                quoted ^= c == '"';
                text.push(c);
            }
        }
    }
    pieces.push(Piece::Text(text));
    pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    pieces
}
