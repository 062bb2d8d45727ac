//! What a shelf promises, call by call; the store comes in with the room's own tests.

use super::*;
use bytes::Bytes;

const GROUP_A: &str = "a";
const GROUP_B: &str = "b";

fn held(visible: u64, receipt: u64, group: Option<&str>) -> Held {
    Held { visible, receives: 1, first_received: 0, received: 0, receipt, group: group.map(Into::into) }
}

fn fresh(group: Option<&str>) -> Fresh {
    Fresh { group: group.map(Into::into), kept: None }
}

fn send(shelf: &mut Shelf, now: u64, delay: u64, group: Option<&str>) -> Place {
    let group_name = group.map(Into::into);
    let place = shelf.pend(now, delay, group_name.as_ref());
    shelf.sent(place, fresh(group), now + delay, now);
    place
}

fn places(found: &Found) -> Vec<Place> {
    found.taken.iter().map(|t| t.place).collect()
}

/// Takes and receives until `visible`.
fn receive(shelf: &mut Shelf, now: u64, want: usize, visible: u64) -> Vec<Place> {
    let found = shelf.take(now, 0, want);
    let all = places(&found);
    for taken in found.taken {
        let group = taken.group();
        let held = held(visible, taken.place.stamp, group.as_deref());
        shelf.settle(taken, Settled::Received(held));
    }
    all
}

#[test]
fn messages_come_in_order_and_come_back_in_their_time() {
    let mut shelf = Shelf::empty(false, 100);
    let (a, b, c) = (send(&mut shelf, 10, 0, None), send(&mut shelf, 11, 0, None), send(&mut shelf, 12, 50, None));
    assert_eq!(receive(&mut shelf, 20, 1, 30), [a]);
    assert_eq!(shelf.counts(20), Counts { visible: 1, in_flight: 1, delayed: 1 });
    assert_eq!(receive(&mut shelf, 29, 10, 100), [b]);
    assert_eq!(receive(&mut shelf, 29, 10, 100), []);
    assert_eq!(shelf.next_due(29, 0), Some(30));
    assert_eq!(receive(&mut shelf, 30, 10, 200), [a]);
    assert_eq!(shelf.next_due(30, 0), Some(62), "the delayed one");
    assert_eq!(receive(&mut shelf, 62, 10, 200), [c]);
    assert_eq!(shelf.counts(62), Counts { visible: 0, in_flight: 3, delayed: 0 });
}

#[test]
fn who_waited_longest_is_next() {
    let mut shelf = Shelf::empty(false, 100);
    let a = send(&mut shelf, 10, 0, None);
    assert_eq!(receive(&mut shelf, 10, 1, 20), [a]);
    let (b, c) = (send(&mut shelf, 15, 0, None), send(&mut shelf, 25, 0, None));
    assert_eq!(receive(&mut shelf, 30, 10, 99), [b, a, c]);
}

#[test]
fn deleting_takes_the_latest_receipt() {
    let mut shelf = Shelf::empty(false, 100);
    let a = send(&mut shelf, 10, 0, None);
    receive(&mut shelf, 10, 1, 20);
    assert_eq!(shelf.take_held(11, a, 7).expect_err("another receipt"), NotHeld::Again);
    let taken = shelf.take_held(11, a, a.stamp).expect("in flight");
    assert_eq!(shelf.take_held(11, a, a.stamp).expect_err("busy"), NotHeld::Busy);
    // The deletion failed: it comes back in its time, and can be deleted then too.
    shelf.settle(taken, Settled::Returned);
    assert_eq!(shelf.counts(11), Counts { visible: 0, in_flight: 1, delayed: 0 });
    let taken = shelf.take_held(20, a, a.stamp).expect("visible, not received again");
    shelf.settle(taken, Settled::Gone);
    assert_eq!(shelf.take_held(20, a, a.stamp).expect_err("gone"), NotHeld::Gone);
    assert_eq!(shelf.counts(30), Counts::default());
    assert!(shelf.at_rest());
}

#[test]
fn a_group_gives_nothing_while_it_is_in_flight() {
    let mut shelf = Shelf::empty(true, 100);
    let a1 = send(&mut shelf, 10, 0, Some(GROUP_A));
    let b1 = send(&mut shelf, 11, 0, Some(GROUP_B));
    let a2 = send(&mut shelf, 12, 0, Some(GROUP_A));
    assert_eq!(receive(&mut shelf, 20, 1, 30), [a1]);
    assert_eq!(receive(&mut shelf, 20, 10, 99), [b1]);
    assert_eq!(receive(&mut shelf, 29, 10, 99), []);
    // Back, and first in its group.
    assert_eq!(receive(&mut shelf, 30, 10, 40), [a1, a2]);
    let taken = shelf.take_held(31, a1, a1.stamp).expect("in flight");
    shelf.settle(taken, Settled::Gone);
    assert_eq!(receive(&mut shelf, 31, 10, 99), [], "the second is still in flight");
    let taken = shelf.take_held(32, a2, a2.stamp).expect("in flight");
    assert_eq!(shelf.take(32, 0, 10).taken.len(), 0, "until it is known to be gone");
    shelf.settle(taken, Settled::Gone);
    let a3 = send(&mut shelf, 33, 0, Some(GROUP_A));
    assert_eq!(receive(&mut shelf, 33, 10, 99), [a3]);
    assert_eq!(shelf.take_held(99, a3, a3.stamp).expect_err("too late in a group"), NotHeld::Expired);
}

