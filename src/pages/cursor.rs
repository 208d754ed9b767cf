//! `pages.cursor`: a value in the body of a page is the next value of a parameter. Pure.

use serde_json::Value;

use super::strategy::{Page, PageAddress, Strategy, compile, is_end, run};
use crate::error::Error;
use crate::extract::Program;

struct Cursor {
    param: String,
    program: Program,
}

pub fn build(text: &str, _counts_items: bool) -> Result<Box<dyn Strategy>, Error> {
    match text.split_once('=') {
        Some((param, code)) if !param.trim().is_empty() => Ok(Box::new(Cursor {
            param: param.trim().into(),
            program: compile("cursor (--cursor)", code)?,
        })),
        _ => Err(Error::plan(format!(
            "pages.cursor (--cursor): {text:?} is not PARAM=JQ, such as cursor=.meta.next_cursor"
        ))),
    }
}

impl Strategy for Cursor {
    fn next(&self, page: &Page) -> Result<Option<PageAddress>, String> {
        match run(&self.program, page)? {
            value if is_end(&value) => Ok(None),
            Value::Bool(_) => Err("pages.cursor gave true, which is no place in a list".to_owned()),
            // A list or an object may stand in a body, as for search engines.
            value => Ok(Some(PageAddress::Param(self.param.clone(), value))),
        }
    }

    fn address(&self, _number: u64) -> PageAddress {
        PageAddress::Param(self.param.clone(), Value::Null)
    }

    fn param(&self) -> Option<&str> {
        Some(&self.param)
    }

    fn reads_body(&self) -> bool {
        true
    }
}
