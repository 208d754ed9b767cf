//! `css` and `html`, the functions of jq that select from a page in HTML. Pure, except that the
//! latest page is kept for the next program.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use jaq_core::box_iter::box_once;
use jaq_core::native::{Filter, v};
use jaq_core::{Cv, Exn, Native, ValXs};
use jaq_json::Val;

use super::budget::Bounded;
use crate::extract::html::{Page, elements, texts};

/// Maximum length of a page that is kept for the next program, in bytes.
const MAX_KEPT: usize = 1 << 20;

thread_local! {
    /// The page that was read last: the programs of a job's values have one in common.
    static LATEST: RefCell<Option<(Bytes, Rc<Page>)>> = const { RefCell::new(None) };
}

/// Takes the values of a selector out of a page.
type Take = fn(&Page, &str) -> Result<Vec<String>, String>;

/// The functions: `css($selector)` gives texts or attributes, `html($selector)` elements as HTML.
pub fn functions() -> Vec<Filter<Native<Bounded>>> {
    vec![
        ("css", v(1), Native::<Bounded>::new(|cv| select(cv, texts))),
        ("html", v(1), Native::<Bounded>::new(|cv| select(cv, elements))),
    ]
}

/// Checks a selector, without the attribute after it.
///
/// # Errors
/// Where it is wrong.
pub fn check(selector: &str) -> Result<(), String> {
    let page = Page::parse("")?;
    texts(&page, selector).map(drop)
}

fn select<'a>(mut cv: Cv<'a, Bounded>, take: Take) -> ValXs<'a, Val> {
    let selector = cv.0.pop_var();
    let (Val::TStr(text), Val::TStr(selector)) = (&cv.1, &selector) else {
        return failed("css and html select from HTML, which is a text, and . is none");
    };
    if let Err(ended) = cv.0.data().budget.read(text.len()) {
        return box_once(Err(ended));
    }
    let found = page(text).and_then(|page| take(&page, &String::from_utf8_lossy(selector)));
    match found {
        Ok(found) => Box::new(found.into_iter().map(|text| Ok(Val::from(text)))),
        Err(why) => failed(&why),
    }
}

fn failed<'a>(why: &str) -> ValXs<'a, Val> {
    box_once(Err(Exn::from(jaq_core::Error::str(why))))
}

fn page(text: &Bytes) -> Result<Rc<Page>, String> {
    let known = LATEST.with_borrow(|latest| {
        let known = latest.as_ref().filter(|(known, _)| known == text);
        known.map(|(_, page)| page.clone())
    });
    if let Some(page) = known {
        return Ok(page);
    }
    let page = Rc::new(Page::parse(&String::from_utf8_lossy(text))?);
    if text.len() <= MAX_KEPT {
        LATEST.replace(Some((text.clone(), page.clone())));
    }
    Ok(page)
}
