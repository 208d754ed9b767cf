//! Whatever happens to an attempt, no other may go sooner for it than the limit says, for each kind.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::config::Guard;
use crate::kinds::{KINDS, Spec, Terms, concurrency, spacing};
use crate::limiter::{Availability, Event, Reservation};
use crate::time::Time;

/// An attempt, and the event that is next.
struct Attempt {
    hold: Reservation,
    next: Event,
}

/// One of the events that may follow this one, if any may.
fn event_after(random: &mut StdRng, event: Event, units: u64) -> Option<Event> {
    Some(match event {
        Event::Sent if random.random_bool(0.5) => Event::Acked,
        Event::Sent | Event::Acked => match random.random_range(0..10) {
            0 => Event::Lost,
            1 => Event::Refused { explained: random.random_bool(0.5) },
            2 => Event::Returned,
            _ => Event::Answered,
        },
        Event::Answered if random.random_bool(0.3) => {
            Event::Settled(random.random_range(0..=units * 2))
        }
        Event::Finished => return None,
        _ => Event::Finished,
    })
}

fn check(spec: &Spec, guard: Guard, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let units = if seed.is_multiple_of(8) { 300 } else { random.random_range(1..8) };
    let terms = Terms { guard, may_spread: true, ..Terms::strict(units, Duration::from_secs(1)) };
    let linger = Duration::from_secs(2);
    let mut limit = (spec.build)(&Terms { linger, ..terms });
    let (mut now, mut open) = (Time::from_nanos(1_000_000_000_000), Vec::<Attempt>::new());
    for _ in 0..200 {
        now = now.after(Duration::from_micros(random.random_range(0..40_000)));
        let cost = random.random_range(1..=units.div_ceil(3));
        if random.random_bool(0.5) && limit.earliest(now, cost) == Availability::Now {
            open.push(Attempt { hold: limit.take(now, cost), next: Event::Sent });
        }
        if open.is_empty() {
            continue;
        }
        let index = random.random_range(0..open.len());
        let Attempt { mut hold, next } = open.swap_remove(index);
        let costs = [1, 2, units.div_ceil(2), units];
        let before = costs.map(|cost| limit.earliest(now, cost));
        let relief = limit.on(now, &mut hold, next);
        for (cost, before) in costs.into_iter().zip(before) {
            let after = limit.earliest(now, cost);
            assert!(
                after >= before.min(relief),
                "{:?} {guard:?} seed {seed}: {next:?} at {now:?} lets {cost} of {units} go {after:?}, not {before:?}, and says {relief:?}",
                spec.form
            );
        }
        if let Some(next) = event_after(&mut random, next, hold.units) {
            open.push(Attempt { hold, next });
        }
    }
}

#[test]
fn no_event_lets_an_attempt_go_sooner_than_it_says() {
    let settings = [&concurrency::CONCURRENCY, &spacing::SPACING];
    for spec in KINDS.iter().copied().chain(settings) {
        for guard in Guard::ALL {
            for seed in 0..60 {
                check(spec, guard, seed);
            }
        }
    }
}
