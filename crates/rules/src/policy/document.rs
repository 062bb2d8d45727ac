//! Policy documents: from JSON to statements, and the evaluation of a request over them.

use super::condition::Condition;
use super::pattern::like;
use super::{DOCUMENT_BYTES_MAX, Decision, Invalid, Principal, Request, STATEMENTS_MAX};
use serde_json::{Map, Value};

/// A parsed policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    allow: bool,
    /// `None` in an identity's policy: it holds for the identity it is attached to.
    principals: Option<Set<Who>>,
    actions: Set<String>,
    /// `None` where the resource is the one the policy is attached to.
    resources: Option<Set<String>>,
    conditions: Vec<Condition>,
}

/// `Action` (any of) or `NotAction` (none of), and alike for principals and resources.
#[derive(Clone, Debug, PartialEq)]
struct Set<T> {
    any_of: Vec<T>,
    inverted: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Who {
    Everyone,
    Service(String),
    /// All identities of an account.
    Account(String),
    Identity(String),
    /// A kind that no request of ours has (`Federated`, `CanonicalUser`).
    Nobody,
}

impl Policy {
    /// Parses a document.
    ///
    /// # Errors
    /// [`Invalid`] for anything that is not a policy or uses what this module cannot evaluate.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return invalid(format!("{} bytes are more than {DOCUMENT_BYTES_MAX}", text.len()));
        }
        let value: Value = serde_json::from_str(text).map_err(|e| Invalid(e.to_string()))?;
        Self::from_value(&value)
    }

    /// As [`Policy::parse`], from JSON that has been read already.
    pub fn from_value(value: &Value) -> Result<Self, Invalid> {
        let Value::Object(document) = value else { return invalid("a policy is a JSON object") };
        only(document, &["Version", "Id", "Statement"])?;
        if !matches!(document.get("Version").map(Value::as_str), None | Some(Some("2012-10-17" | "2008-10-17"))) {
            return invalid("Version is 2012-10-17 or 2008-10-17");
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(all)) => all.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => return invalid("Statement is a list of objects"),
        };
        if statements.len() > STATEMENTS_MAX {
            return invalid(format!("more than {STATEMENTS_MAX} statements"));
        }
        Ok(Self { statements: statements.into_iter().map(Statement::parse).collect::<Result<_, _>>()? })
    }

    pub fn evaluate(&self, request: &Request<'_>) -> Decision {
        let mut decision = Decision::None;
        for statement in self.statements.iter().filter(|s| s.speaks_of(request)) {
            if !statement.allow {
                return Decision::Deny;
            }
            decision = Decision::Allow;
        }
        decision
    }
}

impl Statement {
    fn parse(value: &Value) -> Result<Self, Invalid> {
        let Value::Object(s) = value else { return invalid("a statement is a JSON object") };
        only(
            s,
            &[
                "Sid",
                "Effect",
                "Principal",
                "NotPrincipal",
                "Action",
                "NotAction",
                "Resource",
                "NotResource",
                "Condition",
            ],
        )?;
        let allow = match s.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return invalid("Effect is Allow or Deny"),
        };
        Ok(Self {
            allow,
            principals: set(s, "Principal", "NotPrincipal", principals)?,
            actions: match set(s, "Action", "NotAction", patterns)? {
                Some(actions) => actions,
                None => return invalid("a statement needs Action or NotAction"),
            },
            resources: set(s, "Resource", "NotResource", patterns)?,
            conditions: s.get("Condition").map_or(Ok(Vec::new()), conditions)?,
        })
    }

    fn speaks_of(&self, request: &Request<'_>) -> bool {
        let action = request.action.to_ascii_lowercase();
        self.principals.as_ref().is_none_or(|set| set.has(|who| who.is(request.principal)))
            && self.actions.has(|pattern| like(&pattern.to_ascii_lowercase(), &action))
            && self.resources.as_ref().is_none_or(|set| set.has(|pattern| like(pattern, request.resource)))
            && self.conditions.iter().all(|c| c.holds(request.context))
    }
}

impl<T> Set<T> {
    fn has(&self, fits: impl Fn(&T) -> bool) -> bool {
        self.any_of.iter().any(fits) != self.inverted
    }
}

