//! The core's ports without WASI: HTTP over hyper, tokio's clock, a folder. For programs that run the logic outside of the
//! sandbox.
#![forbid(unsafe_code)]

mod clock;
mod files;
mod http;

pub use clock::Tokio;
pub use files::Directory;
pub use http::{Hyper, body};
