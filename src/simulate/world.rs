//! A world whose clock jumps to what is waited for, and whose servers are in memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::auth::Signer;
use crate::engine::context::World;
use crate::limit::{Cost, Policy, RateLimiter, Time};
use crate::plan::Stage;
use crate::send::MemoryStream;

/// The servers of a virtual world: one for each stage of a plan with limits of its own,
/// by the index of these limits.
pub trait Servers: Send + Sync + 'static {
    /// Opens a connection; called within a set of local tasks, one of which may serve it.
    fn connect(&self, limits: usize) -> MemoryStream;

    /// Writes into the headers of a request what the server counts by: its cost, and its
    /// key of the pool.
    fn label(&self, limits: usize, request: &mut Request<Bytes>, cost: &Cost, key: Option<usize>);
}

/// The time from the clock's zero to the beginning of a virtual run, so that there is a
/// before.
const BEFORE: Duration = Duration::from_secs(1);

/// The calendar's time at the clock's zero: a midnight, of a day on which servers may
/// write moments as they do.
const CALENDAR_AT_ZERO: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// The calendar's time at the beginning of a virtual run.
pub const CALENDAR_AT_START: Timestamp = Timestamp::constant(1_767_225_601, 0);

/// A world whose clock is the event loop's, and whose servers are in memory.
pub struct VirtualWorld<S> {
    start: Instant,
    random: Mutex<StdRng>,
    servers: Arc<S>,
}

impl<S: Servers> VirtualWorld<S> {
    /// A world that begins now; the same seed gives the same chance.
    pub fn new(seed: u64, servers: Arc<S>) -> VirtualWorld<S> {
        VirtualWorld {
            start: Instant::now(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            servers,
        }
    }
}

impl<S: Servers> World for VirtualWorld<S> {
    fn limiter(&self, policy: &Policy) -> RateLimiter {
        let start = self.start;
        let now = move || Time::ZERO.after(BEFORE + start.elapsed());
        RateLimiter::with_clock(policy.clone().on_clock(CALENDAR_AT_ZERO).limits(), now)
    }

    fn calendar_at_zero(&self) -> Timestamp {
        CALENDAR_AT_ZERO
    }

    fn draw(&self) -> f64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.random()
    }

    /// No credentials leave the real world.
    fn connect(&self, stage: &mut Stage) {
        let (servers, limits) = (self.servers.clone(), stage.limiter);
        let connect = Arc::new(move || servers.connect(limits));
        stage.transport = Arc::new(stage.transport.in_memory(connect));
        stage.signer = Signer::default();
    }

    fn label(&self, stage: &Stage, request: &mut Request<Bytes>, cost: &Cost, key: Option<usize>) {
        self.servers.label(stage.limiter, request, cost, key);
    }
}
