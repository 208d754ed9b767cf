//! Lines of aligned columns.

use comfy_table::{CellAlignment, Table, presets};

use super::words::count;

/// Maximum number of lines of a table.
const LINES: usize = 20;

/// The first rows of a table, with the number of the rest.
pub(super) fn bounded(mut rows: Vec<Vec<String>>, right: &[usize]) -> Vec<String> {
    let more = rows.len().saturating_sub(LINES);
    rows.truncate(LINES);
    let mut lines = table(rows.into_iter(), right);
    if more > 0 {
        lines.push(format!("  … and {} more in --summary-json", count(more as u64)));
    }
    lines
}

/// Indented rows; the columns `right` are aligned to the right.
pub(super) fn table(rows: impl Iterator<Item = Vec<String>>, right: &[usize]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for row in rows {
        table.add_row(row);
    }
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let line = |line: String| format!(" {}", line.trim_end());
    table.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "10", "x"], ["long", "5", ""]];
        let rows = rows.iter().map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(rows, &[1]), ["  a     10  x", "  long   5"]);
        assert!(table(std::iter::empty(), &[1]).is_empty());
    }

    #[test]
    fn a_long_table_is_truncated() {
        let rows: Vec<Vec<String>> = (0..33).map(|row| vec![row.to_string()]).collect();
        assert_eq!(bounded(rows[..20].to_vec(), &[]).len(), 20);
        let lines = bounded(rows, &[]);
        assert_eq!(lines.len(), 21);
        assert_eq!(lines[20], "  … and 13 more in --summary-json");
    }
}
