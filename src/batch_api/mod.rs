//! Batch endpoints of LLM providers: many requests in one submission, whose answers come within
//! a day at half the price. Pure.
//!
//! `pack` puts the requests of rows into batches, and a [`Dialect`] says in which calls a
//! provider takes a batch and gives its answers: one file for each, and one line in
//! [`DIALECTS`].

use bytes::Bytes;
use bytesize::ByteSize;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch;
use crate::error::Error;
use crate::row::Row;

mod anthropic;
mod gemini;
mod mistral;
mod openai;
mod pack;

pub use pack::{Bounds, Pack, PackKey, PackedRow, Packer};

/// The providers.
static DIALECTS: [&dyn Dialect; 4] =
    [&openai::OpenAi, &anthropic::Anthropic, &gemini::Gemini, &mistral::Mistral];

/// Maximum size of a batch's requests in bytes, where the provider takes more: a batch is held
/// in memory.
const MAX_BYTES: u64 = 64_000_000;

/// Number of characters of the id of a request.
pub const ID_LENGTH: usize = 32;

/// Bytes of a request for each of its tokens, as an estimate.
const BYTES_PER_TOKEN: u64 = 4;

/// The provider whose batch endpoint takes the requests, by its name.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Provider(&'static dyn Dialect);

/// How a provider takes batches.
pub trait Dialect: Sync {
    /// The name of the provider, as a job has it.
    fn name(&self) -> &'static str;

    /// The provider's published bounds of one batch: requests, and bytes.
    fn bounds(&self) -> (u64, u64);

    /// Where the requests of a row with this path go, if they can go in a batch.
    fn endpoint(&self, path: &str) -> Option<Endpoint>;

    /// A row's request as a batch has it, in one line.
    fn entry(&self, id: &str, endpoint: &Endpoint, body: &str) -> String;

    /// What stands between two requests.
    fn separator(&self) -> &'static str;

    /// The upload of the requests, if the submission names a file.
    fn upload(&self, batch: &NewBatch<'_>) -> Option<Call>;

    /// The submission of a batch, whose requests are in this file if they were uploaded.
    fn submit(&self, batch: &NewBatch<'_>, file: &str) -> Call;

    /// The description of a batch.
    fn status(&self, id: &str) -> Call;

    /// The id in a description of a batch.
    fn id(&self, described: &Value) -> Option<String> {
        text(&described["id"])
    }

    /// A page of the list of batches, the newest first, after this place in the list.
    fn list(&self, after: Option<&str>) -> Call;

    /// The descriptions on a page of the list, and the place after them if more follow.
    fn listed(&self, page: &Value) -> (Vec<Value>, Option<String>);

    /// Whether a batch that is described so is this one.
    fn is_batch(&self, described: &Value, batch: &SoughtBatch<'_>) -> Match;

    /// The state of a batch that is described so.
    fn state(&self, described: &Value) -> BatchState;

    /// The results in the answer to a call for them.
    fn results(&self, body: &[u8]) -> Vec<RowResult>;
}

/// Where the requests of a batch go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The path that the provider's paths come after, such as `` or `/proxy`.
    pub base: String,
    /// The endpoint or the model, as the submission names it.
    pub target: String,
}

/// A batch that is submitted.
pub struct NewBatch<'a> {
    /// Its name, which no other batch has.
    pub name: &'a str,
    pub endpoint: &'a Endpoint,
    /// The model of its requests, if they name one.
    pub model: Option<&'a str>,
    /// The requests with the separator between them.
    pub requests: &'a str,
}

/// A batch whose submission has no answer.
pub struct SoughtBatch<'a> {
    pub name: &'a str,
    /// Number of its requests.
    pub rows: usize,
    /// When it was submitted, in seconds since 1970.
    pub at: i64,
}

/// Whether a batch of the provider's list is the one that is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    Yes,
    No,
    /// Its results tell it.
    ByResults,
}

/// A request to the provider, beside those of rows.
#[derive(Debug, PartialEq)]
pub struct Call {
    pub method: Method,
    /// The path and the query after the base.
    pub path: String,
    pub content_type: Option<String>,
    pub body: Bytes,
}

/// The state of a batch.
#[derive(Debug, PartialEq)]
pub enum BatchState {
    Running,
    Ended {
        /// The calls that give its results.
        results: Vec<Call>,
        /// How a row without a result ended, if that is known.
        rest: Option<RowOutcome>,
    },
    /// The provider did not take it, and nothing of it was done.
    Refused {
        why: String,
        /// Whether it is taken once others have ended.
        is_queue_full: bool,
    },
}

