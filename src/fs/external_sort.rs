//! Sorts more values than fit into memory: they are gathered into pieces, each piece is sorted
//! and put aside in a file without a name, and the pieces are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;
use std::slice;

/// The number of pieces that become one, so that few files are open however many values
/// there are.
const MOST: usize = 32;

/// A value that can be put aside in a file.
pub(crate) trait Stored: Ord + Clone {
    /// The memory that it takes, in bytes.
    fn size(&self) -> usize;

    /// Writes the value.
    fn write(&self, to: &mut impl Write) -> io::Result<()>;

    /// Reads the next value; none at the end.
    fn read(from: &mut impl Read) -> io::Result<Option<Self>>;
}

/// Values that are being sorted. In memory are one piece, and a buffer for each file: fewer
/// than 32 files for each power of 32 pieces.
pub(crate) struct ExternalSort<T> {
    directory: PathBuf,
    /// The size of a piece, in bytes.
    piece_size: usize,
    piece: Vec<T>,
    size: usize,
    /// The files of each level were made of those of the level before.
    levels: Vec<Vec<BufReader<File>>>,
}

impl<T: Stored> ExternalSort<T> {
    /// Puts pieces of this size, in bytes, aside in this directory.
    pub fn new(directory: PathBuf, piece_size: usize) -> ExternalSort<T> {
        ExternalSort { directory, piece_size, piece: Vec::new(), size: 0, levels: Vec::new() }
    }

    /// Adds a value.
    pub fn push(&mut self, value: T) -> io::Result<()> {
        self.size += value.size();
        self.piece.push(value);
        if self.size < self.piece_size { Ok(()) } else { self.put_aside() }
    }

    /// All values in their order. They may be gone through more than once.
    pub fn sorted(&mut self) -> io::Result<Sorted<'_, T>> {
        self.piece.sort_unstable();
        let mut files: Vec<_> = self.levels.iter_mut().flatten().collect();
        files.iter_mut().try_for_each(|file| file.rewind())?;
        Sorted::new(files, &self.piece)
    }

    fn put_aside(&mut self) -> io::Result<()> {
        self.piece.sort_unstable();
        let mut aside = self.aside()?;
        self.piece.drain(..).try_for_each(|value| value.write(&mut aside))?;
        self.size = 0;
        self.add(0, from_its_start(aside)?)
    }

    /// Adds a file to a level, which goes up as one when it is full.
    fn add(&mut self, level: usize, file: BufReader<File>) -> io::Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(file);
        if self.levels[level].len() < MOST {
            return Ok(());
        }
        let mut aside = self.aside()?;
        for value in Sorted::new(self.levels[level].iter_mut().collect(), &[])? {
            T::write(&value?, &mut aside)?;
        }
        self.levels[level].clear();
        self.add(level + 1, from_its_start(aside)?)
    }

    fn aside(&self) -> io::Result<BufWriter<File>> {
        Ok(BufWriter::new(tempfile::tempfile_in(&self.directory)?))
    }
}

fn from_its_start(aside: BufWriter<File>) -> io::Result<BufReader<File>> {
    let mut file = aside.into_inner()?;
    file.rewind()?;
    Ok(BufReader::new(file))
}

/// The values of several files and of a piece in memory, in one order.
pub(crate) struct Sorted<'a, T> {
    files: Vec<&'a mut BufReader<File>>,
    piece: slice::Iter<'a, T>,
    /// The first value that is left of each file and, behind them, of the piece.
    heads: BinaryHeap<Reverse<(T, usize)>>,
}

impl<'a, T: Stored> Sorted<'a, T> {
    fn new(files: Vec<&'a mut BufReader<File>>, piece: &'a [T]) -> io::Result<Sorted<'a, T>> {
        let mut sorted = Sorted { files, piece: piece.iter(), heads: BinaryHeap::new() };
        (0..=sorted.files.len()).try_for_each(|source| sorted.advance(source))?;
        Ok(sorted)
    }

    fn advance(&mut self, source: usize) -> io::Result<()> {
        let next = match self.files.get_mut(source) {
            Some(file) => T::read(file)?,
            None => self.piece.next().cloned(),
        };
        self.heads.extend(next.map(|value| Reverse((value, source))));
        Ok(())
    }
}

impl<T: Stored> Iterator for Sorted<'_, T> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<io::Result<T>> {
        let Reverse((value, source)) = self.heads.pop()?;
        Some(self.advance(source).map(|()| value))
    }
}

/// Reads a number; none at the end.
pub(crate) fn read_number(from: &mut impl Read) -> io::Result<Option<u64>> {
    let mut bytes = [0; 8];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u64::from_le_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Stored for u64 {
        fn size(&self) -> usize {
            size_of::<u64>()
        }

        fn write(&self, to: &mut impl Write) -> io::Result<()> {
            to.write_all(&self.to_le_bytes())
        }

        fn read(from: &mut impl Read) -> io::Result<Option<u64>> {
            read_number(from)
        }
    }

    #[test]
    fn values_come_in_order_however_many_and_again() {
        let directory = tempfile::tempdir().unwrap();
        for count in [0, 1, 31, 32, 33, 1_024, 2_111] {
            for piece in [1, 24, 1 << 20] {
                let mut sort = ExternalSort::new(directory.path().to_owned(), piece);
                (0..count).for_each(|n| sort.push(n * 37 % count).unwrap());
                for _ in 0..2 {
                    let sorted: io::Result<Vec<u64>> = sort.sorted().unwrap().collect();
                    assert_eq!(sorted.unwrap(), (0..count).collect::<Vec<_>>(), "{piece}");
                }
            }
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn few_files_are_open_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let mut sort = ExternalSort::new(directory.path().to_owned(), 1);
        for value in 0..5_000_u64 {
            sort.push(value).unwrap();
            let open: usize = sort.levels.iter().map(Vec::len).sum();
            assert!(open < 3 * MOST, "{open}");
        }
    }
}
