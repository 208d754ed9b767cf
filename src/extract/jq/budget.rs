//! What one run of a jq program may take: time, stack, and memory. [door: clock]
//!
//! A program that went on for ever would keep its thread, and all rows on it. So
//! programs are compiled with a step, `!step`, wherever they may come round again (see
//! [`super::guard`]), and each step asks the budget.

use std::cell::Cell;
use std::time::Duration;

use jaq_core::box_iter::box_once;
use jaq_core::native::{Filter, v};
use jaq_core::{DataT, Exn, Lut, Native};
use jaq_json::{Num, Val};
use rustix::time::{ClockId, clock_gettime};

/// Steps that one run may take. An answer of many megabytes takes some millions.
const STEPS: u32 = if cfg!(test) { 500_000 } else { 20_000_000 };
/// The time of the processor that one run may take.
const TIME: Duration = Duration::from_secs(5);
/// After so many steps the clock is asked.
const STEPS_PER_CLOCK: u32 = 1 << 12;
/// After so many steps a value's nesting is looked at. It is prime, so that no loop
/// always shows the same of its values.
const STEPS_PER_LOOK: u32 = 127;
/// Values nested deeper are too deep for the stack.
const DEEPEST: usize = 500;
/// Parts of a value that one look at its nesting sees.
const PARTS_PER_LOOK: usize = 1 << 12;
/// Bytes of the stack that one run may take, of the 2 MiB that a thread has.
const STACK: usize = 512 << 10;
/// The most definitions with filters as parameters that are open around a place.
const DEEPEST_CALL: isize = 500;
/// The longest text, in bytes.
pub const LONGEST_TEXT: usize = 64 << 20;
/// The most items of a list, or fields of an object.
const LONGEST_LIST: usize = 16 << 20;
/// The most bits of a whole number.
const LONGEST_NUMBER: u64 = 1 << 16;

/// The most digits of a number in a text of JSON.
const LONGEST_DIGITS: usize = 1 << 14;

const TOO_DEEP: &str = "it calls itself too deep";

/// What one run has taken so far.
pub struct JqBudget {
    steps: Cell<u32>,
    started: Duration,
    stack: usize,
    /// The depth of the call that comes next.
    depth: Cell<isize>,
    exceeded: Cell<Option<&'static str>>,
}

/// What a program sees of its run.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    pub lut: &'a Lut<Bounded>,
    pub budget: &'a JqBudget,
}

/// Programs over JSON that have a budget.
pub struct Bounded;

impl DataT for Bounded {
    type V<'a> = Val;
    type Data<'a> = Running<'a>;
}

impl<'a> jaq_core::data::HasLut<'a, Bounded> for Running<'a> {
    fn lut(&self) -> &'a Lut<Bounded> {
        self.lut
    }
}

impl JqBudget {
    /// A whole one, for a run that starts now, here on the stack.
    pub fn new() -> JqBudget {
        JqBudget {
            steps: Cell::new(0),
            started: time(),
            stack: here(),
            depth: Cell::new(0),
            exceeded: Cell::new(None),
        }
    }

    /// What the run took too much of, if it was ended for that.
    pub fn exceeded(&self) -> Option<&'static str> {
        self.exceeded.get()
    }

    /// Ends the run. This is no error, which a program could catch.
    pub fn exceed<'a>(&self, what: &'static str) -> Exn<'a, Val> {
        self.exceeded.set(Some(what));
        Exn::halt(0)
    }

    /// A call comes next, from a place of this depth.
    fn deeper<'a>(&self, depth: &Val) -> Result<(), Exn<'a, Val>> {
        let depth = match depth {
            Val::Num(Num::Int(depth)) => depth + 1,
            _ => 1,
        };
        self.depth.set(depth);
        if depth > DEEPEST_CALL {
            Err(self.exceed(TOO_DEEP))
        } else {
            Ok(())
        }
    }

    /// Takes one step with this value.
    fn step<'a>(&self, value: &Val) -> Result<(), Exn<'a, Val>> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > STEPS {
            return Err(self.exceed("it took more than 20 million steps"));
        }
        if self.stack.abs_diff(here()) > STACK {
            return Err(self.exceed(TOO_DEEP));
        }
        if steps.is_multiple_of(STEPS_PER_CLOCK) && time().saturating_sub(self.started) > TIME {
            return Err(self.exceed("it took more than 5 s"));
        }
        if is_long(value) {
            return Err(self.exceed("one of its values grew too long"));
        }
        if steps.is_multiple_of(STEPS_PER_LOOK) && is_deep(value) {
            return Err(self.exceed("one of its values is nested too deep"));
        }
        Ok(())
    }
}

/// The time of the processor that this thread has had.
fn time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// How far down the stack the caller is.
#[inline(never)]
fn here() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&local)).addr()
}

fn is_long(value: &Val) -> bool {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len() > LONGEST_TEXT,
        Val::Arr(items) => items.len() > LONGEST_LIST,
        Val::Obj(fields) => fields.len() > LONGEST_LIST,
        Val::Num(Num::BigInt(number)) => number.bits() > LONGEST_NUMBER,
        _ => false,
    }
}

