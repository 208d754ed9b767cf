//! All limits of a server, grouped by their partition.

use crate::{Partition, ServerLimit};

/// All limits of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerLimits {
    /// In the order in which they are counted and reported.
    pub all: Vec<ServerLimit>,
    /// The first group is that of the settings' partition, even if it is empty.
    pub shared: Vec<SharedLimits>,
    /// Whether refused requests count as well.
    pub refusals_count: bool,
    /// An account of the first group with more refusals is banned.
    pub ban: Option<ServerLimit>,
}

/// Limits with the same partition.
#[derive(Debug, Clone)]
pub(crate) struct SharedLimits {
    /// The partition; none if all clients share the limits.
    pub partition: Option<Partition>,
    /// The indices of the limits among all.
    pub indices: Vec<usize>,
}

impl ServerLimits {
    /// These limits, by their own partition or else by this one.
    pub(crate) fn new(all: Vec<ServerLimit>, partition: Option<&Partition>) -> ServerLimits {
        let mut shared = vec![SharedLimits { partition: partition.cloned(), indices: Vec::new() }];
        for (index, limit) in all.iter().enumerate() {
            let partition = limit.partition.as_ref().or(partition);
            match shared.iter_mut().find(|shared| shared.partition.as_ref() == partition) {
                Some(shared) => shared.indices.push(index),
                None => shared
                    .push(SharedLimits { partition: partition.cloned(), indices: vec![index] }),
            }
        }
        ServerLimits { all, shared, refusals_count: false, ban: None }
    }
}

impl From<Vec<ServerLimit>> for ServerLimits {
    fn from(all: Vec<ServerLimit>) -> ServerLimits {
        ServerLimits::new(all, None)
    }
}
