//! The names of the values of a login in templates. Pure.

use serde_json::Value;

use super::Job;
use crate::auth::BeforeSettings;
use crate::error::Error;

/// The name under which templates know all secrets, those of a login too.
const SECRET: &str = "secret.";
/// The name under which templates know those of a login as well.
const BEFORE: &str = "before.";

/// Makes `{{ before.NAME }}` `{{ secret.NAME }}` in all templates, for the values of a login.
pub fn name_as_secrets(tree: &mut Value) {
    let steps = tree.get("before").and_then(Value::as_array).into_iter().flatten();
    let values = steps.filter_map(|step| step.get("extract")?.as_object());
    let names: Vec<String> = values
        .flat_map(|values| values.keys())
        .map(|name| name.trim_end_matches('?').to_owned())
        .collect();
    if !names.is_empty() {
        rename_in(tree, &names);
    }
}

fn rename_in(tree: &mut Value, names: &[String]) {
    match tree {
        Value::String(text) if text.contains(BEFORE) && text.contains("{{") => {
            *text = renamed(text, names);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_in(item, names)),
        Value::Object(map) => map.values_mut().for_each(|value| rename_in(value, names)),
        _ => {}
    }
}

fn renamed(text: &str, names: &[String]) -> String {
    let mut pieces = text.split("{{");
    let mut all = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (inside, after) = piece.split_at(piece.find("}}").unwrap_or(piece.len()));
        all.push_str("{{");
        all.push_str(&renamed_expression(inside, names));
        all.push_str(after);
    }
    all
}

fn renamed_expression(text: &str, names: &[String]) -> String {
    let (mut all, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(BEFORE) {
        let after = &rest[at + BEFORE.len()..];
        let is_whole = !rest[..at].ends_with(|letter| is_of_name(letter) || letter == '.');
        let end = after.find(|letter| !is_of_name(letter)).unwrap_or(after.len());
        let is_known = is_whole && names.iter().any(|name| name == &after[..end]);
        all.push_str(&rest[..at]);
        all.push_str(if is_known { SECRET } else { BEFORE });
        rest = after;
    }
    all + rest
}

fn is_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Checks that the values of a login are used, and only where signing can put them.
pub fn check(job: &Job) -> Result<(), Error> {
    let names: Vec<String> =
        BeforeSettings::names(&job.before).map(|name| format!("{SECRET}{name}")).collect();
    let auth = serde_json::to_string(&job.auth).unwrap_or_default();
    let kind = job.auth.get("kind").and_then(Value::as_str).unwrap_or_default();
    let is_sent_as_it_is = matches!(kind, "" | "bearer" | "header");
    if let Some(name) = names.iter().find(|name| auth.contains(*name) && !is_sent_as_it_is) {
        return Err(Error::plan(format!(
            "auth (--auth) of kind {kind} uses {{{{ {name} }}}}, which a login gives: only the kinds bearer and header can"
        )));
    }
    Ok(())
}

/// A warning of a login whose answers are of no use to any request.
pub fn warning(job: &Job) -> Option<String> {
    let parts = (&job.request, &job.auth, &job.step, &job.limit, &job.before);
    let uses = serde_json::to_string(&parts).unwrap_or_default();
    let mut names = BeforeSettings::names(&job.before);
    let is_used = names.any(|name| uses.contains(&format!("{SECRET}{name}")));
    (!job.before.is_empty() && job.cookies.is_none() && !is_used).then(|| {
        "no request uses what the login gives (before): {{ secret.NAME }} is a value that before.extract names, and cookies = \"run\" (--cookies run) sends its cookies back".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_of_a_login_is_a_secret_and_a_field_stays_a_field() {
        let mut tree = json!({
            "before": [{"extract": {"token": ".t", "csrf?": ".c"}}],
            "request": {
                "headers": {"a": "Bearer {{ before.token }}", "b": ["{{before.csrf|upper}}"]},
                "json": {"c": "{{ before.id }}{{ x.before.token }} before.token {{ before.tokens }}"},
            },
        });
        name_as_secrets(&mut tree);
        let expected = json!({
            "headers": {"a": "Bearer {{ secret.token }}", "b": ["{{secret.csrf|upper}}"]},
            "json": {"c": "{{ before.id }}{{ x.before.token }} before.token {{ before.tokens }}"},
        });
        assert_eq!(tree["request"], expected);
    }
}
