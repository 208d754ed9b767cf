//! `throng limit`: a server of limits for many machines, and what is left of its limits.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::Exit;
use super::{say, signals};
use crate::Error;
use crate::limit_server::{HttpLedger, LimitServer, Listen, ServerSettings, TokenSource};
use crate::limit_store::StoreAddress;
use crate::report::escape;

#[derive(Args)]
#[group(skip)]
pub struct LimitArgs {
    #[command(subcommand)]
    command: LimitCommand,
}

#[derive(Subcommand)]
enum LimitCommand {
    /// Serve the limits of accounts to runs on any machine (--share URL), and to other programs
    #[command(after_help = EXAMPLES)]
    Serve(ServeArgs),
    /// Show what is left of the limits of a server, or of those in a store
    Show(ShowArgs),
}

const EXAMPLES: &str = "\
Examples:
  throng limit serve --listen unix:/run/user/1000/limits.sock
  throng limit serve --listen 0.0.0.0:8098 --token env:LIMIT_TOKEN --tls-cert cert.pem --tls-key key.pem
  throng run job.toml --share https://limits.example:8098 --share-token env:LIMIT_TOKEN";

#[derive(Args)]
struct ServeArgs {
    /// The address to listen on: HOST:PORT or unix:PATH
    #[arg(long, default_value = "127.0.0.1:8098", value_name = "ADDRESS")]
    listen: Listen,
    /// The source of the token that requests must have: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE")]
    token: Option<String>,
    /// The certificate for TLS (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The directory that keeps the use of limits, or none: then all counts as used when the server starts [default: throng/limit-server in the directory for state]
    #[arg(long, value_name = "DIR|none")]
    state: Option<PathBuf>,
}

#[derive(Args)]
struct ShowArgs {
    /// The URL of the server or store, as --share has it
    url: String,
    /// The source of the token: env:NAME or file:PATH [default: env:THRONG_LIMIT_TOKEN]
    #[arg(long, value_name = "SOURCE")]
    token: Option<String>,
    /// The certificate that the server is trusted by (PEM)
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Show it as JSON
    #[arg(long)]
    json: bool,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn token(text: Option<&str>) -> Result<Option<TokenSource>, Error> {
    let parse = |text: &str| TokenSource::parse(text, &variable);
    let parsed = text.map(parse).transpose();
    parsed.map_err(|why| Error::plan(format!("--token: {why}")))
}

pub fn main(arguments: &LimitArgs) -> Result<Exit, Error> {
    match &arguments.command {
        LimitCommand::Serve(arguments) => serve(arguments),
        LimitCommand::Show(arguments) => show(arguments),
    }
}

fn serve(arguments: &ServeArgs) -> Result<Exit, Error> {
    let state = match &arguments.state {
        Some(none) if none.as_os_str() == "none" => None,
        Some(directory) => Some(directory.clone()),
        None => Some(usual_state()?),
    };
    let server = LimitServer::start(&ServerSettings {
        listen: arguments.listen.clone(),
        token: token(arguments.token.as_deref())?,
        tls: arguments.tls_cert.clone().zip(arguments.tls_key.clone()),
        state,
    })?;
    say::result(&format!("limits are served at {0}: throng run JOB --share {0}", server.url));
    signals::wait()?;
    Ok(Exit::Ok)
}

fn usual_state() -> Result<PathBuf, Error> {
    let quotas = crate::quota_store::directory(&variable)?;
    Ok(quotas.with_file_name("limit-server"))
}

fn show(arguments: &ShowArgs) -> Result<Exit, Error> {
    let limits = match StoreAddress::parse(&arguments.url, arguments.cacert.as_deref(), &variable)?
    {
        Some(address) => of_store(&address)?,
        None => of_server(arguments)?,
    };
    if arguments.json {
        say::result(&limits.to_string());
        return Ok(Exit::Ok);
    }
    let accounts = limits["accounts"].as_object().into_iter().flatten();
    let lines: Vec<String> = accounts
        .flat_map(|(account, limits)| {
            let limits = limits.as_array().into_iter().flatten();
            limits.map(move |limit| line(account, limit))
        })
        .collect();
    if lines.is_empty() {
        say::result("no run has used a limit there yet");
    }
    lines.iter().for_each(|line| say::result(&escape(line)));
    Ok(Exit::Ok)
}

fn of_server(arguments: &ShowArgs) -> Result<Value, Error> {
    let source = match arguments.token.as_deref() {
        None if variable("THRONG_LIMIT_TOKEN").is_some() => Some("env:THRONG_LIMIT_TOKEN"),
        text => text,
    };
    let token = token(source)?.map(|source| source.read()).transpose()?;
    let mut ledger = HttpLedger::new(&arguments.url, token, arguments.cacert.as_deref())?;
    ledger.limits().map_err(|error| Error::stopped(error.to_string()))
}

fn of_store(address: &StoreAddress) -> Result<Value, Error> {
    let mut ledger = address.ledger();
    let balances = ledger.check().and_then(|()| ledger.balances());
    let balances = balances.map_err(|error| Error::stopped(error.to_string()))?;
    Ok(json!({ "accounts": balances }))
}

/// One limit of an account.
fn line(account: &str, limit: &Value) -> String {
    let number = |name: &str| limit[name].as_u64().unwrap_or(0);
    let text = |name: &str| limit[name].as_str().unwrap_or_default().to_owned();
    let runs = match number("runs") {
        1 => "1 run".to_owned(),
        runs => format!("{runs} runs"),
    };
    format!(
        "{account}  {}: {} of {} {} left, {} leased by {runs}",
        text("limit"),
        number("left"),
        number("units"),
        text("unit"),
        number("leased"),
    )
}
