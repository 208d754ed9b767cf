//! The time that a request and its answer travel.

use std::str::FromStr;
use std::time::Duration;

use rand::Rng;
use rand_distr::{Distribution, LogNormal, Uniform};

use crate::ParseError;
use crate::parse;

/// The time that a request and its answer travel, together. From text: `0`,
/// `250ms`, `lognormal:250ms:0.6`, `uniform:50ms:300ms`.
///
/// The timer ticks in milliseconds: a time above zero takes at least one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Latency {
    /// Zero.
    #[default]
    Zero,
    /// Always the same.
    Constant(Duration),
    /// Log-normal: mostly near the median, sometimes much longer, as on real networks.
    LogNormal {
        /// Half of the requests are faster than this.
        median: Duration,
        /// The standard deviation of the logarithm (no unit); 0.6 is usual.
        sigma: f64,
    },
    /// Uniform from `low` to `high`.
    Uniform {
        /// The shortest.
        low: Duration,
        /// The longest.
        high: Duration,
    },
}

impl Latency {
    /// Whether two requests can have different latencies.
    pub(crate) fn is_random(&self) -> bool {
        matches!(self, Latency::LogNormal { .. } | Latency::Uniform { .. })
    }

    /// The latency of one request.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Duration {
        match *self {
            Latency::Zero => Duration::ZERO,
            Latency::Constant(time) => time,
            Latency::LogNormal { median, sigma } => {
                let mu = median.as_secs_f64().ln();
                sample(LogNormal::new(mu, sigma), rng).unwrap_or(median)
            }
            Latency::Uniform { low, high } => {
                let (from, to) = (low.as_secs_f64(), high.as_secs_f64());
                sample(Uniform::new_inclusive(from, to), rng).unwrap_or(low)
            }
        }
    }
}

/// None if the parameters are not a distribution, or the sample is not a duration.
fn sample<D, E>(distribution: Result<D, E>, rng: &mut impl Rng) -> Option<Duration>
where
    D: Distribution<f64>,
{
    let seconds = distribution.ok()?.sample(rng);
    Duration::try_from_secs_f64(seconds).ok()
}

impl FromStr for Latency {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Latency, ParseError> {
        read(text).ok_or_else(|| {
            ParseError::new(
                "a latency is 0, 250ms, lognormal:250ms:0.6 or uniform:50ms:300ms",
                text,
            )
        })
    }
}

fn read(text: &str) -> Option<Latency> {
    let parts: Vec<&str> = text.split(':').map(str::trim).collect();
    match parts[..] {
        ["0"] => Some(Latency::Zero),
        [time] => Some(Latency::Constant(parse::duration(time)?)),
        ["lognormal", median, sigma] => {
            let median = parse::duration(median)?;
            let sigma: f64 = sigma.parse().ok()?;
            let sound = sigma.is_finite() && sigma >= 0.0;
            sound.then_some(Latency::LogNormal { median, sigma })
        }
        ["uniform", low, high] => {
            let (low, high) = (parse::duration(low)?, parse::duration(high)?);
            (low <= high).then_some(Latency::Uniform { low, high })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::rng;

    fn latency(text: &str) -> Latency {
        text.parse().unwrap()
    }

    fn draws(latency: Latency) -> Vec<Duration> {
        let mut draws: Vec<_> =
            (0..10_001).map(|times| latency.draw(&mut rng(7, "latency", times))).collect();
        draws.sort_unstable();
        draws
    }

    #[test]
    fn latencies_are_read() {
        let ms = Duration::from_millis;
        assert_eq!(latency("0"), Latency::Zero);
        assert_eq!(latency("250ms"), Latency::Constant(ms(250)));
        let (low, high) = (ms(50), ms(300));
        assert_eq!(latency("uniform:50ms:300ms"), Latency::Uniform { low, high });
        let (median, sigma) = (ms(250), 0.6);
        let expected = Latency::LogNormal { median, sigma };
        assert_eq!(latency("lognormal:250ms:0.6"), expected);
    }

    #[test]
    fn text_that_is_not_a_latency_is_an_error() {
        for text in ["", "5", "soon", "uniform:2s:1s", "lognormal:1s:-1", "lognormal:1s"] {
            let error = text.parse::<Latency>().unwrap_err().to_string();
            assert!(error.starts_with("a latency is 0, 250ms, "), "{error}");
            assert!(error.ends_with(&format!("not {text:?}")), "{error}");
        }
    }

    #[test]
    fn the_median_is_the_median() {
        let draws = draws(latency("lognormal:250ms:0.6"));
        let median = draws[5000].as_secs_f64();
        assert!((0.24..0.26).contains(&median), "{median}");
        // One sigma up: 84 % are faster.
        let upper = draws[8413].as_secs_f64();
        let expected = 0.25 * 0.6_f64.exp();
        assert!((upper / expected - 1.0).abs() < 0.05, "{upper}");
    }

    #[test]
    fn uniform_stays_within() {
        let draws = draws(latency("uniform:50ms:300ms"));
        assert!(draws[0] >= Duration::from_millis(50));
        assert!(draws[10_000] <= Duration::from_millis(300));
    }

    #[test]
    fn parameters_that_text_cannot_express_have_a_defined_latency() {
        let low = Duration::from_secs(2);
        let high = Duration::from_secs(1);
        assert_eq!(draws(Latency::Uniform { low, high })[0], low);
        let median = Duration::from_secs(1);
        let sigma = f64::NAN;
        assert_eq!(draws(Latency::LogNormal { median, sigma })[0], median);
    }
}
