//! Values of a page in HTML, by CSS selectors. Pure.

mod page;
mod selector;
mod tree;

pub use page::Page;
pub use selector::Selector;

/// Maximum number of bytes of all texts that one selector gives.
const MAX_BYTES: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };

/// The values that a selector gives of each element: `SELECTOR` its text, `SELECTOR@NAME` its
/// attribute, where it has one.
///
/// # Errors
/// The selector is wrong, or its values are too long.
pub fn texts(page: &Page, selector: &str) -> Result<Vec<String>, String> {
    let (selector, attribute) = split(selector);
    let selector = Selector::parse(selector)?;
    bounded(selector.matches(page).into_iter().filter_map(|id| match &attribute {
        Some(name) => page.attribute(id, name).map(str::to_owned),
        None => Some(page.text(id)),
    }))
}

/// The elements that a selector matches, each as HTML.
///
/// # Errors
/// The selector is wrong, or its elements are too long.
pub fn elements(page: &Page, selector: &str) -> Result<Vec<String>, String> {
    let selector = Selector::parse(selector)?;
    bounded(selector.matches(page).into_iter().map(|id| page.html(id)))
}

/// Elements that are in one another have their texts more than once.
fn bounded(texts: impl Iterator<Item = String>) -> Result<Vec<String>, String> {
    let (mut all, mut length) = (Vec::new(), 0);
    for text in texts {
        length += text.len();
        if length > MAX_BYTES {
            return Err("the elements have more than 64 MiB of text together".into());
        }
        all.push(text);
    }
    Ok(all)
}

