//! Jobs from code: rows of iterators and streams, hooks in place of templates, and runs whose
//! records are a stream.
//!
//! - `rows`: iterators and streams as rows
//! - `typed`: closures as hooks, with rows of the program's own types
//! - `sinks`: what a program has already, as sinks
//! - `handle`: a run that goes on, its progress and its end
//! - `stream`: the records of a run as a stream; `batches`: as Arrow's batches

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::hooks::{
    Answer, Batches, Processed, RequestHook, ResponseHook, ResponseStep, RowError, RowRequest,
};
use crate::limit::RateLimiter;
use crate::plan::{Job, JobParts, Layers, Plan};
use crate::row::Row;
use crate::source::{ProgramRows, RowSource};

#[cfg(feature = "arrow")]
mod batches;
mod handle;
mod rows;
mod sinks;
mod stream;
mod typed;

#[cfg(feature = "arrow")]
pub use batches::RecordBatchStream;
pub use handle::{JobHandle, Progress};
pub use stream::RecordStream;
pub use typed::IntoRowRequest;

/// A job that is being put together in code.
///
/// Any key of a job file can be [set](JobBuilder::set), and a job file can be the beginning
/// ([`JobBuilder::parse`]). What only code can say stands beside it: the rows of an iterator or a
/// stream, the hooks that make requests and process answers, and a limiter that others use too.
/// Nothing is checked before [`build`](JobBuilder::build).
///
/// ```
/// use http::Request;
/// use serde::{Deserialize, Serialize};
/// use throng::{Answer, Job, RowError};
/// # let server = throng_mock::Mock::start(throng_mock::Settings { anything: true, ..Default::default() }, "127.0.0.1:0")?;
/// # let api = server.url();
///
/// #[derive(Serialize, Deserialize)]
/// struct Item {
///     id: u32,
/// }
///
/// let plan = Job::builder()
///     .rows((1..=3).map(|id| Item { id }))
///     .url(api)                                        // the host: the hook gives paths
///     .request(|item: &Item| Request::get(format!("/items/{}", item.id)).body(""))
///     .on_response(|item: Item, answer: Answer| async move {
///         match answer.body.len() {
///             0 => Err(RowError::retry("it is not there yet")),
///             length => Ok(serde_json::json!({ "double": 2 * item.id, "length": length })),
///         }
///     })
///     .rate("50/1s")
///     .build()?;
/// let mut doubles = 0;
/// for record in plan.into_stream().blocking() {
///     doubles += record?.row.fields["double"].as_u64().unwrap_or(0);
/// }
/// assert_eq!(doubles, 12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "build() makes the plan"]
pub struct JobBuilder {
    layers: Result<Layers, Error>,
    parts: JobParts,
    environment: Environment,
    /// Whether a stranger has written the text of the job.
    is_sandboxed: bool,
}

/// Looks a variable of the environment up.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Job {
    /// A job that is put together in code.
    pub fn builder() -> JobBuilder {
        JobBuilder::of(Ok(Layers::default()))
    }
}

impl From<Job> for JobBuilder {
    fn from(job: Job) -> JobBuilder {
        let tree = serde_json::to_value(job);
        let tree = tree.map_err(|error| Error::plan(format!("the job can't be read: {error}")));
        JobBuilder::of(tree.map(|tree| Layers::default().overlay(tree)))
    }
}

impl JobBuilder {
    fn of(layers: Result<Layers, Error>) -> JobBuilder {
        JobBuilder {
            layers,
            parts: JobParts::default(),
            environment: Box::new(|name| std::env::var(name).ok()),
            is_sandboxed: false,
        }
    }

    /// A job that begins as the text of a job file; `name` is named in errors, and decides on the
    /// syntax.
    ///
    /// ```
    /// use throng::JobBuilder;
    ///
    /// let plan = JobBuilder::parse("items.toml", "request.url = 'https://api.example/{{ id }}'")
    ///     .rows([serde_json::json!({ "id": 1 })])
    ///     .build()?;
    /// assert_eq!(plan.rows(), None);    // nobody knows how many rows an iterator has
    /// # Ok::<(), throng::Error>(())
    /// ```
    pub fn parse(name: &str, text: &str) -> JobBuilder {
        JobBuilder::of(Layers::parse(name, text))
    }

