//! The login of a run: the requests of `[[before]]`, whose answers give secrets to the requests
//! of rows.
//!
//! Once a run, or once a key of its pool, they are sent one after the other; again when the
//! secrets expire, and when a server refuses them. The engine sends them, since they pass the
//! limits like all others.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::freshness::{Freshness, MAX_UNUSED};
use super::lifetime;
use super::placeholders::fill_in;
use super::{Settings, Signer};
use crate::error::Error;
use crate::extract::{self, AnswerContext, AnswerKind, Extractor};
use crate::record::FailureKind;
use crate::render::{self, CostExpressions, RenderContext, Renderer, RowBinding};
use crate::row::Row;
use crate::secret::{RotatingSecrets, RotatingValue};
use crate::send::Answer;

/// Maximum number of logins in a row whose secrets no server has ever accepted, beyond the
/// first one.
const PATIENCE: u32 = 1;
/// Maximum number of logins whose values are hidden beside the current ones: the one before,
/// which answers may still hold, and one on its way.
const OTHER_LOGINS: usize = 2;

/// One `[[before]]` of a job: a request before those of rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct BeforeSettings {
    /// The URL.
    pub url: Option<String>,
    /// The method; by default GET, or POST if there is a body.
    pub method: Option<String>,
    /// The query that is appended to the URL.
    pub query: Map<String, Value>,
    /// Headers.
    pub headers: Map<String, Value>,
    /// A body as text; a form unless a `content-type` header says otherwise.
    #[serde(alias = "body")]
    pub data: Option<String>,
    /// A JSON body, whose texts are templates.
    pub json: Option<Value>,
    /// A body of form fields.
    pub form: Map<String, Value>,
    /// How the request is signed; by itself it is not.
    #[cfg_attr(feature = "cli", schemars(with = "super::AuthKeys"))]
    pub auth: Settings,
    /// The kind of the answer's body; by its type and first bytes if none is given.
    pub answer: Option<AnswerKind>,
    /// Names and jq programs of the secrets: `{{ secret.NAME }}`.
    pub extract: extract::Settings,
    /// The jq program of their lifetime in seconds, or of the time at which they expire.
    pub expires: Option<String>,
    /// The statuses of answers to rows at which the run logs in again; 401 if none is given.
    pub renew_on: Option<Vec<u16>>,
}

impl BeforeSettings {
    /// The names of the secrets of all these requests.
    pub fn names(all: &[BeforeSettings]) -> impl Iterator<Item = &str> {
        all.iter().flat_map(|it| it.extract.keys()).map(|name| name.trim_end_matches('?'))
    }

    fn request(&self) -> render::Settings {
        render::Settings {
            url: self.url.clone(),
            method: self.method.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            data: self.data.clone(),
            json: self.json.clone(),
            form: self.form.clone(),
            ..render::Settings::default()
        }
    }
}

/// The login of a run, shared by the signers of all stages.
pub struct Login {
    steps: Vec<LoginStep>,
    /// The placeholders of all values, in the order of the steps.
    placeholders: Vec<String>,
    /// One for the run, or one for each key of the pool.
    sessions: Vec<Session>,
    is_by_key: bool,
    renew_on: Vec<StatusCode>,
}

/// One request of a login.
struct LoginStep {
    renderer: Renderer,
    signer: Signer,
    uri: Uri,
    kind: Option<AnswerKind>,
    extractor: Extractor,
    expires: Option<Extractor>,
}

/// The current secrets of a run, or of a key.
struct Session {
    state: Mutex<SessionState>,
    /// Hides its values.
    hidden: RotatingSecrets,
    /// Held while someone logs in.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct SessionState {
    values: Vec<String>,
    freshness: Freshness,
}

/// A login on its way: the values so far.
pub struct LoginDraft {
    /// The key of the pool that logs in.
    key: Option<usize>,
    values: Vec<String>,
    /// The shortest lifetime so far.
    lifetime: Option<Duration>,
}

impl Login {
    /// The login of these requests, if there are any; `keys` are the templates of the pool.
    ///
    /// # Errors
    /// Which key is wrong, and why.
    pub fn new(
        settings: &[BeforeSettings],
        keys: &[String],
        context: &RenderContext<'_>,
    ) -> Result<Option<Login>, Error> {
        let steps = (1..).zip(settings).map(|(number, settings)| {
            let step = LoginStep::new(settings, keys, context);
            step.map_err(|error| error.map(|why| format!("before {number}: {why}")))
        });
        let steps: Vec<LoginStep> = steps.collect::<Result<_, _>>()?;
        if steps.is_empty() {
            return Ok(None);
        }
        let is_by_key = steps.iter().any(|step| step.renderer.uses_key());
        let sessions = if is_by_key { keys.len() } else { 1 };
        let placeholders = BeforeSettings::names(settings)
            .filter_map(|name| context.vault.get(name))
            .map(|placeholder| placeholder.expose().to_owned());
        let placeholders: Vec<String> = placeholders.collect();
        let others = OTHER_LOGINS * placeholders.len();
        let sessions =
            (0..sessions).map(|_| Session::new(context.vault.secrets().rotating(others)));
        Ok(Some(Login {
            placeholders,
            sessions: sessions.collect(),
            is_by_key,
            renew_on: renew_on(settings)?,
            steps,
        }))
    }

