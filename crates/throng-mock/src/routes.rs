//! The list of routes, for people.

/// The table of the documentation.
const TABLE: &str = include_str!("routes.md");

/// The routes, each with its answer in the line below.
#[must_use]
pub fn routes() -> String {
    let rows = TABLE.lines().skip(2).filter_map(|row| {
        let (route, answer) = row.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some(format!("{}\n    {}\n", plain(route), plain(answer)))
    });
    rows.collect()
}

/// A text without the marks of Markdown.
fn plain(text: &str) -> String {
    let text = text.replace("[`", "").replace("`]", "");
    text.replace(['`'], "").replace("file()", "a file made of its name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_the_table_is_a_route() {
        let listed = routes();
        assert_eq!(listed.lines().count(), 2 * (TABLE.lines().count() - 2));
        assert!(listed.starts_with("GET/POST /v6/finance/quote/?symbols=A,B\n    the quotes"));
        assert!(!listed.contains('`'), "{listed}");
    }
}
