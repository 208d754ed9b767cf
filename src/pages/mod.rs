//! (7) Where an answer's next page is. Pure.
//!
//! [`Settings`] say how an API turns its pages, [`Pages`] is that way, checked,
//! and a [`Turn`] is what one page's request has that the others have not.

use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::extract::{Items, JqInput, Program};

mod link;
mod trail;
mod way;

pub use trail::Trail;
use way::Pagination;

/// The `[pages]` part of a job: one of the four ways, and where they end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// At most so many pages for each row.
    pub max: Option<u64>,
}

/// How an API turns its pages.
pub struct Pages {
    way: Pagination,
    until: Option<Program>,
    count: Option<Program>,
    max: u64,
}

/// What the request of one page has of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// Nothing: it is the row's request.
    Plain,
    /// The URL, which the page before has named.
    Url(String),
    /// The value of a parameter; null if it has none yet.
    Param(String, Value),
}

/// What is known of a page that has come.
pub struct Page<'a> {
    /// Its number, from 0.
    pub number: u64,
    /// What its request had of its own.
    pub turn: &'a Turn,
    /// Where it came from.
    pub uri: &'a Uri,
    /// The head of the answer.
    pub headers: &'a HeaderMap,
    /// Its body, if it is JSON.
    pub body: Option<&'a JqInput>,
    /// Its body as it came.
    pub bytes: &'a [u8],
    /// Its items, if they are looked for.
    pub items: Option<&'a [Bytes]>,
    /// Whether it has no items, or only values that are null or empty lists.
    pub is_empty: bool,
}

/// What a page means for the list that it is a page of.
#[derive(Debug, PartialEq)]
pub struct Advance {
    /// Whether the page was there before: its items are not taken again.
    pub repeats: bool,
    /// Items that the page before had as well, where the pages may overlap.
    pub twice: u64,
    /// The turn of the page after this one, if there is one; or why that is not known.
    pub next: Result<Option<Turn>, String>,
}

impl Pages {
    /// Checks the settings; none if the job has no pages.
    ///
    /// # Errors
    /// Which of them is wrong, or that nothing says where the pages end.
    pub fn new(settings: &Settings, each: Option<&Items>) -> Result<Option<Pages>, Error> {
        let counts_items = each.is_some_and(Items::is_path);
        let Some(way) = Pagination::of(settings, counts_items)? else {
            return if settings == &Settings::default() {
                Ok(None)
            } else {
                Err(Error::plan(
                    "pages.until, pages.count and pages.max say where pages end, but nothing says how to turn them: \
                     give one of pages.next (--next), pages.cursor (--cursor), pages.page (--page), pages.offset (--offset)",
                ))
            };
        };
        let has_end = each.is_some()
            || settings.until.is_some()
            || settings.count.is_some()
            || settings.max.is_some();
        if way.is_counted() && !has_end {
            return Err(Error::plan(
                "nothing says where the pages end: give items.each (--each), and they end with a page without items; \
                 or pages.until (--until), pages.count (--page-count), pages.max (--max-pages)",
            ));
        }
        if settings.count.is_some() && !way.is_counted() {
            return Err(Error::plan(
                "pages.count (--page-count) needs pages that can be asked for in any order: pages.page (--page) or pages.offset (--offset)",
            ));
        }
        Ok(Some(Pages {
            way,
            until: program("until (--until)", settings.until.as_deref())?,
            count: program("count (--page-count)", settings.count.as_deref())?,
            max: at_least_one(settings.max)?,
        }))
    }

