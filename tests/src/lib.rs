//! What the end-to-end tests and the demo stand on.
#![forbid(unsafe_code)]
// A test that finds its ground missing has failed; there is nobody to return an error to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod canary;
pub mod client;
pub mod clock;
pub mod faults;
pub mod fixtures;
pub mod http_client;
pub mod impostor;
pub mod lender;
pub mod manifests;
pub mod native;
pub mod network;
pub mod pod;
pub mod qdrant;
pub mod real;
pub mod s3;
pub mod scenarios;
pub mod schema;
mod scratch;
pub mod site;
pub mod test_names;
pub mod tools;
