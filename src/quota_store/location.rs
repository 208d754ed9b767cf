//! The directory of the quotas on each platform. Pure.

use std::path::PathBuf;

use crate::error::Error;
use crate::limit;

/// The directory of the quotas: below `XDG_STATE_HOME` if that is set, else in the
/// platform's directory for state.
///
/// # Errors
/// If neither `XDG_STATE_HOME` nor the home directory is set.
pub fn directory(environment: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
    limit::state_directory(environment).ok_or_else(|| {
        Error::plan("the use of a limit is kept on the disk for the other runs of the account, but neither HOME nor XDG_STATE_HOME is set: set one of them to a directory of yours")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_directory() {
        let with = |set: &'static [(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(it, _)| *it == name);
            directory(&|name| find(name).map(|(_, value)| (*value).to_owned()))
        };
        let base = with(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]).unwrap();
        assert_eq!(base, PathBuf::from("/s/throng/quotas"));
        if cfg!(target_os = "linux") {
            let base = with(&[("HOME", "/h"), ("XDG_STATE_HOME", "relative")]).unwrap();
            assert_eq!(base, PathBuf::from("/h/.local/state/throng/quotas"));
        }
        assert!(with(&[]).unwrap_err().to_string().contains("XDG_STATE_HOME"));
    }
}
