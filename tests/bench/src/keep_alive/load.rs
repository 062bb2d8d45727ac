//! A load like that of a public cloud, from a seed.
//!
//! The tables are digitised from the figures of "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020), which
//! describe the Azure Functions trace of 2019 (CC-BY 4.0, Microsoft); the figures and that trace are the source, the
//! sampling is ours. What is drawn for each function: its trigger, its rate given the trigger, how bursty it is, how long
//! it runs, what memory its process holds and what its initialisation takes.

/// Splitmix64: small, seeded, good enough to draw from tables.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform, above 0 and below 1.
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// By inverse CDF from a table of (value, share at or below), logarithmic between its points.
    fn table(&mut self, table: &[(f64, f64)]) -> f64 {
        let at = self.unit() * table.last().map_or(1.0, |last| last.1);
        let mut before = (table[0].0 / 2.0, 0.0);
        for &(value, share) in table {
            if at <= share {
                let part = if share > before.1 { (at - before.1) / (share - before.1) } else { 1.0 };
                return (before.0.ln() + part * (value.ln() - before.0.ln())).exp();
            }
            before = (value, share);
        }
        before.0
    }
}

/// Invocations a day of a function (figure 5a).
const RATES: &[(f64, f64)] = &[
    (0.07, 0.065),
    (0.15, 0.116),
    (0.29, 0.167),
    (0.5, 0.209),
    (0.99, 0.30),
    (1.0, 0.344),
    (2.0, 0.415),
    (5.0, 0.505),
    (10.0, 0.561),
    (24.0, 0.643),
    (48.0, 0.694),
    (96.0, 0.738),
    (144.0, 0.769),
    (288.0, 0.818),
    (500.0, 0.866),
    (1e3, 0.895),
    (1440.0, 0.917),
    (3e3, 0.946),
    (1e4, 0.969),
    (3e4, 0.983),
    (3e5, 0.997),
    (3e6, 0.9997),
];
/// What timers are set to: invocations a day, and the share of timers (the steps of figure 5a).
const TIMERS: &[(f64, f64)] = &[(1.0, 0.28), (24.0, 0.25), (96.0, 0.15), (288.0, 0.20), (1440.0, 0.12)];
/// Share of functions that a timer triggers (figure 2).
const TIMER_SHARE: f64 = 0.156;
/// Coefficient of variation of the times between the calls of what is not a timer (figure 6).
const VARIATIONS: &[(f64, f64)] = &[
    (0.05, 0.11),
    (0.1, 0.13),
    (0.25, 0.18),
    (0.5, 0.23),
    (1.0, 0.35),
    (2.0, 0.55),
    (3.0, 0.68),
    (4.0, 0.77),
    (6.0, 0.85),
    (10.0, 0.915),
    (20.0, 1.0),
];
/// A function's average duration in seconds (figure 7).
const DURATIONS: &[(f64, f64)] = &[
    (0.01, 0.008),
    (0.02, 0.035),
    (0.05, 0.084),
    (0.1, 0.143),
    (0.2, 0.239),
    (0.3, 0.298),
    (0.5, 0.382),
    (1.0, 0.512),
    (2.0, 0.638),
    (3.0, 0.71),
    (5.0, 0.764),
    (10.0, 0.84),
    (20.0, 0.90),
    (30.0, 0.92),
    (60.0, 0.946),
    (120.0, 0.97),
];
/// Memory of an application in MB (the Burr fit of figure 8, as quantiles); see [`Function::process_mb`].
const MEMORIES: &[(f64, f64)] = &[
    (90.0, 0.01),
    (100.0, 0.09),
    (110.0, 0.17),
    (120.0, 0.30),
    (130.0, 0.42),
    (140.0, 0.50),
    (160.0, 0.59),
    (180.0, 0.69),
    (200.0, 0.825),
    (220.0, 0.884),
    (250.0, 0.92),
    (300.0, 0.943),
    (400.0, 0.97),
    (700.0, 0.99),
];
const MEMORY_MEDIAN_MB: f64 = 140.0;
/// Peak over trough of a day.
const DAILY: f64 = 3.2;
/// Within a function durations are lognormal with this sigma (assumed).
const DURATION_SIGMA: f64 = 0.8;
const DAY_S: f64 = 86_400.0;

pub struct Function {
    pub timer: bool,
    pub per_day: f64,
    variation: f64,
    duration_s: f64,
    /// Memory of a plain process that runs it. The trace's are .NET and Node.js workers on Windows: scaled so that the
    /// median is what a Python process with boto3 was measured to hold.
    pub process_mb: f64,
    /// Initialisation of a plain process: lognormal (assumed) around the median measured for a Python function that
    /// imports a client library.
    pub init_s: f64,
}