impl Who {
    fn is(&self, principal: Principal<'_>) -> bool {
        match (self, principal) {
            (Who::Everyone, _) => true,
            (Who::Service(wanted), Principal::Service(name)) => wanted == "*" || wanted == name,
            (Who::Account(wanted), Principal::Identity { account, .. }) => wanted == account,
            (Who::Identity(wanted), Principal::Identity { arn, .. }) => wanted == arn,
            _ => false,
        }
    }

    fn aws(text: &str) -> Who {
        let root = text.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root"));
        match root.unwrap_or(text) {
            "*" => Who::Everyone,
            account if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) => {
                Who::Account(account.to_owned())
            }
            _ => Who::Identity(text.to_owned()),
        }
    }
}

fn invalid<T>(why: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(why.into()))
}

/// A member that is not known may restrict what the statement allows: refuse it.
fn only(object: &Map<String, Value>, known: &[&str]) -> Result<(), Invalid> {
    match object.keys().find(|k| !known.contains(&k.as_str())) {
        Some(key) => invalid(format!("unknown member {key:?}")),
        None => Ok(()),
    }
}

fn set<T>(
    statement: &Map<String, Value>,
    name: &str,
    inverse: &str,
    parse: fn(&Value) -> Result<Vec<T>, Invalid>,
) -> Result<Option<Set<T>>, Invalid> {
    match (statement.get(name), statement.get(inverse)) {
        (Some(_), Some(_)) => invalid(format!("a statement has {name} or {inverse}, not both")),
        (Some(value), None) => Ok(Some(Set { any_of: parse(value)?, inverted: false })),
        (None, Some(value)) => Ok(Some(Set { any_of: parse(value)?, inverted: true })),
        (None, None) => Ok(None),
    }
}

/// A string or a list of strings. Policy variables (`${aws:username}`) are not evaluated, so they are refused.
fn patterns(value: &Value) -> Result<Vec<String>, Invalid> {
    let texts = match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => match all.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>() {
            Some(texts) => texts,
            None => return invalid("expected a string or a list of strings"),
        },
        _ => return invalid("expected a string or a list of strings"),
    };
    match texts.iter().find(|t| t.contains("${")) {
        Some(text) => invalid(format!("policy variables are not supported: {text:?}")),
        None => Ok(texts),
    }
}

fn principals(value: &Value) -> Result<Vec<Who>, Invalid> {
    match value {
        Value::String(all) if all == "*" => Ok(vec![Who::Everyone]),
        Value::Object(kinds) => {
            let mut who = Vec::new();
            for (kind, value) in kinds {
                let names = patterns(value)?;
                match kind.as_str() {
                    "AWS" => who.extend(names.iter().map(|n| Who::aws(n))),
                    "Service" => who.extend(names.into_iter().map(Who::Service)),
                    "Federated" | "CanonicalUser" => who.push(Who::Nobody),
                    _ => return invalid(format!("unknown kind of principal {kind:?}")),
                }
            }
            Ok(who)
        }
        _ => invalid("Principal is \"*\" or an object"),
    }
}

fn conditions(value: &Value) -> Result<Vec<Condition>, Invalid> {
    let Value::Object(operators) = value else { return invalid("Condition is an object") };
    let mut out = Vec::new();
    for (operator, keys) in operators {
        let Value::Object(keys) = keys else { return invalid(format!("{operator} is an object of keys")) };
        for (key, value) in keys {
            out.push(Condition::new(operator, key, scalars(value)?)?);
        }
    }
    Ok(out)
}

/// Condition values may be strings, booleans or numbers, alone or in a list.
fn scalars(value: &Value) -> Result<Vec<String>, Invalid> {
    let text = |v: &Value| match v {
        Value::Bool(b) => Ok(Value::String(b.to_string())),
        Value::Number(n) => Ok(Value::String(n.to_string())),
        Value::String(_) => Ok(v.clone()),
        _ => invalid("a condition's value is a string, a number or a boolean"),
    };
    match value {
        Value::Array(all) => patterns(&Value::Array(all.iter().map(text).collect::<Result<_, _>>()?)),
        one => patterns(&text(one)?),
    }
}
