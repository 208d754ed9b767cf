//! (7) Jobs that a request submits, and that are polled until they are done. Pure.
//!
//! [`Settings`] are the `[poll]` part of a job, [`Poll`] is its checked form. The answer to the
//! submission gives values and the address of the polls; each answer to a poll says whether
//! the job is done.

use std::time::Duration;

use http::header::{HeaderName, LOCATION};
use http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::extract::{self, AnswerContext, Document, Extractor, JqInput, Program, jq_text};
use crate::limit::duration;
use crate::record::{Failure, FailureKind, excerpt};
use crate::render::{self, CostExpressions, RenderContext, Renderer, RowBinding, TextTemplate};
use crate::row::Row;

/// Pause before the first polls, where the job names none.
const EVERY: Duration = Duration::from_secs(2);
/// Factor by which that pause grows with each poll.
const GROWTH: f64 = 1.5;
/// Maximum of that pause.
const MAX_EVERY: Duration = Duration::from_secs(30);
/// Time after which a job is given up, where the job file names none.
const TIMEOUT: Duration = Duration::from_secs(3_600);
/// Maximum of that time, 100 years: a clock can't count to the end of any longer one.
const MAX_TIMEOUT: Duration = Duration::from_secs(100 * 31_557_600);
/// Maximum number of jobs that a run has submitted and not done, where none is named.
const MAX_WAITING: usize = 20_000;
/// Maximum number of characters of an answer in a failure.
const MAX_SAID: usize = 200;
/// Stands for the host of the request in a template that has none.
const NO_HOST: &str = "http://request.invalid";

/// Headers with the address of a job, the most specific first.
static ADDRESS_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("operation-location"),
    HeaderName::from_static("azure-asyncoperation"),
    LOCATION,
];

/// The `[poll]` part of a job: the request submits a job, which is polled until it is done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Values of the answer to the submission, by name: fields of the row from then on.
    pub submitted: extract::Settings,
    /// A template of the address that is polled; without it, the header `Operation-Location`,
    /// `Azure-AsyncOperation` or `Location` has it.
    pub url: Option<String>,
    /// A jq program that is true of the answer to a poll once the job is done; without it, any
    /// status but 202 says so.
    pub until: Option<String>,
    /// A jq program that is true once the job has failed; a text says why.
    pub failed: Option<String>,
    /// The pause between two polls; without it, 2 s that grow to 30 s.
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    #[serde(with = "humantime_serde")]
    pub every: Option<Duration>,
    /// The time after which a job that is not done is given up.
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    #[serde(with = "humantime_serde")]
    pub timeout: Option<Duration>,
    /// Maximum number of jobs that are submitted and not done.
    pub max_waiting: Option<usize>,
}

/// How a stage polls.
pub struct Poll {
    submitted: Extractor,
    url: PollUrl,
    /// The address as the job writes it.
    url_text: Option<String>,
    until: Option<Program>,
    /// That program as the job writes it.
    until_text: Option<String>,
    failed: Option<Program>,
    every: Option<Duration>,
    /// The time after which a job that is not done is given up.
    pub timeout: Duration,
    /// Maximum number of jobs of a run that are submitted and not done.
    pub max_waiting: usize,
}

/// The source of the address.
enum PollUrl {
    /// A header of the answer to the submission.
    Header,
    /// A value that is all of the address.
    Value(TextTemplate),
    /// A template, whose host may be that of the request.
    Template(Box<Renderer>),
}

/// The state of a job, as an answer tells it.
#[derive(Debug, PartialEq)]
pub enum JobState {
    Running,
    Done,
    /// Why it failed, if the answer says it.
    Failed(Option<String>),
}

impl Settings {
    /// Whether the job polls.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Settings::default()
    }
}

