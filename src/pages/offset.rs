//! `pages.offset`: a parameter is the number of items before the page. Pure.

use super::strategy::{Page, PageAddress, Strategy};
use crate::error::Error;

struct Offset {
    param: String,
    step: u64,
    /// Whether the items of a page are the server's own, so that the offset grows by
    /// their number rather than by the step.
    counts_items: bool,
}

pub fn build(text: &str, counts_items: bool) -> Result<Box<dyn Strategy>, Error> {
    let step = text.split_once('=').map(|(param, step)| (param.trim(), step.trim().parse()));
    match step {
        Some((param, Ok(step @ 1..))) if !param.is_empty() => {
            Ok(Box::new(Offset { param: param.into(), step, counts_items }))
        }
        _ => Err(Error::plan(format!(
            "pages.offset (--offset): {text:?} is not PARAM=STEP, such as offset=100"
        ))),
    }
}

impl Strategy for Offset {
    fn next(&self, page: &Page) -> Result<Option<PageAddress>, String> {
        if page.has_no_items() {
            return Ok(None);
        }
        if !self.counts_items {
            return Ok(Some(self.address(page.number + 1)));
        }
        let offset = match page.address {
            PageAddress::Param(_, value) => value.as_u64().unwrap_or_default(),
            _ => 0,
        };
        let items = page.items.map_or(0, <[_]>::len) as u64;
        let next = offset.saturating_add(items);
        Ok(Some(PageAddress::Param(self.param.clone(), next.into())))
    }

    fn address(&self, number: u64) -> PageAddress {
        PageAddress::Param(self.param.clone(), number.saturating_mul(self.step).into())
    }

    fn param(&self) -> Option<&str> {
        Some(&self.param)
    }

    fn is_counted(&self) -> bool {
        true
    }

    fn fixed_step(&self) -> Option<u64> {
        (!self.counts_items).then_some(self.step)
    }

    fn page_size(&self) -> Option<u64> {
        self.counts_items.then_some(self.step)
    }
}
