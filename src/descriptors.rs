//! The number of file descriptors that this process can have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit to its maximum; a limit that can't be raised stays.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let most = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // The plan uses the limit in force afterwards.
        let _ = setrlimit(Resource::Nofile, most);
    }
}

/// Maximum number of open descriptors.
pub(crate) fn max_open() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Number of open descriptors, as far as the system reports it. The parent process
/// may have opened some of them.
pub(crate) fn count_open() -> u64 {
    std::fs::read_dir("/dev/fd").map_or(0, |open| open.count() as u64)
}