/// The result of a row.
#[derive(Debug, PartialEq)]
pub struct RowResult {
    /// The id of its request.
    pub id: String,
    pub outcome: RowOutcome,
}

/// How the request of a row ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RowOutcome {
    /// It was answered, as a single request would have been.
    Answer(StatusCode, HeaderMap, Bytes),
    /// The batch ended before its turn.
    Expired,
    /// The batch was cancelled before its turn.
    Cancelled,
}

/// How the batches of a stage go.
pub struct BatchApi {
    pub dialect: &'static dyn Dialect,
    pub bounds: Bounds,
    /// The pause between two looks at a batch, if the job names it.
    pub every: Option<std::time::Duration>,
}

impl BatchApi {
    /// Checks the settings; none if each row has its own request.
    ///
    /// # Errors
    /// Which bound is wrong.
    pub fn new(
        provider: Option<Provider>,
        settings: &batch::Settings,
    ) -> Result<Option<BatchApi>, Error> {
        let Some(Provider(dialect)) = provider else {
            let only = [
                ("bytes", "--batch-bytes", settings.bytes.is_some()),
                ("tokens", "--batch-tokens", settings.tokens.is_some()),
                ("every", "no flag", settings.every.is_some()),
            ];
            return match only.iter().find(|(_, _, is_set)| *is_set) {
                None => Ok(None),
                Some((key, flag, _)) => Err(Error::plan(format!(
                    "batch.{key} ({flag}) is for a provider's batch endpoint: give batch-api (--batch-api)"
                ))),
            };
        };
        let (rows, bytes) = dialect.bounds();
        let within = |setting: &str, value: Option<u64>, most: u64, default: u64| match value {
            Some(0) => Err(Error::plan(format!("{setting} is 0: nothing would be submitted"))),
            Some(value) if value > most => Err(Error::plan(format!(
                "{setting} is {value}; {} takes at most {most} in a batch",
                dialect.name()
            ))),
            value => Ok(value.unwrap_or(default)),
        };
        let size = settings.size.map(|size| size as u64);
        let asked = settings.bytes.map(|bytes| bytes.as_u64());
        Ok(Some(BatchApi {
            dialect,
            bounds: Bounds {
                rows: within("batch.size (--batch)", size, rows, rows)?,
                bytes: within("batch.bytes (--batch-bytes)", asked, bytes, bytes.min(MAX_BYTES))?,
                tokens: within(
                    "batch.tokens (--batch-tokens)",
                    settings.tokens,
                    u64::MAX,
                    u64::MAX,
                )?,
            },
            every: settings.every,
        }))
    }

    /// The place of a row's request in a batch, and its line there.
    ///
    /// # Errors
    /// Why it can't go in a batch.
    pub fn pack(&self, id: &str, request: &Request<Bytes>) -> Result<(PackKey, String), String> {
        let name = self.dialect.name();
        let path = request.uri().path();
        let endpoint = self.dialect.endpoint(path).ok_or_else(|| {
            format!("the batch endpoint of {name} takes no requests to the path {path}")
        })?;
        if request.method() != Method::POST {
            return Err(format!(
                "a batch has POST requests only, and this is a {}",
                request.method()
            ));
        }
        let body = std::str::from_utf8(request.body()).ok().map(str::trim);
        let body = body.filter(|body| body.starts_with('{'));
        let model = body.and_then(|body| serde_json::from_str::<WithModel>(body).ok());
        let (Some(body), Some(WithModel { model })) = (body, model) else {
            return Err("a request of a batch has a JSON object for its body".to_owned());
        };
        // In JSON, a line ends between values only.
        let body = body.replace(['\n', '\r'], " ");
        let entry = self.dialect.entry(id, &endpoint, &body);
        let model = model.and_then(|model| model.as_str().map(str::to_owned));
        let mut headers = request.headers().clone();
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_LENGTH);
        Ok((PackKey { uri: origin_and_query(request.uri()), endpoint, model, headers }, entry))
    }
}

impl BatchApi {
    /// The bounds of its batches in words.
    #[must_use]
    pub fn describe_bounds(&self) -> String {
        let Bounds { rows, bytes, tokens } = self.bounds;
        let tokens = match tokens {
            u64::MAX => String::new(),
            tokens => format!(", and {tokens} tokens in all batches in progress"),
        };
        format!("up to {rows} rows and {}{tokens}", ByteSize(bytes).display().si())
    }

