//! File descriptors: how many this process may have open. [door: process, files]

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit that this process has to the one that it may set itself; what
/// can't be raised stays as it is.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let most = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // A plan goes by the limit that there is then.
        let _ = setrlimit(Resource::Nofile, most);
    }
}

/// How many may be open at a time.
pub(crate) fn most() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many are open, as far as the system tells; some may come from the process that
/// started this one.
pub(crate) fn open() -> u64 {
    std::fs::read_dir("/dev/fd").map_or(0, |open| open.count() as u64)
}
