//! A window that the server ends at a time that it tells. Pure.
//!
//! **Guarantee.** Until the server tells a reset, this is a [sliding window]. What was
//! answered before a reset that it tells arrived before it, and the server counts it no
//! longer once that reset, and the skew of the clocks, has passed. What was in flight or
//! lost then may arrive after the reset, and so counts as in a sliding window.
//!
//! [sliding window]: crate::kinds::sliding

use std::time::Duration;

use crate::kinds::sliding::Sliding;
use crate::kinds::spec::{self, Form, Spec, Terms};
use crate::quota::SharedTerms;
use crate::time::{Time, nanos};
use crate::window::{WindowFigures, WindowKind};

/// What arrived before a reset that the server tells doesn't count after it.
#[derive(Debug, Clone, Copy)]
pub struct UntilReset {
    sliding: Sliding,
    skew: Duration,
}

impl UntilReset {
    /// A window of at most this length; our clock and the server's differ by no
    /// more than `skew`.
    #[must_use]
    pub fn new(period: Duration, skew: Duration) -> UntilReset {
        UntilReset { sliding: Sliding::new(period, skew), skew }
    }

    /// A window in which a unit counts for this time, unless the server ends it.
    pub(crate) fn holding(hold: Duration, skew: Duration) -> UntilReset {
        UntilReset { sliding: Sliding::holding(hold), skew }
    }

    fn of(terms: &Terms) -> UntilReset {
        UntilReset::new(terms.period, terms.skew)
    }
}

impl WindowKind for UntilReset {
    fn figures(&self) -> Option<WindowFigures> {
        let (hold, skew) = (nanos(self.sliding.hold()), nanos(self.skew));
        Some(WindowFigures::UntilReset { hold, skew })
    }

    fn end(&self, arrived: Time) -> Time {
        self.sliding.end(arrived)
    }

    fn end_at_reset(&self, reset: Time) -> Option<Time> {
        Some(reset.after(self.skew))
    }
}

/// `5000/1h@reset`.
pub(crate) const RESET: Spec = Spec {
    rate_pattern: Some(Terms::in_windows),
    shared: Some(|terms| SharedTerms::window(terms, UntilReset::of(terms))),
    model: Some("fixed"),
    model_differs: Some(|limit| {
        format!(
            "the windows of {limit} begin with the first request, and the model doesn't say when they end"
        )
    }),
    skew: spec::clock_skew,
    is_window: true,
    ..Spec::new(Form::Edge("reset"), |terms| Box::new(terms.window(UntilReset::of(terms))))
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Guard;
    use crate::limiter::{Availability, Event, Limiter, RateLimitInfo};
    use crate::window::Window;

    const LINGER: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);
    const SKEW: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_reset_frees_what_was_answered_before_it() {
        let span = UntilReset::new(SECOND, SKEW);
        let mut window = Window::new(3, SECOND, span, Guard::Strict, LINGER);
        let [mut answered, mut lost, _in_flight] = [0; 3].map(|time| window.take(at(time), 1));
        window.on(at(100), &mut answered, Event::Answered);
        window.on(at(100), &mut lost, Event::Lost);
        let info =
            RateLimitInfo { reset: Some(Duration::from_millis(300)), ..RateLimitInfo::default() };
        window.inform(at(100), info);
        assert_eq!(window.earliest(at(200), 1), Availability::At(at(401)));
        assert_eq!(window.earliest(at(401), 1), Availability::Now);
        assert_ne!(window.earliest(at(401), 2), Availability::Now);
    }
}
