//! The flags of a job, one struct for each room, and the tree that they lay
//! over a job file.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use throng::limit::Rate;

/// A `NAME=VALUE` or `Name: value`.
type Pair = (String, String);

/// Where rows come from.
#[derive(Args)]
#[command(next_help_heading = "Input")]
pub struct Input {
    /// Rows: .csv .tsv .jsonl .json .txt, or - for stdin
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// How the input is written, whatever the file's name
    #[arg(long, value_parser = ["csv", "tsv", "jsonl", "json", "lines"])]
    format: Option<String>,
    /// Only the first N rows
    #[arg(
        long,
        value_name = "N",
        visible_alias = "num-api-requests",
        alias = "num_api_requests"
    )]
    take: Option<u64>,
}

/// What is asked for each row; T is a template: {{ field }}, {{ env.NAME }}
#[derive(Args)]
#[command(next_help_heading = "Request (T is a template: {{ field }}, {{ env.NAME }})")]
pub struct Request {
    /// The URL; values are percent-encoded
    #[arg(short, long, value_name = "T")]
    url: Option<String>,
    /// GET, or POST with a body, unless told otherwise
    #[arg(short = 'X', long)]
    method: Option<String>,
    /// One more query parameter (repeat)
    #[arg(short, long, value_name = "NAME=T", value_parser = assignment)]
    query: Vec<Pair>,
    /// One more header (repeat)
    #[arg(short = 'H', long, value_name = "Name: T", value_parser = header)]
    header: Vec<Pair>,
    /// A body; a form, unless a content-type header says otherwise
    #[arg(short, long, value_name = "T")]
    data: Option<String>,
    /// A JSON body, whose texts are templates
    #[arg(long, value_name = "T")]
    json: Option<String>,
}

/// How often.
#[derive(Args)]
#[command(next_help_heading = "Limit")]
pub struct Limit {
    /// At most N requests in any PERIOD, such as 22/5s or 300/1m (repeat: all hold)
    #[arg(short, long, value_name = "N/PERIOD")]
    rate: Vec<Rate>,
    /// What the limit is proven against: strict (arrivals at the server) or sent (our clock)
    #[arg(long, value_parser = ["strict", "sent"])]
    guard: Option<String>,
    /// The older way to say PERIOD, in seconds
    #[arg(
        long,
        alias = "period_duration_sec",
        value_name = "SECONDS",
        hide = true,
        conflicts_with = "rate"
    )]
    period_duration_sec: Option<f64>,
    /// The older way to say N
    #[arg(
        long,
        alias = "max_requests_per_period",
        value_name = "N",
        hide = true,
        conflicts_with = "rate"
    )]
    max_requests_per_period: Option<u64>,
}

/// Who sends.
#[derive(Args)]
#[command(next_help_heading = "Workers")]
pub struct Workers {
    /// Threads, each with its own connections [default: one for each core]
    #[arg(
        short = 'w',
        long = "workers",
        value_name = "N",
        visible_alias = "num-workers",
        alias = "num_workers"
    )]
    count: Option<usize>,
    /// sync: one request in flight per worker; async: up to the concurrency [default: async]
    #[arg(long, value_parser = ["sync", "async"])]
    mode: Option<String>,
    /// The most in flight per worker in async mode [default: 50]
    #[arg(short, long, value_name = "N")]
    concurrency: Option<usize>,
}

/// When to give up.
#[derive(Args)]
#[command(next_help_heading = "Patience")]
pub struct Patience {
    /// Tries after the first, for what may pass: connections, timeouts, 408, 5xx [default: 4]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// From sending a request to the end of its answer [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<String>,
    /// Name resolution, TCP and TLS together [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    connect_timeout: Option<String>,
    /// The longest pause that the server may ask for [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_wait: Option<String>,
    /// Refusals in a row that stop the run [default: 20]
    #[arg(long, value_name = "N")]
    max_refusals: Option<u32>,
    /// The largest body, decompressed [default: 10MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_body: Option<String>,
    /// Redirects to follow; each takes a permit of its own [default: 0]
    #[arg(long, value_name = "N")]
    follow: Option<u32>,
    /// Send a POST again even if it may have been done
    #[arg(long)]
    resend_unknown: bool,
}

/// What to keep of the answers, and what to compute.
#[derive(Args)]
#[command(next_help_heading = "Values")]
pub struct Values {
    /// A value of each answer, by jq; a NAME that ends in ? may be missing (repeat)
    #[arg(short, long, value_name = "NAME=JQ", value_parser = assignment)]
    extract: Vec<Pair>,
    /// Over all rows: 'mean(price)', 'p90(price) by sector', or NAME='max(price)' (repeat)
    #[arg(short, long, value_name = "EXPR", value_parser = summary)]
    summarize: Vec<Pair>,
}