    /// The batches that these requests would be packed into.
    pub fn sum(&self, requests: impl Iterator<Item = Request<Bytes>>) -> BatchSum {
        let mut packer = Packer::new(self.bounds, self.dialect.separator());
        let mut sum = BatchSum::default();
        for request in requests {
            let id = "0".repeat(ID_LENGTH);
            let Ok((key, entry)) = self.pack(&id, &request) else {
                continue;
            };
            let tokens = tokens(&request);
            let row = PackedRow { row: Row::default(), id, tries: 0, units: Vec::new() };
            packer.add(key, row, &entry, tokens).iter().for_each(|pack| sum.add(pack));
        }
        while let Some(pack) = packer.take_largest() {
            sum.add(&pack);
        }
        sum
    }
}

/// A sum of batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BatchSum {
    batches: u64,
    rows: u64,
    bytes: u64,
    tokens: u64,
    /// Bytes of the largest batch.
    most_bytes: u64,
    /// Rows of the largest batch.
    most_rows: u64,
}

impl BatchSum {
    fn add(&mut self, pack: &Pack) {
        let (rows, bytes) = (pack.rows.len() as u64, pack.requests.len() as u64);
        self.batches += 1;
        self.rows += rows;
        self.bytes += bytes;
        self.tokens = self.tokens.saturating_add(pack.tokens);
        self.most_rows = self.most_rows.max(rows);
        self.most_bytes = self.most_bytes.max(bytes);
    }

    /// The number of batches of this number of rows, of which it may have the first ones only.
    #[must_use]
    pub fn describe(&self, rows: u64) -> String {
        let word = |batches| if batches == 1 { "batch" } else { "batches" };
        if self.rows < rows && self.rows > 0 {
            let all = (self.batches as f64 * rows as f64 / self.rows as f64).ceil() as u64;
            format!("about {all} {}", word(all))
        } else {
            format!("{} {}", self.batches, word(self.batches))
        }
    }

    /// The size of the batches.
    #[must_use]
    pub fn describe_each(&self) -> String {
        let size = |bytes| ByteSize(bytes).display().si();
        format!(
            "each of at most {} rows and {}, {} and about {} tokens together",
            self.most_rows,
            size(self.most_bytes),
            size(self.bytes),
            self.tokens
        )
    }
}

/// A body of which only the model is read.
#[derive(Deserialize)]
struct WithModel {
    model: Option<Value>,
}

/// A URI with no path, for the calls that go to the same server with the same query.
fn origin_and_query(uri: &Uri) -> Uri {
    let query = uri.query().map(|query| format!("/?{query}"));
    let path = query.unwrap_or_else(|| "/".to_owned());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path.try_into().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// An estimate of the tokens of a request.
pub fn tokens(request: &Request<Bytes>) -> u64 {
    (request.body().len() as u64).div_ceil(BYTES_PER_TOKEN).max(1)
}

impl Call {
    fn get(path: String) -> Call {
        Call { method: Method::GET, path, content_type: None, body: Bytes::new() }
    }

    fn json(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        let content_type = Some("application/json".to_owned());
        Call { method: Method::POST, path: path.into(), content_type, body: body.into() }
    }

    /// The call as a request to the server of these rows.
    ///
    /// # Errors
    /// An id of the provider's does not fit into a URL.
    pub fn request(&self, key: &PackKey) -> Result<Request<Bytes>, http::Error> {
        let path = format!("{}{}", key.endpoint.base, self.path);
        let path = match key.uri.query() {
            Some(query) if path.contains('?') => format!("{path}&{query}"),
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let mut parts = key.uri.clone().into_parts();
        parts.path_and_query = Some(path.try_into()?);
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(Uri::from_parts(parts)?)
            .body(self.body.clone())?;
        *request.headers_mut() = key.headers.clone();
        if let Some(kind) = &self.content_type {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::try_from(kind)?);
        }
        Ok(request)
    }
}

/// A form with a file of requests, as OpenAI and Mistral want it.
fn form(batch: &NewBatch<'_>) -> Call {
    let NewBatch { name, requests, .. } = batch;
    let disposition = "Content-Disposition: form-data; name=";
    let body = format!(
        "--{name}\r\n{disposition}\"purpose\"\r\n\r\nbatch\r\n--{name}\r\n{disposition}\"file\"; filename=\"{name}.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n{requests}\n\r\n--{name}--\r\n"
    );
    Call {
        content_type: Some(format!("multipart/form-data; boundary={name}")),
        ..Call::json("/v1/files", body)
    }
}

/// The part of a path before this one, and the part from there on.
fn split_at<'a>(path: &'a str, part: &str) -> Option<(&'a str, &'a str)> {
    path.find(part).map(|at| path.split_at(at))
}

