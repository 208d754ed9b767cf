//! Flags of the request.

use clap::Args;
use serde_json::{Value, json};

use super::pairs::{Pair, assignment, map};

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

fn header(text: &str) -> Result<Pair, String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().into(), value.trim().into()))
        }
        _ => Err("write 'Name: value'".into()),
    }
}
