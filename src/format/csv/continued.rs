//! The header of a results file, and whether a run can continue a file that has it.

use super::cells::Cells;
use super::guard::unguarded;
use super::quotes::{cut, unquoted};
use crate::error::Error;
use crate::format::columns::Columns;

/// The header, with its newline.
pub(super) fn header(columns: &Columns, cells: &Cells) -> Vec<u8> {
    let mut out = Vec::new();
    let fields = columns.fields.iter().flatten().map(String::as_str);
    for name in fields.chain(columns.after_fields()) {
        cells.text(name, &mut out);
    }
    Cells::end(&mut out);
    out
}

/// The text after its byte order mark, if it has one.
pub(super) fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// Whether a column that is written so has this name. Names had no guards once.
pub(super) fn is_called(written: &str, name: &str) -> bool {
    written == name || unguarded(written) == name
}

/// The columns of the file that begins with this header; those of this run
/// must be the same.
pub(super) fn continued(
    mut columns: Columns,
    first_line: &[u8],
    delimiter: u8,
) -> Result<Columns, Error> {
    let names = names(first_line, delimiter);
    // Whether the job has a limit may change; a file's columns can't.
    columns.arrived = names.iter().any(|name| name == "_arrived");
    if columns.fields.is_none() {
        let after = columns.after_fields().count();
        let fields = &names[..names.len().saturating_sub(after)];
        columns.fields = Some(fields.iter().map(|name| unguarded(name).into()).collect());
    }
    let fields = columns.fields.iter().flatten().map(String::as_str);
    let ours: Vec<&str> = fields.chain(columns.after_fields()).collect();
    match difference(&names, &ours) {
        None => Ok(columns),
        Some(difference) => Err(Error::plan(format!(
            "the file to resume has the columns {}, but this run would write {}: {difference}",
            names.join(","),
            ours.join(","),
        ))),
    }
}

/// Why a header can't be read that has another delimiter than this one.
pub(super) fn other_delimiter(header: &str, delimiter: u8) -> Option<String> {
    let names = [(',', "commas"), ('\t', "tabs"), (';', "semicolons"), ('|', "|")];
    let name = |is: &dyn Fn(char) -> bool| {
        let found = names.iter().find(|(other, _)| is(*other));
        found.map(|(_, name)| *name)
    };
    let own = char::from(delimiter);
    let other = name(&|other| other != own && header.contains(&format!("{other}_row{other}")))?;
    let own = name(&|it| it == own)?;
    Some(format!(
        "its columns are separated by {other}, as some spreadsheets save them: save it with {own}, as UTF-8"
    ))
}

/// The first column that is not the same, with what can't be seen made visible.
fn difference(theirs: &[String], ours: &[&str]) -> Option<String> {
    let place = (0..theirs.len().max(ours.len())).find(|place| {
        let both = theirs.get(*place).zip(ours.get(*place));
        both.is_none_or(|(theirs, ours)| !is_called(theirs, ours))
    })?;
    let shown = |name: Option<String>| name.unwrap_or_else(|| "missing".to_owned());
    let theirs = theirs.get(place).map(|name| format!("{name:?}"));
    let ours = ours.get(place).map(|name| format!("{name:?}"));
    Some(format!("column {} is {} there, and {} here", place + 1, shown(theirs), shown(ours)))
}

fn names(header: &[u8], delimiter: u8) -> Vec<String> {
    let cells = cut(unmarked(header), delimiter).unwrap_or_default();
    cells.into_iter().map(|cell| unquoted(cell).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::columns;

    #[test]
    fn a_resumed_file_must_have_the_same_columns() {
        let mut columns = columns(&["price"], false);
        let ours = header(&columns, &Cells::new(b','));
        assert!(continued(columns.clone(), &ours, b',').is_ok());
        columns.fields = None;
        assert!(continued(columns.clone(), &ours, b',').is_ok(), "learnt from the file");
        columns.arrived = true;
        assert!(continued(columns.clone(), &ours, b',').is_ok(), "it has a limit now");
        columns.values.push("name".into());
        let error = continued(columns.clone(), &ours, b',').err().unwrap().to_string();
        assert!(error.contains("has the columns symbol,price,_row"), "{error}");
        let end = ": column 1 is \"symbol\" there, and \"price\" here";
        assert!(error.ends_with(end), "{error}");
    }

    #[test]
    fn what_cannot_be_seen_is_no_difference_or_is_shown() {
        let columns = columns(&["@price"], false);
        let ours = header(&columns, &Cells::new(b','));
        for (from, to, is_same) in [
            ("symbol", "\u{feff}symbol", true),
            ("_ms\n", "_ms\r\n", true),
            ("symbol", "\"symbol\"", true),
            ("'@price", "@price", true),
            ("symbol", "symbol\u{a0}", false),
            (",_ms", "", false),
        ] {
            let theirs = String::from_utf8(ours.clone()).unwrap().replace(from, to);
            let found = continued(columns.clone(), theirs.as_bytes(), b',');
            assert_eq!(found.is_ok(), is_same, "{theirs}");
        }
        let theirs = String::from_utf8(ours).unwrap();
        let error = |theirs: String| {
            continued(columns.clone(), theirs.as_bytes(), b',').unwrap_err().to_string()
        };
        let spaced = error(theirs.replace("symbol", "symbol\u{a0}"));
        let end = ": column 1 is \"symbol\\u{a0}\" there, and \"symbol\" here";
        assert!(spaced.ends_with(end), "{spaced}");
        let short = error(theirs.replace(",_ms", ""));
        assert!(short.ends_with(": column 9 is missing there, and \"_ms\" here"), "{short}");
    }
}
