//! A plan as the user sees it before anything is sent. Pure.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::workload::{CostRange, PlannedMoney, TotalUse};
use super::{Plan, SaveMode, Stage, Target};
use crate::auth::{Login, Signer};
use crate::error::Error;
use crate::limit::{Estimate, Guard, Policy, QuotaBalance, Time, Workload, duration};
use crate::poll::Poll;
use crate::price::{PriceList, Usd};
use crate::quota_store::{self, SharedLimit};
use crate::render::{EmbeddedKey, keys_in_data, keys_in_url, may_be_key};
use crate::report::escape;
use crate::row::Row;
use crate::secret::Visibility;

/// Maximum number of rows that a plan packs into batches to count these.
const MAX_PACKED: usize = 50_000;

impl Plan {
    /// The rows, the first requests with their secrets as `***`, the limits and what is left
    /// of them, and the least time that they allow from `now` on if each answer takes `latency`.
    #[must_use]
    pub fn preview(
        &self,
        latency: Duration,
        now: Time,
        shared: Result<&[Vec<SharedLimit>], &Error>,
    ) -> String {
        let shared_or_none = shared.unwrap_or_default();
        let demand = self.demand(shared_or_none);
        let forecast = Forecast { policy: &self.first().policy, demand, latency, now };
        // Writing to a string can't fail.
        let mut text = format!("{:<8}  {}\n", "input", self.input());
        if let Some(requests) = self.describe_requests() {
            let _ = writeln!(text, "{:<8}  {}", "requests", escape(&requests));
        }
        for (name, value) in [
            ("limit", self.limit(&forecast)),
            ("time", self.time(&forecast)),
            ("guards", self.guards(&forecast)),
            ("workers", self.workers(latency)),
            ("output", self.output.name()),
        ] {
            let _ = writeln!(text, "{name:<8}  {value}");
        }
        if let Some(files) = self.files() {
            let _ = writeln!(text, "{:<8}  {}", "files", escape(&files));
        }
        if let Some(room) = &self.room {
            let _ = writeln!(text, "{:<8}  {}", "disk", room.text());
        }
        for cost in self.costs() {
            let _ = writeln!(text, "{:<8}  {}", "cost", escape(&cost));
        }
        for line in self.price() {
            let _ = writeln!(text, "{:<8}  {}", "price", escape(&line));
        }
        if let Some(budget) = self.budget_use() {
            let _ = writeln!(text, "{:<8}  {budget}", "budget");
        }
        for total in self.totals() {
            let _ = writeln!(text, "{:<8}  {}", "total", escape(&total));
        }
        for quota in quotas_left(shared) {
            let _ = writeln!(text, "{:<8}  {}", "quota", escape(&quota));
        }
        if let Some(batches) = self.batches() {
            let _ = writeln!(text, "{:<8}  {}", "batches", escape(&batches));
        }
        if let Some(poll) = &self.first().poll {
            let _ = writeln!(text, "{:<8}  {}", "poll", self.polls(poll));
        }
        for stage in &self.stages[1..] {
            let url = without_keys(&stage.url, &keys_in_url(&stage.url));
            let asked = self.secrets.hide(url);
            let limits = match (stage.limiter, &*names(&stage.policy)) {
                (0, _) => "the limits above".to_owned(),
                (_, []) => "no limit".to_owned(),
                (_, names) => names.join(" and "),
            };
            let _ = writeln!(text, "{:<8}  {}, under {limits}", "then", escape(&asked));
            if let Some(poll) = &stage.poll {
                let _ = writeln!(text, "{:<8}  {}", "poll", self.polls(poll));
            }
        }
        for line in self.target_lines() {
            let _ = writeln!(text, "{:<8}  {}", "target", escape(&line));
        }
        for line in self.first().signer.login().into_iter().flat_map(Login::describe) {
            let _ = writeln!(text, "{:<8}  {}", "before", escape(&self.secrets.hide(line)));
        }
        for secret in self.secrets_used() {
            let _ = writeln!(text, "{:<8}  {}", "secret", escape(&secret));
        }
        for note in self.notes.iter().chain(&self.used_limits(shared_or_none)) {
            let _ = writeln!(text, "{:<8}  {}", "note", escape(note));
        }
        for rows in self.survey.first.chunks(self.first().batch_size()) {
            let _ = write!(text, "\n{}", escape_lines(&self.sample(rows)));
        }
        text
    }

