//! Environment variables: names that are ours, and the 4 KB that all of them may take.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

const BYTES_MAX: usize = 4096;

/// "Reserved environment variables" of AWS's documentation.
const RESERVED: [&str; 19] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "AWS_LAMBDA_MAX_CONCURRENCY",
];

/// The whole of a function's environment is allowed or none of it.
pub fn check(variables: &BTreeMap<String, String>) -> Result<()> {
    let reserved: Vec<&str> = variables.keys().map(String::as_str).filter(|k| RESERVED.contains(k)).collect();
    if !reserved.is_empty() {
        return Err(Error::Invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided contains reserved keys that are currently not supported for modification. Reserved keys used in \
             this request: {}",
            reserved.join(", ")
        )));
    }
    for name in variables.keys() {
        let mut chars = name.chars();
        let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
        if !starts || name.len() < 2 || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let constraint = "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: \
                              [a-zA-Z]([a-zA-Z0-9_])+]";
            return Err(Error::constraint(format!("{{{name}=***}}"), "environment.variables", constraint));
        }
    }
    let measured = serde_json::to_string(variables).expect("a map of strings serialises");
    if measured.len() > BYTES_MAX {
        return Err(Error::Invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided exceeded the 4KB limit. Bytes measured: {}",
            measured.len()
        )));
    }
    match variables.iter().find(|(_, value)| value.contains('\0')) {
        Some((name, _)) => Err(Error::Invalid(format!("The value of {name} contains a zero byte."))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let of = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
        assert!(check(&of("STAGE", "test")).is_ok());
        assert!(check(&of("STAGE", &"x".repeat(4082))).is_ok());
        let long = check(&of("STAGE", &"x".repeat(4090))).expect_err("too long").to_string();
        assert!(long.contains("exceeded the 4KB limit. Bytes measured: 4102"), "{long}");
        let reserved = check(&of("AWS_REGION", "x")).expect_err("reserved").to_string();
        assert!(reserved.ends_with("Reserved keys used in this request: AWS_REGION"), "{reserved}");
        assert!(check(&of("1A", "x")).is_err() && check(&of("A-B", "x")).is_err() && check(&of("A", "x")).is_err());
    }
}
