//! The structure of the sources: the modules' imports form no cycle, the public names are
//! those on the list, and every path in ARCHITECTURE.md exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules that each module uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_module_uses_itself_by_way_of_others() {
    let uses = uses(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(uses.len() > 10 && uses["engine"].contains("send"), "{uses:?}");
    let cycle = cycle(&uses);
    assert!(cycle.is_none(), "{}", cycle.unwrap_or_default().join(" -> "));
}

#[test]
fn a_cycle_would_be_found() {
    let uses = |pairs: &[(&str, &str)]| -> Uses {
        let mut uses = Uses::new();
        for (from, to) in pairs {
            uses.entry((*from).into()).or_default().insert((*to).into());
        }
        uses
    };
    assert_eq!(cycle(&uses(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = cycle(&uses(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap();
    assert_eq!(found, ["b", "c", "b"]);
}

#[test]
fn uses_are_found_wherever_they_stand() {
    let text = "use crate::a::B;\n//! [`crate::b`]\nfn f() -> crate::c::D {}\nuse crate::{d, e::F};\n\
                #[cfg(test)]\nmod tests {\n    use crate::f::G;\n}\n";
    let found: Vec<String> = modules_in(text).into_iter().collect();
    assert_eq!(found, ["a", "c", "d", "e"]);
}

/// Names that a release may not lose, and that one should add with care: they are checked
/// in, so that a change of the interface shows in a review.
#[test]
fn the_public_names_are_those_on_the_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = [("throng", "src/lib.rs"), ("throng_limit", "crates/throng-limit/src/lib.rs")];
    let mut names = Vec::new();
    for (name, file) in sources {
        let text = fs::read_to_string(root.join(file)).unwrap();
        names.extend(public_names(&text).into_iter().map(|it| format!("{name}::{it}")));
    }
    let listed = fs::read_to_string(root.join("tests/public-names.txt")).unwrap();
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(names, listed, "if you mean it, change tests/public-names.txt");
}

#[test]
fn public_names_are_found_and_hidden_ones_are_not() {
    let text = "mod a;\npub use a::{B, C as D};\n#[doc(hidden)]\npub use a::E;\npub use b as f;\n\
                #[doc(hidden)]\npub mod g {\n    pub use crate::a::H;\n}\npub mod i;\n";
    assert_eq!(public_names(text), ["B", "D", "f", "i"]);
}

#[test]
fn every_path_in_the_architecture_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let is_path = |it: &&&str| it.contains('/') && !it.contains([' ', ':', '<']);
    let paths: Vec<&&str> = quoted.iter().filter(is_path).collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        assert!(root.join(path).exists(), "ARCHITECTURE.md names {path}");
    }
}

#[test]
fn what_is_not_pure_is_in_the_architecture_and_no_other_file_says_so() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once("## What is not pure").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let quoted = section.split('`').skip(1).step_by(2);
    let is_source = |it: &&str| it.starts_with("src/") || it.starts_with("crates/");
    let places: Vec<PathBuf> = quoted.filter(is_source).map(|it| root.join(it)).collect();
    let mut impure = Vec::new();
    for file in ["src", "crates/throng-limit/src"].iter().flat_map(|it| files(&root.join(it))) {
        let text = fs::read_to_string(&file).unwrap();
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let uses = impurities(&text);
        assert!(!head.contains("Pure") || uses.is_empty(), "{}: {uses:?}", file.display());
        let inside = file.strip_prefix(root).unwrap();
        let is_test = ["tests", "schedules"].iter().any(|it| inside.to_str().unwrap().contains(it));
        if !uses.is_empty() && !is_test {
            let is_listed = places.iter().any(|place| file.starts_with(place));
            assert!(is_listed, "ARCHITECTURE.md lacks {}: {uses:?}", inside.display());
            impure.push(file);
        }
    }
    let is_pure = |place: &&PathBuf| !impure.iter().any(|file| file.starts_with(place));
    let pure: Vec<&PathBuf> = places.iter().filter(is_pure).collect();
    assert!(pure.is_empty(), "ARCHITECTURE.md has {pure:?}");
}

#[test]
fn what_a_file_takes_from_outside_is_found_and_comments_and_tests_are_left_out() {
    let text = "//! By `std::fs`.\nuse crate::fs::file_lock;\nfn f() { Instant::now() }\n\
                #[cfg(test)]\nmod tests {\n    use std::env::var;\n}\n";
    assert_eq!(Vec::from_iter(impurities(text)), ["Instant::now()", "crate::fs::"]);
}

/// What a file takes from outside: files, the network, clocks, random numbers, processes.
fn impurities(text: &str) -> BTreeSet<&'static str> {
    const SOURCES: [&str; 14] = [
        "std::fs",
        "crate::fs::",
        "tokio::net",
        "tokio::time::",
        "Instant::now()",
        "SystemTime::now()",
        "Timestamp::now()",
        "Zoned::now()",
        "limit::now()",
        "clock_gettime(",
        "rand::random",
        "std::process",
        "std::env::",
        "std::thread::",
    ];
    let code = code(text);
    SOURCES.into_iter().filter(|source| code.contains(source)).collect()
}

