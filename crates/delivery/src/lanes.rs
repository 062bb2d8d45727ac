//! Which targets have events due, where each lane was read to, and who may start how many more. No IO.

use crate::Config;
use base::Timestamp;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use store::outbox::{Lane, Place};

/// A lane has at most one in so many of the attempts that are still free for all.
const SHARE: usize = 8;

/// All lanes that have events under way, due, or put off. As large as there are targets with events waiting.
pub(crate) struct Lanes {
    in_flight_max: usize,
    per_target_max: usize,
    in_flight: usize,
    lanes: HashMap<Arc<Lane>, State>,
    /// Lanes that may hold events that are due, each once, in turn.
    ready: VecDeque<Arc<Lane>>,
    /// When a lane's next event falls due.
    timers: BTreeSet<(Timestamp, Arc<Lane>)>,
}

#[derive(Default)]
struct State {
    /// What is before this has been started or has gone. Only a short cut: reading from the start is right, too, as
    /// events in flight are passed over.
    after: Option<Place>,
    /// The ids of events in flight.
    in_flight: HashSet<String>,
    ready: bool,
    timer: Option<Timestamp>,
    /// Of a lane that keeps an order: all of it waits, until the timer, for the event that was put off.
    held: bool,
}

impl Lanes {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            in_flight_max: config.in_flight_max.max(1),
            per_target_max: config.per_target_in_flight_max.max(1),
            in_flight: 0,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
        }
    }

    /// An event of `target` is in its lane at `due`: look there when it is time.
    pub(crate) fn note(&mut self, target: &Lane, due: Timestamp, now: Timestamp) {
        let target = match self.lanes.get_key_value(target) {
            Some((target, _)) => target.clone(),
            None => Arc::new(target.clone()),
        };
        let lane = self.lanes.entry(target.clone()).or_default();
        if lane.after.as_ref().is_some_and(|(read_to, _)| due <= *read_to) {
            lane.after = Some((due, String::new()));
        }
        if lane.held && lane.timer.is_some() {
            return;
        }
        if due <= now && !lane.held {
            self.make_ready(target);
        } else if lane.timer.is_none_or(|timer| due < timer) {
            if let Some(later) = lane.timer.replace(due) {
                self.timers.remove(&(later, target.clone()));
            }
            self.timers.insert((due, target));
        }
    }

    fn make_ready(&mut self, target: Arc<Lane>) {
        let lane = self.lanes.entry(target.clone()).or_default();
        if !std::mem::replace(&mut lane.ready, true) {
            self.ready.push_back(target);
        }
    }

    /// Makes ready the lanes whose time has come.
    pub(crate) fn wake(&mut self, now: Timestamp) {
        while let Some((due, _)) = self.timers.first()
            && *due <= now
            && let Some((_, target)) = self.timers.pop_first()
        {
            if let Some(lane) = self.lanes.get_mut(&*target) {
                (lane.timer, lane.held) = (None, false);
            }
            self.make_ready(target);
        }
    }

    /// When the next lane wakes.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// How many more a lane may start: so many that it then has no more in flight than its own bound, nor than a share
    /// of what remains free for all. So the first target that hangs takes much, each further one less, and a newcomer
    /// finds room unless dozens hang. A lane that keeps an order has one in flight.
    fn room(&self, target: &Lane, lane: &State) -> usize {
        let (free, own) = (self.in_flight_max.saturating_sub(self.in_flight), lane.in_flight.len());
        let share = free.saturating_sub(SHARE * own).div_ceil(SHARE + 1);
        let most = match target.order {
            Some(_) if lane.held => 0,
            Some(_) => 1,
            None => self.per_target_max,
        };
        most.saturating_sub(own).min(share)
    }

    /// The next lane in turn that may start some: where to read on, and how many. It is not ready any more; whoever reads
    /// it says how it stands by [`Lanes::read`]. `held` gets the lanes that have to wait for others to finish.
    pub(crate) fn next_ready(&mut self, held: &mut Vec<Arc<Lane>>) -> Option<(Arc<Lane>, Option<Place>, usize)> {
        while let Some(target) = self.ready.pop_front() {
            let Some(lane) = self.lanes.get(&*target) else { continue };
            match self.room(&target, lane) {
                0 => held.push(target),
                room => {
                    let after = lane.after.clone();
                    self.lanes.entry(target.clone()).or_default().ready = false;
                    return Some((target, after, room));
                }
            }
        }
        None
    }

    /// Puts back what [`Lanes::next_ready`] held.
    pub(crate) fn put_back(&mut self, held: Vec<Arc<Lane>>) {
        self.ready.extend(held);
    }

    pub(crate) fn is_in_flight(&self, target: &Lane, place: &Place) -> bool {
        self.lanes.get(target).is_some_and(|lane| lane.in_flight.contains(&place.1))
    }

    /// Takes an event that is due and not in flight.
    pub(crate) fn start(&mut self, target: &Arc<Lane>, place: Place) {
        let lane = self.lanes.entry(target.clone()).or_default();
        self.in_flight += usize::from(lane.in_flight.insert(place.1.clone()));
        lane.after = Some(place);
    }

    /// Goes past an event without taking it.
    pub(crate) fn pass(&mut self, target: &Arc<Lane>, place: Place) {
        self.lanes.entry(target.clone()).or_default().after = Some(place);
    }

    /// A lane has been read and nothing more was found to start now: `more` says that there may be more behind.
    pub(crate) fn read(&mut self, target: Arc<Lane>, more: bool) {
        if more {
            self.make_ready(target);
        } else {
            self.forget_if_idle(&target);
        }
    }

    /// An attempt has ended and is settled; `again` says when the event is due again.
    pub(crate) fn finished(&mut self, target: &Lane, id: &str, again: Option<Timestamp>, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(target)
            && lane.in_flight.remove(id)
        {
            self.in_flight -= 1;
            // What was put off has kept its place, in front of all others.
            if target.order.is_some() && again.is_some() {
                (lane.held, lane.after) = (true, None);
            }
        }
        match again {
            Some(due) => self.note(target, due, now),
            None => self.forget_if_idle(target),
        }
    }

    fn forget_if_idle(&mut self, target: &Lane) {
        if self.lanes.get(target).is_some_and(|l| l.in_flight.is_empty() && !l.ready && l.timer.is_none()) {
            self.lanes.remove(target);
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(n: usize) -> Lane {
        let target = base::Arn::new("lambda", "us-east-1", "000000000000", format!("function:f{n}"));
        Lane { target, order: None }
    }

    #[test]
    fn a_lane_that_keeps_an_order_has_one_in_flight_and_waits_for_it() {
        let mut lanes = lanes(10, 10);
        let t = Lane { order: Some("group".into()), ..target(0) };
        let mut held = Vec::new();
        lanes.note(&t, Timestamp(1), Timestamp(1));
        let (lane, _, room) = lanes.next_ready(&mut held).expect("ready");
        assert_eq!(room, 1);
        lanes.start(&lane, (Timestamp(1), "a".into()));
        lanes.read(lane, true);
        assert!(lanes.next_ready(&mut held).is_none(), "one is in flight");
        lanes.put_back(std::mem::take(&mut held));
        // Put off; what comes later does not pass it.
        lanes.finished(&t, "a", Some(Timestamp(50)), Timestamp(2));
        lanes.note(&t, Timestamp(3), Timestamp(3));
        assert!(lanes.next_ready(&mut held).is_none() && lanes.next_due() == Some(Timestamp(50)));
        lanes.put_back(std::mem::take(&mut held));
        lanes.wake(Timestamp(50));
        let (lane, after, room) = lanes.next_ready(&mut held).expect("ready");
        assert_eq!((after, room), (None, 1), "read from its start");
        lanes.start(&lane, (Timestamp(1), "a".into()));
        lanes.read(lane, false);
        lanes.finished(&t, "a", None, Timestamp(51));
        assert!(lanes.lanes.is_empty() && lanes.in_flight == 0);
    }

    fn lanes(in_flight_max: usize, per_target_in_flight_max: usize) -> Lanes {
        Lanes::new(&Config { in_flight_max, per_target_in_flight_max, ..Config::default() })
    }

    /// Starts all that `target` may start of an endless supply.
    fn fill(lanes: &mut Lanes, n: usize) -> usize {
        lanes.note(&target(n), Timestamp(1), Timestamp(1));
        let mut started = 0;
        let mut held = Vec::new();
        while let Some((target, _, room)) = lanes.next_ready(&mut held) {
            for _ in 0..room {
                lanes.start(&target, (Timestamp(1), format!("{n}-{started}")));
                started += 1;
            }
            lanes.read(target, true);
        }
        held.clear();
        started
    }

    #[test]
    fn hanging_targets_leave_room_for_newcomers() {
        let mut lanes = lanes(1024, 100);
        assert_eq!(fill(&mut lanes, 0), 100);
        for n in 1..40 {
            assert!((1..=100).contains(&fill(&mut lanes, n)), "target {n}");
        }
        for n in 40..100 {
            fill(&mut lanes, n);
        }
        assert_eq!(lanes.in_flight(), 1024, "all is used in the end");
    }

    #[test]
    fn a_lane_is_read_again_from_what_came_late() {
        let (mut lanes, t) = (lanes(10, 10), target(0));
        lanes.note(&t, Timestamp(50), Timestamp(60));
        let mut held = Vec::new();
        let (lane, after, _) = lanes.next_ready(&mut held).expect("ready");
        assert_eq!(after, None);
        lanes.start(&lane, (Timestamp(50), "a".into()));
        lanes.read(lane, false);
        assert!(lanes.next_ready(&mut held).is_none());
        // Committed late, with a due time that was already passed.
        lanes.note(&t, Timestamp(40), Timestamp(60));
        let (lane, after, _) = lanes.next_ready(&mut held).expect("ready");
        assert_eq!(after, Some((Timestamp(40), String::new())));
        assert!(lanes.is_in_flight(&lane, &(Timestamp(50), "a".into())));
        lanes.read(lane, false);
        // Put off, it wakes the lane then.
        lanes.finished(&t, "a", Some(Timestamp(90)), Timestamp(60));
        assert_eq!(lanes.next_due(), Some(Timestamp(90)));
        lanes.wake(Timestamp(89));
        assert!(lanes.next_ready(&mut held).is_none());
        lanes.wake(Timestamp(90));
        let (lane, ..) = lanes.next_ready(&mut held).expect("ready");
        lanes.read(lane, false);
        assert!(lanes.lanes.is_empty() && lanes.in_flight == 0);
    }
}
