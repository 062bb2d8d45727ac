//! Provisioned concurrency: how an alias's instances are shared between its versions.

use std::collections::BTreeMap;

/// The versions that an alias means, with their shares of `wanted` by weight. Those are rounded to the nearest; the
/// alias's own version has the rest.
pub fn shares(version: &str, weights: &BTreeMap<String, f64>, wanted: u32) -> Vec<(String, u32)> {
    let mut left = wanted;
    let mut shares = Vec::new();
    for (other, weight) in weights {
        let share = ((f64::from(wanted) * weight).round() as u32).min(left);
        left -= share;
        shares.push((other.clone(), share));
    }
    shares.push((version.to_owned(), left));
    shares.retain(|(_, share)| *share > 0);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_share_what_is_wanted() {
        let weights = |weight| BTreeMap::from([("2".to_owned(), weight)]);
        let named = |shares: &[(&str, u32)]| shares.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(shares("1", &BTreeMap::new(), 5), named(&[("1", 5)]));
        assert_eq!(shares("1", &weights(0.25), 10), named(&[("2", 3), ("1", 7)]));
        assert_eq!(shares("1", &weights(1.0), 10), named(&[("2", 10)]));
        assert_eq!(shares("1", &weights(0.01), 1), named(&[("1", 1)]));
    }
}
