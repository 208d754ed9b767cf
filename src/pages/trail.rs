//! Whether a page of a list was there before. Pure.
//!
//! Some servers give their last page again and again, others lead back to an earlier
//! one. A trail knows the pages of one row by their hashes, one for each.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};

use bytes::Bytes;
use http::Uri;
use url::Url;

use super::{Advance, Page, Turn};

/// The pages of one row so far.
#[derive(Default)]
pub struct Trail {
    /// Random, so that no server can make two pages that have one hash.
    hasher: RandomState,
    /// The content of the page before.
    before: Option<u64>,
    /// The items of the page before, where the next one may overlap it.
    items: HashSet<u64>,
    /// What leads in a circle if it comes again: two pages in a row where they have
    /// numbers; else places that were asked for, and contents of pages with the place
    /// that they lead to.
    seen: HashSet<u64>,
}

impl Trail {
    /// Whether this is the page before once more. It is on the trail from then on.
    pub fn repeats(&mut self, page: &Page) -> bool {
        let content = self.content(page);
        self.before.replace(content) == Some(content)
    }

    /// A page that was asked for by its number, or by an offset. A server that has no
    /// more pages may give the last one again: then the list has ended.
    pub(super) fn numbered(&mut self, page: &Page, next: Option<Turn>) -> Advance {
        let before = self.before;
        if self.repeats(page) {
            return Advance::new(true, Ok(None));
        }
        // One page alone may be there twice by chance.
        let pair = self.hash((before, self.before));
        if next.is_some() && !self.seen.insert(pair) {
            let why = "it and the one before it were there already";
            return Advance::new(true, Err(circle(why, page.turn)));
        }
        Advance::new(false, Ok(next))
    }

    /// A page that names the next one.
    pub(super) fn named(&mut self, page: &Page, next: Turn) -> Advance {
        let (own, to) = (place(page.turn, page.uri), place(&next, page.uri));
        let leads_to_itself = own == to;
        let asked = self.hash(("asked", own));
        self.seen.insert(asked);
        let repeats = self.repeats(page) && can_be_told(page);
        if leads_to_itself && matches!(next, Turn::Url(_)) {
            return Advance::new(repeats, Err(circle("it leads to itself", &next)));
        }
        // Some servers keep one cursor for the whole list, and know where they are in it.
        if leads_to_itself && page.is_empty {
            return Advance::new(false, Ok(None));
        }
        if repeats || self.was_there(page, &to, leads_to_itself) {
            let why = "it has what an earlier page had";
            return Advance::new(true, Err(circle(why, &next)));
        }
        if !leads_to_itself && self.seen.contains(&self.hash(("asked", to))) {
            let why = "it leads to an earlier page";
            return Advance::new(false, Err(circle(why, &next)));
        }
        Advance::new(false, Ok(Some(next)))
    }

    /// Whether a page with this content led there before. Only the first page, which may
    /// have a cursor that it wasn't asked by, and those that lead to themselves are
    /// known by more than the place that they were asked at.
    fn was_there(&mut self, page: &Page, to: &str, leads_to_itself: bool) -> bool {
        let state = self.hash((self.before, to));
        if page.number == 0 || leads_to_itself {
            return !self.seen.insert(state);
        }
        self.seen.contains(&state)
    }

    /// How many items of this page the one before had as well, if that one said that
    /// they may. This one says it of the next one.
    pub(super) fn twice(&mut self, page: &Page, next_may_overlap: bool) -> u64 {
        let before = std::mem::take(&mut self.items);
        if before.is_empty() && !next_may_overlap {
            return 0;
        }
        let items = page.items.filter(|items| !are_alike(items));
        let items = items.unwrap_or_default().iter();
        let items: HashSet<u64> = items.map(|item| self.hash(item)).collect();
        let twice = items.intersection(&before).count();
        if next_may_overlap {
            self.items = items;
        }
        twice as u64
    }

    /// How many hashes it keeps.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.seen.len() + self.items.len()
    }

    /// What a page is known by: its items, if they can be told apart; else its whole
    /// body, which may have the page's number.
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
    pub(super) fn new(repeats: bool, next: Result<Option<Turn>, String>) -> Advance {
        Advance {
            repeats,
            twice: 0,
            next,
        }
    }
}

/// Whether a page like another one must be that one: several in a row may well have
/// nothing, or the same items throughout.
fn can_be_told(page: &Page) -> bool {
    !page.is_empty && !page.items.is_some_and(are_alike)
}

/// Such as the zeros of a sensor at rest.
fn are_alike(items: &[Bytes]) -> bool {
    items.len() != 1 && items.windows(2).all(|pair| pair[0] == pair[1])
}

/// Where a turn leads from a page, however it is written.
fn place(turn: &Turn, from: &Uri) -> String {
    let from = from.to_string();
    match turn {
        Turn::Plain => from,
        Turn::Url(url) => {
            let joined = Url::parse(&from).and_then(|from| from.join(url));
            joined.map_or_else(|_| url.clone(), String::from)
        }
        Turn::Param(name, value) => format!("{name}={value}"),
    }
}

fn circle(why: &str, turn: &Turn) -> String {
    format!(
        "the pages go in a circle: {why} ({}), so items may be missing",
        turn.text()
    )
}