impl Poll {
    /// Checks the settings; none if the job does not poll.
    ///
    /// # Errors
    /// Which of them is wrong.
    pub fn new(
        settings: &Settings,
        allow_host: &[String],
        context: &RenderContext<'_>,
    ) -> Result<Option<Poll>, Error> {
        if !settings.is_any() {
            return Ok(None);
        }
        let program = |key: &str, code: &Option<String>| {
            let program = code.as_deref().map(Program::of_answer).transpose();
            program.map_err(|why| Error::plan(format!("poll.{key}: {why}")))
        };
        for (key, value) in [("every", settings.every), ("timeout", settings.timeout)] {
            if value.is_some_and(|value| value.is_zero()) {
                return Err(Error::plan(format!("poll.{key} is 0: give a time such as 5s")));
            }
        }
        if settings.max_waiting == Some(0) {
            return Err(Error::plan("poll.max-waiting is 0: nothing would be submitted"));
        }
        let submitted = Extractor::new(&settings.submitted)
            .map_err(|error| error.map(|text| text.replacen("extract", "poll.submitted", 1)))?;
        Ok(Some(Poll {
            submitted,
            url: PollUrl::new(settings.url.as_deref(), allow_host, context)?,
            url_text: settings.url.clone(),
            until: program("until", &settings.until)?,
            until_text: settings.until.clone(),
            failed: program("failed", &settings.failed)?,
            every: settings.every,
            timeout: settings.timeout.unwrap_or(TIMEOUT).min(MAX_TIMEOUT),
            max_waiting: settings.max_waiting.unwrap_or(MAX_WAITING),
        }))
    }

    /// The values of the answer to the submission.
    #[must_use]
    pub fn submitted(&self) -> &Extractor {
        &self.submitted
    }

    /// The names of these values.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.submitted.names()
    }

    /// A URL with the host of all polls, if the job writes it out.
    #[must_use]
    pub fn fixed_uri(&self) -> Option<Uri> {
        match &self.url {
            PollUrl::Template(renderer) => renderer.fixed_uri().filter(|uri| !has_no_host(uri)),
            _ => None,
        }
    }

    /// The fields of the row that the address uses.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let fields = match &self.url {
            PollUrl::Header => None,
            PollUrl::Value(template) => Some(template.fields()),
            PollUrl::Template(renderer) => Some(renderer.fields()),
        };
        fields.into_iter().flatten().map(String::as_str)
    }

    /// Whether the address carries secrets of the job.
    #[must_use]
    pub fn carries_secrets(&self) -> bool {
        match &self.url {
            PollUrl::Header => false,
            PollUrl::Value(template) => template.carries_secrets(),
            PollUrl::Template(renderer) => renderer.carries_secrets(),
        }
    }

    /// The address that is polled, from the headers of the answer to the submission or the
    /// row with its values; none if the answer has none.
    ///
    /// # Errors
    /// A failure of kind `input`: the value that does not fit.
    pub fn address(&self, row: &Row, headers: &HeaderMap) -> Result<Option<String>, Failure> {
        match &self.url {
            PollUrl::Header => {
                let found = ADDRESS_HEADERS.iter().find_map(|name| headers.get(name));
                Ok(found.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()))
            }
            PollUrl::Value(template) => {
                let text = template.render(row);
                text.map(Some)
                    .map_err(|why| Failure::new(FailureKind::Input, format!("poll.url: {why}")))
            }
            PollUrl::Template(renderer) => {
                let request = renderer.render(row).map_err(|failure| Failure {
                    detail: format!("poll.url: {}", failure.detail),
                    ..failure
                })?;
                let uri = request.uri();
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                Ok(Some(if has_no_host(uri) { path.to_owned() } else { uri.to_string() }))
            }
        }
    }

    /// Whether the address follows from the row and its values alone.
    #[must_use]
    pub fn has_template(&self) -> bool {
        !matches!(self.url, PollUrl::Header)
    }

    /// The state of the job that this answer tells.
    ///
    /// # Errors
    /// The answer does not tell it: `missing job status`, or a failure to read the body.
    pub fn state(&self, body: &[u8], context: &AnswerContext<'_>) -> Result<JobState, Failure> {
        let is_accepted = context.status == Some(StatusCode::ACCEPTED);
        if self.until.is_none() && self.failed.is_none() {
            return Ok(if is_accepted { JobState::Running } else { JobState::Done });
        }
        let document = Document::new(body, context)?;
        if let Some(failed) = value("poll.failed", self.failed.as_ref(), &document, context)? {
            let why = failed.as_str().map(|text| excerpt(text, MAX_SAID));
            return Ok(JobState::Failed(why));
        }
        let is_done = match &self.until {
            None => !is_accepted,
            until => value("poll.until", until.as_ref(), &document, context)?.is_some(),
        };
        Ok(if is_done { JobState::Done } else { JobState::Running })
    }

    /// The pause before the next poll, after this number of polls and where the server asks
    /// for `asked`.
    #[must_use]
    pub fn pause(&self, polls: u32, asked: Option<Duration>) -> Duration {
        let grown = || {
            let factor = GROWTH.powi(polls.min(20).cast_signed());
            EVERY.mul_f64(factor).min(MAX_EVERY)
        };
        asked.or(self.every).unwrap_or_else(grown)
    }

    /// The polls in words, for people who are about to begin.
    #[must_use]
    pub fn describe(&self) -> String {
        let time = duration::exact;
        let address = match &self.url_text {
            Some(url) => url.clone(),
            None => "the address that each answer names".to_owned(),
        };
        let every = match self.every {
            Some(every) => format!("every {}", time(every)),
            None => format!("after {}, later every {}", time(EVERY), time(MAX_EVERY)),
        };
        let until = match &self.until_text {
            Some(until) => format!("until {until}"),
            None => "until its status is not 202".to_owned(),
        };
        format!("{address}, {every}, {until}, for up to {}", time(self.timeout))
    }
}

