//! Flags of the request.

use crate::Error;
use crate::cookies::CookieScope;
use crate::curl::{Translated, translate};
use crate::plan::Layers;
use clap::Args;
use serde_json::{Value, json};

use super::super::say;
use super::pairs::{Pair, assignment, map};

/// The request of each row; T is a template: {{ field }}, {{ env.NAME }}
#[derive(Args)]
#[command(next_help_heading = "Request (T is a template: {{ field }}, {{ env.NAME }})")]
pub struct RequestFlags {
    /// The URL; values are percent-encoded
    #[arg(short, long, value_name = "T")]
    url: Option<String>,
    /// The method [default: GET, or POST with a body]
    #[arg(short = 'X', long)]
    method: Option<String>,
    /// A query parameter (repeat)
    #[arg(short, long, value_name = "NAME=T", value_parser = assignment)]
    query: Vec<Pair>,
    /// A header (repeat)
    #[arg(short = 'H', long, value_name = "Name: T", value_parser = header)]
    header: Vec<Pair>,
    /// A body, of the type of a form unless a content-type header says otherwise
    #[arg(short, long, value_name = "T")]
    data: Option<String>,
    /// A JSON body, whose texts are templates
    #[arg(long, value_name = "T")]
    json: Option<String>,
    /// A curl command, in quotes, or @FILE with one; {{ }} in it are templates
    #[arg(long, value_name = "COMMAND")]
    curl: Option<String>,
    #[command(flatten)]
    body: BodyFlags,
    /// A host that is allowed in a row's URL: host, host:port, *.domain (repeat)
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
}

/// Further kinds of bodies.
#[derive(Args)]
#[group(skip)]
struct BodyFlags {
    /// A JSON body, computed from the row by a jq program
    #[arg(long, value_name = "JQ")]
    jq: Option<String>,
    /// A form's field (repeat)
    #[arg(long, value_name = "NAME=T", value_parser = assignment)]
    form: Vec<Pair>,
    /// A part of a multipart body; =@PATH is a file (repeat)
    #[arg(long, value_name = "NAME=T", value_parser = assignment)]
    multipart: Vec<Pair>,
    /// A file as the body; its path may contain templates
    #[arg(long, value_name = "PATH")]
    body_file: Option<String>,
}

/// Authentication and secrets.
#[derive(Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthFlags {
    /// Authentication: kind=KIND and its keys; --help lists them (repeat)
    #[arg(long, value_name = "KEY=T", value_parser = assignment, long_help = auth_help())]
    auth: Vec<Pair>,
    /// A secret for {{ secret.NAME }}: file:PATH or command:TEXT, read again when it expires (repeat)
    #[arg(long, value_name = "NAME=SOURCE", value_parser = assignment)]
    secret: Vec<Pair>,
    /// Keep the cookies of answers and send them back: one jar for the run, or for each row [default: no]
    #[arg(long, value_name = "SCOPE")]
    cookies: Option<CookieScope>,
    /// An environment variable that is a secret, however short (repeat)
    #[arg(long, value_name = "NAME")]
    env_secret: Vec<String>,
    /// An environment variable that is not a secret (repeat)
    #[arg(long, value_name = "NAME")]
    env_public: Vec<String>,
}

fn auth_help() -> String {
    format!("Authentication: kind=KIND and its keys (repeat)\n\n{}", crate::auth::help().trim_end())
}

impl AuthFlags {
    pub fn auth_tree(&self) -> Value {
        map(&self.auth)
    }

    pub fn cookies(&self) -> Option<CookieScope> {
        self.cookies
    }

    pub fn secrets_tree(&self) -> Value {
        map(&self.secret)
    }

    pub fn env_tree(&self) -> Value {
        let some = |names: &Vec<String>| Some(names.clone()).filter(|names| !names.is_empty());
        json!({ "secret": some(&self.env_secret), "public": some(&self.env_public) })
    }
}

impl RequestFlags {
    /// The settings overlaid with the curl command, if one is given; writes its notes.
    pub fn curl_over(&self, settings: Layers) -> Result<Layers, Error> {
        let Some(command) = &self.curl else {
            return Ok(settings);
        };
        let translated = curl(command)?;
        for note in &translated.notes {
            say::note(&format!("throng: {}", crate::report::escape(note)));
        }
        Ok(settings.overlay(translated.job))
    }

    pub fn tree(&self) -> Value {
        json!({
            "url": self.url,
            "method": self.method,
            "query": map(&self.query),
            "headers": map(&self.header),
            "data": self.data,
            "json": self.json,
            "jq": self.body.jq,
            "form": map(&self.body.form),
            "multipart": parts(&self.body.multipart),
            "body-file": self.body.body_file,
            "allow-host": Some(&self.allow_host).filter(|hosts| !hosts.is_empty()),
        })
    }
}

/// Translates a command, or the content of the file after an `@`.
pub fn curl(text: &str) -> Result<Translated, Error> {
    match text.strip_prefix('@') {
        None => translate(text),
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let wrong = |error| Error::plan(format!("--curl @{path} can't be read: {error}"));
            translate(&text.map_err(wrong)?)
        }
    }
}

/// `@PATH` is a file.
fn parts(pairs: &[Pair]) -> Value {
    let mut parts = map(pairs);
    let file = |part: &mut Value| {
        if let Some(path) = part.as_str().and_then(|text| text.strip_prefix('@')) {
            *part = json!({ "file": path });
        }
    };
    for part in parts.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
        match part {
            Value::Array(items) => items.iter_mut().for_each(file),
            one => file(one),
        }
    }
    parts
}

fn header(text: &str) -> Result<Pair, String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().into(), value.trim().into()))
        }
        _ => Err("write 'Name: value'".into()),
    }
}
