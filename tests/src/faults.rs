//! Everything that goes wrong between two programs, on demand: one layer in front of the test Qdrant and the test S3,
//! and what is proven with it.
//!
//! A request is chosen by its server, its method, its path or class, and by how many such requests pass first. What is
//! chosen may never arrive, be refused, be answered with something else, late, in part or not at all, with the work done,
//! not done, or done twice.

mod bench;
mod claims;
mod class;
pub mod crash;
mod fault;
mod kind;
pub mod matrix;
mod oracle;
mod server;

pub use bench::{Bench, JOBS, Job, Start};
pub use class::class;
pub use fault::{Canned, Chosen, Edit, Event, Fault, Faults, Place, Request, Who, Wrong};
pub use kind::{Api, Kind, kinds, native};
pub use server::{Answer, Body, Listener, Server, whole};

/// The header by which a request of the stand-in or of a test is told from one of the program.
pub const ASKED_BY: &str = "x-asked-by";