    /// Whether each key of the pool logs in for itself.
    #[must_use]
    pub fn is_by_key(&self) -> bool {
        self.is_by_key
    }

    /// The key that the login of a request with this key is for; none if it is the run's.
    #[must_use]
    pub fn key(&self, key: Option<usize>) -> Option<usize> {
        key.filter(|_| self.is_by_key)
    }

    /// The URLs of its requests.
    pub fn uris(&self) -> impl Iterator<Item = &Uri> {
        self.steps.iter().map(|step| &step.uri)
    }

    /// Number of its requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// A line about each of its requests, without secrets.
    pub fn describe(&self) -> impl Iterator<Item = String> {
        self.steps.iter().map(|step| {
            let names = step.extractor.names();
            let given: Vec<String> =
                names.iter().map(|name| format!("{{{{ secret.{name} }}}}")).collect();
            let gives = if given.is_empty() { "no value".to_owned() } else { given.join(", ") };
            let statuses: Vec<&str> = self.renew_on.iter().map(StatusCode::as_str).collect();
            let each = if self.is_by_key { "each key" } else { "the run" };
            let ends = if step.expires.is_some() { " or when it expires" } else { "" };
            format!(
                "{} gives {gives}, once for {each}, and again after a {}{ends}",
                step.name(),
                statuses.join(", ")
            )
        })
    }

    /// The method and the URL of one of its requests, without the query.
    #[must_use]
    pub fn name(&self, step: usize) -> String {
        self.steps.get(step).map(LoginStep::name).unwrap_or_default()
    }

    /// Whether the secrets for this key need not be renewed yet.
    #[must_use]
    pub fn is_fresh(&self, key: Option<usize>, now: Instant) -> bool {
        self.state(key).freshness.is_fresh(now)
    }

    /// The number of the current secrets for this key.
    #[must_use]
    pub fn edition(&self, key: Option<usize>) -> u64 {
        self.state(key).freshness.edition()
    }

    /// Whether an answer with this status says that the secrets are of no use any more.
    #[must_use]
    pub fn renews_on(&self, status: StatusCode) -> bool {
        self.renew_on.contains(&status)
    }

    /// Notes that the server has accepted the secrets of this edition.
    pub fn mark_accepted(&self, key: Option<usize>, edition: u64) {
        self.state(key).freshness.mark_accepted(edition);
    }

    /// Notes that the server has refused the secrets of this edition. Returns whether another
    /// attempt is worth it.
    #[must_use]
    pub fn mark_refused(&self, key: Option<usize>, edition: u64) -> bool {
        self.state(key).freshness.mark_refused(edition, PATIENCE)
    }

    /// Waits for the turn to log in: meanwhile another worker may have done so.
    pub async fn turn(&self, key: Option<usize>) -> tokio::sync::MutexGuard<'_, ()> {
        self.session(key).turn.lock().await
    }

    /// Begins to log in.
    ///
    /// # Errors
    /// That no secrets live long enough.
    pub fn begin(&self, key: Option<usize>) -> Result<LoginDraft, String> {
        if self.state(key).freshness.expires_unused() {
            return Err(format!(
                "the secrets of its last {MAX_UNUSED} answers had expired before a request had its turn under the limits: check before.expires, or have the server give some that live longer"
            ));
        }
        Ok(LoginDraft { key, values: Vec::new(), lifetime: None })
    }

    /// The request of one step, signed.
    ///
    /// # Errors
    /// Which setting can't be sent.
    pub fn request(
        &self,
        step: usize,
        draft: &LoginDraft,
        key: Option<usize>,
        at: SystemTime,
    ) -> Result<Request<Bytes>, String> {
        let step = self.steps.get(step).ok_or("there is no such request")?;
        let mut request =
            step.renderer.render(&Row::default()).map_err(|failure| failure.detail)?;
        step.signer.sign(&mut request, key, at)?;
        self.fill_in_values(&mut request, &draft.values)?;
        Ok(request)
    }

    /// Takes the values of a step's answer.
    ///
    /// # Errors
    /// Which value is not there, and why.
    pub fn take(
        &self,
        step: usize,
        draft: &mut LoginDraft,
        answer: &Answer,
        now: SystemTime,
    ) -> Result<(), String> {
        let step = self.steps.get(step).ok_or("there is no such request")?;
        let context = AnswerContext { kind: step.kind, ..answer.context(&step.uri) };
        let values = step.values(answer, context)?;
        let given = values.iter().map(|value| RotatingValue::new(value));
        let current = || self.state(draft.key).values.iter().cloned().collect();
        self.session(draft.key).hidden.add_all(given, current);
        draft.values.extend(values);
        if let Some(expires) = &step.expires {
            let value = step.expiry(expires, answer, context);
            let lifetime = lifetime::of(&value, now)?;
            draft.lifetime = match draft.lifetime {
                Some(other) => Some(other.min(lifetime)),
                None => Some(lifetime),
            };
        }
        Ok(())
    }

    /// Ends a login: its values are those of requests from now on.
    pub fn accept(&self, draft: LoginDraft, key: Option<usize>, now: Instant) {
        let mut state = self.state(key);
        state.values = draft.values;
        state.freshness.renew(draft.lifetime, now);
    }

    /// Puts the current values into a request of a row.
    ///
    /// # Errors
    /// The place in which a value can't stand.
    pub fn fill_in(&self, request: &mut Request<Bytes>, key: Option<usize>) -> Result<(), String> {
        let mut state = self.state(key);
        state.freshness.mark_used();
        let values = state.values.clone();
        drop(state);
        self.fill_in_values(request, &values)
    }

    fn fill_in_values(
        &self,
        request: &mut Request<Bytes>,
        values: &[String],
    ) -> Result<(), String> {
        for (placeholder, value) in self.placeholders.iter().zip(values) {
            fill_in(request, placeholder, value)?;
        }
        Ok(())
    }

    fn session(&self, key: Option<usize>) -> &Session {
        let index = self.key(key).unwrap_or_default();
        self.sessions.get(index).unwrap_or(&self.sessions[0])
    }

    fn state(&self, key: Option<usize>) -> MutexGuard<'_, SessionState> {
        self.session(key).state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn new(hidden: RotatingSecrets) -> Session {
        Session { state: Mutex::default(), hidden, turn: tokio::sync::Mutex::default() }
    }
}

