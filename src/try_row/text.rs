//! A tried row as a text of at most 80 columns. Pure.

use std::time::Duration;

use serde_json::Value;

use super::{RowEnd, TriedAnswer, TriedRow, TriedStep};
use crate::auth::Login;
use crate::extract::{self, ExtractedValue, outline};
use crate::judge::signals::LimitSignal;
use crate::limit::duration;
use crate::plan::{HIDDEN, Stage, shown_request};
use crate::record::Failure;
use crate::render::may_be_key;
use crate::report::escape;
use crate::secret::Secrets;

/// Maximum number of columns.
const COLUMNS: usize = 80;
/// The indentation of the lines of a section.
const INDENT: &str = "  ";
/// Maximum number of lines of a body, and of keys, unless all are wanted.
const MAX_LINES: usize = 30;

impl TriedRow {
    /// The row for people: what was sent, what came, and what was found in it. With `all`,
    /// whole bodies and all keys.
    #[must_use]
    pub fn text(&self, all: bool) -> String {
        let plan = &self.context.plan;
        let max = if all { usize::MAX } else { MAX_LINES };
        let of_row = self.row.jar.secrets();
        let mut page = Page { text: String::new(), secrets: &plan.secrets, of_row, max };
        if !self.row.fields.is_empty() {
            page.title(&format!("row {} of {}", self.row.number, plan.source.name()));
        }
        for (name, value) in &self.row.fields {
            page.line(&format!("{name}: {}", plain(value)));
        }
        for line in plan.first().signer.login().into_iter().flat_map(Login::describe) {
            page.title("before");
            page.line(&line);
        }
        for step in &self.steps {
            let stage = &plan.stages[step.stage_index];
            if let (Some(number), RowEnd::Running) = (step.poll, &step.end) {
                page.poll(number, step);
                continue;
            }
            if let Some(number) = step.poll {
                page.title(&format!("poll {number}"));
            } else if plan.stages.len() > 1 {
                page.title(&format!("step {} of {}", step.stage_index + 1, plan.stages.len()));
            }
            page.requests(stage, step);
            if let Some(answer) = &step.answer {
                page.answer(stage, answer);
            }
            page.cost(stage, step);
            if let Some(answer) = &step.answer {
                page.limits(answer);
            }
        }
        let reached = self.steps.last().map_or(0, |step| step.stage_index + 1);
        let left = plan.stages.len() - reached;
        if left > 0 {
            page.title(&format!("the row does not reach the {left} steps after this one"));
        }
        if let Some(step) = self.steps.last() {
            page.file(step);
            page.end(&step.end);
        }
        page.text.trim_start().to_owned()
    }
}

/// A text with sections.
struct Page<'a> {
    text: String,
    secrets: &'a Secrets,
    /// The secrets that servers gave the row.
    of_row: Option<&'a Secrets>,
    max: usize,
}