/// The head of an answer in JSON.
fn json_head() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

/// An answer in JSON with this status; one that is none is a bad gateway's.
fn answer(status: u64, body: &Value) -> RowOutcome {
    let status = u16::try_from(status).ok().and_then(|it| StatusCode::from_u16(it).ok());
    let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
    RowOutcome::Answer(status, json_head(), body.to_string().into())
}

/// The values of the lines of a text that are JSON.
fn lines(body: &[u8]) -> impl Iterator<Item = Value> {
    let lines = body.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl TryFrom<String> for Provider {
    type Error = String;

    fn try_from(name: String) -> Result<Provider, String> {
        name.parse()
    }
}

impl std::str::FromStr for Provider {
    type Err = String;

    fn from_str(name: &str) -> Result<Provider, String> {
        let found = DIALECTS.into_iter().find(|dialect| dialect.name() == name);
        found.map(Provider).ok_or_else(|| {
            format!(
                "there is no batch endpoint of {name:?}: it is {}",
                Provider::names().join(", ")
            )
        })
    }
}

impl Provider {
    /// The names of all providers.
    #[must_use]
    pub fn names() -> [&'static str; DIALECTS.len()] {
        DIALECTS.map(Dialect::name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

impl From<Provider> for &'static str {
    fn from(provider: Provider) -> &'static str {
        provider.name()
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Provider {
    fn eq(&self, other: &Provider) -> bool {
        self.name() == other.name()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn api(name: &str) -> BatchApi {
        BatchApi::new(Some(name.parse().unwrap()), &batch::Settings::default()).unwrap().unwrap()
    }

    fn request(path: &str, body: &str) -> Request<Bytes> {
        let uri = format!("https://api.example{path}");
        Request::post(uri)
            .header("x-api-key", "k")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap()
    }

    const PATHS: [(&str, &str); 4] = [
        ("openai", "/v1/chat/completions"),
        ("anthropic", "/v1/messages"),
        ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent?key=k"),
        ("mistral", "/v1/chat/completions"),
    ];

    #[test]
    fn each_request_is_one_line_with_its_id() {
        for (name, path) in PATHS {
            let request = request(path, "{\n \"model\": \"m\", \"text\": \"a\\nb\"\n}");
            let (key, entry) = api(name).pack("id-1", &request).unwrap();
            assert!(
                !entry.contains('\n') && entry.contains("id-1") && entry.contains("a\\nb"),
                "{entry}"
            );
            assert_eq!(key.model.as_deref(), Some("m"));
            let _: Value = serde_json::from_str(&entry).unwrap();
        }
    }

    #[test]
    fn calls_go_to_the_server_of_the_rows_with_their_headers_and_query() {
        for (name, path) in PATHS {
            let api = api(name);
            let (key, entry) = api.pack("a", &request(path, "{}")).unwrap();
            let batch =
                NewBatch { name: "n", endpoint: &key.endpoint, model: None, requests: &entry };
            for call in [
                api.dialect.submit(&batch, "f"),
                api.dialect.list(Some("x")),
                api.dialect.status("b"),
            ] {
                let request = call.request(&key).unwrap();
                assert_eq!(request.uri().host(), Some("api.example"), "{call:?}");
                assert_eq!(request.headers()["x-api-key"], "k");
                assert_eq!(path.contains("key=k"), request.uri().to_string().contains("key=k"));
            }
            let submitted = api.dialect.submit(&batch, "f").body;
            let _: Value = serde_json::from_slice(&submitted).unwrap();
        }
    }

    #[test]
    fn requests_that_no_batch_takes_are_told() {
        for (request, why) in [
            (request("/else", "{}"), "no requests to the path /else"),
            (request("/v1/chat/completions", "text"), "a JSON object"),
            (request("/v1/chat/completions", "[1]"), "a JSON object"),
            (Request::get("https://h/v1/embeddings").body(Bytes::new()).unwrap(), "POST"),
        ] {
            let error = api("openai").pack("a", &request).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn bounds_are_those_of_the_provider() {
        let settings = |size| batch::Settings { size: Some(size), ..batch::Settings::default() };
        let provider = Some("openai".parse().unwrap());
        let error = BatchApi::new(provider, &settings(50_001)).err().unwrap().to_string();
        assert!(error.contains("openai takes at most 50000"), "{error}");
        assert!(BatchApi::new(provider, &settings(0)).is_err());
        assert_eq!(BatchApi::new(provider, &settings(7)).unwrap().unwrap().bounds.rows, 7);
        let bytes =
            batch::Settings { bytes: Some(bytesize::ByteSize(1)), ..batch::Settings::default() };
        assert!(BatchApi::new(None, &bytes).is_err());
        assert!(
            "azure".parse::<Provider>().unwrap_err().contains("openai, anthropic, gemini, mistral")
        );
    }

    /// The outcomes of results by id: a status, or a word.
    fn outcomes(name: &str, results: &str) -> Vec<String> {
        let of = |result: RowResult| match result.outcome {
            RowOutcome::Answer(status, _, body) => {
                format!("{} {} {}", result.id, status.as_u16(), String::from_utf8_lossy(&body))
            }
            other => format!("{} {other:?}", result.id),
        };
        api(name).dialect.results(results.as_bytes()).into_iter().map(of).collect()
    }

    #[test]
    fn results_are_the_answers_of_single_requests() {
        let openai = [
            json!({"custom_id": "a", "response": {"status_code": 200, "body": {"x": 1}}, "error": null}),
            json!({"custom_id": "b", "response": null, "error": {"code": "batch_expired"}}),
            json!({"custom_id": "c", "response": {"status_code": 400, "body": {"error": 1}}, "error": null}),
            json!({"custom_id": "d", "response": null, "error": {"code": "batch_cancelled"}}),
        ];
        let text = openai.map(|it| it.to_string()).join("\n");
        assert_eq!(
            outcomes("openai", &text),
            ["a 200 {\"x\":1}", "b Expired", "c 400 {\"error\":1}", "d Cancelled"]
        );
        let error = json!({"type": "error", "error": {"type": "overloaded_error"}});
        let anthropic = [
            json!({"custom_id": "a", "result": {"type": "succeeded", "message": {"x": 1}}}),
            json!({"custom_id": "b", "result": {"type": "expired"}}),
            json!({"custom_id": "c", "result": {"type": "errored", "error": error}}),
            json!({"custom_id": "d", "result": {"type": "canceled"}}),
        ];
        let text = anthropic.map(|it| it.to_string()).join("\n");
        let expected = ["a 200 {\"x\":1}", "b Expired", &format!("c 529 {error}"), "d Cancelled"];
        assert_eq!(outcomes("anthropic", &text), expected);
        let gemini = json!({"done": true, "response": {"inlinedResponses": {"inlinedResponses": [
            {"response": {"x": 1}, "metadata": {"key": "a"}},
            {"error": {"code": 8, "message": "quota"}, "metadata": {"key": "b"}},
        ]}}});
        assert_eq!(
            outcomes("gemini", &gemini.to_string()),
            ["a 200 {\"x\":1}", "b 429 {\"error\":{\"code\":8,\"message\":\"quota\"}}"]
        );
    }

    #[test]
    fn a_description_tells_the_state_of_its_batch() {
        let state = |name: &str, described: Value| api(name).dialect.state(&described);
        let refused = |is_queue_full| BatchState::Refused { why: "why".into(), is_queue_full };
        let errors = |code: &str| json!({"data": [{"code": code, "message": "why"}]});
        assert_eq!(
            state("openai", json!({"id": "b", "status": "in_progress"})),
            BatchState::Running
        );
        let ended =
            json!({"id": "b", "status": "expired", "output_file_id": "o", "error_file_id": "e"});
        let calls = ["o", "e"].map(|id| Call::get(format!("/v1/files/{id}/content")));
        let expected = BatchState::Ended { results: calls.into(), rest: Some(RowOutcome::Expired) };
        assert_eq!(state("openai", ended), expected);
        for (code, is_full) in [("token_limit_exceeded", true), ("invalid_json_line", false)] {
            let failed = json!({"id": "b", "status": "failed", "errors": errors(code)});
            assert_eq!(state("openai", failed), refused(is_full));
        }
        let running = json!({"id": "m", "processing_status": "canceling"});
        assert_eq!(state("anthropic", running), BatchState::Running);
        assert_eq!(state("mistral", json!({"id": "m", "status": "QUEUED"})), BatchState::Running);
        let gemini = json!({"name": "batches/1", "metadata": {"state": "BATCH_STATE_RUNNING"}});
        assert_eq!(state("gemini", gemini), BatchState::Running);
        let failed =
            json!({"name": "batches/1", "done": true, "error": {"code": 3, "message": "why"}});
        assert_eq!(state("gemini", failed), refused(false));
    }
}