impl Function {
    pub fn draw(draw: &mut Draw, process_median_mb: f64, init_median_s: f64) -> Self {
        let timer = draw.unit() < TIMER_SHARE;
        let per_day = if timer {
            let at = draw.unit();
            let mut below = 0.0;
            let step = TIMERS.iter().find(|(_, share)| {
                below += share;
                at <= below
            });
            step.unwrap_or(&TIMERS[0]).0
        } else {
            draw.table(RATES)
        };
        Self {
            timer,
            per_day,
            variation: if timer { 0.0 } else { draw.table(VARIATIONS) },
            duration_s: draw.table(DURATIONS),
            process_mb: draw.table(MEMORIES) * process_median_mb / MEMORY_MEDIAN_MB,
            init_s: draw.lognormal(init_median_s, 0.8),
        }
    }

    /// Its calls in so many days: when each comes and how long it runs, in seconds. Timers keep to the clock within a
    /// second; others are a renewal process (regular by a normal spread, bursty by Weibull) whose pace follows the day.
    pub fn calls(&self, draw: &mut Draw, days: f64) -> Vec<(f64, f64)> {
        let (period, end) = (DAY_S / self.per_day, days * DAY_S);
        let shape = weibull_shape(self.variation);
        let scale = period / gamma(1.0 + 1.0 / shape);
        let phase = draw.unit();
        let mut calls = Vec::new();
        // The middle of an interval: a renewal process has been going on for long.
        let mut due = period * phase;
        while due < end {
            let at = if self.timer { due + draw.unit() } else { due };
            let run = draw.lognormal(self.duration_s / (DURATION_SIGMA * DURATION_SIGMA / 2.0).exp(), DURATION_SIGMA);
            calls.push((at, run.min(900.0)));
            due += if self.timer {
                period
            } else if self.variation <= 0.5 {
                (period * (1.0 + self.variation * draw.normal())).max(period * 0.01) / pace(due)
            } else {
                scale * (-draw.unit().ln()).powf(1.0 / shape) / pace(due)
            };
        }
        calls
    }
}

/// How fast the day goes at this time, one on average.
fn pace(at_s: f64) -> f64 {
    let swing = (DAILY - 1.0) / (DAILY + 1.0);
    1.0 + swing * (std::f64::consts::TAU * at_s / DAY_S).sin()
}

/// The shape of the Weibull distribution with this coefficient of variation.
fn weibull_shape(variation: f64) -> f64 {
    let of = |k: f64| (gamma(1.0 + 2.0 / k) / gamma(1.0 + 1.0 / k).powi(2) - 1.0).sqrt();
    let (mut low, mut high) = (0.15, 4.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if of(middle) > variation { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// Lanczos's approximation.
fn gamma(x: f64) -> f64 {
    const G: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let t = x + 7.5;
    let sum = G.iter().enumerate().skip(1).map(|(i, g)| g / (x + i as f64)).sum::<f64>() + G[0];
    (std::f64::consts::TAU).sqrt() * t.powf(x + 0.5) * (-t).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_tables() {
        let mut draw = Draw::new(1);
        let functions: Vec<_> = (0..20_000).map(|_| Function::draw(&mut draw, 41.0, 0.3)).collect();
        let share = |of: &dyn Fn(&Function) -> bool| functions.iter().filter(|f| of(f)).count() as f64 / 20_000.0;
        assert!((share(&|f| f.timer) - 0.156).abs() < 0.01);
        assert!((share(&|f| f.process_mb < 41.0) - 0.5).abs() < 0.02);
        let others = share(&|f| !f.timer);
        assert!((share(&|f| !f.timer && f.per_day <= 24.0) / others - 0.643).abs() < 0.02);
        assert!((share(&|f| !f.timer && f.duration_s <= 1.0) / others - 0.528).abs() < 0.02);
    }

    #[test]
    fn calls_come_at_their_rate_and_as_bursty_as_drawn() {
        let mut draw = Draw::new(2);
        let with = |variation| {
            let timer = false;
            Function { timer, per_day: 2000.0, variation, duration_s: 1.0, process_mb: 41.0, init_s: 0.3 }
        };
        for variation in [0.1, 1.0, 3.0] {
            let calls = with(variation).calls(&mut draw, 20.0);
            assert!((calls.len() as f64 / 40_000.0 - 1.0).abs() < 0.15, "{variation}: {}", calls.len());
            let gaps: Vec<f64> = calls.windows(2).map(|w| w[1].0 - w[0].0).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let spread = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt() / mean;
            // The day's pace adds to it.
            assert!(spread > variation * 0.8 && spread < variation * 1.2 + 0.5, "{variation}: {spread}");
        }
        assert!((gamma(5.0) - 24.0).abs() < 1e-9);
    }
}
