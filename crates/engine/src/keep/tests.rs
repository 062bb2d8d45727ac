//! Policies on histories that are told: by the clock, in bursts, unknown.

use super::*;

const MB: u64 = 1 << 20;

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

/// A function that lay idle so long between its calls.
fn history(idle: impl IntoIterator<Item = f64>) -> History {
    let (mut history, mut now) = (History::default(), Duration::ZERO);
    history.called(now);
    history.ended(now);
    for idle in idle {
        now += seconds(idle);
        history.called(now);
        history.ended(now);
    }
    history
}

fn every(period: f64, times: usize) -> History {
    history((0..times).map(|i| period + 0.1 * (i % 7) as f64))
}

fn plain(start_ms: u64, mb: u64) -> Costs {
    Costs { instance_bytes: mb * MB, spare_bytes: mb * MB, start: Duration::from_millis(start_ms), template: None }
}

fn templated(start_ms: u64, mb: u64) -> Costs {
    let template = TemplateCosts { bytes: mb * MB, start: Duration::from_millis(4) };
    Costs { instance_bytes: 4 * MB, spare_bytes: 3 * MB / 2, template: Some(template), ..plain(start_ms, 4) }
}

#[test]
fn idle_time_counts_only_while_nothing_runs() {
    let mut history = History::default();
    assert_eq!(history.idle(seconds(9.0)), Duration::ZERO, "never called");
    history.called(seconds(10.0));
    history.called(seconds(11.0));
    history.ended(seconds(12.0));
    assert_eq!(history.idle(seconds(13.0)), Duration::ZERO, "one still runs");
    history.ended(seconds(14.0));
    assert_eq!(history.idle(seconds(20.0)), seconds(6.0));
    history.called(seconds(24.0));
    assert_eq!((history.count(), history.total()), (1, 1), "the second call came while the first ran");
    let (low, high) = (history.percentile(0.5, false).expect("known"), history.percentile(0.5, true).expect("known"));
    assert!(low <= seconds(10.0) && seconds(10.0) < high && high < low.mul_f64(1.07), "{low:?} {high:?}");
}

#[test]
fn the_past_fades() {
    let mut history = history((0..2000).map(|_| 1.0));
    assert!(history.total() < 1024 && history.count() == 2000, "{}", history.total());
    let mut now = seconds(10_000.0);
    history.ended(now);
    for _ in 0..2000 {
        now += seconds(100.0);
        history.called(now);
        history.ended(now);
    }
    assert!(history.percentile(0.5, false) > Some(seconds(90.0)));
}

#[test]
fn fixed_is_the_same_for_all() {
    let plan = Fixed(seconds(600.0)).plan(&every(5.0, 100), &templated(300, 20));
    assert_eq!(plan, Fixed(seconds(600.0)).plan(&History::default(), &plain(9, 1)));
    assert!(plan.template.contains(seconds(599.0)) && !plan.template.contains(seconds(600.0)));
}

#[test]
fn hybrid_lets_go_until_the_next_call_is_due() {
    let hybrid = Hybrid { fallback: seconds(600.0) };
    let plan = hybrid.plan(&every(1800.0, 50), &plain(300, 40));
    assert_eq!(plan.instances, Duration::ZERO);
    assert!(!plan.spares.contains(seconds(900.0)) && plan.spares.contains(seconds(1800.0)), "{plan:?}");
    assert!(plan.spares.until - plan.spares.from < seconds(600.0), "{plan:?}");
    let unknown = hybrid.plan(&every(1800.0, 3), &plain(300, 40));
    assert_eq!(unknown.instances, seconds(600.0), "too few idle times");
    let frequent = hybrid.plan(&every(20.0, 50), &plain(300, 40));
    assert!(!frequent.spares.is_late() && frequent.instances < seconds(40.0), "{frequent:?}");
}

#[test]
fn hybrid_falls_back_where_the_histogram_says_nothing() {
    let hybrid = Hybrid { fallback: seconds(600.0) };
    // One in every bin: as uniform as can be.
    let spread = history((0..EDGES - 40).map(|at| 0.26 * (at as f64 / 12.0).exp2()));
    assert_eq!(hybrid.plan(&spread, &plain(300, 40)).instances, seconds(600.0));
    let daily = hybrid.plan(&every(86_400.0, 10), &plain(300, 40));
    assert!(daily.spares.contains(seconds(86_400.0)) && !daily.spares.contains(seconds(50_000.0)), "{daily:?}");
}

#[test]
fn cost_keeps_the_dear_longer_than_the_cheap() {
    let cost = Cost::default();
    let some = history([3.0, 40.0, 1.0, 300.0, 9.0, 2.0, 700.0, 20.0]);
    let (cheap, dear) = (cost.plan(&some, &plain(5, 64)), cost.plan(&some, &plain(5_000, 64)));
    assert!(cheap.instances == seconds(2.0), "{cheap:?}");
    assert!(dear.instances > seconds(20.0) && dear.instances <= seconds(600.0), "{dear:?}");
    let (small, large) = (cost.plan(&some, &plain(300, 8)), cost.plan(&some, &plain(300, 800)));
    assert!(small.instances > large.instances, "{small:?} {large:?}");
}

#[test]
fn cost_keeps_what_is_called_all_the_time_and_not_what_is_called_daily() {
    let cost = Cost::default();
    let often = cost.plan(&every(2.0, 200), &templated(300, 20));
    assert!(often.template.contains(seconds(2.5)) && often.spares.contains(seconds(2.5)), "{often:?}");
    let daily = history((0..20).map(|i| 40_000.0 + 9_000.0 * (i * 7 % 11) as f64));
    let daily = cost.plan(&daily, &templated(300, 20));
    assert!(!daily.template.contains(seconds(600.0)), "{daily:?}");
}

#[test]
fn cost_makes_again_in_time_what_is_called_by_the_clock() {
    let cost = Cost::default();
    for costs in [templated(500, 30), plain(500, 60)] {
        let plan = cost.plan(&every(900.0, 40), &costs);
        assert!(plan.spares.is_late() && plan.spares.contains(seconds(900.0)), "{plan:?}");
        assert!(!plan.spares.contains(seconds(600.0)) && plan.instances == seconds(2.0), "{plan:?}");
    }
    let irregular = history((0..40).map(|i| 60.0 * (1 + i * 17 % 29) as f64));
    assert!(!cost.plan(&irregular, &plain(500, 60)).spares.is_late());
}

#[test]
fn a_template_that_saves_little_is_kept_for_its_spare() {
    let ms = Duration::from_millis;
    let template = TemplateCosts { bytes: 12 * MB, start: ms(130) };
    let costs = Costs { template: Some(template), ..plain(130, 80) };
    let plan = Cost::default().plan(&every(3.0, 8), &costs);
    assert!(plan.spares.until > seconds(3.5), "{plan:?}");
    assert!(plan.template.until >= plan.spares.until, "{plan:?}");
    let rare = Cost::default().plan(&history((0..8).map(|i| 3000.0 + 700.0 * f64::from(i % 5))), &costs);
    assert!(rare.spares.until < seconds(10.0) && rare.template.until < seconds(60.0), "{rare:?}");
}
