//! What the text of a job may say that comes from a stranger. Pure.
//!
//! A key that is not known here is refused, so that a new one is not allowed by oversight.

use serde_json::Value;

use super::Layers;
use crate::check::Check;
use crate::error::Error;

/// The parts of a job that a stranger may write.
#[rustfmt::skip]
const PARTS: [&str; 29] = [
    "$schema", "answer", "answer-format", "answers", "api", "auth", "batch", "batch-api", "before", "budget", "check",
    "cookies", "extract", "input", "items", "limit", "no-headers", "pages", "poll", "price", "reask",
    "refusal", "request", "retry", "send", "signal", "step", "summary", "workers",
];

/// The keys of an input that reads no file.
const INPUT: [&str; 2] = ["list", "take"];

/// The keys of a request that read or write files.
const REQUEST: [&str; 3] = ["body-file", "multipart", "save"];

/// The keys of limits that concern what others have used.
const LIMIT: [&str; 2] = ["account", "share"];

/// What secrets are read from.
const SOURCES: [&str; 2] = ["file:", "command:"];

impl Layers {
    /// Checks that the settings so far name no command, no file, and nothing of this machine.
    ///
    /// # Errors
    /// The first key that a stranger may not write.
    pub(crate) fn check_foreign(&self) -> Result<(), Error> {
        foreign_key(self.tree()).map_or(Ok(()), |key| {
            Err(Error::plan(format!(
                "{key} is not allowed in a job that is sandboxed: it would use files, commands or settings of this machine"
            )))
        })
    }
}

/// The first key that a stranger may not write.
fn foreign_key(tree: &Value) -> Option<String> {
    let tree = tree.as_object()?;
    let unknown =
        tree.iter().find(|(name, value)| !PARTS.contains(&name.as_str()) && !value.is_null());
    if let Some((name, _)) = unknown {
        return Some(name.clone());
    }
    let input = tree.get("input").and_then(Value::as_object);
    let mut of_input = input.into_iter().flatten();
    if let Some((name, _)) = of_input.find(|(name, _)| !INPUT.contains(&name.as_str())) {
        return Some(format!("input.{name}"));
    }
    let steps = list(tree.get("step")).map(|step| ("step.", step));
    let logins = list(tree.get("before")).map(|login| ("before.", login));
    let whole = Value::Object(tree.clone());
    let mut stages = std::iter::once(("", &whole)).chain(steps).chain(logins);
    stages.find_map(|(prefix, stage)| of_stage(stage).map(|key| format!("{prefix}{key}")))
}

/// The first key of a stage that a stranger may not write.
fn of_stage(stage: &Value) -> Option<String> {
    let named = |part: &str, names: &[&str]| {
        let table = stage.get(part)?.as_object()?;
        let found = names.iter().find(|name| table.contains_key(**name))?;
        Some(format!("{part}.{found}"))
    };
    let source = || {
        let auth = stage.get("auth").filter(|auth| names_source(auth));
        auth.map(|_| "a secret that is read from a file or a command (auth)".to_owned())
    };
    let schema = || {
        let check = stage.get("check")?.as_str()?;
        Check::is_file(check).then(|| "a check that is a file (check)".to_owned())
    };
    named("request", &REQUEST).or_else(|| named("limit", &LIMIT)).or_else(source).or_else(schema)
}

/// Whether any text is a source of secrets.
fn names_source(value: &Value) -> bool {
    match value {
        Value::String(text) => SOURCES.iter().any(|source| text.trim_start().starts_with(source)),
        Value::Array(values) => values.iter().any(names_source),
        Value::Object(values) => values.values().any(names_source),
        _ => false,
    }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_that_uses_the_machine_is_found_wherever_it_stands() {
        for (tree, key) in [
            (json!({"secrets": {"a": "command:id"}}), "secrets"),
            (json!({"env": {"a": "secret"}}), "env"),
            (json!({"output": {"file": "/etc/x"}}), "output"),
            (json!({"tls": {}}), "tls"),
            (json!({"network": {"unix-socket": "/run/docker.sock"}}), "network"),
            (json!({"save": "/etc/x"}), "save"),
            (json!({"a new part": {}}), "a new part"),
            (json!({"input": {"list": [], "file": "/etc/passwd"}}), "input.file"),
            (json!({"request": {"body-file": "/etc/passwd"}}), "request.body-file"),
            (json!({"request": {"multipart": {}}}), "request.multipart"),
            (json!({"step": [{"request": {"body-file": "x"}}]}), "step.request.body-file"),
            (json!({"before": [{"request": {"body-file": "x"}}]}), "before.request.body-file"),
            (json!({"limit": {"account": "openai"}}), "limit.account"),
        ] {
            assert_eq!(foreign_key(&tree).as_deref(), Some(key), "{tree}");
        }
        let token = json!({"auth": {"kind": "oauth2", "refresh-token": "file:/etc/passwd"}});
        assert!(foreign_key(&token).is_some());
        for check in
            [json!({"check": "/etc/x.json"}), json!({"step": [{"check": " /etc/x.json "}]})]
        {
            assert!(foreign_key(&check).is_some(), "{check}");
        }
        let harmless = json!({
            "api": "github",
            "input": {"list": [{"id": 1}], "take": 3},
            "request": {"url": "https://h/{{ id }}", "json": {"file": "file:x", "save": 1}},
            "limit": {"rate": "5/1s"},
            "extract": {"output": ".output"},
            "check": ".output > 0",
        });
        assert_eq!(foreign_key(&harmless), None);
    }
}
