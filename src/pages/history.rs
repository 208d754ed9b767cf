//! The earlier pages of a list, to find repetitions. Pure.
//!
//! Some servers send their last page again and again, others lead back to an earlier
//! one. The history keeps one hash for each page of a row.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};

use bytes::Bytes;
use http::Uri;
use serde_json::Value;
use url::Url;

use super::strategy::{Page, PageAddress};
use crate::wording::worded;

/// What follows a page in its list.
#[derive(Debug, PartialEq)]
pub struct Advance {
    /// Whether the page repeats an earlier one: its items are not taken again.
    pub repeats: bool,
    /// Number of items that the page before had as well, where pages may overlap.
    pub overlap: u64,
    /// Why the list ends here although the page names another one: its pages repeat.
    pub warning: Option<String>,
    /// The address of the next page, if there is one; the error is why it is unknown.
    pub next: Result<Option<PageAddress>, String>,
}

/// Maximum number of hashes of a row. Then they begin anew, so that a circle is found on a
/// later lap.
const MAX_SEEN: usize = 1 << 16;

/// The earlier pages of one row.
#[derive(Default)]
pub struct PageHistory {
    /// Random, so that no server can craft two pages with one hash.
    hasher: RandomState,
    /// The hash of the page before.
    previous: Option<u64>,
    /// Number of empty pages in a row so far.
    empty: u64,
    /// The hash of the page before without the addresses in it, where programs leave items out.
    previous_rest: Option<u64>,
    /// The hashes of the items of the page before, where the next one may overlap it.
    previous_items: HashSet<u64>,
    /// Hashes whose repetition is a circle: of two numbered pages in a row; else of
    /// requested addresses, and of pages with the address that they lead to. At most
    /// `MAX_SEEN`.
    seen: HashSet<u64>,
}

impl PageHistory {
    /// Whether this page repeats the one before. Adds it to the history.
    pub fn repeats(&mut self, page: &Page) -> bool {
        let content = self.content(page);
        self.previous.replace(content) == Some(content)
    }

    /// Adds a page that was requested by number or offset. A server without more pages may
    /// send the last one again: then the list has ended.
    pub(super) fn by_number(&mut self, page: &Page, next: Option<PageAddress>) -> Advance {
        let previous = self.previous;
        if self.repeats(page) {
            let warning = "the list ends here, as the page after it was this one once more";
            return Advance::ended(true, format!("{warning} ({})", page.address.describe()));
        }
        // A single page may repeat by chance.
        let pair = self.hash((previous, self.previous));
        if next.is_some() && !self.note(pair) {
            let why = "a page and the one before it came a second time";
            return Advance::ended(true, circle(why, page.address));
        }
        Advance::new(false, Ok(next))
    }

    /// Adds a page that names the address of the next one.
    pub(super) fn by_address(&mut self, page: &Page, next: PageAddress) -> Advance {
        let (own, to) = (absolute(page.address, page.uri), absolute(&next, page.uri));
        let leads_to_itself = own == to;
        let requested = self.hash(("requested", own));
        self.note(requested);
        let repeats = self.repeats(page) && is_distinct(page);
        // Some servers keep one address for the whole list, and their own place in it.
        if leads_to_itself && page.is_empty {
            return Advance::new(false, Ok(None));
        }
        if repeats || self.is_known(page, &to, leads_to_itself) {
            let why = "a page has what an earlier one had";
            return Advance::ended(true, circle(why, page.address));
        }
        if !leads_to_itself && self.seen.contains(&self.hash(("requested", to))) {
            let why = "a page leads to an earlier one";
            return Advance::ended(false, circle(why, &next));
        }
        Advance::new(false, Ok(Some(next)))
    }

    /// Number of empty pages in a row up to this one. Where a program may have left its items
    /// out, only a page counts that equals the one before but for the addresses in it.
    pub(super) fn note_empty(
        &mut self,
        page: &Page,
        next: &PageAddress,
        has_all_items: bool,
    ) -> u64 {
        if !page.is_empty {
            (self.empty, self.previous_rest) = (0, None);
            return 0;
        }
        if !has_all_items {
            let rest = self.hash(without(page.bytes, &[page.address, next]));
            if self.previous_rest.replace(rest) != Some(rest) {
                self.empty = 0;
            }
        }
        self.empty += 1;
        self.empty
    }

