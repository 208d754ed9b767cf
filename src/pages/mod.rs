//! (7) The next page of a list. Pure.
//!
//! [`Settings`] are the `[pages]` part of a job, [`Pages`] is its checked form. Each
//! strategy is a file and a line in `STRATEGIES`. A [`PageAddress`] is the part of a page's
//! request that differs from the row's, and [`PageHistory`] finds pages that repeat.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::extract::{Items, Program};

mod cursor;
mod history;
mod next;
mod number;
mod offset;
mod strategy;

pub use history::{Advance, PageHistory};
pub use strategy::{Page, PageAddress};
use strategy::{Strategy, compile, run};

/// The `[pages]` part of a job: one pagination strategy, and the end of the pages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `link`, for a `Link` header with `rel=next`, or a jq program that gives the next URL.
    pub next: Option<String>,
    /// `PARAM=JQ`: the value that the next page's PARAM has.
    pub cursor: Option<String>,
    /// `PARAM`, or `PARAM=FIRST`: pages are numbered.
    pub page: Option<String>,
    /// `PARAM=STEP`: each page begins as many items after the one before as that one
    /// had, or STEP items where they are not counted.
    pub offset: Option<String>,
    /// A jq program that is true on the last page.
    pub until: Option<String>,
    /// A jq program that gives the number of pages: then they are fetched in parallel.
    pub count: Option<String>,
    /// Maximum number of pages for each row.
    pub max: Option<u64>,
}

/// Maximum number of empty pages in a row of a list whose pages name the next one, unless the job
/// says how many pages there may be.
const MAX_EMPTY: u64 = 1000;

/// Builds a strategy of its text; the flag says whether the items of a page are the server's.
type BuildStrategy = fn(&str, bool) -> Result<Box<dyn Strategy>, Error>;

/// The description of one strategy.
struct StrategyEntry {
    key: &'static str,
    setting: fn(&Settings) -> Option<&str>,
    build: BuildStrategy,
}

#[rustfmt::skip]
static STRATEGIES: [StrategyEntry; 4] = [
    StrategyEntry { key: "pages.next (--next)", setting: |it| it.next.as_deref(), build: next::build },
    StrategyEntry { key: "pages.cursor (--cursor)", setting: |it| it.cursor.as_deref(), build: cursor::build },
    StrategyEntry { key: "pages.page (--page)", setting: |it| it.page.as_deref(), build: number::build },
    StrategyEntry { key: "pages.offset (--offset)", setting: |it| it.offset.as_deref(), build: offset::build },
];

/// The pagination of a job.
pub struct Pages {
    strategy: Box<dyn Strategy>,
    until: Option<Program>,
    count: Option<Program>,
    max: u64,
    /// Whether a page without items has none at the server either: no program leaves some out.
    has_all_items: bool,
}

impl Pages {
    /// Checks the settings; none if the job has no pages.
    ///
    /// # Errors
    /// Which of them is wrong, or that nothing ends the pages.
    pub fn new(settings: &Settings, each: Option<&Items>) -> Result<Option<Pages>, Error> {
        let counts_items = each.is_some_and(Items::is_path);
        let Some(strategy) = strategy(settings, counts_items)? else {
            return if settings == &Settings::default() {
                Ok(None)
            } else {
                Err(Error::plan(format!(
                    "pages.until, pages.count and pages.max say where pages end, but nothing says how to turn them: \
                     give one of {}",
                    strategy_keys()
                )))
            };
        };
        let has_end = each.is_some()
            || settings.until.is_some()
            || settings.count.is_some()
            || settings.max.is_some();
        if strategy.is_counted() && !has_end {
            return Err(Error::plan(
                "nothing says where the pages end: give items.each (--each), and they end with a page without items; \
                 or pages.until (--until), pages.count (--page-count), pages.max (--max-pages)",
            ));
        }
        if settings.count.is_some() && !strategy.is_counted() {
            return Err(Error::plan(
                "pages.count (--page-count) needs pages that can be asked for in any order: pages.page (--page) or pages.offset (--offset)",
            ));
        }
        let compile =
            |key, code: &Option<String>| code.as_deref().map(|code| compile(key, code)).transpose();
        let until = compile("until (--until)", &settings.until)?;
        let count = compile("count (--page-count)", &settings.count)?;
        if settings.max == Some(0) {
            return Err(Error::plan(
                "pages.max (--max-pages) is 0: nothing would be asked; give at least 1",
            ));
        }
        let max = settings.max.unwrap_or(u64::MAX);
        Ok(Some(Pages { strategy, until, count, max, has_all_items: counts_items }))
    }

