//! Windows, and their worst case against brute force.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::kinds::sliding::Sliding;

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

/// Under each guard a hundred are sent, sixty answered, and one is refused: the
/// server may have taken in all the others.
#[test]
fn what_is_not_answered_yet_may_have_been_taken_in_under_each_guard() {
    for guard in Guard::ALL {
        let period = Duration::from_secs(1);
        let span = Sliding::new(period, Duration::ZERO);
        let mut window = Window::new(100, period, span, guard, period);
        let mut holds: Vec<Reservation> = (0..100).map(|_| window.take(at(0), 1)).collect();
        for hold in &mut holds {
            window.on(at(0), hold, Event::Sent);
            window.on(at(1), hold, Event::Acked);
        }
        for hold in &mut holds[..60] {
            window.on(at(10), hold, Event::Answered);
        }
        window.on(at(11), &mut holds[60], Event::Refused { explained: false });
        assert_eq!(window.stats().learnt, Some(99), "{guard:?}");
    }
}

/// Every window that begins at an end or just after a beginning is tried.
fn brute_force(attempts: &[(u64, u64)], period: u64) -> u64 {
    let touched = |start: u64| {
        let touches = |&&(from, to): &&(u64, u64)| from < start + period && to >= start;
        attempts.iter().filter(touches).count() as u64
    };
    let starts = attempts.iter().flat_map(|&(from, to)| [to, (from + 1).saturating_sub(period)]);
    starts.map(touched).max().unwrap_or(0)
}

#[test]
fn it_counts_what_brute_force_counts() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let period = random.random_range(5..400);
        let attempts: Vec<(u64, u64)> = (0..random.random_range(1..60))
            .map(|_| {
                let from = random.random_range(0..2_000);
                (from, from + random.random_range(0..500))
            })
            .collect();
        let mut events: Vec<(u64, bool)> =
            attempts.iter().flat_map(|&(from, to)| [(from, true), (to, false)]).collect();
        events.sort_by_key(|&(time, begins)| (time, !begins));
        let mut worst = WorstCase::new(Duration::from_millis(period));
        for (time, begins) in events {
            if begins { worst.taken(at(time), 1) } else { worst.arrived(at(time), 1) }
        }
        assert_eq!(worst.peak(), brute_force(&attempts, period), "seed {seed}");
    }
}

#[test]
fn what_has_cost_less_or_more_counts_so_from_then_on() {
    let mut worst = WorstCase::new(Duration::from_secs(1));
    worst.taken(at(0), 10);
    worst.arrived(at(100), 10);
    worst.settled(at(100), at(100), 10, 4);
    worst.taken(at(200), 5);
    assert_eq!(worst.peak(), 10, "it might have cost that");
    worst.taken(at(300), 2);
    assert_eq!(worst.peak(), 11);
    worst.settled(at(400), at(100), 4, 9);
    assert_eq!(worst.peak(), 16);
    worst.settled(at(2_000), at(100), 9, 99);
    assert_eq!(worst.peak(), 16, "no window holds it any more");
}

#[test]
fn what_was_not_sent_does_not_count_any_longer() {
    let mut worst = WorstCase::new(Duration::from_secs(1));
    worst.taken(at(0), 3);
    worst.returned(3);
    worst.taken(at(0), 1);
    worst.arrived(at(30_000), 1);
    worst.taken(at(31_000), 2);
    assert_eq!(worst.peak(), 3);
}
