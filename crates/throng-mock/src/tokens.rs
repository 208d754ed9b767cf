//! Requests that use different numbers of tokens, as language models do.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::answer::MockAnswer;
use crate::chance::hash;
use crate::judge::TokenUsage;
use crate::request::ClientRequest;

/// The model that sorts all reviews.
const LARGE: &str = "large";

/// The most tokens that a request can use: `tokens` in its query, or `max_tokens` in
/// its JSON body; 1 without both.
fn allowed(request: &ClientRequest) -> u64 {
    let of_query = request.param("tokens").and_then(|tokens| tokens.parse().ok());
    let of_body = || {
        let body: Value = serde_json::from_slice(request.body.as_deref()?).ok()?;
        body["max_tokens"].as_u64()
    };
    of_query.or_else(of_body).unwrap_or(1)
}

/// The tokens that a request uses, half of its maximum or more; always the same number.
pub(crate) fn used(request: &ClientRequest) -> u64 {
    let allowed = allowed(request);
    let body = String::from_utf8_lossy(request.body.as_deref().unwrap_or_default());
    share_of(allowed, &format!("{}{body}", request.query()))
}

/// Half of this number of tokens or more, as this text decides.
fn share_of(allowed: u64, text: &str) -> u64 {
    let share = hash(text) % 1_001;
    allowed.min((allowed * (1_000 + share)).div_ceil(2_000).max(1))
}

/// The tokens of a completion: those of its prompt, a quarter of its characters, and the rest.
fn usage(total: u64, body: &Value) -> TokenUsage {
    let texts = body["messages"].as_array().into_iter().flatten();
    let letters: usize =
        texts.filter_map(|message| Some(message["content"].as_str()?.chars().count())).sum();
    let prompt = (letters as u64).div_ceil(4).min(total.saturating_sub(1));
    TokenUsage {
        answers: 1,
        prompt_tokens: prompt,
        completion_tokens: total - prompt,
        total_tokens: total,
    }
}

/// A completion with its usage of tokens, which the judge counts.
pub(crate) fn complete(request: &ClientRequest) -> MockAnswer {
    let body = request.body.as_deref().and_then(|body| serde_json::from_slice(body).ok());
    let Some(body): Option<Value> = body else {
        return MockAnswer::problem(StatusCode::BAD_REQUEST, "a completion needs a JSON body");
    };
    let usage = usage(used(request), &body);
    let answer = MockAnswer::value(&completion_of(&body, &usage));
    MockAnswer { usage: Some(usage), ..answer }
}

/// The completion of a request of a batch, with its usage of tokens.
pub(crate) fn completion(body: &Value) -> Value {
    let allowed = body["max_tokens"].as_u64().unwrap_or(1);
    completion_of(body, &usage(share_of(allowed, &body.to_string()), body))
}

fn completion_of(body: &Value, usage: &TokenUsage) -> Value {
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    let wants_json = body["response_format"]["type"] == "json_object";
    let content = match last.and_then(|last| last["content"].as_str()) {
        Some(prompt) if wants_json => sorted(prompt, body["model"] == LARGE).to_string(),
        Some(prompt) => format!("You asked: {prompt}"),
        None => "Yes.".to_owned(),
    };
    json!({
        "choices": [{ "message": { "role": "assistant", "content": content } }],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        },
    })
}

/// A label for a prompt, always the same one; a third of them is none of the three, unless the
/// model is the large one, or the prompt says that the last one was wrong.
fn sorted(prompt: &str, is_large: bool) -> Value {
    let number = hash(prompt) >> 16;
    let is_none = number.is_multiple_of(3) && !is_large && !prompt.contains("wrong");
    let labels = ["good", "bad", "mixed"];
    let label = if is_none { "hard to say" } else { labels[(number / 3 % 3) as usize] };
    json!({ "label": label, "reason": format!("it has {} words", prompt.split_whitespace().count()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_uses_half_of_its_maximum_or_more() {
        for number in 0..100 {
            let body = json!({ "max_tokens": 200, "prompt": number }).to_string();
            let request = ClientRequest::test("/v1/chat/completions", &body);
            assert!((100..=200).contains(&used(&request)));
            assert_eq!(used(&request), used(&request));
        }
        assert_eq!(used(&ClientRequest::test("/echo?tokens=1", "")), 1);
        assert_eq!(used(&ClientRequest::test("/echo", "no JSON")), 1);
        assert_eq!(used(&ClientRequest::test("/echo?tokens=0", "")), 0);
    }
}