    /// The targets in their order: where each is, under which limits, and what moves rows there.
    fn target_lines(&self) -> Vec<String> {
        let line = |(place, (target, stage)): (usize, (&Target, &Stage))| {
            let url = without_keys(&stage.url, &keys_in_url(&stage.url));
            let limits = match (place, stage.limiter, &*names(&stage.policy)) {
                (1.., 0, _) => format!("the limits of {}", self.targets[0].name),
                (_, _, []) => "no limit".to_owned(),
                (_, _, names) => names.join(" and "),
            };
            let price = match &*listed(&target.price) {
                "" => String::new(),
                prices => format!(", at {prices}"),
            };
            let line = format!("{}: {url}, under {limits}{price}", target.name);
            let Some(before) = place.checked_sub(1).map(|before| &self.targets[before]) else {
                return self.secrets.hide(line);
            };
            let after = duration::exact(before.patience);
            let on =
                if before.on.is_empty() { String::new() } else { format!(" or {}", before.on) };
            let name = &before.name;
            self.secrets.hide(format!(
                "{line}; if {name} is out, would let a row wait for longer than {after}, or fails it for reasons of its own{on}"
            ))
        };
        self.targets.iter().zip(self.all_stages()).enumerate().map(line).collect()
    }

    /// The least time for all rows that are left, if each answer takes `latency`; none where
    /// the rows aren't known or no limit on the rate holds.
    #[must_use]
    pub fn least_time(
        &self,
        latency: Duration,
        now: Time,
        shared: &[Vec<SharedLimit>],
    ) -> Option<Duration> {
        let demand = self.demand(shared);
        let forecast = Forecast { policy: &self.first().policy, demand, latency, now };
        forecast.bound(latency).map(|bound| bound.time)
    }

    /// The cost of all rows that are left in each unit but requests; empty where the rows aren't
    /// known.
    #[must_use]
    pub fn total_costs(&self) -> Vec<(String, u64)> {
        let units = self.first().policy.units().iter().cloned();
        let sums = self.work.iter().flat_map(|work| work.sum.units.iter().copied());
        units.zip(sums).skip(1).collect()
    }

    /// The batches of a provider that the rows are packed into, by the first rows if there are
    /// very many.
    fn batches(&self) -> Option<String> {
        let api = self.first().batch_api.as_ref()?;
        let name = api.dialect.name();
        let bounds = api.describe_bounds();
        let Some(left) = self.survey.rows.filter(|_| self.source.lasts()) else {
            return Some(format!("to {name}, each of {bounds}"));
        };
        let done = self.output.done();
        let left = left.saturating_sub(done.len());
        let rows = self.source.rows().ok()?.map_while(Result::ok).filter(|row| !done.has(row));
        let packed = rows.take(MAX_PACKED).filter_map(|row| self.first().render(&row).ok());
        let sum = api.sum(packed);
        Some(format!("{} to {name}, {}; {bounds}", sum.describe(left), sum.describe_each()))
    }

    /// How answers are saved to files, and the file of the first row, as far as it is known.
    fn files(&self) -> Option<String> {
        let stage = self.last();
        let how = match stage.save? {
            SaveMode::Streamed => "each answer goes there as it comes".to_owned(),
            SaveMode::Held => format!(
                "programs read the answers, so each is held in memory first, up to {} (--max-body)",
                bytesize::ByteSize(stage.transport.settings.max_held_body())
            ),
        };
        let known = self.survey.first.first().filter(|_| self.stages.len() == 1);
        let first = known.and_then(|row| Some((row.number, stage.renderer.saved_path(row)?.ok()?)));
        let first = match first {
            Some((number, file)) => format!("row {number} to {}", self.secrets.hide(file.path)),
            None => "a file for each row".to_owned(),
        };
        Some(format!("{first}; {how}"))
    }