    /// The parameter that selects a page, if one does.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        self.strategy.param()
    }

    /// Whether the body must be parsed for more than the extracted values.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        self.until.is_some() || self.count.is_some() || self.strategy.reads_body()
    }

    /// Whether the first page tells the number of pages.
    #[must_use]
    pub fn has_count(&self) -> bool {
        self.count.is_some()
    }

    /// The address of the page with this number, if it depends on no other page.
    #[must_use]
    pub fn address(&self, number: u64) -> PageAddress {
        self.strategy.address(number)
    }

    /// The number of pages, if the job has a program for it.
    ///
    /// # Errors
    /// That this page does not tell it.
    pub fn count(&self, page: &Page) -> Result<Option<u64>, String> {
        let Some(program) = &self.count else {
            return Ok(None);
        };
        let count = run(program, page)?;
        let number = match &count {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        match number {
            Some(number) if number >= 0.0 => Ok(Some((number as u64).min(self.max))),
            _ => Err(format!("pages.count gave {count}, which is not a number of pages")),
        }
    }

    /// Whether the pages can be requested in any order, where the first page has this
    /// many items: pages of another size than requested begin at other offsets.
    #[must_use]
    pub fn allow_any_order(&self, items: Option<usize>) -> bool {
        match self.strategy.page_size() {
            Some(size) => items.is_none_or(|items| items == 0 || items as u64 == size),
            None => true,
        }
    }

    /// Whether the list ends before a later page with this status, unless a rule of the job
    /// says otherwise: many servers have no page after the last one.
    #[must_use]
    pub fn ends_at(&self, status: StatusCode) -> bool {
        let is_gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE);
        status == StatusCode::NO_CONTENT || (is_gone && self.strategy.is_counted())
    }

    /// The number of items by which an offset always grows, if there is one.
    #[must_use]
    pub fn fixed_step(&self) -> Option<u64> {
        self.strategy.fixed_step()
    }

    /// What follows a page in the list. Adds the page to the history.
    pub fn advance(&self, page: &Page, history: &mut PageHistory) -> Advance {
        // A server that hides items of a page but counts them sends items of the next
        // page again, where an offset grows by the items of a page.
        let size = self.strategy.page_size();
        let may_overlap =
            size.is_some_and(|size| page.items.is_some_and(|it| (it.len() as u64) < size));
        let overlap = history.overlap(page, may_overlap);
        let advance = match self.next(page) {
            Ok(next) if self.strategy.is_counted() => history.by_number(page, next),
            Ok(Some(next)) => {
                let empty_pages = history.note_empty(page, &next, self.has_all_items);
                // Where the job says how many pages there may be, these are all asked for.
                let max_empty = if self.max == u64::MAX { MAX_EMPTY } else { u64::MAX };
                if empty_pages >= max_empty {
                    Advance::ended(false, history::only_empty(empty_pages, &next))
                } else {
                    history.by_address(page, next)
                }
            }
            next => Advance::new(false, next),
        };
        if advance.repeats { advance } else { Advance { overlap, ..advance } }
    }

    /// The address that the page itself leads to.
    fn next(&self, page: &Page) -> Result<Option<PageAddress>, String> {
        if page.number + 1 >= self.max || self.is_last(page)? {
            Ok(None)
        } else {
            self.strategy.next(page)
        }
    }

    fn is_last(&self, page: &Page) -> Result<bool, String> {
        match &self.until {
            None => Ok(false),
            Some(program) => Ok(!matches!(run(program, page)?, Value::Null | Value::Bool(false))),
        }
    }
}

/// The strategy that the settings name, if any.
fn strategy(settings: &Settings, counts_items: bool) -> Result<Option<Box<dyn Strategy>>, Error> {
    let given = STRATEGIES.iter();
    let mut given =
        given.filter_map(|entry| Some((entry.build)((entry.setting)(settings)?, counts_items)));
    let strategy = given.next().transpose()?;
    match given.next() {
        None => Ok(strategy),
        Some(_) => Err(Error::plan(format!(
            "pages are turned in one way: give one of {}",
            strategy_keys()
        ))),
    }
}

fn strategy_keys() -> String {
    STRATEGIES.each_ref().map(|entry| entry.key).join(", ")
}

#[cfg(test)]
mod tests;
