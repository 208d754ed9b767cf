//! Whether one file is asked to be two things. [door: files]

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::file_lock;

/// Two names must not mean one file; each comes with the key that names it.
///
/// # Errors
/// Which two do.
pub fn check_apart(one: (&str, Option<&str>), other: (&str, Option<&str>)) -> Result<(), Error> {
    let names = [one.1, other.1].map(|name| name.filter(|name| *name != "-"));
    let [Some(a), Some(b)] = names else {
        return Ok(());
    };
    let is_one_place = place(a).is_some_and(|a| place(b) == Some(a));
    if is_one_place || file_lock::is_one_file(Path::new(a), Path::new(b)) {
        Err(Error::plan(format!(
            "{} and {} are the same file, {a}: give one of them another name",
            one.0, other.0,
        )))
    } else {
        Ok(())
    }
}

/// The input must not lie in the directory of the output's parts: those come and go.
///
/// # Errors
/// That it does.
pub(super) fn check_outside(input: Option<&str>, parts: Option<&str>) -> Result<(), Error> {
    let input = input.filter(|name| *name != "-");
    match (input.and_then(place), parts.and_then(place)) {
        (Some(file), Some(directory)) if file.starts_with(&directory) => Err(Error::plan(format!(
            "the input {} lies in the directory of the output's parts (--parts): give the output another directory",
            input.unwrap_or_default()
        ))),
        _ => Ok(()),
    }
}

/// Where a file is or would be, whatever way its name takes there.
fn place(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    path.canonicalize().ok().or_else(|| {
        let directory = path.parent().filter(|parent| *parent != Path::new(""));
        let directory = directory.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(directory.join(path.file_name()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_ways_to_one_file_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let name = |rest: &str| format!("{}/{rest}", directory.path().display());
        let apart = |a: &str, b: &str| check_apart(("a", Some(a)), ("b", Some(b))).is_ok();
        assert!(!apart(&name("x"), &name("./x")));
        assert!(apart(&name("x"), &name("y")));
        std::fs::write(name("x"), "").unwrap();
        std::fs::hard_link(name("x"), name("y")).unwrap();
        assert!(!apart(&name("x"), &name("y")), "a hard link");
        assert!(apart("-", "-"));
    }

    #[test]
    fn an_input_among_the_parts_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let name = |rest: &str| format!("{}/{rest}", directory.path().display());
        std::fs::create_dir(name("parts")).unwrap();
        let outside = |input: &str, parts: Option<&str>| check_outside(Some(input), parts).is_ok();
        assert!(!outside(&name("parts/x"), Some(&name("./parts/"))));
        assert!(outside(&name("parts-x"), Some(&name("parts"))));
        assert!(outside("-", Some(".")) && outside(&name("parts/x"), None));
    }
}