#[test]
fn nothing_overtakes_a_send_of_its_group_that_is_under_way() {
    let mut shelf = Shelf::empty(true, 100);
    let group = GROUP_A.into();
    let first = shelf.pend(10, 0, Some(&group));
    let second = send(&mut shelf, 11, 0, Some(GROUP_A));
    let other = send(&mut shelf, 12, 0, Some(GROUP_B));
    assert_eq!(receive(&mut shelf, 20, 10, 99), [other]);
    shelf.sent(first, fresh(Some(GROUP_A)), 10, 20);
    assert_eq!(receive(&mut shelf, 20, 10, 99), [first, second]);
}

#[test]
fn a_fifo_delay_counts_from_sending() {
    let mut shelf = Shelf::empty(true, 100);
    let a = send(&mut shelf, 10, 0, Some(GROUP_A));
    assert!(shelf.take(10, 5, 10).taken.is_empty() && !shelf.has_more(14, 5));
    assert_eq!(shelf.next_due(10, 5), Some(15));
    assert!(shelf.has_more(15, 5));
    assert_eq!(places(&shelf.take(15, 5, 10)), [a]);
}

/// A store of what was sent, for fills.
fn fill(shelf: &mut Shelf, stored: &[Place], page: usize) {
    let fills = shelf.take(0, 0, 0).fill.unwrap_or(shelf.fills);
    let Some(from) = shelf.begin_fill(fills) else { return };
    let read: Vec<Place> = stored.iter().copied().filter(|p| *p >= from).take(page).collect();
    let next = (read.len() == page).then(|| read[page - 1].next());
    shelf.end_fill(read.into_iter().map(|p| (p, fresh(None))).collect(), next);
}

#[test]
fn the_window_is_bounded_and_filled_again() {
    let mut shelf = Shelf::empty(false, 4);
    let all: Vec<Place> = (0..10).map(|n| send(&mut shelf, 10 + n, 0, None)).collect();
    let mut got = Vec::new();
    loop {
        let found = shelf.take(100, 0, 3);
        if found.taken.is_empty() {
            if found.fill.is_none() {
                break;
            }
            fill(&mut shelf, &all, 3);
        }
        for taken in found.taken {
            got.push(taken.place);
            let held = held(1000, 1, None);
            shelf.settle(taken, Settled::Received(held));
        }
    }
    assert_eq!(got, all);
    assert_eq!(shelf.counts(100), Counts { visible: 0, in_flight: 10, delayed: 0 });
}

#[test]
fn what_was_stored_before_is_found_once() {
    let stored: Vec<Place> = (1..=5).map(|n| Place { due: n, stamp: n }).collect();
    let mut shelf = Shelf::stored(false, 100, vec![(stored[1], held(50, 9, None))], stored.last().copied());
    assert!(shelf.take(20, 0, 10).fill.is_some());
    // Sent while the store is read, too late for the reading.
    let from = shelf.begin_fill(shelf.fills).expect("nothing is known");
    let late = send(&mut shelf, 20, 0, None);
    let read = stored.iter().filter(|p| **p >= from).map(|p| (*p, fresh(None))).collect();
    shelf.end_fill(read, None);
    assert_eq!(receive(&mut shelf, 20, 10, 99), [stored[0], stored[2], stored[3], stored[4], late]);
    assert_eq!(receive(&mut shelf, 50, 10, 99), [stored[1]]);
    shelf.begin_count().expect("nothing is counted");
    let all: Vec<Place> = stored.iter().copied().chain([late]).collect();
    shelf.counted(&all, None, 60, |p| p.due);
    assert_eq!(shelf.counts(60), Counts { visible: 0, in_flight: 6, delayed: 0 });
}

#[test]
fn a_doubtful_send_is_looked_for() {
    let mut shelf = Shelf::empty(false, 100);
    let a = send(&mut shelf, 10, 0, None);
    let doubtful = shelf.pend(11, 0, None);
    let c = send(&mut shelf, 12, 0, None);
    let begun = shelf.begin_fill(shelf.fills);
    assert_eq!(begun, None, "all is known");
    shelf.doubt(doubtful, None);
    assert_eq!(receive(&mut shelf, 20, 10, 99), [a]);
    assert!(shelf.take(20, 0, 10).fill.is_some());
    fill(&mut shelf, &[a, doubtful, c], 10);
    assert_eq!(receive(&mut shelf, 20, 10, 99), [doubtful, c]);
    // A fill that was reading when the doubt came up does not count.
    let doubtful = shelf.pend(21, 0, None);
    let other = shelf.pend(22, 0, None);
    shelf.doubt(other, None);
    shelf.begin_fill(shelf.fills);
    shelf.doubt(doubtful, None);
    shelf.end_fill(Vec::new(), None);
    assert!(shelf.take(30, 0, 10).fill.is_some());
}