/// A selector, and the name of the attribute after its last `@`.
fn split(selector: &str) -> (&str, Option<String>) {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_:.".contains(c);
    match selector.trim_end().rsplit_once('@') {
        Some((selector, name)) if !name.is_empty() && name.chars().all(is_of_name) => {
            (selector, Some(name.to_ascii_lowercase()))
        }
        _ => (selector, None),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const PAGE: &str = r#"<!DOCTYPE html>
<html><head><title> A &amp; B
 page</title><meta name="description" content="About @ us"><link rel=next href="?page=2">
<script type="application/ld+json">{"price":  "1  2"}</script></head>
<body><h1 class="big title">Prices<br>of today</h1>
<table id=quotes><tr><th>Name<th>Price
<tr class=row><td>Acme</td><td><b>17</b>.5</td>
<tr class="row odd"><td><a href="/b?x=1&amp;y=2" data-Id=7>Bolt</a><td>2</table>
<ul><li>one<li>two<ul><li>inner</ul><li>three</ul><p>last<noscript>no</noscript></body></html>"#;

    fn found(text: &str, selector: &str) -> Vec<String> {
        texts(&Page::parse(text).unwrap(), selector).unwrap()
    }

    #[test]
    fn a_selector_gives_the_texts_of_its_elements() {
        for (selector, expected) in [
            ("title", &["A & B page"][..]),
            ("meta[name=description]@content", &["About @ us"]),
            ("link[rel=\"next\"]@href", &["?page=2"]),
            ("script[type='application/ld+json']", &["{\"price\":  \"1  2\"}"]),
            ("h1.title.big", &["Prices of today"]),
            ("#quotes tr.row > td:first-child", &["Acme", "Bolt"]),
            ("#quotes tr.row > td:nth-child(2)", &["17.5", "2"]),
            ("tr:nth-child(2n+1) td:last-child", &["2"]),
            ("tr:not(.odd):not(:first-child) td", &["Acme", "17.5"]),
            ("tr.row + tr td", &["Bolt", "2"]),
            ("tr:first-child ~ .row td:first-of-type", &["Acme", "Bolt"]),
            ("a[href^='/b']@HREF", &["/b?x=1&y=2"]),
            ("h1, tr.odd, ul@class", &["big title", "row odd"]),
            ("a[href$=\"=2\"][href*='x=']@data-id", &["7"]),
            ("a[data-id|=7]", &["Bolt"]),
            ("body > ul > li:nth-last-child(-n+2)", &["two inner", "three"]),
            ("ul ul li:only-child", &["inner"]),
            ("TH:nth-of-type(even)", &["Price"]),
            ("h1@none", &[]),
            ("h2", &[]),
            ("noscript", &["no"]),
            ("p", &["lastno"]),
        ] {
            assert_eq!(found(PAGE, selector), expected, "{selector}");
        }
    }

    #[test]
    fn an_element_is_a_page_of_its_own() {
        let page = Page::parse(PAGE).unwrap();
        let rows = elements(&page, "tr.row").unwrap();
        assert_eq!(rows[0], "<tr class=\"row\"><td>Acme</td><td><b>17</b>.5</td>\n</tr>");
        assert_eq!(found(&rows[1], "td:nth-child(2)"), ["2"]);
        assert_eq!(found(&rows[1], "tr.odd a@href"), ["/b?x=1&y=2"]);
        assert_eq!(found(&rows[1], "*@class"), ["row odd"]);
        let script = elements(&page, "script").unwrap().remove(0);
        assert_eq!(found(&script, "script"), ["{\"price\":  \"1  2\"}"]);
        for part in ["<li>a", "<td>a", "a", "<option>a", "<p>a<p>", "<header>a</header>"] {
            assert_eq!(found(part, "*").first().map_or("a", String::as_str), "a", "{part}");
            assert!(!part.starts_with('<') || found(part, "*").len() <= 2, "{part}");
        }
    }

    #[test]
    fn a_wrong_selector_is_told() {
        for (selector, why) in [
            ("", "an element, a class, an id or an attribute is expected at its end"),
            ("a >", "is expected at its end"),
            ("a,,b", "is expected at \",b\""),
            ("a[href", "= or ] is expected"),
            ("a[href=\"x]", "a quote is not closed"),
            ("a:hover", "of pseudo-classes, first-child, "),
            ("td:nth-child(x)", "a number such as 2, odd or 3n+1"),
            ("a)", "what can't be read at \")\""),
            (".", "a class is expected"),
        ] {
            let error = Selector::parse(selector).unwrap_err();
            assert!(error.contains(why), "{selector}: {error}");
        }
    }

    #[test]
    fn any_text_is_a_page() {
        #[rustfmt::skip]
        const PARTS: [&str; 34] = [
            "<table>", "</table>", "<tr>", "<td>", "<caption>", "<b>", "</b>", "<p>", "</p>", "<a>",
            "</a>", "<i x=1>", "</i>", "text", " ", "<template>", "</template>", "<select>", "<option>",
            "</select>", "<svg>", "<math>", "</svg>", "<frameset>", "<body>", "<html>", "<!-- c -->",
            "<form>", "</form>", "<button>", "<script>", "</script>", "<li>", "<!doctype html>",
        ];
        let mut chance = SmallRng::seed_from_u64(7);
        for _ in 0..300 {
            let count = chance.random_range(0..60);
            let text: String =
                (0..count).map(|_| PARTS[chance.random_range(0..PARTS.len())]).collect();
            let page = Page::parse(&text).unwrap();
            // Each element is found once, and has a text and a place.
            let all = Selector::parse("*").unwrap().matches(&page);
            assert_eq!(all.len(), page.elements().count(), "{text}");
            for id in all {
                assert!(page.place(id).child >= page.place(id).of_type, "{text}");
                assert!(page.html(id).starts_with('<') && page.text(id).len() <= 2 * text.len());
            }
        }
    }

    #[test]
    fn a_page_that_nests_without_end_is_refused() {
        let deep = Page::parse(&"<div>".repeat(1_000_000)).err();
        assert_eq!(deep.unwrap(), "the HTML nests deeper than 512 elements");
        let many: String = (0..400).map(|n| format!("<b a={n}>")).collect();
        // Each paragraph opens the elements of the first anew.
        let many = Page::parse(&format!("<p>{many}{}", "<p>x".repeat(100_000))).err();
        assert!(many.unwrap().starts_with("the HTML has more than "), "many");
        let inner = format!("{}{}", "<div>".repeat(400), "x".repeat(1 << 12));
        let page = Page::parse(&inner).unwrap();
        let error = texts(&page, "div").unwrap_err();
        assert!(error.contains("more than 64 MiB"), "{error}");
    }
}
