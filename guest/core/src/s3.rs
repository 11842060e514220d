//! The bucket: the calls a backup and a restore need, signed here (SigV4), and presigned URLs.

mod bucket;
mod dialect;
mod error;
mod listing;
mod sign;

pub use bucket::Bucket;
pub use error::{S3Error, S3ErrorKind};
