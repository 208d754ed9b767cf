//! The sentences of the sources in the words of a program: they name no flags.

use std::fs;
use std::path::Path;

use throng::internals::wording::{Words, in_words};

/// The modules that only the command has.
const OF_THE_COMMAND: [&str; 8] = [
    "cli",
    "curl",
    "openapi",
    "probe",
    "merge.rs",
    "convert",
    "limit_server/serve.rs",
    "wording.rs",
];

/// Flags of other commands than `run`, and of cargo.
const OTHERS: [&str; 10] = [
    "--features",
    "--failed",
    "--html",
    "--report",
    "--row",
    "--env-",
    "--verbose",
    "--format",
    "--tls-cert",
    "--tls-key",
];

#[test]
fn no_sentence_names_a_flag_to_a_program() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    let mut left = Vec::new();
    for file in crate::structure::files(&source) {
        let inside = file.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
        let is_of_command = OF_THE_COMMAND.iter().any(|name| inside.starts_with(name));
        if is_of_command || inside.contains("tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for sentence in sentences(text) {
            seen += 1;
            for words in [Words::Settings, Words::Keywords] {
                let told = in_words(&sentence, words);
                let flag = flag_in(&told).filter(|flag| !OTHERS.contains(flag));
                left.extend(flag.map(|flag| format!("{inside}: {flag}: {told}")));
            }
        }
    }
    assert!(seen > 100, "{seen}");
    assert!(left.is_empty(), "src/wording.rs lacks these flags:\n{}", left.join("\n"));
}

#[test]
fn a_flag_would_be_found() {
    let text =
        "// \"--none\"\nlet a = \"give --speed 3\"; let b = 'x'; let c = \"a \\\"--best\\\"\";";
    let found: Vec<String> = sentences(text).collect();
    assert_eq!(found, ["give --speed 3", "a \"--best\""]);
    assert_eq!(flag_in(&found[0]), Some("--speed"));
}

/// The texts in a source that may name flags.
fn sentences(text: &str) -> impl Iterator<Item = String> {
    let code: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n").replace("'\"'", "");
    let mut texts = Vec::new();
    let mut rest = code.as_str();
    while let Some((_, after)) = rest.split_once('"') {
        let mut is_escaped = false;
        let end = after.find(|char| {
            let is_end = char == '"' && !is_escaped;
            is_escaped = char == '\\' && !is_escaped;
            is_end
        });
        let Some(end) = end else { break };
        texts.push(after[..end].replace("\\\"", "\""));
        rest = &after[end + 1..];
    }
    texts.into_iter().filter(|text| flag_in(text).is_some())
}

/// The first flag that a text names.
fn flag_in(text: &str) -> Option<&str> {
    let is_of_name = |char: char| char == '-' || char.is_ascii_lowercase();
    text.match_indices("--").find_map(|(start, _)| {
        let is_word = !text[..start].ends_with(|char: char| char.is_alphanumeric() || char == '-');
        let end = text[start..].find(|char| !is_of_name(char)).unwrap_or(text.len() - start);
        (is_word && end > 3 && !text[start..].starts_with("---")).then(|| &text[start..start + end])
    })
}