    /// How jobs are polled; the least time knows nothing of it.
    fn polls(&self, poll: &Poll) -> String {
        let polls = poll.describe();
        let polls = self.secrets.hide(without_keys(&polls, &keys_in_url(&polls)));
        format!("GET {}; the polls come on top of the time above", escape(&polls))
    }

    /// The request of these rows, which are several in a batch only.
    fn sample(&self, rows: &[Row]) -> String {
        let Some(row) = self.first().batch_row(rows) else {
            return String::new();
        };
        let shown = match self.first().render(&row) {
            Ok(request) => shown_request(&request, &self.first().signer, false),
            Err(failure) => format!("this row will fail: {}\n", failure.detail),
        };
        let shown = match self.first().renderer.saved_path(&row) {
            Some(Err(failure)) => format!("this row will fail: {}\n", failure.detail),
            _ => shown,
        };
        let about = match self.first().batch_size() {
            1 => format!("row {}:", row.number),
            most => format!("row {} and those after it, up to {most} in one request:", row.number),
        };
        format!("{about}\n{}", self.secrets.hide(shown))
    }

    /// The variables of the environment, and where they may show.
    fn secrets_used(&self) -> Vec<String> {
        let secret = |(name, shown): (&String, &Visibility)| {
            let advice = match shown {
                Visibility::HiddenInMessages | Visibility::TooShort => format!(
                    "; env.secret = [\"{name}\"] (--env-secret {name}) hides it everywhere, env.public (--env-public {name}) nowhere"
                ),
                Visibility::Hidden | Visibility::Public => String::new(),
            };
            format!("env.{name} {shown}{advice}")
        };
        self.variables.iter().map(secret).collect()
    }

    fn input(&self) -> String {
        let (name, names) = (self.source.name(), self.survey.names.join(", "));
        match self.survey.rows {
            Some(1) if names.is_empty() => {
                "none: the request is the same for all, and sent once".into()
            }
            Some(rows) if names.is_empty() => format!("{name}: {}", counted(rows)),
            Some(rows) => format!("{name}: {} with {names}", counted(rows)),
            None => format!("{name}: rows are counted as they come"),
        }
    }

    /// The workload of all rows that are left, after what earlier runs have used of these
    /// limits; none if the rows aren't known.
    fn demand(&self, shared: &[Vec<SharedLimit>]) -> Option<Workload> {
        let used_before = shared.first().map(|limits| quota_store::used_before(limits));
        let used_before = used_before.unwrap_or_default();
        Some(Workload { used_before, ..self.work.as_ref()?.sum.clone() })
    }

    fn limit(&self, forecast: &Forecast<'_>) -> String {
        let policy = &self.first().policy;
        if policy.is_unlimited() {
            return "none: as fast as the server answers (--rate 300/1m sets one)".into();
        }
        let names = names(policy);
        let binding = match (names.len(), forecast.bound(forecast.latency)) {
            (2.., Some(bound)) => format!("; {} binds", bound.binds),
            _ => String::new(),
        };
        let pool = match policy.keys().len() {
            0 => String::new(),
            keys => format!(", for each of {keys} keys"),
        };
        let guard = policy.guard().name();
        format!("{} ({guard}){pool}{binding}", names.join(" and "))
    }

    /// The cost of the rows in each unit but requests.
    fn costs(&self) -> Vec<String> {
        let Some(work) = &self.work else {
            return Vec::new();
        };
        let units = self.first().policy.units().iter().zip(&work.sum.units).zip(&work.range);
        let cost = |((unit, sum), range): ((&String, &u64), &CostRange)| {
            let each = self.each();
            let requests = work.sum.units.first().copied().unwrap_or_default().max(1);
            let per_row = if range.least == range.most {
                format!("{} per {each}", range.most)
            } else {
                let mean = *sum as f64 / requests as f64;
                format!("{} to {} per {each}, {mean:.1} on average", range.least, range.most)
            };
            format!("{sum} {unit} for {}: {per_row}", self.work_left(work.rows))
        };
        let is_known = |((unit, _), _): &((&String, &u64), &CostRange)| {
            self.first().policy.cost().contains_key(*unit)
        };
        let estimates = self.first().renderer.estimated_costs();
        let estimates = estimates.map(|(unit, how)| {
            format!(
                "{unit} are estimated by length (auto): {how}; answers of limit.settle (--settle) correct the next ones"
            )
        });
        units.skip(1).filter(is_known).map(cost).chain(estimates).collect()
    }