impl LoginStep {
    fn new(
        settings: &BeforeSettings,
        keys: &[String],
        context: &RenderContext<'_>,
    ) -> Result<LoginStep, Error> {
        let costs = CostExpressions {
            keys: keys.to_vec(),
            is_key_optional: true,
            ..CostExpressions::default()
        };
        let request = settings.request();
        let (renderer, headers) = Renderer::new(&request, RowBinding::Values, &costs, context)?;
        if let Some(field) = renderer.fields().first() {
            return Err(Error::plan(format!(
                "it uses {{{{ {field} }}}}, but is the same for all rows: {{{{ env.NAME }}}}, {{{{ secret.NAME }}}} and {{{{ key }}}} can be used here"
            )));
        }
        let uri = renderer.fixed_uri();
        let expires = settings.expires.as_ref();
        Ok(LoginStep {
            uri: uri.ok_or_else(|| Error::plan("its URL must name its host by itself"))?,
            kind: settings.answer,
            extractor: Extractor::new(&settings.extract)?,
            expires: expires.map(|program| Extractor::of_one("expires", program)).transpose()?,
            signer: Signer::new(headers, renderer.keys(), &settings.auth, None, context)?,
            renderer,
        })
    }

    /// The method and the URL without the query.
    fn name(&self) -> String {
        let method = self.renderer.method().map_or("GET", |method| method.as_str());
        let rendered = self.renderer.render(&Row::default());
        let path = rendered.as_ref().map_or("", |request| request.uri().path());
        let (scheme, host) = (self.uri.scheme_str(), self.uri.authority());
        format!(
            "{method} {}://{}{path}",
            scheme.unwrap_or_default(),
            host.map_or("", |host| host.as_str())
        )
    }

    /// The values of an answer, as texts. A body that can't be read is a text.
    fn values(&self, answer: &Answer, context: AnswerContext<'_>) -> Result<Vec<String>, String> {
        let found = self.extractor.extract_in(&answer.body, &context).or_else(|failure| {
            if failure.kind == FailureKind::NotJson {
                let as_text = AnswerContext { kind: Some(AnswerKind::Text), ..context };
                self.extractor.extract_in(&answer.body, &as_text)
            } else {
                Err(failure)
            }
        });
        let found = found.map_err(|failure| {
            format!(
                "{}: {}; check before.extract, and the user and the password: the answer may be a refusal",
                failure.kind, failure.detail
            )
        })?;
        let named = self.extractor.names().into_iter().zip(found);
        named.map(|(name, value)| text(&name, value)).collect()
    }

    fn expiry(&self, expires: &Extractor, answer: &Answer, context: AnswerContext<'_>) -> Value {
        expires.extract_one_in(&answer.body, &context).unwrap_or_default()
    }
}

fn text(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err(format!(
            "the value of before.extract.{name} is a list or an object, and no text: have its jq program give one text"
        )),
    }
}

fn renew_on(settings: &[BeforeSettings]) -> Result<Vec<StatusCode>, Error> {
    let named = settings.iter().filter_map(|it| it.renew_on.as_ref()).flatten();
    let mut all = Vec::new();
    for code in named {
        let status = StatusCode::from_u16(*code);
        all.push(status.map_err(|_| {
            Error::plan(format!("before.renew-on has {code}, which is no status of an answer"))
        })?);
    }
    if settings.iter().any(|it| it.renew_on.is_none()) {
        all.push(StatusCode::UNAUTHORIZED);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}
