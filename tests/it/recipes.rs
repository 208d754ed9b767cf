//! The recipes of docs/recipes.md, run as they stand there but for the addresses of their servers.

use std::path::Path;
use std::process::Command;

use crate::harness::{Place, plain_mock, throng};

/// A code block of a recipe.
struct Block<'a> {
    /// Name of the file that it shows: that of the paragraph before, `` `NAME`: ``.
    file: Option<&'a str>,
    language: &'a str,
    text: &'a str,
}

/// The recipes: the heading and the text of each.
fn recipes(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let sections = page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    sections.filter(|(title, _)| *title != "Contents")
}

fn blocks(recipe: &str) -> Vec<Block<'_>> {
    let parts: Vec<&str> = recipe.split("```").collect();
    parts
        .chunks_exact(2)
        .map(|pair| {
            let (language, text) = pair[1].split_once('\n').unwrap();
            let paragraph = pair[0].trim_end().rsplit('\n').next().unwrap();
            let file = paragraph.strip_prefix('`').and_then(|it| it.strip_suffix("`:"));
            Block { file, language, text }
        })
        .collect()
}

/// The text with the mock's address for that of each server.
fn with_address(text: &str, address: &str) -> String {
    let mut parts = text.split("http");
    let mut replaced = parts.next().unwrap().to_owned();
    for part in parts {
        let rest = part.strip_prefix("s://").or_else(|| part.strip_prefix("://"));
        match rest {
            Some(rest) => {
                let path = rest.find('/').unwrap();
                replaced.push_str(address);
                replaced.push_str(&rest[path..]);
            }
            None => replaced = replaced + "http" + part,
        }
    }
    replaced.replace("storage.example", address.strip_prefix("http://").unwrap())
}

/// Runs the lines in the shell, with `throng` on its path and in this place. Returns its output.
/// The mock has a private address, which rows may lead to only if that is said.
fn shell(place: &Place, lines: &str) -> (String, String) {
    let lines = lines.replace("throng run", "throng run --allow-private");
    let folder = Path::new(env!("CARGO_BIN_EXE_throng")).parent().unwrap().to_str().unwrap();
    let throng = throng("run").command();
    let output = Command::new("sh")
        .args(["-c", &lines])
        .current_dir(place.path(""))
        .env_clear()
        .envs(throng.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", format!("{folder}:/usr/local/bin:/usr/bin:/bin"))
        .envs(["API_KEY", "AZURE_TOKEN", "PASSWORD"].map(|name| (name, "secret-of-the-tests")))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

/// Rows are written as they finish, so the order of lines is left to chance.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Runs a recipe. Returns the number of its commands whose output was compared.
fn follow(title: &str, recipe: &str) -> usize {
    let (place, mock) = (Place::new(), plain_mock());
    let (mut last, mut compared) = (None, 0);
    for block in blocks(recipe) {
        let text = with_address(block.text, &mock.url());
        match (block.file, block.language) {
            (Some(name), _) => {
                place.file(name, &text);
            }
            (None, "sh") => last = Some(shell(&place, &text)),
            (None, _) => {
                let (stdout, stderr) = last.take().unwrap();
                assert_eq!(sorted(&stdout), sorted(&text), "{title}: {stderr}");
                compared += 1;
            }
        }
    }
    assert!(last.is_none(), "{title}: a command without its output");
    compared
}

#[test]
fn each_recipe_gives_what_it_shows() {
    let page = include_str!("../../docs/recipes.md");
    let mut titles = Vec::new();
    for (title, recipe) in recipes(page) {
        assert!(follow(title, recipe) > 0, "{title}: no command");
        titles.push(title);
    }
    let contents = page.lines().filter(|line| line.starts_with("- [")).count();
    assert_eq!(titles.len(), contents, "{titles:?}");
}