impl PollUrl {
    fn new(
        url: Option<&str>,
        allow_host: &[String],
        context: &RenderContext<'_>,
    ) -> Result<PollUrl, Error> {
        let Some(text) = url else {
            return Ok(PollUrl::Header);
        };
        if let Some(template) = TextTemplate::of_one_value(text, context)
            .map_err(|error| error.map(|why| format!("poll.url: {why}")))?
        {
            return Ok(PollUrl::Value(template));
        }
        let is_path = text.starts_with('/') && !text.starts_with("//");
        let settings = render::Settings {
            url: Some(if is_path { format!("{NO_HOST}{text}") } else { text.to_owned() }),
            allow_host: allow_host.to_vec(),
            ..render::Settings::default()
        };
        let renderer =
            Renderer::new(&settings, RowBinding::Values, &CostExpressions::default(), context);
        let (renderer, _) = renderer.map_err(|error| {
            error.map(|text| text.replacen("request.url (--url)", "poll.url", 1))
        })?;
        if renderer.hosts().is_some_and(|hosts| hosts.is_empty()) {
            return Err(Error::plan(
                "poll.url: its host comes from a value: name the hosts that may be asked (request.allow-host, --allow-host)",
            ));
        }
        Ok(PollUrl::Template(Box::new(renderer)))
    }
}

fn has_no_host(uri: &Uri) -> bool {
    NO_HOST.strip_prefix("http://") == uri.host()
}