    /// Takes the text of the job so far for a stranger's. It may name no command, no file and no
    /// variable of the environment, nor an account whose limits others share; and no private
    /// address is reached, whoever names it. What is set afterwards is the program's own, and so
    /// are its hooks. A secret that the program adds goes wherever the stranger's URL leads.
    ///
    /// ```
    /// use throng::JobBuilder;
    ///
    /// let text = "request.url = 'https://api.example/{{ id }}'\nsecrets.key = 'command:id'";
    /// let job = JobBuilder::parse("theirs.toml", text).sandboxed().build();
    /// assert!(job.is_err_and(|error| error.to_string().starts_with("secrets is not allowed")));
    /// ```
    pub fn sandboxed(self) -> JobBuilder {
        let layers = self.layers.and_then(|layers| layers.check_foreign().map(|()| layers));
        let private = JobBuilder { layers, is_sandboxed: true, ..self };
        private.environment(|_| None).set("limit.share", "none")
    }

    /// Sets a key of the job file, such as `retry.retries` or `request.json`. A table is merged
    /// with the one that is set already, and any other value replaces it.
    ///
    /// ```
    /// use serde_json::json;
    /// use throng::Job;
    ///
    /// let plan = Job::builder()
    ///     .url("https://api.example/{{ id }}")
    ///     .rows([json!({ "id": 1 })])
    ///     .set("retry.retries", 2)
    ///     .set("send", json!({ "timeout": "5s" }))
    ///     .build()?;
    /// let misspelt = Job::builder().set("retry.retrys", 2).build();
    /// assert!(misspelt.is_err_and(|error| error.to_string().contains("unknown field `retrys`")));
    /// # drop(plan);
    /// # Ok::<(), throng::Error>(())
    /// ```
    pub fn set(self, key: &str, value: impl Serialize) -> JobBuilder {
        let value = serde_json::to_value(value);
        let layers = self.layers.and_then(|layers| {
            let value = value.map_err(|error| Error::plan(format!("{key}: {error}")))?;
            let nest = |inner: Value, name: &str| Map::from_iter([(name.to_owned(), inner)]).into();
            Ok(layers.overlay(key.rsplit('.').fold(value, nest)))
        });
        JobBuilder { layers, ..self }
    }

    /// Adds an entry to a table of the job file whose names may have dots.
    fn insert(self, table: &str, name: &str, value: impl Into<Value>) -> JobBuilder {
        self.set(table, Map::from_iter([(name.to_owned(), value.into())]))
    }

    /// Sets the URL of the requests, with values of the row in it: `{{ id }}`. With a
    /// [request hook](JobBuilder::request) it is the host for requests that name only a path.
    pub fn url(self, template: impl Into<String>) -> JobBuilder {
        self.set("request.url", template.into())
    }

    /// Sets the method of the requests.
    pub fn method(self, method: &http::Method) -> JobBuilder {
        self.set("request.method", method.as_str())
    }

    /// Adds a header to the requests, also to those of a hook that have none of this name. Its
    /// value may have values of the row in it.
    pub fn header(self, name: &str, template: impl Into<String>) -> JobBuilder {
        self.insert("request.headers", name, template.into())
    }

    /// Sets the JSON body of the requests, in which any text may have values of the row.
    pub fn json(self, template: impl Serialize) -> JobBuilder {
        self.set("request.json", template)
    }

    /// Signs the requests with a bearer token, which no record shows.
    pub fn bearer(self, token: impl Into<String>) -> JobBuilder {
        self.set("auth", serde_json::json!({ "kind": "bearer", "token": token.into() }))
    }

    /// Adds a host that requests may go to, beside the one of the [URL](JobBuilder::url).
    /// Requests that carry secrets go nowhere else.
    pub fn allow_host(self, host: &str) -> JobBuilder {
        self.push("request", "allow-host", host)
    }

    /// Adds a limit, such as `50/1s` or `90000 tokens/1m`. All limits hold at once.
    pub fn rate(self, limit: &str) -> JobBuilder {
        self.push("limit", "rate", limit)
    }

    /// Adds a text to a list of the job.
    fn push(self, table: &str, name: &str, text: &str) -> JobBuilder {
        let layers = self.layers.map(|layers| layers.appended(table, name, text));
        JobBuilder { layers, ..self }
    }

    /// Sets the cost of a request in a unit that a limit counts: a number, or an expression of
    /// the row's fields. A [request hook](JobBuilder::request) can also give it itself.
    ///
    /// ```
    /// use serde_json::json;
    /// use throng::Job;
    ///
    /// let plan = Job::builder()
    ///     .rows([json!({ "prompt": "Why is the sky blue?" })])
    ///     .url("https://api.example/{{ prompt }}")
    ///     .rate("90000 tokens/1m")
    ///     .rate("1000 images/1h")
    ///     .cost("tokens", "prompt | length / 4 + 200")
    ///     .cost("images", 2)
    ///     .build()?;
    /// # drop(plan);
    /// # Ok::<(), throng::Error>(())
    /// ```
    pub fn cost(self, unit: &str, expression: impl Into<Value>) -> JobBuilder {
        self.insert("limit.cost", unit, expression)
    }

