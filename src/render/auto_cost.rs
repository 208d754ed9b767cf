//! Tokens of a request by the length of its texts, for `limit.cost.NAME = "auto"`. Pure.

use serde_json::Value;

/// The bytes of a token in the first estimate: fewer than a token has in most languages, so that
/// there are rather too many.
const BYTES: usize = 3;

/// The tokens of an answer whose request has no maximum.
const ANSWER: u64 = 1_024;

/// The keys by which APIs know the most tokens of an answer.
const MAXIMA: [&str; 5] =
    ["max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict"];

/// Number of answers after which the estimate may be lowered.
const ENOUGH: u32 = 20;
/// One, in millionths.
const WHOLE: u64 = 1_000_000;
/// The least and the greatest factor of an estimate, in millionths.
const FACTORS: [u64; 2] = [WHOLE / 20, 20 * WHOLE];

/// The tokens that a unit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPart {
    /// Of the request.
    Input,
    /// Of the answer, at most.
    Output,
    /// Of both.
    Both,
}

impl TokenPart {
    /// The part that a unit of this name counts.
    pub fn of(unit: &str) -> TokenPart {
        let has = |words: [&str; 2]| words.iter().any(|word| unit.contains(word));
        if has(["input", "prompt"]) {
            TokenPart::Input
        } else if has(["output", "completion"]) {
            TokenPart::Output
        } else {
            TokenPart::Both
        }
    }

    /// The tokens by which a request with this body is estimated.
    pub fn tokens(self, body: &[u8]) -> u64 {
        let json = serde_json::from_slice::<Value>(body);
        let input = match &json {
            Ok(json) => text_bytes(json),
            Err(_) => body.len(),
        };
        let input = input.div_ceil(BYTES).max(1) as u64;
        let output = json.ok().as_ref().and_then(maximum).unwrap_or(ANSWER);
        match self {
            TokenPart::Input => input,
            TokenPart::Output => output,
            TokenPart::Both => input + output,
        }
    }

    /// What the estimate is made of.
    pub fn describe(self) -> &'static str {
        match self {
            TokenPart::Input => "3 bytes of the request's texts for each",
            TokenPart::Output => "the most that the request allows (max_tokens), or else 1,024",
            TokenPart::Both => {
                "3 bytes of the request's texts for each, and the most that it allows for the answer (max_tokens), or else 1,024"
            }
        }
    }
}

/// The bytes of all texts; images and other data in a text are left out.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) if text.starts_with("data:") => 0,
        Value::String(text) => text.len(),
        // A message has some tokens beside its text.
        Value::Object(map) => map.values().map(|value| text_bytes(value) + BYTES).sum(),
        Value::Array(list) => list.iter().map(text_bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// The most tokens of the answer, at the top of a body or one level below.
fn maximum(body: &Value) -> Option<u64> {
    let of = |map: &Value| MAXIMA.iter().find_map(|key| map.get(key)?.as_u64());
    of(body).or_else(|| body.as_object()?.values().find_map(of))
}

/// The factor between estimated and true costs of one unit, as answers have told them.
///
/// It is never less than the largest ratio that was seen, and a tenth more. Below 1 it goes once
/// enough answers have told their cost.
#[derive(Debug, Default)]
pub struct LearnedRatio {
    answers: u32,
    /// The largest ratio, in millionths.
    largest: u64,
}

impl LearnedRatio {
    /// Learns that a request that was estimated at `base` has cost `used`.
    pub fn learn(&mut self, base: u64, used: u64) {
        let ratio = u128::from(used) * u128::from(WHOLE) / u128::from(base.max(1));
        let ratio = u64::try_from(ratio).unwrap_or(u64::MAX);
        self.largest = self.largest.max(ratio);
        self.answers = self.answers.saturating_add(1);
    }

    /// Number of answers that have told their cost.
    pub fn answers(&self) -> u32 {
        self.answers
    }

    /// The factor by which estimates by length are multiplied.
    pub fn factor(&self) -> f64 {
        self.millionths() as f64 / WHOLE as f64
    }

    fn millionths(&self) -> u64 {
        let learnt = self.largest.saturating_add(self.largest / 10);
        let factor = if self.answers < ENOUGH { learnt.max(WHOLE) } else { learnt };
        factor.clamp(FACTORS[0], FACTORS[1])
    }

    /// The estimate by what was learnt.
    pub fn apply(&self, base: u64) -> u64 {
        let units = u128::from(base) * u128::from(self.millionths());
        u64::try_from(units.div_ceil(u128::from(WHOLE))).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_estimated_by_length_and_by_the_most_that_is_allowed() {
        let body = json!({
            "max_tokens": 50,
            "messages": [{"content": "x".repeat(300)}, {"content": "data:image/png;base64,AAAA"}],
        });
        let body = body.to_string().into_bytes();
        let input = TokenPart::of("input_tokens").tokens(&body);
        assert!((100..110).contains(&input), "{input}");
        assert_eq!(TokenPart::of("output_tokens").tokens(&body), 50);
        assert_eq!(TokenPart::of("tokens").tokens(&body), input + 50);
        let nested = json!({"generationConfig": {"maxOutputTokens": 7}}).to_string();
        assert_eq!(TokenPart::Output.tokens(nested.as_bytes()), 7);
        assert_eq!(TokenPart::Both.tokens(b"plain"), 2 + ANSWER);
    }

    #[test]
    fn an_estimate_grows_at_once_and_falls_after_enough_answers() {
        let mut ratio = LearnedRatio::default();
        assert_eq!(ratio.apply(100), 100);
        ratio.learn(100, 40);
        assert_eq!(ratio.apply(100), 100);
        ratio.learn(100, 200);
        assert_eq!(ratio.apply(100), 220);
        let mut low = LearnedRatio::default();
        (0..ENOUGH).for_each(|_| low.learn(100, 40));
        assert_eq!(low.apply(100), 44);
        low.learn(100, 60);
        low.learn(100, 10);
        assert_eq!(low.apply(100), 66, "it is never lowered again");
        low.learn(1, u64::MAX);
        assert_eq!(low.apply(100), 2_000);
    }
}
