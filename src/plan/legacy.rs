//! The JSON form of the Python demo that came before throng: quotes by symbol
//! from one URL. Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::diagnostics::{Mistake, by_json};

/// The key that only this form has.
const MARK: &str = "base_url";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LegacyRate {
    base_url: String,
    #[serde(default)]
    params_for_api_request: Map<String, Value>,
    list_of_api_requests: Vec<String>,
}

/// The settings of an older file, or its error; `None` if the file has another form.
pub fn parse(text: &str) -> Option<Result<Value, Mistake>> {
    let tree: Value = serde_json::from_str(text).ok()?;
    tree.get(MARK)?;
    Some(serde_json::from_str(text).map(LegacyRate::tree).map_err(by_json))
}

impl LegacyRate {
    /// The settings as the demo did it: the first ten symbols by one worker, one at a time,
    /// 25 in 5 s.
    fn tree(self) -> Value {
        let mut query = self.params_for_api_request;
        query.insert("symbols".into(), "{{ symbols }}".into());
        let rows: Vec<Value> =
            self.list_of_api_requests.iter().map(|symbol| json!({ "symbols": symbol })).collect();
        json!({
            "input": { "list": rows, "take": 10 },
            "request": {
                "url": self.base_url,
                "query": query,
                "headers": { "x-api-key": "{{ env.XAPIKEY }}" },
            },
            "limit": { "rate": "25/5s" },
            "workers": { "count": 1, "mode": "sync" },
            "extract": {
                "price": ".quoteResponse.result[0].regularMarketPreviousClose",
                "name": ".quoteResponse.result[0].longName",
            },
            "summary": { "mean_price": "mean(price)" },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Job;

    #[test]
    fn it_means_what_the_demo_did() {
        let text = r#"{"base_url": "http://h/q/", "params_for_api_request": {"lang": "en"},
            "list_of_api_requests": ["RIV", "ANTE"]}"#;
        let job = Job::parse("config.json", text).unwrap();
        assert_eq!(job.request.url.as_deref(), Some("http://h/q/"));
        assert_eq!(
            Value::Object(job.request.query),
            json!({"lang": "en", "symbols": "{{ symbols }}"})
        );
        assert_eq!(job.limit.rate[0].to_string(), "25/5s");
        assert_eq!(job.input.take, Some(10));
        assert_eq!(job.input.list.unwrap()[1], json!({"symbols": "ANTE"}));
    }

    #[test]
    fn its_mistakes_have_a_line_too() {
        let text = "{\"base_url\": \"http://h/\",\n\"list_of_api_request\": []}";
        let error = Job::parse("config.json", text).unwrap_err().to_string();
        assert!(error.starts_with("config.json, line 2"), "{error}");
        assert!(error.ends_with("did you mean `list_of_api_requests`?"), "{error}");
    }
}
