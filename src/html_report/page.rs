//! A page in HTML that holds all it needs, and may fetch nothing.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use ring::digest;
use serde::Serialize;

use crate::error::Error;

const FRAME: &str = include_str!("assets/frame.html");
const RUN: &str = concat!(include_str!("assets/charts.html"), include_str!("assets/run.html"));
const COMPARISON: &str =
    concat!(include_str!("assets/charts.html"), include_str!("assets/comparison.html"));
const STYLE: &str =
    concat!(include_str!("assets/uplot/uPlot.min.css"), "\n", include_str!("assets/page.css"));
const UPLOT: &str = include_str!("assets/uplot/uPlot.iife.min.js");
const SCRIPT: &str = include_str!("assets/page.js");

/// The templates; all text is escaped where it stands.
static TEMPLATES: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    templates.set_syntax(syntax);
    templates.add_template("frame", FRAME)?;
    templates.add_template("run", RUN)?;
    templates.add_template("comparison", COMPARISON)?;
    Ok(templates)
});

/// The kind of page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Page {
    Run,
    Comparison,
}

/// The page with these facts, and with these numbers for its script.
pub(super) fn render(
    page: Page,
    title: &str,
    facts: &impl Serialize,
    series: &impl Serialize,
) -> Result<String, Error> {
    let name = match page {
        Page::Run => "run",
        Page::Comparison => "comparison",
    };
    let body = template(name, Value::from(Serde(facts)))?;
    let frame = context! {
        title,
        policy => policy(),
        style => Value::from_safe_string(STYLE.to_owned()),
        uplot => Value::from_safe_string(UPLOT.to_owned()),
        script => Value::from_safe_string(SCRIPT.to_owned()),
        series => Value::from_safe_string(inline_json(series)?),
        body => Value::from_safe_string(body),
    };
    template("frame", frame)
}

fn template(name: &str, context: Value) -> Result<String, Error> {
    let wrong =
        |error: &minijinja::Error| Error::stopped(format!("the page can't be made: {error:#}"));
    let templates = TEMPLATES.as_ref().map_err(wrong)?;
    let rendered = templates.get_template(name).and_then(|template| template.render(context));
    rendered.map_err(|error| wrong(&error))
}

/// JSON within a `<script>`, which no text in it can end.
fn inline_json(value: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_string(value)
        .map_err(|error| Error::stopped(format!("the page can't be made: {error}")))?;
    Ok(json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029"))
}

/// The content security policy: our two scripts and our style, by their hashes, and nothing else.
fn policy() -> String {
    let hash = |text: &str| {
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        format!("'sha256-{}'", BASE64_STANDARD.encode(hash))
    };
    format!(
        "default-src 'none'; script-src {} {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(UPLOT),
        hash(SCRIPT),
        hash(STYLE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uplot_is_the_package_s_file_unchanged() {
        let hex = |text: &str| {
            let hash = digest::digest(&digest::SHA256, text.as_bytes());
            hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(hex(UPLOT), "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f");
        assert_eq!(
            hex(include_str!("assets/uplot/uPlot.min.css")),
            "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"
        );
        assert!(UPLOT.starts_with("/*! https://github.com/leeoniya/uPlot (v1.6.32) */"));
        assert!(include_str!("assets/uplot/LICENSE").contains("MIT License"));
    }

    #[test]
    fn no_script_or_style_ends_early() {
        for text in [UPLOT, SCRIPT] {
            assert!(!text.contains("</script") && !text.contains("<!--"));
        }
        assert!(!STYLE.contains("</style"));
    }

    #[test]
    fn json_ends_no_script() {
        let json = inline_json(&"</script><!--&\u{2028}").unwrap();
        assert_eq!(json, "\"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "</script><!--&\u{2028}");
    }
}
