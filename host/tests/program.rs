//! The program as a person or Kubernetes runs it, and the library as another program calls it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "program/command_line.rs"]
mod command_line;
#[path = "program/component.rs"]
mod component;
#[path = "program/escape.rs"]
mod escape;
#[path = "program/library.rs"]
mod library;
#[path = "program/limits.rs"]
mod limits;
#[path = "program/process.rs"]
mod process;
