//! The observers of a run besides its display: a file of its events, a page of metrics, data for
//! OpenTelemetry, and commands that are run when it ends, stalls, or a server is out.

mod events_file;
mod json_log;
mod metrics;
mod metrics_page;
mod metrics_server;
mod notify;
#[cfg_attr(not(feature = "otlp"), path = "otlp/disabled.rs")]
mod otlp;
mod unknown_use;

use std::thread::JoinHandle;

use clap::{Args, ValueEnum};

use self::events_file::EventsFile;
use self::metrics_server::MetricsServer;
use self::otlp::Exports;
use super::flags::{DisplayFlags, Progress, SHOW};
use super::{own_file, say};
use crate::engine::Run;
use crate::events::Subscription;
use crate::plan::check_apart;
use crate::{Error, threads};

/// The name of standard output.
const STDOUT: &str = "-";

/// The observers of a run.
#[derive(Args, Default)]
#[command(next_help_heading = SHOW)]
pub struct WatchFlags {
    /// The events of the run as JSON Lines; - is standard output, if no records go there
    #[arg(long, value_name = "FILE")]
    pub events: Option<String>,
    /// Serve metrics for Prometheus at http://ADDR/metrics while the run goes on
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
    /// Send a trace and metrics to the OpenTelemetry collector of OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long)]
    pub otlp: bool,
    /// Run this command when the run ends, stalls, or a server is out
    #[arg(long, value_name = "CMD")]
    pub notify: Option<String>,
    /// The time without the end of a row that is a stall
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub stall_after: Option<std::time::Duration>,
    /// The form of what is said on standard error
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub log_format: LogFormat,
}

impl WatchFlags {
    /// From now on, what is said has the form of the flags.
    pub fn begin_log(&self) {
        if self.log_format == LogFormat::Json {
            say::begin_json();
        }
    }

    /// Checks before the run that its events go to a file of their own. The other files are
    /// those of the summary and of the page.
    ///
    /// # Errors
    /// They would go where the rows, the records or one of the others are.
    pub fn check(
        &self,
        others: [Option<&str>; 2],
        input: Option<&str>,
        records: Option<&str>,
    ) -> Result<(), Error> {
        let [summary, page] = others;
        let events = self.events.as_deref().filter(|path| *path != STDOUT);
        let is_to_stdout = self.events.is_some() && events.is_none();
        if is_to_stdout && (records.is_none() || summary == Some(STDOUT)) {
            let other =
                if records.is_none() { "the records" } else { "the summary (--summary-json)" };
            return Err(Error::plan(format!(
                "{other} and the events (--events) would both go to standard output: give one of them a file"
            )));
        }
        own_file::check("the events", "--events", events, input, records)?;
        check_apart("the events", events, "the page (--report)", page)?;
        check_apart("the events", events, "the summary (--summary-json)", summary)
    }
}

/// The form of what is said on standard error.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The observers of a run that goes on.
pub struct Observers {
    threads: Vec<JoinHandle<()>>,
}

impl Observers {
    /// Starts the observers that the flags ask for.
    ///
    /// # Errors
    /// The file of events can't be created, or the metrics can't be served.
    pub fn start(run: &Run, flags: &WatchFlags, show: &DisplayFlags) -> Result<Observers, Error> {
        let mut observers = Observers { threads: Vec::new() };
        if let Some(stall_after) = flags.stall_after {
            run.set_stall(stall_after);
        }
        if let Some(path) = &flags.events {
            let file = EventsFile::create(path)?;
            observers.add(run, move |events| file.write(events))?;
        }
        if let Some(addr) = &flags.metrics {
            let server = MetricsServer::bind(addr)?;
            if !show.quiet {
                say::note(&format!("throng: metrics at {}", server.url()));
            }
            let metrics = server.start()?;
            observers.add(run, move |events| metrics::update(&metrics, events))?;
        }
        if flags.otlp {
            let exports = Exports::start(run)?;
            observers.add(run, move |events| exports.write(events))?;
        }
        if let Some(command) = flags.notify.clone() {
            observers.add(run, move |events| notify::run_commands(command, events))?;
        }
        let has_log = flags.log_format == LogFormat::Json && show.progress != Progress::None;
        if has_log && !show.quiet {
            observers.add(run, json_log::write)?;
        }
        if run.plan().limit_store.is_some() && !show.quiet {
            observers.add(run, unknown_use::say)?;
        }
        Ok(observers)
    }

    fn add(
        &mut self,
        run: &Run,
        observe: impl FnOnce(Subscription) + Send + 'static,
    ) -> Result<(), Error> {
        let events = run.subscribe()?;
        let thread = threads::spawn(move || observe(events))
            .map_err(|error| Error::stopped(format!("the run can't be observed: {error}")))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Waits until each observer has had the last event.
    pub fn end(self) {
        for thread in self.threads {
            // A panic of an observer does not affect the run.
            let _ = thread.join();
        }
    }
}
