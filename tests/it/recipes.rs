//! The recipes of docs/recipes.md and of the README, run as they stand there but for the addresses
//! of their servers.

use std::path::Path;
use std::process::Command;

use throng_mock::{Mock, Settings};

use crate::harness::{Place, mock, plain_mock, throng};

/// A code block of a page.
pub struct Block<'a> {
    /// Name of the file that it shows: that of the paragraph before, `` `NAME`: ``.
    file: Option<&'a str>,
    pub language: &'a str,
    pub text: &'a str,
}

/// The recipes: the heading and the text of each.
fn recipes(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let sections = page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    sections.filter(|(title, _)| *title != "Contents")
}

pub fn blocks(recipe: &str) -> Vec<Block<'_>> {
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
pub fn with_address(text: &str, address: &str) -> String {
    let mut parts = text.split("http");
    let mut replaced = parts.next().unwrap().to_owned();
    for part in parts {
        let rest = part.strip_prefix("s://").or_else(|| part.strip_prefix("://"));
        match rest {
            Some(rest) => {
                let path = rest.find(|it: char| "/ '\"\n".contains(it)).unwrap();
                replaced.push_str(address);
                replaced.push_str(&rest[path..]);
            }
            None => replaced = replaced + "http" + part,
        }
    }
    replaced.replace("storage.example", address.strip_prefix("http://").unwrap())
}

/// The text for the servers of this test: `throng mock` is one of them already.
fn with_mocks(text: &str, mocks: &[(&str, &Mock)]) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("throng mock "));
    let text = lines.map(|line| format!("{line}\n")).collect::<String>();
    mocks.iter().fold(text, |text, (address, mock)| text.replace(address, &mock.url()))
}

/// Whether these pieces, which `…` stands between, are in the text in this order.
fn has_pieces(text: &str, line: &str) -> bool {
    let mut rest = text;
    line.split('…').all(|piece| match rest.split_once(piece.trim()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// The variables of the environment that the pages use.
const KEYS: [&str; 7] =
    ["API_KEY", "API_TOKEN", "AZURE_TOKEN", "GITHUB_TOKEN", "PASSWORD", "TOKEN", "XAPIKEY"];

/// Runs the lines in the shell, with `throng` on its path and in this place. Returns its output.
/// The mock has a private address, which rows may lead to only if that is said.
pub fn shell(place: &Place, lines: &str) -> (String, String) {
    let lines = lines.replace("throng run", "throng run --allow-private");
    let folder = Path::new(env!("CARGO_BIN_EXE_throng")).parent().unwrap().to_str().unwrap();
    let throng = throng("run").command();
    let output = Command::new("sh")
        .args(["-c", &lines])
        .current_dir(place.path(""))
        .env_clear()
        .envs(throng.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", format!("{folder}:/usr/local/bin:/usr/bin:/bin"))
        .envs(KEYS.map(|name| (name, "secret-of-the-tests")))
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
fn each_recipe_of_the_readme_gives_what_it_shows() {
    let page = include_str!("../../README.md");
    let (_, recipes) = page.split_once("\n## Four recipes\n").unwrap();
    let (recipes, _) = recipes.split_once("\n## ").unwrap();
    let limited = Settings { limits: vec!["20/1s".parse().unwrap()], ..Settings::default() };
    let (place, open, limited) = (Place::new(), plain_mock(), mock(limited));
    let mocks = [("http://127.0.0.1:8099", &open), ("http://127.0.0.1:8098", &limited)];
    let (mut last, mut compared) = (String::new(), 0);
    for block in blocks(recipes) {
        if block.language == "sh" {
            let (stdout, stderr) = shell(&place, &with_mocks(block.text, &mocks));
            last = stdout + &stderr;
            continue;
        }
        for line in block.text.lines() {
            assert!(has_pieces(&last, line), "no {line:?} in: {last}");
        }
        compared += 1;
    }
    assert_eq!(compared, 4);
    assert_eq!(open.judgement().refused, 0);
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