    /// What the rows cost in money, and the prices.
    fn price(&self) -> Vec<String> {
        let Some(prices) = self.first().prices.as_ref().filter(|_| !self.prices.is_empty()) else {
            return Vec::new();
        };
        let (units, listed) = (self.prices.units(), listed(&self.prices));
        let policy = &self.first().policy;
        let is_unknown = |unit: &&String| {
            policy.units().iter().skip(1).any(|known| known == *unit)
                && !policy.cost().contains_key(*unit)
        };
        let unknown: Vec<&str> = units.iter().filter(is_unknown).map(String::as_str).collect();
        let money = self.work.as_ref().and_then(|work| Some((work, work.money.as_ref()?)));
        let sum = match money {
            None => "depends on the number of rows".to_owned(),
            Some((work, money)) => self.estimated(work.rows, money, work.sum.units.first()),
        };
        let what = if prices.may_differ { "; answers tell the true costs" } else { "" };
        let mut lines = vec![format!("{sum} ({listed}){what}{}", self.alone())];
        if !unknown.is_empty() {
            lines.push(format!(
                "{} come on top: only answers tell how many there are (limit.cost or --cost gives an estimate)",
                unknown.join(" and ")
            ));
        }
        if self.stages.len() > 1 {
            lines.push("the requests of later steps come on top".to_owned());
        }
        lines
    }

    /// That a figure is of the job's own target, where there are others.
    fn alone(&self) -> String {
        let own = self.targets.first();
        own.map_or_else(String::new, |own| format!("; by {} alone", own.name))
    }

    /// The estimate of all rows and of each.
    fn estimated(&self, rows: u64, money: &PlannedMoney, requests: Option<&u64>) -> String {
        let each = self.each();
        let rows = self.work_left(rows);
        match money.range {
            None => format!("nothing for {rows}"),
            Some((least, most)) if least == most => {
                format!("{} for {rows}: {most} per {each}", money.sum)
            }
            Some((least, most)) => {
                let mean = money.sum.times(1, requests.copied().unwrap_or(1));
                let sum = money.sum;
                format!("{sum} for {rows}: {least} to {most} per {each}, {mean} on average")
            }
        }
    }

    /// How far the budget goes.
    fn budget_use(&self) -> Option<String> {
        let budget = self.budget?;
        let spent = match self.output.spent() {
            Usd::ZERO => String::new(),
            spent => {
                format!(", of which earlier runs of {} have spent {spent}", self.output.name())
            }
        };
        let allowed = match self.work.as_ref().and_then(|work| Some((work, work.money.as_ref()?))) {
            None => String::new(),
            Some((work, money)) if money.is_enough() => {
                format!(": enough for {}", self.work_left(work.rows))
            }
            Some((work, money)) => {
                format!(": enough for {} of {}", money.rows, self.work_left(work.rows))
            }
        };
        let alone = if self.output.path().is_none() { ", for this run alone" } else { "" };
        Some(format!("{budget}{spent}{alone}{}", escape(&allowed)))
    }

    /// How far each total of the run goes.
    fn totals(&self) -> Vec<String> {
        let Some(work) = &self.work else {
            return Vec::new();
        };
        let total = |total: &TotalUse| {
            let TotalUse { limit, unit, allowed, wanted, rows, .. } = total;
            if wanted <= allowed {
                return format!(
                    "{limit} allows all of {}: {wanted} of {allowed} {unit}",
                    self.work_left(work.rows)
                );
            }
            format!(
                "{limit} allows {rows} of {}; {wanted} {unit} wanted, {allowed} allowed",
                self.work_left(work.rows)
            )
        };
        work.totals.iter().map(total).collect()
    }

