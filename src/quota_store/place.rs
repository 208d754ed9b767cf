//! Where programs keep what they must know again: the platform says. Pure.

use std::path::PathBuf;

use crate::error::Error;

/// The directory of the quotas: under `XDG_STATE_HOME` wherever that is set, else
/// where this platform's programs keep such things.
///
/// # Errors
/// That nothing says where, and what to set.
pub fn directory(environment: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
    let absolute = |name: &str| {
        let path = environment(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let usual = || {
        let home = absolute("HOME");
        match std::env::consts::OS {
            "macos" => home.map(|home| home.join("Library/Application Support")),
            "windows" => absolute("LOCALAPPDATA"),
            _ => home.map(|home| home.join(".local/state")),
        }
    };
    let state = absolute("XDG_STATE_HOME").or_else(usual).ok_or_else(|| {
        Error::plan("a limit with a period of more than 10 minutes is kept on the disk, so that the next run knows what was used, but neither HOME nor XDG_STATE_HOME is set: set one of them to a directory of yours")
    })?;
    Ok(state.join("throng/quotas"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_the_environment_says() {
        let with = |set: &'static [(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(it, _)| *it == name);
            directory(&|name| find(name).map(|(_, value)| (*value).to_owned()))
        };
        let state = with(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]).unwrap();
        assert_eq!(state, PathBuf::from("/s/throng/quotas"));
        if cfg!(target_os = "linux") {
            let state = with(&[("HOME", "/h"), ("XDG_STATE_HOME", "relative")]).unwrap();
            assert_eq!(state, PathBuf::from("/h/.local/state/throng/quotas"));
        }
        assert!(
            with(&[])
                .unwrap_err()
                .to_string()
                .contains("XDG_STATE_HOME")
        );
    }
}
