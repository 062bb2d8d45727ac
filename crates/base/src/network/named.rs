//! The networks of a node, by the names under which functions ask for them.

use super::{ALLOW_MAX, NAMING_MAX, Policy};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::str::FromStr;

/// What a function has that names no network, and the most that one of [`Ceiling`]'s own names may give. Each holds what
/// the one before it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ceiling {
    None,
    Platform,
    Internet,
    /// The host's own network, with all that it reaches.
    Host,
}

impl Ceiling {
    const ALL: [Self; 4] = [Self::None, Self::Platform, Self::Internet, Self::Host];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Platform => "platform",
            Self::Internet => "internet",
            Self::Host => "host",
        }
    }

    fn reach(self) -> Reach {
        match self {
            Self::None => Reach::Policy(Policy::NONE),
            Self::Platform => Reach::Policy(Policy::PLATFORM),
            Self::Internet => Reach::Policy(Policy::INTERNET),
            Self::Host => Reach::Host,
        }
    }
}

impl FromStr for Ceiling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| format!("{text:?} is not one of: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Host,
    Policy(Policy),
}

/// What functions may ask for: the names up to the ceiling, and the operator's own policies whatever that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    usual: &'static str,
    by_name: BTreeMap<String, Reach>,
}

impl Default for Networks {
    /// Nothing but the platform.
    fn default() -> Self {
        Self::within(Ceiling::Platform, BTreeMap::new())
    }
}

impl Networks {
    /// # Errors
    /// A name is taken or cannot be one, or a list is too long: the text says which.
    pub fn new(ceiling: Ceiling, named: BTreeMap<String, Policy>) -> Result<Self, String> {
        let own = |name: &str| Ceiling::ALL.iter().any(|ceiling| ceiling.name() == name);
        for (name, policy) in &named {
            if own(name) {
                return Err(format!("networks.{name}: this name has its meaning already"));
            }
            // What the Lambda API takes as the end of a security group's identifier.
            if !(1..=64).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(format!("networks.{name}: a name is 1 to 64 letters and digits"));
            }
            if policy.allow.len() > ALLOW_MAX {
                return Err(format!("networks.{name}: more than {ALLOW_MAX} entries"));
            }
            if policy.lists_names() && policy.resolver {
                return Err(format!(
                    "networks.{name}: names are listed where those alone are resolved: without `internet` and `resolver`"
                ));
            }
        }
        if named.values().filter(|policy| policy.lists_names()).count() > NAMING_MAX {
            return Err(format!("networks: more than {NAMING_MAX} of them list names"));
        }
        Ok(Self::within(ceiling, named))
    }

    fn within(ceiling: Ceiling, named: BTreeMap<String, Policy>) -> Self {
        let mut by_name: BTreeMap<_, _> =
            named.into_iter().map(|(name, policy)| (name, Reach::Policy(policy))).collect();
        let within = Ceiling::ALL.into_iter().filter(|one| *one <= ceiling);
        by_name.extend(within.map(|one| (one.name().to_owned(), one.reach())));
        Self { usual: ceiling.name(), by_name }
    }

    /// The name and what it stands for; of the usual one where none is given.
    pub fn get(&self, name: Option<&str>) -> Option<(&str, &Reach)> {
        self.by_name.get_key_value(name.unwrap_or(self.usual)).map(|(name, reach)| (name.as_str(), reach))
    }

    pub fn usual(&self) -> &str {
        self.usual
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Those that need a way out of the sandbox.
    pub fn leading_out(&self) -> BTreeMap<String, Policy> {
        let out = |(name, reach): (&String, &Reach)| match reach {
            Reach::Policy(policy) if policy.leads_out() => Some((name.clone(), policy.clone())),
            _ => None,
        };
        self.by_name.iter().filter_map(out).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_bounds_the_usual_names_and_not_the_operators() {
        let named = BTreeMap::from([("web".to_owned(), Policy::INTERNET)]);
        let shared = Networks::new(Ceiling::Platform, named.clone()).expect("networks");
        assert_eq!(shared.names().collect::<Vec<_>>(), ["none", "platform", "web"]);
        assert_eq!(shared.get(None), Some(("platform", &Reach::Policy(Policy::PLATFORM))));
        assert_eq!(shared.get(Some("web")), Some(("web", &Reach::Policy(Policy::INTERNET))));
        assert_eq!((shared.get(Some("internet")), shared.get(Some("host"))), (None, None));
        assert_eq!(shared.leading_out(), named);

        let host = Networks::new(Ceiling::Host, BTreeMap::new()).expect("networks");
        assert_eq!(host.get(None), Some(("host", &Reach::Host)));
        assert_eq!(host.leading_out().keys().collect::<Vec<_>>(), ["internet"]);
        let none = Networks::new(Ceiling::None, BTreeMap::new()).expect("networks");
        assert_eq!((none.names().count(), none.leading_out().len()), (1, 0));
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let of = |text: &str, count| vec![text.parse().expect("listed"); count];
        let long = Policy { allow: of("10.0.0.0/8", ALLOW_MAX + 1), ..Policy::NONE };
        let both = Policy { allow: of("example.com", 1), ..Policy::INTERNET };
        for (name, policy) in
            [("internet", Policy::NONE), ("", Policy::NONE), ("a-b", Policy::NONE), ("long", long), ("both", both)]
        {
            let refused = Networks::new(Ceiling::Internet, BTreeMap::from([(name.to_owned(), policy)]));
            assert!(refused.expect_err(name).contains(&format!("networks.{name}")));
        }
    }
}
