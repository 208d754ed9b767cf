//! A job on several machines: stored for workers without its secrets, and worked on by them.
//!
//! - `shared_limits`: which limits workers share
//! - `stored`: what a store keeps of a job
//! - `begin`: a run that has its rows done by workers of other processes
//! - `submit`: rows for workers, by a command that leaves
//! - `for_collector`: what a store keeps of such a job for the command that collects its records
//! - `collect`: that command
//! - `worker`: a process that takes rows of jobs
//! - `announced`: requests that must not be sent twice
//! - `claimed`: the rows and records of a worker, by way of the chunks that it holds

mod announced;
mod begin;
mod claimed;
mod collect;
mod for_collector;
mod shared_limits;
mod stored;
mod submit;
mod worker;

pub(crate) use begin::{QueueSettings, begin};
pub(crate) use collect::{CollectTerms, collect};
pub(crate) use submit::{Submission, submit};
pub(crate) use worker::{WorkerTerms, work};