#[test]
fn counting_goes_on_while_messages_come_and_go() {
    let stored: Vec<Place> = (1..=6).map(|n| Place { due: n, stamp: n }).collect();
    let mut shelf = Shelf::stored(false, 100, Vec::new(), stored.last().copied());
    fill(&mut shelf, &stored, 10);
    shelf.begin_count();
    shelf.counted(&stored[..3], Some(stored[3]), 10, |p| p.due);
    let from = shelf.begin_count();
    assert_eq!(from, Some(stored[3]));
    // Counted, and not yet counted.
    assert_eq!(receive(&mut shelf, 10, 4, 99), stored[..4]);
    let sent = send(&mut shelf, 10, 0, None);
    // The page was read before the last one was sent.
    shelf.counted(&stored[3..], None, 10, |p| p.due);
    assert_eq!((shelf.begin_count(), sent > stored[5]), (None, true));
    assert_eq!(shelf.counts(11), Counts { visible: 3, in_flight: 4, delayed: 0 });
    send(&mut shelf, 12, 0, None);
    assert_eq!(shelf.counts(13).visible, 4);
}

#[test]
fn what_is_past_its_time_is_forgotten_wherever_it_is() {
    let mut shelf = Shelf::empty(true, 100);
    let a = send(&mut shelf, 10, 0, Some(GROUP_A));
    let a2 = send(&mut shelf, 11, 0, Some(GROUP_A));
    assert_eq!(receive(&mut shelf, 12, 1, 50), [a]);
    assert!(shelf.expire(a));
    assert_eq!(receive(&mut shelf, 13, 10, 50), [a2], "the group is free");
    let taken = shelf.take_held(14, a2, a2.stamp).expect("in flight");
    assert!(!shelf.expire(a2), "an operation works on it");
    shelf.settle(taken, Settled::Gone);
    assert_eq!(shelf.counts(15), Counts::default());
}

#[test]
fn a_budget_is_given_back() {
    let budget = Budget::new(10);
    let kept = budget.keep(Bytes::from_static(b"12345678")).expect("room");
    assert!(budget.keep(Bytes::from_static(b"123")).is_none());
    let again = kept.clone();
    drop(kept);
    assert!(budget.keep(Bytes::from_static(b"123")).is_none(), "still kept");
    drop(again);
    assert!(budget.keep(Bytes::from_static(b"1234567890")).is_some());
}

#[test]
fn a_noisy_tenant_waits_behind_quiet_ones() {
    let mut shelf = Shelf::empty(false, 100);
    let noisy: Vec<_> = (0..50).map(|n| send(&mut shelf, 10 + n, 0, Some(GROUP_A))).collect();
    let quiet = send(&mut shelf, 70, 0, Some(GROUP_B));
    let nameless = send(&mut shelf, 71, 0, None);
    assert_eq!(receive(&mut shelf, 80, 30, 500), noisy[..30], "who waited longest is next until somebody is noisy");
    assert_eq!(receive(&mut shelf, 80, 3, 500), [quiet, nameless, noisy[30]]);
    let back = send(&mut shelf, 90, 0, Some(GROUP_B));
    assert_eq!(receive(&mut shelf, 90, 1, 100), [back]);
    assert_eq!(receive(&mut shelf, 100, 2, 500), [back, noisy[31]], "what came back of a quiet one goes first too");
    assert_eq!(
        receive(&mut shelf, 600, 2, 900),
        [noisy[32], noisy[33]],
        "nothing is in flight any more: nobody is noisy"
    );
}

#[test]
fn a_backlog_does_not_hide_quiet_tenants() {
    let mut shelf = Shelf::stored(false, 4, Vec::new(), None);
    let stored = |n: u64, group| (Place { due: n, stamp: n }, fresh(Some(group)));
    let fill = |shelf: &mut Shelf, found: &Found, from: u64, group| {
        let begun = shelf.begin_fill(found.fill.expect("more is stored")).expect("nobody has yet");
        assert!(begun.due <= from);
        shelf.end_fill((from..from + 40).map(|n| stored(n, group)).collect(), Some(Place { due: from + 40, stamp: 0 }));
    };
    let found = shelf.take(500, 0, 1);
    fill(&mut shelf, &found, 1, GROUP_A);
    assert_eq!(receive(&mut shelf, 500, 30, 900).len(), 30);
    let found = shelf.take(500, 0, 1);
    assert_eq!(found.taken.len(), 1, "it is given out all the same");
    fill(&mut shelf, &found, 41, GROUP_B);
    assert_eq!(places(&shelf.take(500, 0, 1)), [Place { due: 41, stamp: 41 }]);
}
