//! The budget of one run of a jq program: time, stack, and memory. Reads the clock.
//!
//! An endless program would hold its thread and all rows on it. So programs are compiled
//! with a step, `!step`, in every loop (see [`super::guard`]), and each step checks the
//! budget.

use std::cell::Cell;
use std::time::Duration;

use jaq_core::box_iter::box_once;
use jaq_core::native::{Filter, v};
use jaq_core::{DataT, Exn, Lut, Native};
use jaq_json::{Num, Val};
use rustix::time::{ClockId, clock_gettime};

/// Maximum number of steps of one run. An answer of many megabytes takes some millions.
const MAX_STEPS: u32 = if cfg!(test) { 500_000 } else { 20_000_000 };
/// Maximum processor time of one run.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Number of bytes of HTML that are read in the time of a step.
#[cfg(feature = "html")]
const BYTES_PER_STEP: usize = 8;
/// Number of steps between two readings of the clock.
const STEPS_PER_CLOCK: u32 = 1 << 12;
/// Number of steps between two checks of a value's nesting. It is prime, so that a loop
/// does not always check the same of its values.
const STEPS_PER_NESTING_CHECK: u32 = 127;
/// Maximum nesting of a value; deeper ones overflow the stack.
const MAX_NESTING: usize = 500;
/// Maximum number of parts of a value that one check of its nesting visits.
const PARTS_PER_NESTING_CHECK: usize = 1 << 12;
/// Maximum size of the stack of one run in bytes, of the 2 MiB of a thread.
const MAX_STACK: usize = 512 << 10;
/// Maximum number of nested calls of definitions with filters as parameters.
const MAX_CALLS: isize = 500;
/// Maximum length of a text in bytes.
pub const MAX_TEXT: usize = 64 << 20;
/// Maximum number of items of a list, or of fields of an object.
const MAX_ITEMS: usize = 16 << 20;
/// Maximum number of bits of a whole number.
const MAX_BITS: u64 = 1 << 16;

/// Maximum number of digits of a number in JSON text.
const MAX_DIGITS: usize = 1 << 14;

const TOO_DEEP: &str = "it calls itself too deep";

/// The use of the budget by one run.
pub struct JqBudget {
    steps: Cell<u32>,
    started: Duration,
    stack: usize,
    /// The depth of the next call.
    depth: Cell<isize>,
    exceeded: Cell<Option<&'static str>>,
}

/// The data of one run.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    pub lut: &'a Lut<Bounded>,
    pub budget: &'a JqBudget,
}

/// The data type of programs with a budget.
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
    /// The unused budget of a run that starts now, at this depth of the stack.
    pub fn new() -> JqBudget {
        JqBudget {
            steps: Cell::new(0),
            started: processor_time(),
            stack: stack_address(),
            depth: Cell::new(0),
            exceeded: Cell::new(None),
        }
    }

    /// The part of the budget that the run exceeded, if it was stopped for that.
    pub fn exceeded(&self) -> Option<&'static str> {
        self.exceeded.get()
    }

    /// Stops the run, not by an error, which the program could catch.
    pub fn exceed<'a>(&self, what: &'static str) -> Exn<'a, Val> {
        self.exceeded.set(Some(what));
        Exn::halt(0)
    }

    /// Notes a call from this depth.
    fn deeper<'a>(&self, depth: &Val) -> Result<(), Exn<'a, Val>> {
        let depth = match depth {
            Val::Num(Num::Int(depth)) => depth + 1,
            _ => 1,
        };
        self.depth.set(depth);
        if depth > MAX_CALLS { Err(self.exceed(TOO_DEEP)) } else { Ok(()) }
    }

    /// Counts the steps of reading a text of this length.
    #[cfg(feature = "html")]
    pub fn read<'a>(&self, length: usize) -> Result<(), Exn<'a, Val>> {
        let steps = u32::try_from(length / BYTES_PER_STEP).unwrap_or(u32::MAX);
        let steps = self.steps.get().saturating_add(steps);
        if steps > MAX_STEPS || processor_time().saturating_sub(self.started) > MAX_TIME {
            return Err(self.exceed("it read HTML too often"));
        }
        self.steps.set(steps);
        Ok(())
    }

    /// Counts one step, whose value is checked.
    fn step<'a>(&self, value: &Val) -> Result<(), Exn<'a, Val>> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > MAX_STEPS {
            return Err(self.exceed("it took more than 20 million steps"));
        }
        if self.stack.abs_diff(stack_address()) > MAX_STACK {
            return Err(self.exceed(TOO_DEEP));
        }
        if steps.is_multiple_of(STEPS_PER_CLOCK)
            && processor_time().saturating_sub(self.started) > MAX_TIME
        {
            return Err(self.exceed("it took more than 5 s"));
        }
        if is_long(value) {
            return Err(self.exceed("one of its values grew too long"));
        }
        if steps.is_multiple_of(STEPS_PER_NESTING_CHECK) && is_deep(value) {
            return Err(self.exceed("one of its values is nested too deep"));
        }
        Ok(())
    }
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The stack address of the caller.
#[inline(never)]
fn stack_address() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&local)).addr()
}