/// Whether some of a value is nested too deep, as far as one look shows.
fn is_deep(value: &Val) -> bool {
    let mut ahead = vec![(value, 0)];
    for _ in 0..PARTS_PER_LOOK {
        let Some((value, depth)) = ahead.pop() else {
            return false;
        };
        if depth > DEEPEST {
            return true;
        }
        match value {
            Val::Arr(items) => ahead.extend(containers(items.iter(), depth)),
            Val::Obj(fields) => ahead.extend(containers(fields.values(), depth)),
            _ => {}
        }
    }
    false
}

fn containers<'a>(
    values: impl Iterator<Item = &'a Val>,
    depth: usize,
) -> impl Iterator<Item = (&'a Val, usize)> {
    let is_container = |value: &&Val| matches!(value, Val::Arr(_) | Val::Obj(_));
    let few = values.filter(is_container).take(PARTS_PER_LOOK);
    few.map(move |value| (value, depth + 1))
}

/// The functions that programs are compiled with, of which they can't know.
pub fn functions() -> [Filter<Native<Bounded>>; 5] {
    [step(), depth(), deeper(), times(), shallow()]
}

/// `!step`, which changes nothing, and is a path.
fn step() -> Filter<Native<Bounded>> {
    let native = Native::<Bounded>::new(|cv| {
        let stepped = cv.0.data().budget.step(&cv.1);
        box_once(stepped.map(|()| cv.1))
    });
    let native = native.with_paths(|cv| {
        let stepped = cv.0.data().budget.step(&cv.1.0);
        box_once(stepped.map(|()| cv.1))
    });
    let native = native.with_update(|cv, update| match cv.0.data().budget.step(&cv.1) {
        Ok(()) => update(cv.1),
        Err(ended) => box_once(Err(ended)),
    });
    ("!step", v(0), native)
}

/// `!depth` is the depth of the call that has just begun.
fn depth() -> Filter<Native<Bounded>> {
    let native = Native::<Bounded>::new(|cv| {
        let depth = cv.0.data().budget.depth.get();
        box_once(Ok(Val::from(depth)))
    });
    ("!depth", v(0), native)
}

/// `!deeper($depth)`, which comes before a call, changes nothing, and is a path.
fn deeper() -> Filter<Native<Bounded>> {
    let native = Native::<Bounded>::new(|mut cv| {
        let depth = cv.0.pop_var();
        let deeper = cv.0.data().budget.deeper(&depth);
        box_once(deeper.map(|()| cv.1))
    });
    let native = native.with_paths(|mut cv| {
        let depth = cv.0.pop_var();
        let deeper = cv.0.data().budget.deeper(&depth);
        box_once(deeper.map(|()| cv.1))
    });
    let native = native.with_update(|mut cv, update| {
        let depth = cv.0.pop_var();
        match cv.0.data().budget.deeper(&depth) {
            Ok(()) => update(cv.1),
            Err(ended) => box_once(Err(ended)),
        }
    });
    ("!deeper", v(1), native)
}

/// `!times(l; r)` is `l * r`, but for a text that would grow too long.
fn times() -> Filter<Native<Bounded>> {
    let native = Native::<Bounded>::new(|mut cv| {
        let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
        let product = match (text_length(&left, &right), count(&left, &right)) {
            (Some(length), Some(count)) if length.saturating_mul(count) > LONGEST_TEXT => {
                Err(cv.0.data().budget.exceed("one of its texts grew too long"))
            }
            _ => (left * right).map_err(Exn::from),
        };
        box_once(product)
    });
    ("!times", v(2), native)
}

/// The length of the one that is a text, if the other is a number.
fn text_length(left: &Val, right: &Val) -> Option<usize> {
    match (left, right) {
        (Val::TStr(text) | Val::BStr(text), Val::Num(_))
        | (Val::Num(_), Val::TStr(text) | Val::BStr(text)) => Some(text.len()),
        _ => None,
    }
}

/// The one that is a whole number, if it counts anything.
fn count(left: &Val, right: &Val) -> Option<usize> {
    match (left, right) {
        (_, Val::Num(Num::Int(count))) | (Val::Num(Num::Int(count)), _) => {
            usize::try_from(*count).ok()
        }
        (_, Val::Num(Num::BigInt(_))) | (Val::Num(Num::BigInt(_)), _) => Some(usize::MAX),
        _ => None,
    }
}

/// `!shallow` lets texts of JSON pass that are nested as values may be, without numbers
/// that take for ever to read.
fn shallow() -> Filter<Native<Bounded>> {
    let native = Native::<Bounded>::new(|cv| {
        if matches!(&cv.1, Val::TStr(text) if !is_shallow(text)) {
            return box_once(Err(Exn::from(jaq_core::Error::str(
                "cannot parse it as JSON: it is nested too deep, or a number in it is too long",
            ))));
        }
        box_once(Ok(cv.1))
    });
    ("!shallow", v(0), native)
}

fn is_shallow(json: &[u8]) -> bool {
    let (mut depth, mut digits, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in json {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST || (digits > LONGEST_DIGITS && !in_text) {
            return false;
        }
    }
    true
}
