//! The header of a CSV file: which columns it has.

use super::super::Columns;
use crate::error::Error;
use crate::table::cells::{cell, end};

/// The header, with its newline.
pub(super) fn header(columns: &Columns) -> Vec<u8> {
    let mut out = Vec::new();
    for name in columns.fields.as_deref().unwrap_or_default() {
        cell(name, &mut out);
    }
    columns.after_fields().for_each(|name| cell(name, &mut out));
    end(&mut out);
    out
}

/// The columns of the file that begins with this header; those of this run
/// must be the same.
pub(super) fn continued(mut columns: Columns, first_line: &[u8]) -> Result<Columns, Error> {
    let names = names(first_line);
    // Whether the job has a limit may change; a file's columns can't.
    columns.arrived = names.iter().any(|name| name == "_arrived");
    if columns.fields.is_none() {
        let after = columns.after_fields().count();
        let fields = names.len().saturating_sub(after);
        columns.fields = Some(names[..fields].to_vec());
    }
    if header(&columns) == first_line {
        return Ok(columns);
    }
    Err(Error::plan(format!(
        "the file to resume has the columns {}, but this run would write {}",
        names.join(","),
        String::from_utf8_lossy(header(&columns).trim_ascii_end()),
    )))
}

fn names(header: &[u8]) -> Vec<String> {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(header);
    let first = reader
        .records()
        .next()
        .and_then(Result::ok)
        .unwrap_or_default();
    first.iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::columns;
    use super::*;

    #[test]
    fn a_resumed_file_must_have_the_same_columns() {
        let mut columns = columns(&["price"], false);
        let ours = header(&columns);
        assert!(continued(columns.clone(), &ours).is_ok());
        columns.fields = None;
        assert!(
            continued(columns.clone(), &ours).is_ok(),
            "learnt from the file"
        );
        columns.arrived = true;
        assert!(
            continued(columns.clone(), &ours).is_ok(),
            "it has a limit now"
        );
        columns.values.push("name".into());
        let error = continued(columns.clone(), &ours).err().unwrap().to_string();
        assert!(
            error.contains("has the columns symbol,price,_row"),
            "{error}"
        );
    }
}
