//! The progress of a run: one live line on a terminal, or a line every few seconds.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::Run;
use crate::limit::{RatePattern, duration};
use crate::metrics::{TimeBreakdown, free_at, largest};
use crate::report::escape;
use crate::threads;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Zoned;

use super::flags::{DisplayFlags, Progress};
use super::say;

const BAR_EVERY: Duration = Duration::from_millis(200);
const LOG_EVERY: Duration = Duration::from_secs(5);
/// The time over which the shown rate is measured.
const LATELY: Duration = Duration::from_secs(10);

/// Shortest wait whose end is shown.
const WORTH_IT: Duration = Duration::from_secs(2);

/// Shows a run's progress until `end`.
pub struct ProgressDisplay {
    shown: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

/// The counts of the last few seconds, for the shown rate.
struct RecentRate {
    started: Instant,
    lately: VecDeque<(Instant, u64, TimeBreakdown)>,
    sent: SentLog,
}

/// The number of requests sent at some times of the run.
struct SentLog(VecDeque<(Instant, u64)>);

impl ProgressDisplay {
    /// Starts to show a run, in the requested form.
    pub fn start(run: &Run, show: &DisplayFlags) -> ProgressDisplay {
        let bar = match show.progress {
            _ if show.quiet => return ProgressDisplay { shown: None },
            Progress::None => return ProgressDisplay { shown: None },
            Progress::Auto => std::io::stderr().is_terminal(),
            Progress::Bar => true,
            Progress::Log => false,
        };
        let (end, ended) = mpsc::channel();
        let run = run.clone();
        let thread =
            threads::spawn(
                move || {
                    if bar { show_bar(&run, &ended) } else { show_log(&run, &ended) }
                },
            );
        // Without this thread the run goes on, or fails with an error if it lacks threads itself.
        ProgressDisplay { shown: thread.ok().map(|thread| (end, thread)) }
    }

