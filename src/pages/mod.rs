//! (7) Where an answer's next page is. Pure.
//!
//! [`Settings`] say how an API turns its pages, [`Pages`] is that way, checked,
//! and a [`Turn`] is what one page's request has that the others have not.

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::extract::{Input, Program};

mod link;
mod way;

use way::Way;

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
    /// `PARAM=STEP`: each page begins so many items after the one before.
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
    way: Way,
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
    /// The head of the answer.
    pub headers: &'a HeaderMap,
    /// Its body, if it is JSON.
    pub body: Option<&'a Input>,
    /// How many items it has, if they are looked for.
    pub items: Option<usize>,
}

impl Pages {
    /// Checks the settings; none if the job has no pages.
    ///
    /// # Errors
    /// Which of them is wrong, or that nothing says where the pages end.
    pub fn new(settings: &Settings, has_items: bool) -> Result<Option<Pages>, Error> {
        let Some(way) = Way::of(settings)? else {
            return match settings == &Settings::default() {
                true => Ok(None),
                false => Err(Error::plan(
                    "pages.until, pages.count and pages.max say where pages end, but nothing says how to turn them: \
                     give one of pages.next (--next), pages.cursor (--cursor), pages.page (--page), pages.offset (--offset)",
                )),
            };
        };
        let has_end = has_items
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
    pub fn count(&self, body: Option<&Input>) -> Result<Option<u64>, String> {
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

    /// The turn of the page after this one, if there is one.
    ///
    /// # Errors
    /// That the page doesn't tell, or that it leads to itself.
    pub fn next(&self, page: &Page) -> Result<Option<Turn>, String> {
        if page.number + 1 >= self.max || self.is_last(page)? {
            return Ok(None);
        }
        match self.way.next(page)? {
            Some(next) if next == *page.turn => {
                Err(format!("the page leads to itself: {}", next.text()))
            }
            next => Ok(next),
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
    fn text(&self) -> String {
        match self {
            Turn::Plain => "the same request".to_owned(),
            Turn::Url(url) => url.clone(),
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

fn run(program: &Program, body: Option<&Input>) -> Result<Value, String> {
    program.run(body.ok_or("the page is not JSON")?)
}

#[cfg(test)]
mod tests;
