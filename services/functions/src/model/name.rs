//! Function and layer names in all the forms that AWS takes: names, partial ARNs, ARNs, with and without qualifier.

use super::{LATEST, LATEST_PUBLISHED};
use crate::error::{Error, Result};
use base::{Arn, FunctionRef, Scope};

const NAME_LENGTH_MAX: usize = 64;
const PATTERN: &str = concat!(
    "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?",
    r"([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)",
    r"(:(\$LATEST|[a-zA-Z0-9-_]+))?",
);

/// The number under which `$LATEST.PUBLISHED` is kept; those of other versions begin at 1.
pub const LATEST_PUBLISHED_NUMBER: u64 = 0;

/// The name of a published version.
pub fn version(number: u64) -> String {
    match number {
        LATEST_PUBLISHED_NUMBER => LATEST_PUBLISHED.to_owned(),
        number => number.to_string(),
    }
}

/// What a qualifier names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier<'a> {
    Latest,
    Version(u64),
    Alias(&'a str),
}

impl<'a> Qualifier<'a> {
    /// No qualifier means `$LATEST`.
    pub fn of(text: Option<&'a str>) -> Self {
        match text {
            None | Some(LATEST) => Self::Latest,
            Some(LATEST_PUBLISHED) => Self::Version(LATEST_PUBLISHED_NUMBER),
            Some(text) => match text.parse() {
                Err(_) | Ok(LATEST_PUBLISHED_NUMBER) => Self::Alias(text),
                Ok(number) => Self::Version(number),
            },
        }
    }
}

impl Qualifier<'_> {
    /// That of a published version.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Version(number) => Some(number),
            Self::Latest | Self::Alias(_) => None,
        }
    }
}

/// Reads a function's name and the `Qualifier` parameter beside it.
///
/// # Errors
/// `ValidationException` where it is no name; `InvalidParameterValueException` where name and parameter disagree;
/// `ResourceNotFoundException` for another region or account.
pub fn function(scope: &Scope, text: &str, parameter: Option<&str>) -> Result<FunctionRef> {
    let parts: Vec<&str> = text.split(':').collect();
    let (place, rest) = match parts.as_slice() {
        ["arn", _, "lambda", region, account, "function", rest @ ..] => (Some((Some(*region), *account)), rest),
        [account, "function", rest @ ..] if is_account(account) => (Some((None, *account)), rest),
        ["function", rest @ ..] if !rest.is_empty() => (None, rest),
        rest => (None, rest),
    };
    let (name, derived) = match rest {
        [name] => (*name, None),
        [name, qualifier] => (*name, Some(*qualifier)),
        _ => return Err(Error::constraint(text, "functionName", PATTERN)),
    };
    let proper = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(proper) {
        return Err(Error::constraint(text, "functionName", PATTERN));
    }
    if name.len() > NAME_LENGTH_MAX {
        return Err(Error::constraint(name, "functionName", "Member must have length less than or equal to 64"));
    }
    let qualifier = match (derived, parameter) {
        (Some(a), Some(b)) if a != b => {
            let message = "The derived qualifier from the function name does not match the specified qualifier.";
            return Err(Error::Invalid(message.into()));
        }
        (a, b) => a.or(b).map(str::to_owned),
    };
    let named = FunctionRef { scope: scope.clone(), name: name.to_owned(), qualifier };
    match place {
        Some((Some(region), _)) if region != scope.region.as_str() => Err(Error::NotFound(format!(
            "Functions from '{region}' are not reachable in this region ('{}')",
            scope.region
        ))),
        Some((region, account)) if account != scope.account.as_str() => Err(Error::function_not_found(Arn::new(
            "lambda",
            region.unwrap_or(scope.region.as_str()),
            account,
            format!("function:{name}"),
        ))),
        _ => Ok(named),
    }
}

/// As [`function`], where only the function as a whole is meant: a qualifier is refused, but for `$LATEST`.
pub fn unqualified(scope: &Scope, text: &str) -> Result<FunctionRef> {
    let mut named = function(scope, text, None)?;
    match named.qualifier.take().as_deref() {
        None | Some(LATEST) => Ok(named),
        Some(_) => Err(Error::Invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. \
             Please specify either a function name or an unqualified function ARN."
                .into(),
        )),
    }
}

/// The function that a target's ARN names.
pub fn of_target(arn: &Arn) -> Option<FunctionRef> {
    let scope = Scope::new(base::AccountId::parse(&arn.account)?, base::Region::parse(&arn.region)?);
    (arn.service == "lambda").then(|| function(&scope, &arn.to_string(), None).ok()).flatten()
}

/// `arn:aws:lambda:<region>:<account>:function:<name>`
pub fn arn(scope: &Scope, name: &str) -> Arn {
    Arn::new("lambda", scope.region.as_str(), scope.account.as_str(), format!("function:{name}"))
}

/// As [`arn`], with `:<qualifier>` if there is one.
pub fn qualified(scope: &Scope, name: &str, qualifier: Option<&str>) -> Arn {
    let mut arn = arn(scope, name);
    if let Some(qualifier) = qualifier {
        arn.resource.push(':');
        arn.resource.push_str(qualifier);
    }
    arn
}

