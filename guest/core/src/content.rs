//! The content of a collection, point by point: a digest of it, and where two points differ. What the digest is made of
//! is docs/content-digest.md, so that others can compute it, too.

mod collection;
mod difference;
mod digest;
mod lockstep;
mod merged;
mod point;
mod reader;
mod replica;
mod sample;

pub use collection::Collection;
pub(crate) use collection::not_the_same;
pub use difference::difference;
pub use digest::Digest;
pub(crate) use lockstep::{compare, replicas_differ, told};
pub use merged::Merged;
pub use point::hash;
pub(crate) use reader::Points;
pub(crate) use replica::{Extent, digest};
pub use sample::Sample;
