//! CSV read back, as far as resuming needs it: where records end, and their rows.

use super::super::codec::{Decode, Found};

/// The reader's half of CSV.
#[derive(Default)]
pub(super) struct Rows {
    /// Whether the last line ended within quotes.
    open: bool,
    /// Which column has the row numbers, once the header is read.
    column: Option<usize>,
}

impl Decode for Rows {
    fn ends(&mut self, line: &[u8]) -> bool {
        let quotes = line.iter().filter(|&&byte| byte == b'"').count();
        self.open ^= quotes % 2 == 1;
        !self.open
    }

    fn read(&mut self, record: &[u8]) -> Option<Found> {
        if let Some(column) = self.column {
            let number = cells(record).nth(column)?;
            return str::from_utf8(number).ok()?.parse().ok().map(Found::Row);
        }
        self.column = Some(cells(record).position(|name| name == b"_row")?);
        Some(Found::Header)
    }
}

/// The cells as they stand there: those that are read here need no quotes.
fn cells(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    record.trim_ascii_end().split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_found_behind_quoted_commas_and_newlines() {
        let mut rows = Rows::default();
        assert!(rows.ends(b"\"a,b\",_row,_ok\n"));
        assert!(matches!(
            rows.read(b"\"a,b\",_row,_ok\n"),
            Some(Found::Header)
        ));
        assert!(!rows.ends(b"\"x,\"\"y\n"));
        assert!(rows.ends(b"z\",7,true\r\n"));
        let record = b"\"x,\"\"y\nz\",7,true\r\n";
        assert!(matches!(rows.read(record), Some(Found::Row(7))));
    }

    #[test]
    fn what_is_not_ours_is_told() {
        let mut rows = Rows::default();
        assert!(rows.read(b"symbol,name\n").is_none());
        rows.column = Some(1);
        for record in [&b"RIV\n"[..], b"RIV,x\n", b"RIV,\n", b"\n"] {
            assert!(rows.read(record).is_none(), "{record:?}");
        }
    }
}
