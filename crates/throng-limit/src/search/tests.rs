//! The steps of a search, one after the other.

use std::collections::VecDeque;

use super::*;

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn search() -> PaceSearch {
    PaceSearch::new(100, Duration::from_secs(1))
}

#[test]
fn a_server_wants_gaps_if_it_refuses_what_comes_sooner_than_all_that_it_took() {
    for (gap, wants_gaps) in [(90, true), (110, false)] {
        let mut search = search();
        for answer in [0, 150, 250, 370] {
            search.taken(at(answer));
            search.answered(at(answer), 1);
        }
        search.taken(at(370));
        search.refused(at(370 + gap), false);
        assert_eq!(search.wants_gaps(), wants_gaps, "after {gap} ms");
    }
}

#[test]
fn where_gaps_are_wanted_a_pace_that_was_right_is_lowered_a_little() {
    let mut search = search();
    for answer in 0..20 {
        search.used_up(at(answer * 100));
        search.taken(at(answer * 100));
        search.answered(at(answer * 100), 1);
    }
    let mut refuse = |now: u64| {
        search.taken(at(now));
        search.answered(at(now), 1);
        let before = (search.right, search.pace);
        search.refused(at(now + 90), false);
        search.taken(at(now + 1_000));
        (before, search.pace)
    };
    let ((right, tried), pace) = refuse(2_000);
    assert!(tried > 1.02 * pace && right == Some(pace), "{right:?}, {tried}, {pace}");
    let (_, lower) = refuse(4_000);
    assert!((lower - pace * BACK).abs() < 1e-9, "{lower}");
    let (_, lowest) = refuse(6_000);
    assert!((lowest - lower * BACK * BACK_AGAIN).abs() < 1e-9, "{lowest}");
}

/// A run of an account, whose requests take 20 ms to be answered.
struct Run {
    search: PaceSearch,
    next: u64,
    paused: u64,
    /// When answers come, when their requests left, and whether they are refusals.
    answers: VecDeque<(u64, u64, bool)>,
    accepted: Vec<u64>,
    refused: usize,
}

impl Run {
    fn new() -> Run {
        let (answers, accepted) = (VecDeque::new(), Vec::new());
        Run { search: search(), next: 0, paused: 0, answers, accepted, refused: 0 }
    }

    fn hear(&mut self, now: u64) {
        while let Some((_, left, is_refusal)) =
            self.answers.pop_front_if(|(comes, ..)| *comes <= now)
        {
            if is_refusal {
                self.refused += 1;
                let explained = left < self.paused || self.search.explains(Some(at(left)));
                self.search.refused(at(now), explained);
                self.paused = now + 1_000;
            } else {
                self.search.answered(at(now), 1);
            }
        }
    }

    /// Sends a request if it may, to a server that takes 20 in any second.
    fn send(&mut self, now: u64, window: &mut VecDeque<u64>) {
        if now < self.next.max(self.paused) {
            return self.search.used_up(at(now));
        }
        self.search.taken(at(now));
        self.next = now.max(self.next) + self.search.per_unit().as_millis() as u64;
        window.pop_front_if(|arrived| *arrived + 1_000 <= now);
        let is_refusal = window.len() >= 20;
        if !is_refusal {
            window.push_back(now);
            self.accepted.push(now);
        }
        self.answers.push_back((now + 20, now, is_refusal));
    }
}

/// The units that each of these runs of one account has got from 30 s on, until 60 s, and the
/// number of refusals; the second begins so late.
fn together(runs: usize, late: u64) -> (Vec<usize>, usize) {
    let mut runs: Vec<Run> = (0..runs).map(|_| Run::new()).collect();
    let mut window = VecDeque::new();
    for now in 0..60_000 {
        for index in 0..runs.len() {
            if index == 1 && now < late {
                continue;
            }
            runs[index].hear(now);
            let mut others = OtherSearches::default();
            let beside = runs.iter().enumerate().filter(|(other, _)| *other != index);
            beside.for_each(|(_, other)| others.add(other.search.report(at(now)), true));
            runs[index].search.heed(at(now), others);
            runs[index].send(now, &mut window);
        }
    }
    let got = |run: &Run| run.accepted.iter().filter(|at| **at >= 30_000).count();
    (runs.iter().map(got).collect(), runs.iter().map(|run| run.refused).sum())
}

#[test]
fn runs_of_an_account_search_together_and_share_evenly() {
    let (alone, _) = together(1, 0);
    for (runs, late) in [(2, 0), (2, 15_000), (4, 0)] {
        let (got, refused) = together(runs, late);
        let (sum, most) = (got.iter().sum::<usize>(), got.iter().max().unwrap());
        let what = format!("{got:?}, {alone:?} alone, {refused} refused");
        assert!(10 * sum >= 9 * alone[0], "{what}");
        assert!(got.iter().all(|part| 10 * part >= 8 * most), "{what}");
        assert!(refused <= 1_200 / 50, "{what}");
    }
}