    /// Clears the live line.
    pub fn end(self) {
        if let Some((end, thread)) = self.shown {
            drop(end);
            // A panic of the display does not affect the run.
            let _ = thread.join();
        }
    }
}

fn show_bar(run: &Run, ended: &mpsc::Receiver<()>) {
    let bar = match run.rows_to_do() {
        Some(rows) => ProgressBar::new(rows),
        None => ProgressBar::no_length(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:20} {wide_msg}") {
        bar.set_style(style);
    }
    let mut pace = RecentRate::new();
    while waits(ended, BAR_EVERY) {
        bar.set_position(done(run));
        bar.set_message(pace.line(run));
    }
    bar.finish_and_clear();
}

fn show_log(run: &Run, ended: &mpsc::Receiver<()>) {
    let mut pace = RecentRate::new();
    while waits(ended, LOG_EVERY) {
        say::note(&pace.line(run));
    }
}

/// Whether the run still goes on after this time.
fn waits(ended: &mpsc::Receiver<()>, time: Duration) -> bool {
    ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

fn done(run: &Run) -> u64 {
    run.metrics().ok() + run.metrics().failed()
}

impl RecentRate {
    fn new() -> RecentRate {
        let now = Instant::now();
        RecentRate { started: now, lately: VecDeque::new(), sent: SentLog::new(now) }
    }

    /// The progress in one line.
    fn line(&mut self, run: &Run) -> String {
        let sending = run.metrics().sending();
        let done = done(run);
        if let Some(file) = run.makes() {
            return escape(&format!("{} rows · making {file} of its journal", HumanCount(done)));
        }
        let mut parts = vec![
            match run.rows_to_do() {
                Some(rows) => format!("{}/{}", HumanCount(done), HumanCount(rows)),
                None => HumanCount(done).to_string(),
            },
            self.pace(run, sending.sent),
            format!("{} in flight", sending.in_flight),
            format!("{} waiting", sending.waiting),
        ];
        for (count, what) in [
            (sending.refused, "refused"),
            (sending.retried, "retried"),
            (run.metrics().failed(), "failed"),
        ] {
            if count > 0 {
                parts.push(format!("{} {what}", HumanCount(count)));
            }
        }
        parts.extend(self.bound(run));
        if let Some(pause) = run.limiter().paused() {
            let seconds = pause.as_secs_f64().ceil();
            parts.push(format!("the server asks for a pause: {seconds} s more"));
        }
        match run.outage() {
            Some(outage) => parts.push(outage),
            None => parts.extend(self.left(run, done)),
        }
        escape(&parts.join(" · "))
    }

    /// The requests of late, in the unit and period of the tightest limit.
    fn pace(&mut self, run: &Run, sent: u64) -> String {
        let per_second = self.rate(run, sent);
        let plan = run.plan();
        let policy = plan.policy();
        // Requests of steps with limits of their own are no part of this one's.
        let Some(rule) = policy.slowest_rule().filter(|_| plan.limits().count() == 1) else {
            return format!("{per_second:.1}/s");
        };
        match rule.rate_pattern() {
            Some(
                RatePattern::Windows { amount, period }
                | RatePattern::TwoWindows { amount, period },
            ) => {
                let sent = self.sent.in_period(Instant::now(), sent, period);
                let sent = (sent * 10.0).floor() / 10.0;
                let allowed = amount.saturating_mul(policy.keys().len().max(1) as u64);
                let period = duration::exact(period);
                format!("{sent} of {} in {period}", HumanCount(allowed))
            }
            // A burst, or two windows that meet, may be more than one period's.
            _ => format!("{per_second:.1}/s under {}", rule.name),
        }
    }

    fn rate(&mut self, run: &Run, sent: u64) -> f64 {
        let now = Instant::now();
        self.lately.push_back((now, sent, run.time_breakdown()));
        while self.lately.len() > 2 && now - self.lately[0].0 > LATELY {
            self.lately.pop_front();
        }
        let (since, before) = match self.lately.len() {
            1 => (self.started, 0),
            _ => (self.lately[0].0, self.lately[0].1),
        };
        (sent - before) as f64 / (now - since).as_secs_f64().max(0.001)
    }

    /// The largest share of the last seconds, and the end of its wait.
    fn bound(&self, run: &Run) -> Option<String> {
        let now = run.time_breakdown();
        let (_, _, before) = self.lately.front()?;
        let causes = now.since(before).shares();
        let first = largest(&causes)?;
        let wait =
            run.limiter().free_in().filter(|wait| first.blocker.is_some() && *wait >= WORTH_IT);
        let free =
            wait.map_or_else(String::new, |wait| format!(", {}", free_at(&Zoned::now(), wait)));
        Some(format!("bound by {} ({:.0} %){free}", first.describe(), first.share * 100.0))
    }

    fn left(&self, run: &Run, done: u64) -> Option<String> {
        let rows = run.rows_to_do()?;
        if done == 0 || done >= rows {
            return None;
        }
        let left = self.started.elapsed().mul_f64((rows - done) as f64 / done as f64);
        // After a used-up limit the rate so far says nothing about the rest.
        let free = run.limiter().free_in().unwrap_or_default();
        Some(format!("{} left", HumanDuration(left.max(free))))
    }
}

impl SentLog {
    /// Number of times that are kept of the span that is shown.
    const TIMES: u32 = 500;

    fn new(start: Instant) -> SentLog {
        SentLog(VecDeque::from([(start, 0)]))
    }

    /// The mean number of requests in a period of the last seconds, or in the last period if
    /// that is longer. A limit on any such period is on this, too: as many periods are
    /// counted as cover the time.
    fn in_period(&mut self, now: Instant, sent: u64, period: Duration) -> f64 {
        let periods = (LATELY.as_nanos() / period.as_nanos().max(1)).max(1);
        let span = period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX));
        while self.0.len() > 1 && now.duration_since(self.0[0].0) > span {
            self.0.pop_front();
        }
        let (since, before) = self.0.front().copied().unwrap_or((now, sent));
        let covered = now.duration_since(since).as_secs_f64() / period.as_secs_f64();
        let last = self.0.back().map(|(last, _)| now.duration_since(*last));
        if last.is_none_or(|last| last >= span / SentLog::TIMES) {
            self.0.push_back((now, sent));
        }
        sent.saturating_sub(before) as f64 / covered.ceil().clamp(1.0, periods as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_in_bursts_never_reads_over_its_limit() {
        for (period, step) in [(1_000, 200), (5_000, 200), (700, 200), (3_600_000, 5_000)] {
            let start = Instant::now();
            let at = |millis| start + Duration::from_millis(millis);
            let mut log = SentLog::new(start);
            for now in (step..20 * period).step_by(step as usize) {
                // All of a window's requests just after its beginning.
                let sent = 60 * (1 + (now - 1) / period);
                let shown = log.in_period(at(now), sent, Duration::from_millis(period));
                assert!(shown <= 60.0, "{shown} at {now} ms of {period} ms");
                let is_short = period <= 1_000 && now > 10_000;
                assert!(!is_short || shown >= 50.0, "{shown} at {now} ms of {period} ms");
            }
        }
    }
}