fn is_long(value: &Val) -> bool {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len() > MAX_TEXT,
        Val::Arr(items) => items.len() > MAX_ITEMS,
        Val::Obj(fields) => fields.len() > MAX_ITEMS,
        Val::Num(Num::BigInt(number)) => number.bits() > MAX_BITS,
        _ => false,
    }
}

/// Whether a value is nested too deep, as far as one check visits it.
fn is_deep(value: &Val) -> bool {
    let mut ahead = vec![(value, 0)];
    for _ in 0..PARTS_PER_NESTING_CHECK {
        let Some((value, depth)) = ahead.pop() else {
            return false;
        };
        if depth > MAX_NESTING {
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
    let few = values.filter(is_container).take(PARTS_PER_NESTING_CHECK);
    few.map(move |value| (value, depth + 1))
}

/// The internal functions that programs are compiled with.
pub fn functions() -> [Filter<Native<Bounded>>; 5] {
    [step(), depth(), deeper(), times(), shallow()]
}

/// `!step` counts a step, returns its input, and is a path.
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

/// `!depth` is the depth of the latest call.
fn depth() -> Filter<Native<Bounded>> {
    let native = Native::<Bounded>::new(|cv| {
        let depth = cv.0.data().budget.depth.get();
        box_once(Ok(Val::from(depth)))
    });
    ("!depth", v(0), native)
}

/// `!deeper($depth)` notes a call, returns its input, and is a path.
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

/// `!times(l; r)` is `l * r`, except for a text that would grow too long.
fn times() -> Filter<Native<Bounded>> {
    let native = Native::<Bounded>::new(|mut cv| {
        let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
        let product = match (text_length(&left, &right), count(&left, &right)) {
            (Some(length), Some(count)) if length.saturating_mul(count) > MAX_TEXT => {
                Err(cv.0.data().budget.exceed("one of its texts grew too long"))
            }
            _ => (left * right).map_err(Exn::from),
        };
        box_once(product)
    });
    ("!times", v(2), native)
}

/// The length of the text, if one operand is a text and the other a number.
fn text_length(left: &Val, right: &Val) -> Option<usize> {
    match (left, right) {
        (Val::TStr(text) | Val::BStr(text), Val::Num(_))
        | (Val::Num(_), Val::TStr(text) | Val::BStr(text)) => Some(text.len()),
        _ => None,
    }
}

/// The operand that is a whole number, if it is not negative.
fn count(left: &Val, right: &Val) -> Option<usize> {
    match (left, right) {
        (_, Val::Num(Num::Int(count))) | (Val::Num(Num::Int(count)), _) => {
            usize::try_from(*count).ok()
        }
        (_, Val::Num(Num::BigInt(_))) | (Val::Num(Num::BigInt(_)), _) => Some(usize::MAX),
        _ => None,
    }
}

/// `!shallow` returns its input, unless it is a JSON text that is nested too deep or has a
/// number that takes too long to parse.
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
        if depth > MAX_NESTING || (digits > MAX_DIGITS && !in_text) {
            return false;
        }
    }
    true
}
