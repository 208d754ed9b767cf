//! A way to get from one page of a list to the next, and a page as it needs it.

use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::extract::{AnswerContext, JqInput, Program};

/// A pagination strategy.
pub trait Strategy: Send + Sync {
    /// The address of the page after this one, if there is one.
    ///
    /// # Errors
    /// Why it can't be known.
    fn next(&self, page: &Page) -> Result<Option<PageAddress>, String>;

    /// The address of the page with this number, if it depends on no other page.
    fn address(&self, _number: u64) -> PageAddress {
        PageAddress::First
    }

    /// The parameter that selects a page, if one does.
    fn param(&self) -> Option<&str> {
        None
    }

    /// Whether pages are addressed by their number.
    fn is_counted(&self) -> bool {
        false
    }

    /// Whether it reads the body of a page.
    fn reads_body(&self) -> bool {
        false
    }

    /// The number of items by which an offset always grows, if there is one.
    fn fixed_step(&self) -> Option<u64> {
        None
    }

    /// The number of items of a full page, where an offset grows by the items of a page.
    fn page_size(&self) -> Option<u64> {
        None
    }
}

/// The part of a page's request that differs from the row's request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageAddress {
    /// Nothing: it is the row's request.
    First,
    /// The URL, which the page before has named.
    Url(String),
    /// The value of a parameter; null if it has none yet.
    Param(String, Value),
}

/// A page that has arrived.
pub struct Page<'a> {
    /// Its number, from 0.
    pub number: u64,
    /// The address that it was requested by.
    pub address: &'a PageAddress,
    /// The URL of its request.
    pub uri: &'a Uri,
    /// The headers of the answer.
    pub headers: &'a HeaderMap,
    /// What programs can read of the answer beside its body.
    pub context: AnswerContext<'a>,
    /// Its body, if it is JSON.
    pub body: Option<&'a JqInput>,
    /// Its body as bytes.
    pub bytes: &'a [u8],
    /// Its items, if the job extracts items.
    pub items: Option<&'a [Bytes]>,
    /// Whether it has no items, or only values that are null or empty lists.
    pub is_empty: bool,
}

impl Page<'_> {
    /// Whether the job extracts items, and this page has none.
    pub(super) fn has_no_items(&self) -> bool {
        self.items.is_some_and(<[_]>::is_empty)
    }
}

impl PageAddress {
    /// The address for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            PageAddress::First => "the first page".to_owned(),
            PageAddress::Url(url) => url.clone(),
            PageAddress::Param(name, Value::String(value)) => format!("{name}={value}"),
            PageAddress::Param(name, value) => format!("{name}={value}"),
        }
    }
}

/// Compiles the program of a key.
pub fn compile(key: &str, code: &str) -> Result<Program, Error> {
    Program::of_answer(code).map_err(|why| Error::plan(format!("pages.{key}: {why}")))
}

/// Runs a program on a page. No value is null: `select(.more).next` gives none on the last page.
pub fn run(program: &Program, page: &Page<'_>) -> Result<Value, String> {
    let body = page.body.ok_or("the page is not JSON")?;
    let value = program.run_if_any(body, &page.context).map_err(|error| error.to_string())?;
    Ok(value.unwrap_or_default())
}

/// Whether a value means that there is no next page: APIs send `null`, `""` or `false`, and jq's
/// `tojson` makes a text of null.
pub fn is_end(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || value == "" || value == "null"
}
