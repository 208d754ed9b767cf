//! The ways in which APIs turn their pages.

use serde_json::Value;

use super::link::next_link;
use super::{Page, Settings, Turn, program, run};
use crate::error::Error;
use crate::extract::Program;

/// One of them.
pub(super) enum Pagination {
    /// A `Link` header.
    Header,
    /// A URL in the body.
    Url(Program),
    /// A value in the body that goes into a parameter.
    Cursor(String, Program),
    /// A parameter that is the page's number.
    Number { param: String, first: u64 },
    /// A parameter that is the number of items before the page.
    Offset {
        param: String,
        step: u64,
        /// Whether a page has as many items for us as for the server, so that it
        /// grows by them, and not by the step.
        counts_items: bool,
    },
}

impl Pagination {
    /// The one that the settings name, if any.
    pub fn of(settings: &Settings, counts_items: bool) -> Result<Option<Pagination>, Error> {
        let ways = [
            settings.next.as_deref().map(url),
            settings.cursor.as_deref().map(cursor),
            settings.page.as_deref().map(page),
            settings
                .offset
                .as_deref()
                .map(|text| offset(text, counts_items)),
        ];
        let mut ways = ways.into_iter().flatten();
        let way = ways.next().transpose()?;
        match ways.next() {
            None => Ok(way),
            Some(_) => Err(Error::plan(
                "pages are turned in one way: give one of pages.next (--next), pages.cursor (--cursor), \
                 pages.page (--page), pages.offset (--offset)",
            )),
        }
    }

    /// Whether pages are known by their number.
    pub fn is_counted(&self) -> bool {
        matches!(self, Pagination::Number { .. } | Pagination::Offset { .. })
    }

    pub fn reads_body(&self) -> bool {
        matches!(self, Pagination::Url(_) | Pagination::Cursor(..))
    }

    pub fn param(&self) -> Option<&str> {
        match self {
            Pagination::Cursor(param, _)
            | Pagination::Number { param, .. }
            | Pagination::Offset { param, .. } => Some(param),
            Pagination::Header | Pagination::Url(_) => None,
        }
    }

    pub fn at(&self, number: u64) -> Turn {
        match self {
            Pagination::Header | Pagination::Url(_) => Turn::Plain,
            Pagination::Cursor(param, _) => Turn::Param(param.clone(), Value::Null),
            Pagination::Number { param, first } => {
                Turn::Param(param.clone(), number.saturating_add(*first).into())
            }
            Pagination::Offset { param, step, .. } => {
                Turn::Param(param.clone(), number.saturating_mul(*step).into())
            }
        }
    }

    pub fn next(&self, page: &Page) -> Result<Option<Turn>, String> {
        match self {
            Pagination::Header => Ok(next_link(page.headers).map(Turn::Url)),
            Pagination::Url(program) => match run(program, page.body)? {
                Value::String(url) if !url.is_empty() => Ok(Some(Turn::Url(url))),
                value if is_none(&value) => Ok(None),
                value => Err(format!("pages.next gave {value}, which is no URL")),
            },
            Pagination::Cursor(param, program) => match run(program, page.body)? {
                value if is_none(&value) => Ok(None),
                value @ (Value::String(_) | Value::Number(_)) => {
                    Ok(Some(Turn::Param(param.clone(), value)))
                }
                value => Err(format!(
                    "pages.cursor gave {value}, which is no text or number"
                )),
            },
            Pagination::Number { .. } | Pagination::Offset { .. }
                if page.items.is_some_and(<[_]>::is_empty) =>
            {
                Ok(None)
            }
            Pagination::Offset {
                param,
                counts_items: true,
                ..
            } => {
                let items = page.items.map_or(0, <[_]>::len) as u64;
                let next = page.turn.number().saturating_add(items);
                Ok(Some(Turn::Param(param.clone(), next.into())))
            }
            Pagination::Number { .. } | Pagination::Offset { .. } => {
                Ok(Some(self.at(page.number + 1)))
            }
        }
    }
}

/// Some APIs say `null`, others `""` or `false`.
fn is_none(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || value == ""
}

fn url(text: &str) -> Result<Pagination, Error> {
    match text {
        "link" => Ok(Pagination::Header),
        code => Ok(Pagination::Url(compile("next (--next)", code)?)),
    }
}

fn cursor(text: &str) -> Result<Pagination, Error> {
    match text.split_once('=') {
        Some((param, code)) if !param.trim().is_empty() => Ok(Pagination::Cursor(
            param.trim().into(),
            compile("cursor (--cursor)", code)?,
        )),
        _ => Err(Error::plan(format!(
            "pages.cursor (--cursor): {text:?} is not PARAM=JQ, such as cursor=.meta.next_cursor"
        ))),
    }
}

fn page(text: &str) -> Result<Pagination, Error> {
    let (param, first) = text.split_once('=').unwrap_or((text, "1"));
    match first.trim().parse() {
        Ok(first) if !param.trim().is_empty() => Ok(Pagination::Number {
            param: param.trim().into(),
            first,
        }),
        _ => Err(Error::plan(format!(
            "pages.page (--page): {text:?} is not PARAM or PARAM=FIRST, such as page or page=0"
        ))),
    }
}

fn offset(text: &str, counts_items: bool) -> Result<Pagination, Error> {
    let step = text
        .split_once('=')
        .map(|(param, step)| (param.trim(), step.trim().parse()));
    match step {
        Some((param, Ok(step @ 1..))) if !param.is_empty() => Ok(Pagination::Offset {
            param: param.into(),
            step,
            counts_items,
        }),
        _ => Err(Error::plan(format!(
            "pages.offset (--offset): {text:?} is not PARAM=STEP, such as offset=100"
        ))),
    }
}

fn compile(key: &str, code: &str) -> Result<Program, Error> {
    program(key, Some(code))?.ok_or_else(|| Error::plan(format!("pages.{key} is empty")))
}
