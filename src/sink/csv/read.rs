//! CSV read back, as far as resuming needs it: where records end, and their rows.

use super::super::codec::{Decode, Found, Seen, UNKNOWN};

/// The reader's half of CSV.
pub(super) struct Rows {
    key: Option<String>,
    /// Whether the last line ended within quotes.
    open: bool,
    /// Where to look, once the header is read.
    columns: Option<Places>,
}

/// The numbers of the columns that are read.
struct Places {
    count: usize,
    row: usize,
    item: Option<usize>,
    last: Option<usize>,
    ok: usize,
    error: Option<usize>,
    key: Option<usize>,
}

impl Rows {
    /// With the field that identifies rows.
    pub fn new(key: Option<&str>) -> Rows {
        Rows {
            key: key.map(str::to_owned),
            open: false,
            columns: None,
        }
    }

    fn header(&self, record: &[u8]) -> Option<Places> {
        let names: Vec<&[u8]> = cells(record).collect();
        let place = |name: &[u8]| names.iter().rposition(|it| *it == name);
        let key = match &self.key {
            Some(key) => Some(place(&name_as_written(key))?),
            None => None,
        };
        Some(Places {
            count: names.len(),
            row: place(b"_row")?,
            item: place(b"_item"),
            last: place(b"_last"),
            ok: place(b"_ok")?,
            error: place(b"_error"),
            key,
        })
    }
}

impl Decode for Rows {
    fn ends(&mut self, line: &[u8]) -> bool {
        let quotes = line.iter().filter(|&&byte| byte == b'"').count();
        self.open ^= quotes % 2 == 1;
        !self.open
    }

    fn read(&mut self, record: &[u8]) -> Option<Found> {
        let Some(columns) = &self.columns else {
            self.columns = Some(self.header(record)?);
            return Some(Found::Header);
        };
        columns.seen(record).map(Found::Row)
    }
}

impl Places {
    fn seen(&self, record: &[u8]) -> Option<Seen> {
        let cells: Vec<&[u8]> = cells(record).collect();
        let cell = |place: Option<usize>| place.and_then(|place| cells.get(place).copied());
        let is_whole = cells.len() == self.count;
        Some(Seen {
            row: number(cell(Some(self.row))?)?,
            item: match cell(self.item) {
                None | Some(b"") => None,
                Some(item) => Some(number(item)?),
            },
            last: cell(self.last) != Some(b"false"),
            ok: match cell(Some(self.ok))? {
                b"true" => true,
                b"false" => false,
                _ => return None,
            },
            unknown: cell(self.error) == Some(UNKNOWN.as_bytes()),
            key: cell(self.key).map(<[u8]>::to_vec),
        })
        .filter(|_| is_whole)
    }
}

fn number(cell: &[u8]) -> Option<u64> {
    str::from_utf8(cell).ok()?.parse().ok()
}

fn name_as_written(name: &str) -> Vec<u8> {
    let mut cell = Vec::new();
    crate::table::cells::cell(name, &mut cell);
    cell.pop();
    cell
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
        let mut rows = Rows::new(Some("a,b"));
        let header = b"\"a,b\",_row,_ok\n";
        assert!(rows.ends(header));
        assert_eq!(rows.read(header), Some(Found::Header));
        assert!(!rows.ends(b"\"x,\"\"y\n"));
        assert!(rows.ends(b"z\",7,true\r\n"));
        let seen = Seen {
            row: 7,
            item: None,
            last: true,
            ok: true,
            unknown: false,
            key: Some(b"\"x,\"\"y\nz\"".to_vec()),
        };
        assert_eq!(
            rows.read(b"\"x,\"\"y\nz\",7,true\r\n"),
            Some(Found::Row(seen))
        );
    }

    #[test]
    fn an_item_is_found_with_its_number() {
        let mut rows = Rows::new(None);
        rows.read(b"_row,_item,_last,_ok\n");
        for (record, item, last) in [
            (&b"7,3,false,true\n"[..], Some(3), false),
            (b"7,4,true,false\n", Some(4), true),
            (b"7,,true,true\n", None, true),
        ] {
            let Some(Found::Row(seen)) = rows.read(record) else {
                panic!("{record:?}")
            };
            assert_eq!((seen.row, seen.item, seen.last), (7, item, last));
        }
    }

    #[test]
    fn what_is_not_ours_is_told() {
        let mut rows = Rows::new(None);
        assert!(rows.read(b"symbol,name\n").is_none());
        assert!(rows.read(b"symbol,_row,_ok,_error\n").is_some());
        for record in [
            &b"RIV\n"[..],
            b"RIV,x,true,\n",
            b"RIV,1,maybe,\n",
            b"RIV,1,true\n",
            b"RIV,1,true,,\n",
            b"\n",
        ] {
            assert!(rows.read(record).is_none(), "{record:?}");
        }
    }
}
