//! Programs that are a CSS selector: `css:h1.title`, `css:a.next@href`, `[css:li]`. They stand for
//! programs of jq. Pure.

use serde_json::Value;

/// The mark of a program that is a selector.
const MARK: &str = "css:";

/// The selector of a program, if it is one.
pub fn selector(code: &str) -> Option<&str> {
    let code = code.trim();
    let list = code.strip_prefix('[').and_then(|code| code.strip_suffix(']'));
    let code = list.map(str::trim).filter(|code| code.starts_with(MARK)).unwrap_or(code);
    code.strip_prefix(MARK).map(|selector| selector.trim().trim_end_matches('?'))
}

/// The program of a value. Elements with equal texts count as one, several others are an error.
pub fn of_value(code: &str) -> Option<String> {
    let text = Value::from(selector(code)?);
    Some(if code.trim().starts_with('[') {
        format!("[css({text})]")
    } else {
        let several = "the selector gave \\(length) values: [css:...] is the list of them";
        format!("[css({text})] | unique | if length > 1 then error(\"{several}\") else .[0] end")
    })
}

/// The program of items: the elements as HTML, or their attribute. Where there is none it fails,
/// unless the selector ends in `?`.
pub fn of_items(code: &str) -> Option<String> {
    let selector = selector(code)?;
    let text = Value::from(selector);
    let function = if selector.contains('@') { "css" } else { "html" };
    Some(if code.trim().ends_with('?') {
        format!("{function}({text})")
    } else {
        format!(
            "[{function}({text})] | if length == 0 then error(\"no element matches \" + {text}) else .[] end"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_program() {
        for (code, expected) in [
            ("css:h1.title", Some("h1.title")),
            (" css: a[href=\"x\"] > b@href ", Some("a[href=\"x\"] > b@href")),
            ("[css:a[b]]", Some("a[b]")),
            ("[ css:a ]", Some("a")),
            ("css:tr?", Some("tr")),
            (".css", None),
            ("css(\"a\")", None),
            ("[.a]", None),
        ] {
            assert_eq!(selector(code), expected, "{code}");
        }
    }
}
