//! Names that programs read as lists, so that an element of XML that is there once is a list of
//! one. Pure.

/// The names before `[]`, `[0]` or a slice in these programs: `.rss.channel.item[]` reads `item`
/// as a list, `."dc:creator"[0]` and `.["dc:creator"][0]` read `dc:creator` as one.
pub fn list_names<'a>(programs: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for code in programs {
        for (at, _) in code.match_indices('[') {
            let inside = code[at + 1..].trim_start();
            let is_list = inside.starts_with([']', '-', ':']) || starts_with_digit(inside);
            let name = name_before(code[..at].trim_end_matches(['?', '.', ' ']));
            names.extend(name.filter(|_| is_list).map(str::to_owned));
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// The name of the field with which a part of a program ends.
fn name_before(code: &str) -> Option<&str> {
    if let Some(code) = code.strip_suffix("\"]") {
        return code.rsplit_once("[\"").map(|(_, name)| name);
    }
    if let Some(code) = code.strip_suffix('"') {
        return code.rsplit_once(".\"").map(|(_, name)| name);
    }
    let before = code.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let name = &code[before.len()..];
    (before.ends_with('.') && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_before_an_index_is_a_list() {
        for (code, expected) in [
            (".rss.channel.item[]", &["item"][..]),
            (".a.b[0].c.[-1] | .d[1:] | .e?[]?", &["b", "c", "d", "e"]),
            (".r.\"dc:a\"[] , .r[\"dc:b\"][0]", &["dc:a", "dc:b"]),
            (".metadata[\"oai_dc:dc\"].x | .[]", &[]),
            ("[.a] | map(.b) | .[0] + $x[0] + f[0]", &[]),
            (".a | test(\"[0-9]\")", &[]),
            ("[] | [][0]", &[]),
        ] {
            assert_eq!(list_names([code]), expected, "{code}");
        }
    }
}
