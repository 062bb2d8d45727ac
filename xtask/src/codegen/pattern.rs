//! The models' regular expressions, from Java's dialect to the `regex` crate's.

use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// The expression that matches whole strings as `Pattern.matches` in Java would: `\d`, `\w` and `\s` mean ASCII. Those that
/// `rewrites` names are replaced by their look-around-free equal first. Fails if the result does not compile.
pub fn translate(java: &str, rewrites: &BTreeMap<String, String>) -> Result<String> {
    let source = rewrites.get(java).map_or(java, String::as_str);
    let regex = format!(r"\A(?:{})\z", ascii_classes(source));
    regex::Regex::new(&regex)
        .with_context(|| format!("pattern {java:?}: rewrite it under [patterns] in models/services.toml"))?;
    Ok(regex)
}

fn ascii_classes(java: &str) -> String {
    let mut out = String::with_capacity(java.len());
    let mut depth = 0;
    let mut chars = java.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next().unwrap_or('\\');
                let inner = match escaped {
                    'd' => "0-9",
                    'w' => "a-zA-Z0-9_",
                    's' => r"\t\n\x0B\f\r ",
                    _ => "",
                };
                match (inner, depth) {
                    ("", _) => out.extend(['\\', escaped]),
                    (set, 0) => out += &format!("[{set}]"),
                    (set, _) => out += set,
                }
            }
            '[' if depth > 0 => out += r"\[",
            _ => {
                depth += i32::from(c == '[') - i32::from(c == ']' && depth > 0);
                out.push(c);
            }
        }
    }
    // The `regex` crate takes `/` unescaped only.
    out.replace(r"\/", "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(java: &str, matching: &[&str], failing: &[&str]) {
        let regex = regex::Regex::new(&translate(java, &BTreeMap::new()).unwrap()).unwrap();
        for text in matching {
            assert!(regex.is_match(text), "{java} should match {text:?}");
        }
        for text in failing {
            assert!(!regex.is_match(text), "{java} should not match {text:?}");
        }
    }

    #[test]
    fn whole_strings_in_ascii() {
        check(r"\d{3}", &["123"], &["1234", "١٢٣", "12a", "123\n"]);
        check(r"[^\s]+", &["a.b"], &["a b", "", "a\n"]);
        check(r"[\w+=/:,.@-]*", &["", "a_b@c"], &["é", "a b"]);
        check(r"a|bc", &["a", "bc"], &["ac", "abc"]);
        check(r"[a-zA-Z0-9\._:\/=+\-@ ]+", &["a/b @"], &["#"]);
    }

    #[test]
    fn look_around_must_be_rewritten() {
        let java = "(?!^[0-9]+$)x";
        assert!(translate(java, &BTreeMap::new()).is_err());
        assert!(translate(java, &BTreeMap::from([(java.to_owned(), "x".to_owned())])).is_ok());
    }
}
