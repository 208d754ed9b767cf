//! The number of connections that a worker can have open: each needs a file
//! descriptor, of which a process has a limited number.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use rustix::io::Errno;
use tokio::sync::Notify;

/// The room for the connections of one worker.
pub struct Room {
    most: usize,
    taken: Cell<usize>,
    freed: Notify,
}

/// The place of one connection.
pub struct Slot(Rc<Room>);

/// Whether an error says that the process or the system has no descriptor left.
pub(super) fn is_scarce(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE))
}

impl Room {
    /// For so many connections, of which there are none yet.
    pub fn new(most: usize) -> Rc<Room> {
        Rc::new(Room { most, taken: Cell::new(0), freed: Notify::new() })
    }

    /// A place, if one is free.
    pub fn take(self: &Rc<Room>) -> Option<Slot> {
        (self.taken.get() < self.most).then(|| {
            self.taken.set(self.taken.get() + 1);
            Slot(self.clone())
        })
    }

    /// Waits until a place is free, or a connection that rests.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// One of those that wait may look again.
    pub fn pass_on(&self) {
        self.freed.notify_one();
    }
}

impl Slot {
    /// Its connection waits for work: whatever needs a place may have it.
    pub fn rests(&self) {
        self.0.pass_on();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get() - 1);
        self.0.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_taken_once_until_it_is_given_back() {
        let room = Room::new(2);
        let places = [room.take(), room.take()];
        assert!(places.iter().all(Option::is_some) && room.take().is_none());
        let waits = async {
            room.freed().await;
            room.take().is_some()
        };
        let (has_one, ()) = tokio::join!(waits, async { drop(places) });
        assert!(has_one);
    }

    #[test]
    fn only_what_others_give_back_is_waited_for() {
        for (errno, scarce) in
            [(Errno::MFILE, true), (Errno::NFILE, true), (Errno::CONNREFUSED, false)]
        {
            assert_eq!(is_scarce(&errno.into()), scarce, "{errno}");
        }
    }
}
