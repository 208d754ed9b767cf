//! All limits of a server, by what tells apart those who have them for themselves.

use crate::{Limit, Per};

/// All limits of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// In the order in which they are counted and told of.
    pub all: Vec<Limit>,
    /// The first are those of whom the settings name, even if there are none.
    pub shared: Vec<Shared>,
    /// Whether refused requests count, too.
    pub refusals_count: bool,
    /// Who is refused more often than this is banned: of those of the first.
    pub ban: Option<Limit>,
}

/// Limits that the same clients share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// What tells clients apart, if anything does.
    pub per: Option<Per>,
    /// Their places among all.
    pub places: Vec<usize>,
}

impl Limits {
    /// These, each value of `per` for itself unless one names another.
    pub(crate) fn new(all: Vec<Limit>, per: Option<&Per>) -> Limits {
        let mut shared = vec![Shared {
            per: per.cloned(),
            places: Vec::new(),
        }];
        for (place, limit) in all.iter().enumerate() {
            let per = limit.per.as_ref().or(per);
            match shared.iter_mut().find(|shared| shared.per.as_ref() == per) {
                Some(shared) => shared.places.push(place),
                None => shared.push(Shared {
                    per: per.cloned(),
                    places: vec![place],
                }),
            }
        }
        Limits {
            all,
            shared,
            refusals_count: false,
            ban: None,
        }
    }
}

impl From<Vec<Limit>> for Limits {
    fn from(all: Vec<Limit>) -> Limits {
        Limits::new(all, None)
    }
}