    /// Has the requests take their permits from a limiter that other code, or other jobs, use
    /// too. What their answers say of limits holds for all of them. The limits are those of the
    /// limiter, and the job may name no others.
    ///
    /// ```
    /// use serde_json::json;
    /// use throng::{Job, limit::RateLimiter};
    ///
    /// let limiter = RateLimiter::builder().limit("50/1s".parse()?).build()?;
    /// let job = |id: u32| {
    ///     let url = "https://api.example/{{ id }}";
    ///     Job::builder().rows([json!({ "id": id })]).url(url).limiter(&limiter).build()
    /// };
    /// let (one, other) = (job(1)?, job(2)?);    // 50 per second together
    /// # drop((one, other));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limiter(mut self, limiter: &RateLimiter) -> JobBuilder {
        self.parts.limiter = Some(limiter.clone());
        self
    }

    /// Sets the maximum number of requests that one worker has in flight.
    pub fn concurrency(self, requests: usize) -> JobBuilder {
        self.set("workers.concurrency", requests)
    }

    /// Sets the number of workers, each of which is a thread; one for each core without this.
    pub fn workers(self, count: usize) -> JobBuilder {
        self.set("workers.count", count)
    }

    /// Sets the maximum number of attempts after a row's first one.
    pub fn retries(self, retries: u32) -> JobBuilder {
        self.set("retry.retries", retries)
    }

    /// Adds a value of each answer, by a jq program. A value whose name ends in `?` may be
    /// missing.
    pub fn extract(self, name: &str, program: &str) -> JobBuilder {
        self.insert("extract", name, program)
    }

    /// Sets the file of the records: JSON Lines, CSV, Parquet, SQLite and others, by its
    /// extension.
    pub fn output(self, path: impl AsRef<std::path::Path>) -> JobBuilder {
        self.set("output.file", path.as_ref().display().to_string())
    }

    /// Goes on with the output file, if there is one: rows that have a record are not asked for
    /// again. Rows that are made by code are known by their [key](JobBuilder::row_key).
    pub fn resume(self) -> JobBuilder {
        self.set("output.existing", "resume-or-new")
    }

    /// Names the field by which rows are known in an earlier output file, rather than by their
    /// place in the input.
    pub fn row_key(self, field: &str) -> JobBuilder {
        self.set("output.key", field)
    }

    /// Looks variables of the environment up in this way, rather than in the process's own.
    pub fn environment(
        self,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> JobBuilder {
        JobBuilder { environment: Box::new(environment), ..self }
    }

    /// Takes the rows from an iterator, one at a time as they are needed. A row is an object; a
    /// text becomes its field `line`. The iterator may block: it has a thread of its own.
    pub fn rows<I>(self, rows: I) -> JobBuilder
    where
        I: IntoIterator<Item: Serialize, IntoIter: Send + 'static>,
    {
        self.rows_from(rows::IteratorRows(rows.into_iter()))
    }

    /// Takes the rows from a stream, one at a time as they are needed. It is polled in the tokio
    /// runtime in which this is called, or else in one of its own.
    pub fn rows_stream<S>(self, rows: S) -> JobBuilder
    where
        S: Stream<Item: Serialize> + Send + 'static,
    {
        self.rows_from(rows::StreamRows::new(rows))
    }

    /// Takes the rows from a source of the program's own, which may fail.
    pub fn rows_from(mut self, source: impl RowSource + 'static) -> JobBuilder {
        self.parts.rows = Some(ProgramRows::new(source));
        self
    }

    /// Has a function make the request of each row, in place of the job's `request`. It gives an
    /// [`http::Request`], or the `Result` of its builder. The job's headers, authentication and
    /// limits hold for it. It must not block: for that there is
    /// [`request_hook`](JobBuilder::request_hook).
    ///
    /// Private addresses are for hosts that the [URL](JobBuilder::url) or
    /// [`allow_host`](JobBuilder::allow_host) names.
    pub fn request<T, R>(self, make: impl Fn(&T) -> R + Send + Sync + 'static) -> JobBuilder
    where
        T: DeserializeOwned + 'static,
        R: IntoRowRequest + 'static,
    {
        self.request_hook(typed::RequestFn::new(make))
    }

    /// Has a hook make the request of each row.
    pub fn request_hook(mut self, hook: impl RequestHook + 'static) -> JobBuilder {
        self.parts.request = Some(Arc::new(hook));
        self
    }

    /// Has a function make the values of each answer, in place of the job's `extract`: an object
    /// whose entries stand in the record. It gets the row, and the answers that are successes; its
    /// error decides whether another attempt follows.
    ///
    /// It runs in the event loop of a worker, and must not block:
    /// [`on_response_blocking`](JobBuilder::on_response_blocking) may.
    pub fn on_response<T, O, F>(
        self,
        process: impl Fn(T, Answer) -> F + Send + Sync + 'static,
    ) -> JobBuilder
    where
        T: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Future<Output = Result<O, RowError>> + Send + 'static,
    {
        self.response_hook(typed::ResponseFn::one(process))
    }

    /// Has a function make several records of each answer: a list of objects. In the output they
    /// are items of their row (`_item`).
    pub fn on_response_many<T, O, F>(
        self,
        process: impl Fn(T, Answer) -> F + Send + Sync + 'static,
    ) -> JobBuilder
    where
        T: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Future<Output = Result<Vec<O>, RowError>> + Send + 'static,
    {
        let mut builder = self.response_hook(typed::ResponseFn::many(process));
        if let Some(step) = &mut builder.parts.response {
            step.many = true;
        }
        builder
    }

    /// Has a function make the values of each answer that blocks or computes for long: it runs on
    /// this number of threads of its own.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn on_response_blocking<T, O>(
        self,
        threads: usize,
        process: impl Fn(T, Answer) -> Result<O, RowError> + Send + Sync + 'static,
    ) -> io::Result<JobBuilder>
    where
        T: DeserializeOwned + 'static,
        O: Serialize + 'static,
    {
        let hook = Batches::new(threads, 1, move |batch: Vec<(Row, Answer)>| {
            let one = |(row, answer): (Row, Answer)| {
                typed::processed(process(typed::item(&row)?, answer)?)
            };
            batch.into_iter().map(one).collect::<Vec<Result<Processed, RowError>>>()
        })?;
        Ok(self.response_hook(hook))
    }

    /// Has a hook process the answers.
    pub fn response_hook(mut self, hook: impl ResponseHook + 'static) -> JobBuilder {
        let before = self.parts.response.take();
        self.parts.response = Some(ResponseStep {
            hook: Arc::new(hook),
            values: before.as_ref().and_then(|step| step.values.clone()),
            many: false,
        });
        self
    }

    /// Names the values that the response hook gives, in their order; a name that ends in `?` may
    /// be missing. Outputs with columns, such as CSV, need it. It stands after the hook.
    ///
    /// ```
    /// # use throng::{Answer, Job, RowError};
    /// let job = Job::builder()
    ///     .url("https://api.example/{{ id }}")
    ///     .rows([serde_json::json!({ "id": 1 })])
    ///     .on_response(|_: serde_json::Value, answer: Answer| async move {
    ///         Ok::<_, RowError>(serde_json::json!({ "length": answer.body.len() }))
    ///     })
    ///     .values(["length", "note?"]);
    /// # job.build()?;
    /// # Ok::<(), throng::Error>(())
    /// ```
    pub fn values<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> JobBuilder {
        if let Some(step) = &mut self.parts.response {
            step.values = Some(names.into_iter().map(Into::into).collect());
        }
        self
    }

    /// Checks the job.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub fn build(self) -> Result<Plan, Error> {
        let layers = self.layers?;
        layers.check("the job")?;
        let mut job = layers.job_from("the job's settings don't fit")?;
        job.sandboxed = self.is_sandboxed;
        if let Some(limiter) = &self.parts.limiter {
            share(&mut job, limiter)?;
        }
        Plan::with_parts(&job, &*self.environment, &self.parts)
    }
}

