//! Whether the records of a run fit on their disk, as far as that is known before it. Pure.

use bytesize::ByteSize;

use crate::sink::DiskRoom;

/// The room on the output's disk, and the number of rows that are left, if it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedRoom {
    pub disk: DiskRoom,
    pub rows: Option<u64>,
}

impl PlannedRoom {
    /// The room in words: `7.0 MB free; 4000 rows want at least 480 kB (120 B each, …)`.
    pub fn text(&self) -> String {
        let free = format!("{} free", bytes(self.disk.free));
        self.wanted_text().map_or(free.clone(), |wanted| format!("{free}; {wanted}"))
    }

    /// The warning that the records don't fit, if that is so.
    pub fn warning(&self, output: &str) -> Option<String> {
        (self.wanted()? > self.disk.free).then(|| {
            format!(
                "the disk of {output} is too small: {}; a run stops when it is full, and --resume goes on once there is room",
                self.text()
            )
        })
    }

    fn wanted(&self) -> Option<u64> {
        Some(self.rows?.saturating_mul(self.disk.record))
    }

    fn wanted_text(&self) -> Option<String> {
        let DiskRoom { record, is_least, .. } = self.disk;
        let rows = match self.rows? {
            1 => "1 row wants".to_owned(),
            rows => format!("{rows} rows want"),
        };
        let (about, which) = if is_least {
            ("at least", ", without the values of their answers")
        } else {
            ("about", ", as the records before")
        };
        Some(format!("{rows} {about} {} ({} each{which})", bytes(self.wanted()?), bytes(record)))
    }
}

fn bytes(number: u64) -> String {
    ByteSize(number).display().si().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_fit_are_a_warning() {
        let room = |rows, free| {
            let disk = DiskRoom { free, record: 120, is_least: true };
            PlannedRoom { disk, rows }
        };
        assert_eq!(room(Some(10), 1_200).warning("a"), None);
        assert_eq!(room(None, 0).warning("a"), None);
        let warning = room(Some(10), 1_199).warning("a.csv").unwrap();
        assert!(warning.starts_with("the disk of a.csv is too small: 1.2 kB free; 10 rows want at least 1.2 kB (120 B each, without"), "{warning}");
    }
}
