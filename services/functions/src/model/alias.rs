//! Aliases: which version they mean, and the weights of a second one.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Checks an alias's additional weights: at most one further version, published, not the alias's own.
pub fn check_weights(version: &str, weights: &BTreeMap<String, f64>) -> Result<()> {
    if weights.is_empty() {
        return Ok(());
    }
    if version == super::LATEST {
        let message = "$LATEST is not supported for an alias pointing to more than 1 version";
        return Err(Error::Invalid(message.into()));
    }
    if weights.len() > 1 {
        return Err(Error::Invalid("Number of items in AdditionalVersionWeights cannot be greater than 1".into()));
    }
    for (other, weight) in weights {
        if other == version {
            return Err(Error::Invalid(format!(
                "Invalid function version {other}. Function version {other} is already included in routing \
                 configuration."
            )));
        }
        if other.parse::<u64>().is_err() {
            return Err(Error::Invalid(format!("Invalid function version {other}.")));
        }
        if !(0.0..=1.0).contains(weight) {
            return Err(Error::constraint(
                weight,
                "routingConfig.additionalVersionWeights",
                "Member must be in [0, 1]",
            ));
        }
    }
    Ok(())
}

/// The version that one request goes to. `draw` is uniform over all `u64`.
pub fn choose<'a>(version: &'a str, weights: &'a BTreeMap<String, f64>, draw: u64) -> &'a str {
    // 53 bits are what an f64 holds exactly: a uniform number in [0, 1).
    let mut at = (draw >> 11) as f64 / (1u64 << 53) as f64;
    for (other, weight) in weights {
        if at < *weight {
            return other;
        }
        at -= weight;
    }
    version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_split_the_draws() {
        let weights = BTreeMap::from([("2".to_owned(), 0.25)]);
        let second = (0..1000u64).filter(|i| choose("1", &weights, i * (u64::MAX / 1000)) == "2").count();
        assert!((249..=251).contains(&second), "{second}");
        assert_eq!(choose("1", &BTreeMap::new(), 0), "1");
        assert_eq!(choose("1", &BTreeMap::from([("2".to_owned(), 1.0)]), u64::MAX), "2");
        assert_eq!(choose("1", &BTreeMap::from([("2".to_owned(), 0.0)]), 0), "1");
    }

    #[test]
    fn what_weights_may_be() {
        let check = |version, weights: &[(&str, f64)]| {
            check_weights(version, &weights.iter().map(|(v, w)| ((*v).to_owned(), *w)).collect())
        };
        assert!(check("1", &[("2", 0.5)]).is_ok());
        assert!(check("1", &[("1", 0.5)]).is_err());
        assert!(check("1", &[("2", 0.5), ("3", 0.1)]).is_err());
        assert!(check("$LATEST", &[("2", 0.5)]).is_err());
        assert!(check("1", &[("2", 1.5)]).is_err());
    }
}