/// The names that `pub use` and `pub mod` give at the top of a crate, in order, but for
/// hidden ones.
fn public_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_hidden = false;
    let mut statement = String::new();
    for line in text.lines() {
        if line == "#[doc(hidden)]" {
            is_hidden = true;
        } else if line.starts_with("pub use") || !statement.is_empty() {
            statement.push_str(line);
        } else if let Some(module) = line.strip_prefix("pub mod ")
            && !std::mem::take(&mut is_hidden)
        {
            names.push(module.trim_end_matches([';', ' ', '{']).to_owned());
        }
        if statement.ends_with(';') {
            let statement = std::mem::take(&mut statement);
            if !std::mem::take(&mut is_hidden) {
                names.extend(names_in(&statement));
            }
        }
    }
    names.sort();
    names
}

/// `B` and `D` for `pub use a::{B, C as D};`.
fn names_in(statement: &str) -> Vec<String> {
    let inside = statement.trim_start_matches("pub use").trim_end_matches(';');
    let list = match inside.split_once('{') {
        Some((_, list)) => list.trim_end_matches('}'),
        None => inside,
    };
    let last = |item: &str| item.split([' ', ':']).next_back().unwrap_or_default().to_owned();
    list.split(',').map(str::trim).map(last).filter(|name| !name.is_empty()).collect()
}

fn uses(source: &Path) -> Uses {
    let mut uses = Uses::new();
    for file in files(source) {
        let module = module(source, &file);
        // The crate's root and the command may use every module.
        if ["lib", "main", "cli"].contains(&module.as_str()) || file.ends_with("tests.rs") {
            continue;
        }
        let mut modules = modules_in(&fs::read_to_string(&file).unwrap());
        modules.remove(&module);
        uses.entry(module).or_default().append(&mut modules);
    }
    uses
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.append(&mut self::files(&path)),
            false if path.extension().is_some_and(|end| end == "rs") => files.push(path),
            false => {}
        }
    }
    files
}

/// `sink` for `sink.rs` and `sink/csv.rs`.
fn module(source: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(source).unwrap().with_extension("");
    let first = inside.iter().next().unwrap();
    first.to_str().unwrap().to_owned()
}

/// The first names after `crate::` in a file, up to its tests, which may use anything.
fn modules_in(text: &str) -> BTreeSet<String> {
    let code = code(text);
    let after = code.split("crate::").skip(1);
    after.flat_map(first_names).collect()
}

/// The lines of a file up to its tests, but for comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(str::trim_start);
    lines.filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// `a::B` is in `a`; `{a, b::C}` in `a` and `b`. A name that begins with a
/// capital is re-exported by the crate's root, and belongs to the module of that name.
fn first_names(path: &str) -> Vec<String> {
    let names: Vec<&str> = match path.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap_or_default().split(',').collect(),
        None => vec![path],
    };
    let name = |path: &str| {
        let letters = path.trim().chars();
        let name: String = letters.take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        name.to_lowercase()
    };
    names.into_iter().map(name).filter(|name| !name.is_empty()).collect()
}

/// The first chain of imports that leads back to its beginning.
fn cycle(uses: &Uses) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    uses.keys().find_map(|module| walk(uses, module, &mut Vec::new(), &mut done))
}

fn walk(
    uses: &Uses,
    module: &str,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(start) = way.iter().position(|before| before == module) {
        let mut cycle = way[start..].to_vec();
        cycle.push(module.to_owned());
        return Some(cycle);
    }
    if done.contains(module) {
        return None;
    }
    way.push(module.to_owned());
    let next = uses.get(module).into_iter().flatten();
    let found = next.into_iter().find_map(|next| walk(uses, next, way, done));
    way.pop();
    done.insert(module.to_owned());
    found
}