    /// The parameter that turns the pages, if one does.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        self.way.param()
    }

    /// Whether the body has to be read for more than its values.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        self.until.is_some() || self.count.is_some() || self.way.reads_body()
    }

    /// Whether the number of pages is known once the first one is there.
    #[must_use]
    pub fn are_counted(&self) -> bool {
        self.count.is_some()
    }

    /// The turn of the page with this number, if it needs no other page to be known.
    #[must_use]
    pub fn at(&self, number: u64) -> Turn {
        self.way.at(number)
    }

    /// How many pages there are, where the job says how to know.
    ///
    /// # Errors
    /// That it can't be known from this body.
    pub fn count(&self, body: Option<&JqInput>) -> Result<Option<u64>, String> {
        let Some(program) = &self.count else {
            return Ok(None);
        };
        let count = run(program, body)?;
        match count.as_f64() {
            Some(number) if number >= 0.0 => Ok(Some((number as u64).min(self.max))),
            _ => Err(format!(
                "pages.count gave {count}, which is not a number of pages"
            )),
        }
    }

    /// Whether the pages can be asked for in any order, after this one as the first:
    /// a server that gives another number of items than it is asked for would have
    /// others in between.
    #[must_use]
    pub fn go_by_number(&self, items: Option<usize>) -> bool {
        match self.way {
            Pagination::Offset {
                step,
                counts_items: true,
                ..
            } => items.is_none_or(|items| items == 0 || items as u64 == step),
            _ => true,
        }
    }

    /// By how many items an offset grows, if that doesn't depend on how many come.
    #[must_use]
    pub fn fixed_step(&self) -> Option<u64> {
        match self.way {
            Pagination::Offset {
                step,
                counts_items: false,
                ..
            } => Some(step),
            _ => None,
        }
    }

    /// What a page means, after those on the trail; it is on the trail from then on.
    pub fn advance(&self, page: &Page, trail: &mut Trail) -> Advance {
        let twice = trail.twice(page, self.next_may_overlap(page));
        let advance = match self.next(page) {
            Ok(next) if self.way.is_counted() => trail.numbered(page, next),
            Ok(Some(next)) => trail.named(page, next),
            next => Advance::new(false, next),
        };
        if advance.repeats {
            advance
        } else {
            Advance { twice, ..advance }
        }
    }

    /// A server that hides some of a page's items, and counts them all the same, gives
    /// some of the others again where an offset grows by those that came.
    fn next_may_overlap(&self, page: &Page) -> bool {
        match self.way {
            Pagination::Offset {
                step,
                counts_items: true,
                ..
            } => page.items.is_some_and(|items| (items.len() as u64) < step),
            _ => false,
        }
    }

    /// The turn that the page itself leads to.
    fn next(&self, page: &Page) -> Result<Option<Turn>, String> {
        if page.number + 1 >= self.max || self.is_last(page)? {
            Ok(None)
        } else {
            self.way.next(page)
        }
    }

    fn is_last(&self, page: &Page) -> Result<bool, String> {
        match &self.until {
            None => Ok(false),
            Some(program) => Ok(!matches!(
                run(program, page.body)?,
                Value::Null | Value::Bool(false)
            )),
        }
    }
}

impl Turn {
    /// The page's number or offset, if it has one.
    fn number(&self) -> u64 {
        match self {
            Turn::Param(_, value) => value.as_u64().unwrap_or_default(),
            _ => 0,
        }
    }

    /// As people write it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Turn::Plain => "the first page".to_owned(),
            Turn::Url(url) => url.clone(),
            Turn::Param(name, Value::String(value)) => format!("{name}={value}"),
            Turn::Param(name, value) => format!("{name}={value}"),
        }
    }
}

fn program(key: &str, code: Option<&str>) -> Result<Option<Program>, Error> {
    let wrong = |why: String| Error::plan(format!("pages.{key}: {why}"));
    code.map(|code| Program::new(code).map_err(wrong))
        .transpose()
}

fn at_least_one(max: Option<u64>) -> Result<u64, Error> {
    match max {
        Some(0) => Err(Error::plan(
            "pages.max (--max-pages) is 0: nothing would be asked; give at least 1",
        )),
        max => Ok(max.unwrap_or(u64::MAX)),
    }
}

fn run(program: &Program, body: Option<&JqInput>) -> Result<Value, String> {
    let body = body.ok_or("the page is not JSON")?;
    program.run(body).map_err(|trouble| trouble.to_string())
}

#[cfg(test)]
mod tests;