    /// Whether a page with this content led to that address before. Only the first page,
    /// whose cursor may differ from its address, and pages that lead to themselves are
    /// recorded so; other pages are known by their address.
    fn is_known(&mut self, page: &Page, to: &str, leads_to_itself: bool) -> bool {
        let state = self.hash((self.previous, to));
        if page.number == 0 || leads_to_itself {
            return !self.note(state);
        }
        self.seen.contains(&state)
    }

    /// Number of items of this page that the one before had as well, if pages may overlap;
    /// `next_may_overlap` says it of the next page.
    pub(super) fn overlap(&mut self, page: &Page, next_may_overlap: bool) -> u64 {
        let before = std::mem::take(&mut self.previous_items);
        if before.is_empty() && !next_may_overlap {
            return 0;
        }
        let items = page.items.filter(|items| !are_alike(items));
        let items = items.unwrap_or_default().iter();
        let items: HashSet<u64> = items.map(|item| self.hash(item)).collect();
        let overlap = items.intersection(&before).count();
        if next_may_overlap {
            self.previous_items = items;
        }
        overlap as u64
    }

    /// Adds a hash. Gives whether it is new.
    fn note(&mut self, hash: u64) -> bool {
        if self.seen.len() >= MAX_SEEN && !self.seen.contains(&hash) {
            self.seen.clear();
        }
        self.seen.insert(hash)
    }

    /// Number of hashes.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.seen.len() + self.previous_items.len()
    }

    /// The hash of a page: of its items if they differ, else of its whole body, which may
    /// hold the page's number.
    fn content(&self, page: &Page) -> u64 {
        match page.items.filter(|items| !are_alike(items)) {
            Some(items) => self.hash(items),
            None => self.hash(page.bytes),
        }
    }

    fn hash(&self, value: impl Hash) -> u64 {
        self.hasher.hash_one(value)
    }
}

impl Advance {
    pub(super) fn new(repeats: bool, next: Result<Option<PageAddress>, String>) -> Advance {
        Advance { repeats, overlap: 0, warning: None, next }
    }

    /// The list ends although the page names another one.
    pub(super) fn ended(repeats: bool, warning: String) -> Advance {
        Advance { warning: Some(warning), ..Advance::new(repeats, Ok(None)) }
    }
}

/// Whether an equal page must be the same one: several pages in a row may be empty, or
/// have equal items throughout.
fn is_distinct(page: &Page) -> bool {
    !page.is_empty && !page.items.is_some_and(are_alike)
}

/// Whether all items are equal, such as the zeros of a sensor at rest.
fn are_alike(items: &[Bytes]) -> bool {
    items.len() != 1 && items.windows(2).all(|pair| pair[0] == pair[1])
}

/// The address as an absolute URL, if it is one.
fn absolute(address: &PageAddress, from: &Uri) -> String {
    let from = from.to_string();
    match address {
        PageAddress::First => from,
        PageAddress::Url(url) => {
            let joined = Url::parse(&from).and_then(|from| from.join(url));
            joined.map_or_else(|_| url.clone(), String::from)
        }
        PageAddress::Param(name, value) => format!("{name}={value}"),
    }
}

/// The warning of a list with this number of empty pages at its end.
pub(super) fn only_empty(count: u64, next: &PageAddress) -> String {
    let advice = worded("--max-pages N (pages.max) asks for up to N pages, however many are empty");
    format!(
        "the list ends here, as {count} pages in a row were empty, and each led to another one ({}), so items may be missing: {advice}",
        next.describe()
    )
}

/// A body of JSON without the values of these addresses.
fn without(body: &[u8], addresses: &[&PageAddress]) -> String {
    let mut rest = String::from_utf8_lossy(body).into_owned();
    for address in addresses {
        let value = match address {
            PageAddress::First => continue,
            PageAddress::Url(url) => Value::from(&**url),
            PageAddress::Param(_, value) => value.clone(),
        };
        rest = rest.replace(value.to_string().trim_matches('"'), "");
    }
    rest
}

fn circle(why: &str, address: &PageAddress) -> String {
    format!(
        "the list ends here, as its pages go in a circle: {why} ({}), so items may be missing",
        address.describe()
    )
}