/// The ARN of the function as the caller named it.
pub fn arn_of(named: &FunctionRef) -> Arn {
    qualified(&named.scope, &named.name, named.qualifier.as_deref())
}

/// A layer's name, given as a name or as the layer's ARN.
pub fn layer(scope: &Scope, text: &str) -> Result<String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] => Ok((*name).to_owned()),
        ["arn", _, "lambda", region, account, "layer", name]
            if *region == scope.region.as_str() && *account == scope.account.as_str() =>
        {
            Ok((*name).to_owned())
        }
        _ => Err(Error::NotFound("The resource you requested does not exist.".into())),
    }
}

pub fn layer_arn(scope: &Scope, layer: &str) -> Arn {
    Arn::new("lambda", scope.region.as_str(), scope.account.as_str(), format!("layer:{layer}"))
}

pub fn layer_version_arn(scope: &Scope, layer: &str, version: u64) -> Arn {
    Arn::new("lambda", scope.region.as_str(), scope.account.as_str(), format!("layer:{layer}:{version}"))
}

/// Takes a layer version's ARN apart; `None` if it is not one of this account and region.
pub fn layer_version(scope: &Scope, arn: &str) -> Option<(String, u64)> {
    let arn: Arn = arn.parse().ok()?;
    let here = arn.service == "lambda" && arn.region == scope.region.as_str() && arn.account == scope.account.as_str();
    let (layer, version) = arn.resource.strip_prefix("layer:")?.split_once(':')?;
    here.then_some((layer.to_owned(), version.parse().ok()?))
}

/// `arn:aws:lambda:<region>:<account>:capacity-provider:<name>`
pub fn capacity_provider_arn(scope: &Scope, provider: &str) -> Arn {
    let resource = format!("capacity-provider:{provider}");
    Arn::new("lambda", scope.region.as_str(), scope.account.as_str(), resource)
}

/// The name in a capacity provider's ARN; `None` if it is not one of this account and region.
pub fn capacity_provider(scope: &Scope, arn: &str) -> Option<String> {
    let arn: Arn = arn.parse().ok()?;
    let name = arn.resource.strip_prefix("capacity-provider:")?.to_owned();
    (arn == capacity_provider_arn(scope, &name)).then_some(name)
}

fn is_account(text: &str) -> bool {
    base::AccountId::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{AccountId, Region};

    fn scope() -> Scope {
        Scope::new(AccountId::development(), Region::parse("us-east-1").expect("a region"))
    }

    #[test]
    fn all_forms_name_the_same_function() {
        for (text, qualifier) in [
            ("f", None),
            ("f:prod", Some("prod")),
            ("f:$LATEST", Some("$LATEST")),
            ("function:f", None),
            ("000000000000:function:f", None),
            ("000000000000:function:f:3", Some("3")),
            ("arn:aws:lambda:us-east-1:000000000000:function:f", None),
            ("arn:aws:lambda:us-east-1:000000000000:function:f:prod", Some("prod")),
        ] {
            let named = function(&scope(), text, None).expect(text);
            assert_eq!((named.name.as_str(), named.qualifier.as_deref()), ("f", qualifier), "{text}");
        }
    }

    #[test]
    fn what_qualifiers_name() {
        for (text, expect) in [
            (None, Qualifier::Latest),
            (Some("$LATEST"), Qualifier::Latest),
            (Some("$LATEST.PUBLISHED"), Qualifier::Version(LATEST_PUBLISHED_NUMBER)),
            (Some("1"), Qualifier::Version(1)),
            (Some("0"), Qualifier::Alias("0")),
            (Some("live"), Qualifier::Alias("live")),
        ] {
            assert_eq!(Qualifier::of(text), expect);
        }
        assert_eq!((version(LATEST_PUBLISHED_NUMBER).as_str(), version(7).as_str()), ("$LATEST.PUBLISHED", "7"));
    }

    #[test]
    fn what_is_refused() {
        let check = |text: &str, parameter, expect: &str| {
            let error = function(&scope(), text, parameter).expect_err(text).to_string();
            assert!(error.contains(expect), "{text}: {error}");
        };
        check("f:a", Some("b"), "The derived qualifier from the function name does not match");
        check("f:a:b", None, "regular expression");
        check("f/x", None, "regular expression");
        check("", None, "regular expression");
        check(&"x".repeat(65), None, "length less than or equal to 64");
        check("arn:aws:lambda:eu-west-1:000000000000:function:f", None, "Functions from 'eu-west-1' are not reachable");
        check("arn:aws:lambda:us-east-1:111111111111:function:f", None, "Function not found: arn:aws:lambda");
    }

    proptest::proptest! {
        /// What is accepted is a name of at most 64 proper characters, whatever came in.
        #[test]
        fn any_text_is_a_name_or_refused(
            text in "[a-z0-9:$_/.-]{0,80}|.{0,40}",
            parameter in proptest::option::of("[a-z0-9$]{0,9}"),
        ) {
            if let Ok(named) = function(&scope(), &text, parameter.as_deref()) {
                proptest::prop_assert!((1..=64).contains(&named.name.len()));
                proptest::prop_assert!(named.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            }
            let _ = layer(&scope(), &text);
            let _ = layer_version(&scope(), &text);
        }
    }
}
