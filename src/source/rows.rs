//! Rows with their numbers.

use crate::error::Error;
use crate::format::rows::RowReader;
use crate::row::Row;

/// The rows of a source in their order, read as they are asked for.
pub type Rows = Box<dyn Iterator<Item = Result<Row, Error>> + Send>;

/// The first `most` of these, numbered. Nothing is read beyond them.
pub(super) fn numbered(items: Box<dyn RowReader>, most: u64) -> Rows {
    Box::new(Numbered { items, number: 0, most })
}

struct Numbered {
    items: Box<dyn RowReader>,
    number: u64,
    most: u64,
}

impl Iterator for Numbered {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.number >= self.most {
            return None;
        }
        let row = match self.items.next() {
            Some(Ok(fields)) => Some(Ok(Row { number: self.number, fields, item: None })),
            Some(Err(message)) => Some(Err(self.error(message))),
            None => None,
        };
        match row {
            Some(Ok(_)) => self.number += 1,
            _ => self.most = 0,
        }
        row
    }
}

impl Numbered {
    /// Before the first row nothing can have been sent.
    fn error(&self, message: String) -> Error {
        match self.number {
            0 => Error::plan(message),
            _ => Error::stopped(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::format::rows::FormatRow;
    use crate::row::Fields;

    struct Given(std::vec::IntoIter<FormatRow>);

    impl Iterator for Given {
        type Item = FormatRow;

        fn next(&mut self) -> Option<FormatRow> {
            self.0.next()
        }
    }

    impl RowReader for Given {}

    fn rows(found: Vec<FormatRow>, most: u64) -> Vec<Result<u64, ErrorKind>> {
        numbered(Box::new(Given(found.into_iter())), most)
            .map(|row| row.map(|row| row.number).map_err(|error| error.kind()))
            .collect()
    }

    #[test]
    fn rows_are_numbered_up_to_what_is_taken() {
        let found = || vec![Ok(Fields::new()); 3];
        assert_eq!(rows(found(), u64::MAX), [Ok(0), Ok(1), Ok(2)]);
        assert_eq!(rows(found(), 2), [Ok(0), Ok(1)]);
        assert_eq!(rows(found(), 0), []);
    }

    #[test]
    fn the_first_error_is_the_end() {
        let (row, flaw) = (|| Ok(Fields::new()), || Err(String::new()));
        assert_eq!(rows(vec![flaw(), row()], 9), [Err(ErrorKind::Plan)]);
        assert_eq!(rows(vec![row(), flaw(), row()], 9), [Ok(0), Err(ErrorKind::Stopped)]);
    }
}
