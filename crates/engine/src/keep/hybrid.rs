//! The hybrid histogram policy of "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020).
//!
//! A function's idle times make a histogram. Where it is representative, everything is let go of after a call, made
//! again shortly before the head of the histogram, and kept until its tail. Where it is not, everything is kept for a
//! fixed time; where most idle times lie beyond the histogram, around their mean. Two things differ from the paper: bins
//! grow with time in place of 240 minutes (idle times above [`OUT_OF_BOUNDS`] are out of bounds, as there), and that mean
//! stands for its ARIMA forecast.

use super::history::{EDGES, edge};
use super::{Costs, History, KeepAlive, Plan, Window};
use std::time::Duration;

const HEAD: f64 = 0.05;
const TAIL: f64 = 0.99;
/// Room on both sides.
const MARGIN: f64 = 0.10;
/// Fewer idle times than this say nothing.
const ENTRIES_MIN: u32 = 5;
/// The bins' coefficient of variation from which on a histogram is representative.
const VARIATION_MIN: f64 = 2.0;
const OUT_OF_BOUNDS: Duration = Duration::from_secs(4 * 3600);
/// The share beyond the bounds from which on the forecast is used.
const OUT_SHARE: f64 = 0.5;
/// Room around the forecast.
const FORECAST_MARGIN: f64 = 0.15;

#[derive(Clone, Copy, Debug)]
pub struct Hybrid {
    /// How long what is not understood is kept.
    pub fallback: Duration,
}

impl KeepAlive for Hybrid {
    fn plan(&self, history: &History, _: &Costs) -> Plan {
        let window = self.window(history);
        let instances = if window.is_late() { Duration::ZERO } else { window.until };
        Plan { instances, spares: window, template: window }
    }
}

impl Hybrid {
    fn window(&self, history: &History) -> Window {
        let fallback = Window::first(self.fallback);
        if history.total() < ENTRIES_MIN {
            return fallback;
        }
        if let Some(around) = forecast(history) {
            return around;
        }
        if variation(history) < VARIATION_MIN {
            return fallback;
        }
        let (Some(head), Some(tail)) = (history.percentile(HEAD, false), history.percentile(TAIL, true)) else {
            return fallback;
        };
        // As in the paper a head below a minute means that nothing is let go of.
        let from = if head < Duration::from_secs(60) { Duration::ZERO } else { head.mul_f64(1.0 - MARGIN) };
        Window { from, until: tail.min(OUT_OF_BOUNDS).mul_f64(1.0 + MARGIN) }
    }
}

/// Around the mean of the idle times out of bounds, if most are.
fn forecast(history: &History) -> Option<Window> {
    let out = || history.bins().enumerate().filter(|(at, n)| *n > 0 && edge(*at) > OUT_OF_BOUNDS);
    let count: u32 = out().map(|(_, n)| n).sum();
    if f64::from(count) <= OUT_SHARE * f64::from(history.total()) {
        return None;
    }
    let sum: f64 = out().map(|(at, n)| edge(at.min(EDGES - 1)).as_secs_f64() * f64::from(n)).sum();
    let mean = Duration::from_secs_f64(sum / f64::from(count));
    Some(Window { from: mean.mul_f64(1.0 - FORECAST_MARGIN), until: mean.mul_f64(1.0 + FORECAST_MARGIN) })
}

fn variation(history: &History) -> f64 {
    let n = (EDGES + 1) as f64;
    let mean = f64::from(history.total()) / n;
    let variance = history.bins().map(|count| (f64::from(count) - mean).powi(2)).sum::<f64>() / n;
    variance.sqrt() / mean
}