    /// The word for what sends a request.
    fn each(&self) -> &'static str {
        let is_row = self.first().batch_size() == 1 && self.requests.is_none();
        if is_row { "row" } else { "request" }
    }

    /// The number of rows that are left and send requests, or of their requests where these
    /// were counted.
    fn work_left(&self, rows: u64) -> String {
        match &self.requests {
            None => self.rows_left(rows),
            Some(_) if self.first().batch_size() > 1 => {
                format!("{} that are asked for", counted(rows))
            }
            Some(_) => format!("{rows} {}", if rows == 1 { "request" } else { "requests" }),
        }
    }

    /// The number of rows, which are those that are left if some are done.
    pub(super) fn rows_left(&self, rows: u64) -> String {
        let left = if self.output.done().is_empty() { "" } else { " that are left" };
        format!("{}{left}", counted(rows))
    }

    fn time(&self, forecast: &Forecast<'_>) -> String {
        if self.first().batch_api.is_some() {
            return "that of the batches, each of which may take a day at the provider".into();
        }
        let Some(work) = &self.work else {
            return "depends on the number of rows".into();
        };
        let least = |latency| forecast.bound(latency).map(|bound| duration::measured(bound.time));
        let each = duration::exact(forecast.latency);
        match (least(Duration::ZERO), least(forecast.latency)) {
            (Some(least), Some(later)) => {
                let rows = self.work_left(work.rows);
                let later = if later == least { "also".to_owned() } else { later };
                let alone = self.alone();
                format!("at least {least} for {rows}; {later} if each answer takes {each}{alone}")
            }
            _ if self.first().policy.is_unlimited() => "no limit, no bound".into(),
            _ => "no limit on the rate, no bound".into(),
        }
    }

    /// The least times under each guard, and which guard is worth it.
    fn guards(&self, forecast: &Forecast<'_>) -> String {
        let Forecast { policy, latency, now, .. } = *forecast;
        let Some(demand) = forecast.demand.as_ref().filter(|_| !policy.is_unlimited()) else {
            return "nothing to guard".into();
        };
        let times = Guard::ALL.map(|guard| policy.under(guard).bound(demand, latency, now));
        let [Some(strict), Some(acked), Some(sent)] = times else {
            return "nothing to guard".into();
        };
        let price = strict.time.as_secs_f64() / acked.time.as_secs_f64().max(1e-9) - 1.0;
        let (acked, advice) = match self.blind() {
            Some(why) => (strict.time, format!("acked is kept as strict here, since {why}")),
            None if price < 0.05 => (
                acked.time,
                "strict, which is proven whatever the network does, costs little here".into(),
            ),
            None => (
                acked.time,
                "acked is worth it where answers take so long: proven up to the server's network stack".into(),
            ),
        };
        format!(
            "strict {}, acked {}, sent {} if each answer takes {}; {advice}",
            duration::measured(strict.time),
            duration::measured(acked),
            duration::measured(sent.time),
            duration::exact(latency),
        )
    }

    /// Why the server of the first row can't show arrivals, if it can't.
    pub(crate) fn blind(&self) -> Option<&'static str> {
        self.first().transport.blind_to(&self.first_uri()?)
    }

    fn workers(&self, latency: Duration) -> String {
        let enough = self.longest_latency().map_or_else(String::new, |longest| {
            let more = if longest < latency { "; for slower ones raise --concurrency" } else { "" };
            let longest = duration::measured(longest);
            format!(": enough for the limit where answers take up to {longest}{more}")
        });
        format!(
            "{}, each with up to {} in flight{enough}",
            self.workers.count,
            self.first().in_flight
        )
    }

    /// The longest latency at which the requests in flight keep up with the limit, if more
    /// in flight would help with slower answers.
    fn longest_latency(&self) -> Option<Duration> {
        let policy = &self.first().policy;
        let in_flight = self.workers.count as u64 * self.first().in_flight as u64;
        let most = policy.most_in_flight().unwrap_or(u64::MAX);
        let rate = policy.requests_per_second()?;
        let longest = Duration::try_from_secs_f64(in_flight as f64 / rate).ok()?;
        (in_flight < most).then_some(longest)
    }
}

/// The base of a plan's least times.
struct Forecast<'a> {
    policy: &'a Policy,
    /// None if the rows aren't known.
    demand: Option<Workload>,
    /// The latency of each answer.
    latency: Duration,
    now: Time,
}

