//! CloudWatch's filter patterns for unstructured text: which log events does `FilterLogEvents` show?
//!
//! `ERROR code` wants both terms, anywhere in the message; `"not found"` a phrase; `-health` its absence; `?ERROR
//! ?WARN` one of them. As on AWS, `?` terms count only where there is nothing else. Case matters. Patterns of the other
//! languages (`{ $.x = … }` for JSON, `[a, b]` for columns, `%…%` regular expressions) are refused by name.

use crate::Error;

/// A pattern, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    all: Vec<String>,
    any: Vec<String>,
    none: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; an empty one matches everything.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut pattern = Self::default();
        let mut rest = text.trim_start();
        match rest.chars().next() {
            Some('{') => return Err(Error::Lacking("filter patterns for JSON, { $.field = value },")),
            Some('[') => return Err(Error::Lacking("space-delimited filter patterns, [field, field],")),
            _ => {}
        }
        while !rest.is_empty() {
            let terms = match rest.as_bytes()[0] {
                b'-' => &mut pattern.none,
                b'?' => &mut pattern.any,
                _ => &mut pattern.all,
            };
            rest = rest.strip_prefix(['-', '?']).unwrap_or(rest);
            let (term, after) = term(rest)?;
            terms.push(term);
            rest = after.trim_start();
        }
        Ok(pattern)
    }

    pub fn matches(&self, message: &str) -> bool {
        let has = |term: &String| message.contains(term.as_str());
        let wanted = match (self.all.is_empty(), self.any.is_empty()) {
            (false, _) => self.all.iter().all(has),
            (true, false) => self.any.iter().any(has),
            (true, true) => true,
        };
        wanted && !self.none.iter().any(has)
    }
}

/// The first term of `text`, a quoted phrase or a word, and what follows it.
fn term(text: &str) -> Result<(String, &str), Error> {
    if let Some(quoted) = text.strip_prefix('"') {
        return phrase(quoted);
    }
    if text.starts_with('%') {
        return Err(Error::Lacking("regular expressions in filter patterns, %…%,"));
    }
    let end = text.find(|c: char| c.is_whitespace()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word.is_empty() || !word.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(invalid());
    }
    Ok((word.to_owned(), rest))
}

/// Up to the closing quote; `\"` and `\\` stand for the characters themselves.
fn phrase(text: &str) -> Result<(String, &str), Error> {
    let mut term = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if term.is_empty() => return Err(invalid()),
            '"' => return Ok((term, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => term.push(c),
                Some((_, c)) => term.extend(['\\', c]),
                None => return Err(invalid()),
            },
            c => term.push(c),
        }
    }
    Err(invalid())
}

fn invalid() -> Error {
    Error::invalid("Invalid filter pattern. Terms with characters other than letters, digits and _ must be in quotes.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, hits: &[&str], misses: &[&str]) {
        let parsed = Pattern::parse(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        for text in hits {
            assert!(parsed.matches(text), "{pattern} should match {text}");
        }
        for text in misses {
            assert!(!parsed.matches(text), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn terms() {
        check("", &["", "anything"], &[]);
        check("ERROR", &["[ERROR 400] bad"], &["[error 400]", "fine"]);
        check("ERROR bad", &["bad ERROR"], &["ERROR", "bad"]);
        check("\"not found\" -health", &["x not found y"], &["not  found", "not found /health"]);
        check("?ERROR ?WARN", &["a WARN", "an ERROR"], &["INFO"]);
        check("?\"a b\" -c", &["a b"], &["a b c", "ab"]);
        check("disk ?ERROR", &["disk full"], &["ERROR"]);
        check("-health", &["x"], &["health"]);
        check(r#""say \"hi\" \\ \n""#, &[r#"I say "hi" \ \n"#], &["say hi"]);
        check("größe", &["die größe"], &["grosse"]);
    }

    #[test]
    fn refusals() {
        let lacking = ["{ $.level = \"ERROR\" }", "[ip, user]", "%[0-9]+%", "-%x%"];
        for text in lacking {
            assert!(matches!(Pattern::parse(text), Err(Error::Lacking(_))), "{text}");
        }
        for text in ["a.b", "\"open", "\"\"", "-", "?", "- a", "\"\\"] {
            assert!(matches!(Pattern::parse(text), Err(Error::Invalid(_))), "{text}");
        }
    }
}
