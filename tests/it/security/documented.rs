//! The document on security names tests that there are, and what it says of this
//! workspace is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let found = entries.flat_map(|entry| match entry.path() {
        path if path.is_dir() => files(&path),
        path => vec![path],
    });
    found.collect()
}

/// The tests of a tree by the names that `cargo test` gives them, without modules
/// that are called `tests`.
fn tests_in(folder: &str) -> BTreeSet<String> {
    let folder = root().join(folder);
    let mut found = BTreeSet::new();
    for file in files(&folder) {
        if file.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let module = file.strip_prefix(&folder).unwrap().with_extension("");
        let module: Vec<&str> = module.iter().map(|part| part.to_str().unwrap()).collect();
        let text = fs::read_to_string(&file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            match name {
                _ if line.starts_with("#[") => is_test |= line.contains("test"),
                Some(name) if std::mem::take(&mut is_test) => {
                    let name = name.split('(').next().unwrap();
                    found.insert(plain(&[&module[..], &[name]].concat().join("::")));
                }
                _ => is_test = false,
            }
        }
    }
    found
}

fn plain(name: &str) -> String {
    let parts = name.split("::");
    let parts = parts.filter(|part| !["tests", "mod"].contains(part));
    parts.collect::<Vec<_>>().join("::")
}

#[test]
fn every_test_that_the_document_names_is_there() {
    let document = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut tests = tests_in("src");
    tests.append(&mut tests_in("tests/it"));
    let of_library = tests_in("tests/library");
    tests.extend(of_library.iter().map(|test| format!("library::{test}")));
    let lines: Vec<&str> = document
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .collect();
    assert_eq!(lines.len(), 29);
    for line in lines {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, does, proofs] = cells[..] else { panic!("{line} has not four cells") };
        let named: Vec<&str> = proofs.split('`').skip(1).step_by(2).collect();
        let is_built = !does.starts_with("Not built");
        assert_eq!(is_built, !named.is_empty(), "{line}");
    }
    let quoted = document.split('`').skip(1).step_by(2);
    for name in quoted.filter(|text| text.contains("::")) {
        assert!(tests.contains(&plain(name)), "there is no test {name}");
    }
}

#[test]
fn row_25_no_crate_of_ours_has_unsafe_code_or_a_build_script() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let folders = crates.map(|entry| entry.unwrap().path());
    for folder in folders.chain([root().to_owned()]) {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let shown = folder.display();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{shown}");
        assert!(!manifest.contains("\nbuild = "), "{shown}");
        assert!(!folder.join("build.rs").exists(), "{shown}");
    }
    let gate = fs::read_to_string(root().join("test")).unwrap();
    assert!(gate.contains("cargo test --workspace --locked"));
    assert!(root().join("Cargo.lock").exists());
}