impl Forecast<'_> {
    /// The least time for all rows that are left, and the limit that binds.
    fn bound(&self, latency: Duration) -> Option<Estimate> {
        self.policy.bound(self.demand.as_ref()?, latency, self.now)
    }
}

/// The rest of limits that outlive a run or are in use, and the files that keep it.
fn quotas_left(shared: Result<&[Vec<SharedLimit>], &Error>) -> Vec<String> {
    // Limits with short periods are worth a line while they are in use.
    let is_shown = |limit: &&SharedLimit| {
        let is_used = |balance: &QuotaBalance| balance.left < limit.quota.units();
        limit.quota.is_durable()
            || limit.balance.as_ref().is_some_and(is_used)
            || limit.keys.iter().any(|key| is_used(&key.balance))
    };
    match shared {
        // Two targets of one account may have a limit in common.
        Ok(limits) => {
            let mut seen = HashSet::new();
            let all = limits.iter().flatten().filter(|limit| seen.insert(&limit.path));
            all.filter(is_shown).map(quota_left).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

fn quota_left(limit: &SharedLimit) -> String {
    let SharedLimit { quota, balance, keys, path } = limit;
    let path = path.display();
    let Some(balance) = balance else {
        let files = format!("{}: each key has a file in {path}", quota.name);
        let Some(least) = keys.iter().map(|key| key.balance.left).min() else {
            return files;
        };
        let (count, units, unit) = (keys.len(), quota.units(), &quota.unit);
        return format!("{files}; of {count} keys, the least has {least} of {units} {unit} left");
    };
    format!(
        "{} of {} {} left of {}, by {path}",
        balance.left,
        quota.units(),
        quota.unit,
        quota.name
    )
}

/// The prices of units in one line.
fn listed(prices: &PriceList) -> String {
    let units = prices.units().into_iter().enumerate();
    let all = units.filter_map(|(place, unit)| Some(format!("{unit} {}", prices.price(place)?)));
    all.collect::<Vec<_>>().join(", ")
}

/// A request as people may see it: without its keys, and without what the signer adds, or has
/// added to a request that `is_signed`.
pub(crate) fn shown_request(request: &Request<Bytes>, signer: &Signer, is_signed: bool) -> String {
    let url = request.uri().to_string();
    let url = without_keys(&url, &keys_in_url(&url));
    let mut text = format!("{} {url}\n", request.method());
    let added: Vec<String> = signer.added_names().collect();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        let is_hidden = may_be_key(name.as_str())
            || added.iter().any(|it| it.eq_ignore_ascii_case(name.as_str()));
        let value = if is_hidden { HIDDEN } else { &value };
        let _ = writeln!(text, "{name}: {value}");
    }
    for name in added.iter().filter(|_| !is_signed) {
        let _ = writeln!(text, "{name}: {HIDDEN}");
    }
    if !request.body().is_empty() {
        let body = String::from_utf8_lossy(request.body());
        let _ = writeln!(text, "\n{}", without_keys(&body, &keys_in_data(&body)));
    }
    text
}

/// The text in place of a key.
pub(crate) const HIDDEN: &str = "***";

/// The text without these keys, which may be the job's or a row's.
fn without_keys(text: &str, keys: &[EmbeddedKey]) -> String {
    let (mut shown, mut from) = (String::new(), 0);
    for key in keys {
        shown.push_str(&text[from..key.range.start]);
        shown.push_str(HIDDEN);
        from = key.range.end;
    }
    shown + &text[from..]
}

/// The names of the limits that hold from the start.
fn names(policy: &Policy) -> Vec<&str> {
    let rules = policy.rules().iter();
    rules.map(|rule| rule.name.as_str()).collect()
}

fn counted(rows: u64) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

fn escape_lines(text: &str) -> String {
    text.lines().map(|line| cut(&escape(line)) + "\n").collect()
}

/// The beginning of a line that is too long to look at.
fn cut(line: &str) -> String {
    const MAX_CHARS: usize = 2_000;
    match line.char_indices().nth(MAX_CHARS) {
        None => line.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes more)", &line[..end], line.len() - end),
    }
}