impl Page<'_> {
    fn hide(&self, text: &str) -> String {
        let text = self.secrets.hide(text.to_owned());
        match self.of_row {
            Some(secrets) => secrets.hide(text),
            None => text,
        }
    }

    /// The title of a section.
    fn title(&mut self, title: &str) {
        self.text.push('\n');
        self.fold(title, "");
    }

    /// A line of a section, folded to the columns.
    fn line(&mut self, text: &str) {
        self.fold(text, INDENT);
    }

    fn fold(&mut self, text: &str, indent: &str) {
        let shown = escape(&self.hide(text));
        let (mut rest, mut before) = (shown.as_str(), indent.to_owned());
        loop {
            let room = COLUMNS - before.len();
            let end = rest.char_indices().nth(room).map(|(end, _)| end);
            let Some(end) = end else {
                self.text += &format!("{before}{rest}\n");
                return;
            };
            let at = rest[..end].rfind(' ').filter(|at| *at > end / 2).unwrap_or(end);
            self.text += &format!("{before}{}\n", rest[..at].trim_end());
            rest = rest[at..].trim_start();
            before = format!("{indent}{INDENT}");
        }
    }

    /// A line of a section, cut at the last column.
    fn cut(&mut self, text: &str) {
        let shown = escape(&self.hide(text));
        let room = COLUMNS - INDENT.len();
        let line = match shown.char_indices().nth(room) {
            None => shown.as_str(),
            Some(_) => {
                let end = shown.char_indices().nth(room - 1).map_or(0, |(end, _)| end);
                &format!("{}…", &shown[..end])
            }
        };
        self.text += &format!("{INDENT}{line}\n");
    }

    /// Lines, cut, as many as there is room for.
    fn lines(&mut self, text: &str) {
        for line in text.lines().take(self.max) {
            self.cut(line);
        }
        self.left_out(text.lines().count().saturating_sub(self.max), "lines");
    }

    fn left_out(&mut self, more: usize, what: &str) {
        if more > 0 {
            self.line(&format!("… and {more} more {what} (--verbose shows all)"));
        }
    }

    /// A poll of a job that is not done.
    fn poll(&mut self, number: u32, step: &TriedStep) {
        if number == 1 {
            self.title("polls");
        }
        let Some(TriedAnswer { answer, .. }) = &step.answer else {
            return;
        };
        let body = String::from_utf8_lossy(&answer.body);
        let status = answer.status.as_u16();
        self.cut(&format!("{number}: not done, status {status}: {body}"));
    }

    fn requests(&mut self, stage: &Stage, step: &TriedStep) {
        for (index, request) in step.sent.iter().enumerate() {
            self.title(if index == 0 { "request" } else { "redirected to" });
            self.request(&shown_request(request, &stage.signer, true));
        }
        if let (true, Some(request)) = (step.sent.is_empty(), &step.rendered) {
            self.title("request, which was not sent");
            self.request(&shown_request(request, &stage.signer, false));
        }
    }

    fn request(&mut self, text: &str) {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        head.lines().for_each(|line| self.line(line));
        if !body.is_empty() {
            self.text.push('\n');
            self.lines(&pretty(body.trim_end()));
        }
    }

    fn answer(&mut self, stage: &Stage, tried: &TriedAnswer) {
        let answer = &tried.answer;
        self.title(&format!("answer after {}", milliseconds(answer.latency)));
        self.line(&answer.status.to_string());
        for (name, value) in &answer.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let is_hidden = may_be_key(name.as_str()) || name == http::header::SET_COOKIE;
            self.line(&format!("{name}: {}", if is_hidden { HIDDEN } else { &value }));
        }
        self.text.push('\n');
        match extract::text(&answer.body, &answer.read_as_is()) {
            Ok(body) if body.is_empty() => self.line("(no body)"),
            Ok(body) => self.lines(&pretty(&body)),
            Err(failure) => self.line(&failure.detail),
        }
        self.title("meaning");
        let rule = stage.answers.describe(tried.decision.row);
        self.line(&format!("{}, by {rule}", tried.decision.then.name()));
        self.values(tried);
        self.keys(stage, tried);
    }

    fn values(&mut self, tried: &TriedAnswer) {
        if let Some(items) = &tried.items {
            self.title("items");
            match items.first() {
                None => self.line("none: the row has no item"),
                Some(first) => {
                    self.line(&format!("{} on this page; the first one:", items.len()));
                    self.lines(&pretty(&String::from_utf8_lossy(first)));
                }
            }
        }
        if tried.values.is_empty() {
            return;
        }
        self.title("values");
        for ExtractedValue { name, is_optional, found } in &tried.values {
            match found {
                Ok(value) => self.line(&format!("{name}: {value}")),
                Err(why) if *is_optional => self.line(&format!("{name}: null, {why}")),
                Err(why) => self.line(&format!("{name}: MISSING, {why}")),
            }
        }
    }

    /// The keys of the answer, or of its first item.
    fn keys(&mut self, stage: &Stage, tried: &TriedAnswer) {
        let item = tried.items.as_ref().and_then(|items| items.first());
        let answer = stage.kept_context(tried.answer.read_as_is());
        let (body, context) = match item {
            Some(item) => (item, answer.of_item()),
            None => (&tried.answer.body, answer),
        };
        let Some((entries, more)) = outline(body, &context, self.max) else {
            return;
        };
        self.title(if item.is_some() { "keys of the first item" } else { "keys of the answer" });
        let longest = entries.iter().map(|entry| entry.path.chars().count()).max();
        let width = longest.unwrap_or_default().min(COLUMNS * 2 / 3);
        for entry in entries {
            self.cut(&format!("{:width$}  {}", entry.path, entry.value));
        }
        self.left_out(more, "keys");
    }

    fn cost(&mut self, stage: &Stage, step: &TriedStep) {
        let Some(cost) = step.cost.as_ref().filter(|_| !step.sent.is_empty()) else {
            return;
        };
        self.title("cost");
        let settled = step.answer.as_ref().map(|answer| answer.settled.as_slice());
        for (index, unit) in stage.policy.units().iter().enumerate() {
            let told = settled.unwrap_or_default().iter().find(|(unit, _)| *unit == index);
            let told = told.map_or(String::new(), |(_, told)| format!(", {told} by the answer"));
            let requests = step.sent.len() as u64;
            self.line(&format!("{unit}: {}{told}", cost.units_of(index) * requests));
        }
        let names: Vec<&str> = stage.policy.rules().iter().map(|rule| &*rule.name).collect();
        self.line(&match names.as_slice() {
            [] => "under no limit (--rate 300/1m sets one)".to_owned(),
            names => format!("under {}", names.join(" and ")),
        });
    }

    fn limits(&mut self, tried: &TriedAnswer) {
        self.title("limits that the server names");
        for policy in &tried.policies {
            let period = duration::exact(policy.period);
            self.line(&format!("{} requests in {period}", policy.units));
        }
        tried.signals.signals.iter().for_each(|signal| self.line(&signal_line(signal)));
        for invalid in &tried.signals.invalid {
            self.line(&format!("{}: ignored, {}", invalid.header, invalid.why));
        }
        if tried.policies.is_empty() && tried.signals.signals.is_empty() {
            self.line("none");
        }
    }

    /// The file that a run saves the answer to.
    fn file(&mut self, step: &TriedStep) {
        if let (Some(file), Some(answer), RowEnd::Ok(_)) = (&step.file, &step.answer, &step.end) {
            self.title("file");
            let bytes = answer.answer.body.len();
            self.line(&format!("a run saves the {bytes} bytes of the answer to {file}"));
        }
    }

    fn end(&mut self, end: &RowEnd) {
        let failed = |Failure { kind, detail }: &Failure| format!("{kind}: {detail}");
        let text = match end {
            RowEnd::Ok(_) => "the row is ok".to_owned(),
            RowEnd::Nothing(failure) => format!("the row is done without values, {}", failed(failure)),
            RowEnd::Failed(failure) => format!("the row fails, {}", failed(failure)),
            RowEnd::Again(failure, pause) => format!(
                "a run sends the request again within {}, {}",
                duration::rounded(*pause),
                failed(failure)
            ),
            RowEnd::Refused(None) => "the server refuses, and does not say for how long: a run waits and sends the request again".to_owned(),
            RowEnd::Refused(Some(pause)) => format!(
                "the server refuses: a run waits for {} and sends the request again",
                duration::rounded(*pause)
            ),
            RowEnd::Running => "the job of the row is not done: a run polls it again".to_owned(),
            RowEnd::Stops(failure) => format!("a run stops here, {}", failed(failure)),
        };
        self.title(&text);
    }
}

/// JSON with indentation; any other text as it is.
fn pretty(text: &str) -> String {
    let json = serde_json::from_str::<Value>(text);
    let pretty = json.ok().and_then(|value| serde_json::to_string_pretty(&value).ok());
    pretty.unwrap_or_else(|| text.to_owned())
}

/// A field of a row: a text without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn milliseconds(latency: Duration) -> String {
    format!("{:.1} ms", latency.as_secs_f64() * 1e3)
}

/// The state of a limit: `requests: 21 of 22 left, for 4s more`.
fn signal_line(signal: &LimitSignal) -> String {
    let info = &signal.info;
    let left = info.remaining.map_or("?".to_owned(), |left| left.to_string());
    let limit = info.limit.map_or(String::new(), |limit| format!(" of {limit}"));
    let reset = info
        .reset
        .map_or(String::new(), |reset| format!(", for {:.1} s more", reset.as_secs_f64()));
    format!("{}: {left}{limit} left{reset}", signal.unit)
}
