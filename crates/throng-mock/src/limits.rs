//! All limits of a server, by what tells apart those who have them for themselves.

use crate::{Partition, ServerLimit};

/// All limits of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerLimits {
    /// In the order in which they are counted and told of.
    pub all: Vec<ServerLimit>,
    /// The first are those of whom the settings name, even if there are none.
    pub shared: Vec<SharedLimits>,
    /// Whether refused requests count, too.
    pub refusals_count: bool,
    /// Who is refused more often than this is banned: of those of the first.
    pub ban: Option<ServerLimit>,
}

/// Limits that the same clients share.
#[derive(Debug, Clone)]
pub(crate) struct SharedLimits {
    /// What tells clients apart, if anything does.
    pub per: Option<Partition>,
    /// Their places among all.
    pub places: Vec<usize>,
}

impl ServerLimits {
    /// These, each value of `per` for itself unless one names another.
    pub(crate) fn new(all: Vec<ServerLimit>, per: Option<&Partition>) -> ServerLimits {
        let mut shared = vec![SharedLimits {
            per: per.cloned(),
            places: Vec::new(),
        }];
        for (place, limit) in all.iter().enumerate() {
            let per = limit.per.as_ref().or(per);
            match shared.iter_mut().find(|shared| shared.per.as_ref() == per) {
                Some(shared) => shared.places.push(place),
                None => shared.push(SharedLimits {
                    per: per.cloned(),
                    places: vec![place],
                }),
            }
        }
        ServerLimits {
            all,
            shared,
            refusals_count: false,
            ban: None,
        }
    }
}

impl From<Vec<ServerLimit>> for ServerLimits {
    fn from(all: Vec<ServerLimit>) -> ServerLimits {
        ServerLimits::new(all, None)
    }
}
