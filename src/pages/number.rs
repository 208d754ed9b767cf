//! `pages.page`: a parameter is the number of the page. Pure.

use super::strategy::{Page, PageAddress, Strategy};
use crate::error::Error;

struct Number {
    param: String,
    first: u64,
}

pub fn build(text: &str, _counts_items: bool) -> Result<Box<dyn Strategy>, Error> {
    let (param, first) = text.split_once('=').unwrap_or((text, "1"));
    match first.trim().parse() {
        Ok(first) if !param.trim().is_empty() => {
            Ok(Box::new(Number { param: param.trim().into(), first }))
        }
        _ => Err(Error::plan(format!(
            "pages.page (--page): {text:?} is not PARAM or PARAM=FIRST, such as page or page=0"
        ))),
    }
}

impl Strategy for Number {
    fn next(&self, page: &Page) -> Result<Option<PageAddress>, String> {
        Ok((!page.has_no_items()).then(|| self.address(page.number + 1)))
    }

    fn address(&self, number: u64) -> PageAddress {
        PageAddress::Param(self.param.clone(), number.saturating_add(self.first).into())
    }

    fn param(&self) -> Option<&str> {
        Some(&self.param)
    }

    fn is_counted(&self) -> bool {
        true
    }
}
