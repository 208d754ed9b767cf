//! Which rows of a chunk, one bit for each in their order. Pure.

/// Some rows of a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RowBits(Vec<u8>);

impl RowBits {
    /// The rows that these bytes say.
    pub fn of_bytes(bytes: Vec<u8>) -> RowBits {
        RowBits(bytes)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn has(&self, row: usize) -> bool {
        self.0.get(row / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0)
    }

    /// Adds a row; false if it was there.
    pub fn insert(&mut self, row: usize) -> bool {
        if self.0.len() <= row / 8 {
            self.0.resize(row / 8 + 1, 0);
        }
        let is_new = !self.has(row);
        self.0[row / 8] |= 1 << (row % 8);
        is_new
    }

    pub fn remove(&mut self, row: usize) {
        if let Some(byte) = self.0.get_mut(row / 8) {
            *byte &= !(1 << (row % 8));
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_once_and_read_back() {
        let mut rows = RowBits::default();
        assert!(rows.insert(9) && !rows.insert(9) && rows.insert(0));
        assert!(rows.has(9) && !rows.has(8) && !rows.has(1_000));
        let mut other = RowBits::of_bytes(rows.bytes().to_vec());
        assert_eq!((other.len(), &other), (2, &rows));
        other.remove(9);
        other.insert(17);
        assert_eq!((rows.len(), other.len()), (2, 2));
    }
}