impl fmt::Debug for JobBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobBuilder").field("layers", &self.layers).finish_non_exhaustive()
    }
}

/// Gives the job the limits of a limiter that it shares.
fn share(job: &mut Job, limiter: &RateLimiter) -> Result<(), Error> {
    if !job.limit.rate.is_empty() || job.limit.in_flight.is_some() || job.limit.spacing.is_some() {
        return Err(Error::plan(
            "the job has limits (limit) and a limiter with its own: leave one of them out",
        ));
    }
    let Some(limits) = limiter.settings() else {
        return Err(Error::plan("the limiter has no limits that a job can take over"));
    };
    let (cost, settle, per) =
        (job.limit.cost.clone(), job.limit.settle.clone(), job.limit.per.take());
    let mut limits = limits.clone();
    for limit in &mut limits.rate {
        if let Some(key) = &mut limit.details.per {
            *key = per.clone().ok_or_else(|| {
                Error::plan("the limiter has limits of each key: give the key of a row with limit.per, such as {{ tenant }}")
            })?;
        }
    }
    limits.cost.extend(cost);
    limits.settle.extend(settle);
    job.limit = limits;
    Ok(())
}

impl IntoRowRequest for RowRequest {
    fn into_row_request(self) -> Result<RowRequest, RowError> {
        Ok(self)
    }
}