/// The first value of a program, if it is there and neither null nor false.
fn value(
    key: &str,
    program: Option<&Program>,
    document: &Document,
    context: &AnswerContext<'_>,
) -> Result<Option<Value>, Failure> {
    let Some(program) = program else {
        return Ok(None);
    };
    let values = match program.run_all(&document.input, context) {
        Ok(values) => values,
        Err(error) => {
            if let Some(failure) = &document.not_json {
                return Err(failure.clone());
            }
            let why = error.or_failure(key)?;
            return Err(Failure::new(FailureKind::MissingJobStatus, format!("{key}: {why}")));
        }
    };
    let found = values.into_iter().next();
    let found = found.filter(|value| !matches!(value, JqInput::Null | JqInput::Bool(false)));
    Ok(found.map(|value| {
        let text = jq_text(&value).ok();
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Bool(true))
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::secret::Vault;

    fn poll(settings: Value) -> Result<Poll, Error> {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let vault = Arc::new(Vault::new(&Default::default())?);
        let context = RenderContext { environment: &|_| None, vault: &vault };
        Poll::new(&settings, &[], &context).map(Option::unwrap)
    }

    fn state(settings: Value, status: u16, body: &str) -> Result<JobState, FailureKind> {
        let context =
            AnswerContext { status: StatusCode::from_u16(status).ok(), ..AnswerContext::default() };
        let state = poll(settings).unwrap().state(body.as_bytes(), &context);
        state.map_err(|failure| failure.kind)
    }

    #[test]
    fn an_answer_tells_the_state_of_its_job() {
        let until = json!({
            "until": ".status == \"done\"",
            "failed": "select(.status == \"failed\") | .error // true",
        });
        let by_status = json!({"every": "1s"});
        let failed = |why: Option<&str>| Ok(JobState::Failed(why.map(str::to_owned)));
        for (settings, status, body, expected) in [
            (&until, 200, r#"{"status": "queued"}"#, Ok(JobState::Running)),
            (&until, 200, r#"{"status": "done"}"#, Ok(JobState::Done)),
            (&until, 200, r#"{"status": "failed", "error": "no money"}"#, failed(Some("no money"))),
            (&until, 200, r#"{"status": "failed"}"#, failed(None)),
            (&until, 200, "[]", Err(FailureKind::MissingJobStatus)),
            (&by_status, 202, "", Ok(JobState::Running)),
            (&by_status, 200, "%PDF", Ok(JobState::Done)),
            (&json!({"until": "$status == 201"}), 201, "{}", Ok(JobState::Done)),
        ] {
            assert_eq!(state(settings.clone(), status, body), expected, "{settings} {body}");
        }
    }

    #[test]
    fn an_address_comes_from_a_template_a_value_or_a_header() {
        let row = Row {
            fields: json!({"id": "a/b", "at": "https://h/jobs/7?x=1"}).as_object().unwrap().clone(),
            ..Row::default()
        };
        let address = |settings: Value, headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            poll(settings).unwrap().address(&row, &headers.collect()).unwrap()
        };
        assert_eq!(address(json!({"url": "/jobs/{{ id }}?v=1"}), &[]).unwrap(), "/jobs/a%2Fb?v=1");
        let whole = json!({"url": "https://api.h/jobs/{{ id }}"});
        assert_eq!(address(whole, &[]).unwrap(), "https://api.h/jobs/a%2Fb");
        assert_eq!(address(json!({"url": "{{ at }}"}), &[]).unwrap(), "https://h/jobs/7?x=1");
        let every = json!({"every": "1s"});
        assert_eq!(address(every.clone(), &[]), None);
        let both = [("location", "/result"), ("azure-asyncoperation", "/operation")];
        assert_eq!(address(every, &both).unwrap(), "/operation");
        let error = poll(json!({"url": "https://{{ id }}.h/x"})).err().unwrap();
        assert!(error.to_string().contains("request.allow-host"), "{error}");
    }

    #[test]
    fn pauses_grow_unless_the_job_or_the_server_names_them() {
        let pause = |settings: Value, polls, asked: Option<u64>| {
            poll(settings).unwrap().pause(polls, asked.map(Duration::from_secs)).as_secs_f64()
        };
        let default = || json!({"until": ".x"});
        assert_eq!([0, 1, 2, 99].map(|polls| pause(default(), polls, None)), [2.0, 3.0, 4.5, 30.0]);
        assert_eq!(pause(json!({"every": "5s"}), 9, None), 5.0);
        assert_eq!(pause(json!({"every": "5s"}), 9, Some(60)), 60.0);
        assert!(poll(json!({"every": "0s"})).is_err());
        assert!(poll(json!({"until": ".x ="})).is_err());
    }
}
