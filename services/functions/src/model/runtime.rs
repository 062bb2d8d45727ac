//! Runtimes: which names AWS knows, which of them Wadi runs, and what it says of the others.

use crate::error::{Error, Result};
use engine::Runtime;

/// What AWS takes for a new function, as its error message lists them.
const OFFERED: [&str; 28] = [
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "nodejs26.x",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "python3.15",
    "java8.al2",
    "java8.al2023",
    "java11",
    "java11.al2023",
    "java17",
    "java17.al2023",
    "java21",
    "java25",
    "dotnet8",
    "dotnet10",
    "ruby3.2",
    "ruby3.3",
    "ruby3.4",
    "ruby4.0",
    "provided.al2",
    "provided.al2023",
    "custom",
];

/// Names of the model that AWS no longer takes.
const RETIRED: [&str; 24] = [
    "nodejs",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "nodejs18.x",
    "java8",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "dotnet6",
    "go1.x",
    "ruby2.5",
    "ruby2.7",
    "provided",
];

/// Reads a runtime's name. `here` are the names of the runtimes that this node has; one that AWS has retired is taken
/// if it is among them.
pub fn parse(name: &str, here: &[String]) -> Result<Runtime> {
    if here.iter().any(|h| h == name) {
        return Ok(of(name));
    }
    if RETIRED.contains(&name) {
        return Err(Error::Invalid(format!(
            "The runtime parameter of {name} is no longer supported for creating or updating AWS Lambda functions. We \
             recommend you use a supported runtime while creating or updating functions."
        )));
    }
    if !OFFERED.contains(&name) {
        return Err(Error::Invalid(format!(
            "Value {name} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a \
             valid ARN",
            OFFERED.join(", ")
        )));
    }
    Err(Error::Invalid(format!(
        "The runtime {name} is not available on this node. Available runtimes: [{}]",
        here.join(", ")
    )))
}

/// A runtime's name, once found good, in the engine's words.
pub fn of(name: &str) -> Runtime {
    let number = |prefix, suffix| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok();
    if let Some(minor) = number("python3.", "") {
        Runtime::Python { minor }
    } else if let Some(major) = number("nodejs", ".x") {
        Runtime::Node { major }
    } else {
        Runtime::Provided(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_gets_its_answer() {
        let here = ["python3.11", "nodejs20.x", "provided.al2023"].map(str::to_owned);
        assert_eq!(parse("python3.11", &here).expect("here"), Runtime::Python { minor: 11 });
        assert_eq!(parse("nodejs20.x", &here).expect("here"), Runtime::Node { major: 20 });
        assert_eq!(parse("provided.al2023", &here).expect("here"), Runtime::Provided("provided.al2023".into()));
        let check = |name, expect: &str| {
            let error = parse(name, &here).expect_err(name).to_string();
            assert!(error.contains(expect), "{name}: {error}");
        };
        check(
            "python3.13",
            "python3.13 is not available on this node. Available runtimes: [python3.11, nodejs20.x, provided.al2023]",
        );
        check("nodejs22.x", "nodejs22.x is not available on this node");
        check("python3.7", "no longer supported");
        check(
            "cobol",
            "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs",
        );
    }
}