/// Where records go.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Records: .jsonl or .csv [default: JSON Lines on stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// How records are written, whatever the file's name
    #[arg(long, value_name = "FORMAT", value_parser = ["jsonl", "csv"])]
    output_format: Option<String>,
    /// Keep each answer's body in its record, as _body
    #[arg(long)]
    keep_body: bool,
    /// What to do with records that are there already
    #[command(flatten)]
    existing: Existing,
}

/// Records of an earlier run.
#[derive(Args)]
#[group(multiple = false)]
struct Existing {
    /// Go on after the records that the output has
    #[arg(long)]
    resume: bool,
    /// Start again, and lose the records that the output has
    #[arg(long)]
    overwrite: bool,
}

/// What people see while it runs, and afterwards.
#[derive(Args, Default)]
#[command(next_help_heading = "Show")]
pub struct Show {
    /// The summary as JSON
    #[arg(long, value_name = "FILE")]
    pub summary_json: Option<String>,
    /// auto: a bar on a terminal, a line every few seconds otherwise
    #[arg(long, value_enum, default_value_t)]
    pub progress: Progress,
    /// Also what each worker did
    #[arg(short, long)]
    pub verbose: bool,
    /// Nothing but errors
    #[arg(long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// How progress is shown.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, else log lines.
    #[default]
    Auto,
    /// One live line.
    Bar,
    /// A line every few seconds.
    Log,
    /// Nothing.
    None,
}

impl Input {
    pub fn tree(&self) -> Value {
        json!({ "file": self.input, "format": self.format, "take": self.take })
    }
}

impl Request {
    pub fn tree(&self) -> Value {
        json!({
            "url": self.url,
            "method": self.method,
            "query": map(&self.query),
            "headers": map(&self.header),
            "data": self.data,
            "json": self.json,
        })
    }
}

impl Limit {
    /// The older flags together are one rate, whose other half is 25 or 5 s.
    pub fn tree(&self) -> Result<Value, String> {
        let mut rates = self.rate.clone();
        if self.period_duration_sec.is_some() || self.max_requests_per_period.is_some() {
            let seconds = self.period_duration_sec.unwrap_or(5.0);
            let period = std::time::Duration::try_from_secs_f64(seconds).map_err(|_| {
                format!("--period-duration-sec {seconds} is not a number of seconds")
            })?;
            rates.push(Rate::new(
                self.max_requests_per_period.unwrap_or(25),
                period,
            )?);
        }
        Ok(json!({ "rate": some(&rates), "guard": self.guard }))
    }
}

impl Workers {
    pub fn tree(&self) -> Value {
        json!({ "count": self.count, "mode": self.mode, "concurrency": self.concurrency })
    }
}

impl Patience {
    pub fn send_tree(&self) -> Value {
        json!({
            "timeout": self.timeout,
            "connect-timeout": self.connect_timeout,
            "max-body": self.max_body,
            "follow": self.follow,
        })
    }

    pub fn retry_tree(&self) -> Value {
        json!({
            "retries": self.retries,
            "max-wait": self.max_wait,
            "max-refusals": self.max_refusals,
            "unknown": self.resend_unknown.then_some("resend"),
        })
    }
}

impl Values {
    pub fn extract_tree(&self) -> Value {
        map(&self.extract)
    }

    pub fn summary_tree(&self) -> Value {
        map(&self.summarize)
    }
}

impl Output {
    pub fn tree(&self) -> Value {
        let existing = match (self.existing.resume, self.existing.overwrite) {
            (true, _) => Some("resume"),
            (_, true) => Some("overwrite"),
            _ => None,
        };
        json!({
            "file": self.output,
            "format": self.output_format,
            "keep-body": self.keep_body.then_some(true),
            "existing": existing,
        })
    }
}

fn map(pairs: &[Pair]) -> Value {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// A list that is not there says nothing, rather than "none".
fn some(rates: &[Rate]) -> Option<&[Rate]> {
    (!rates.is_empty()).then_some(rates)
}

fn assignment(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}

fn header(text: &str) -> Result<Pair, String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().into(), value.trim().into()))
        }
        _ => Err("write 'Name: value'".into()),
    }
}

/// Checked here, where the flag is known, and read by its room.
fn duration(text: &str) -> Result<String, String> {
    match humantime::parse_duration(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!("{error} (such as 30s, 500ms or 1m30s)")),
    }
}

fn size(text: &str) -> Result<String, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(_) => Ok(text.into()),
        Err(_) => Err("write a size such as 64KiB or 10MiB".into()),
    }
}

/// `mean(price)` is its own name.
fn summary(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.contains('(') => Ok((name.trim().into(), value.trim().into())),
        _ => Ok((text.trim().into(), text.trim().into())),
    }
}
