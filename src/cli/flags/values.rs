//! Flags of extracted values and aggregates.

use clap::Args;
use serde_json::Value;

use super::pairs::{Pair, assignment, map};
use crate::extract::{AnswerEncoding, AnswerKind};

/// The values to extract.
#[derive(Args)]
#[command(next_help_heading = "Values")]
pub struct ValueFlags {
    /// A value of each answer, by jq, or css:SELECTOR[@ATTRIBUTE] of HTML; a NAME that ends in ? may be missing (repeat)
    #[arg(short, long, value_name = "NAME=JQ", value_parser = assignment)]
    extract: Vec<Pair>,
    /// What bodies are, where their type and first bytes don't say it: json, ndjson, sse, csv, xml, html, text, or bytes (as base64)
    #[arg(long, value_name = "KIND", value_parser = answer_kind)]
    answer_format: Option<AnswerKind>,
    /// The encoding of bodies, such as cp1252, where neither their type nor they say it
    #[arg(long, value_name = "NAME", value_parser = AnswerEncoding::by_name)]
    answer_encoding: Option<AnswerEncoding>,
    /// What the values must be before they count: a JSON Schema in FILE.json, or a jq condition such as '.price > 0'
    #[arg(long, value_name = "FILE.json|JQ")]
    check: Option<String>,
    /// Ask again where they fail the check, up to N times; templates see {{ last.error }} and {{ last.answer }}
    #[arg(long, value_name = "N")]
    reask: Option<u32>,
    #[command(flatten)]
    summary: SummaryFlags,
}

/// The aggregates to compute.
#[derive(Args)]
#[command(next_help_heading = "Values")]
pub struct SummaryFlags {
    /// An aggregate over all rows: 'mean(price)', 'p90(price) by sector', or NAME='max(price)' (repeat)
    #[arg(short, long, value_name = "EXPR", value_parser = summary)]
    summarize: Vec<Pair>,
}

impl ValueFlags {
    pub fn extract_tree(&self) -> Value {
        map(&self.extract)
    }

    /// The kind of the answers' bodies.
    pub fn answer_format(&self) -> Option<AnswerKind> {
        self.answer_format
    }

    /// The encoding of the answers' bodies.
    pub fn answer_encoding(&self) -> Option<AnswerEncoding> {
        self.answer_encoding
    }

    /// The check of the values.
    pub fn check(&self) -> Option<&str> {
        self.check.as_deref()
    }

    /// Number of times that a row is asked again.
    pub fn reask(&self) -> Option<u32> {
        self.reask
    }

    pub fn summary_tree(&self) -> Value {
        self.summary.tree()
    }
}

fn answer_kind(text: &str) -> Result<AnswerKind, String> {
    let known = AnswerKind::ALL.into_iter().find(|kind| kind.name() == text);
    known.ok_or_else(|| {
        format!("the kinds are {}", AnswerKind::ALL.map(AnswerKind::name).join(", "))
    })
}

impl SummaryFlags {
    pub fn tree(&self) -> Value {
        map(&self.summarize)
    }
}

/// An aggregate; without NAME, its text is its name.
fn summary(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.contains('(') => Ok((name.trim().into(), value.trim().into())),
        _ => Ok((text.trim().into(), text.trim().into())),
    }
}
