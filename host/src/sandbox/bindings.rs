//! The typed interfaces of the component, generated from `wit/`.

#![allow(missing_docs)]

pub use v0_2::exports::vectorkeep::qdrant_backup::operations;

/// Version 0.1.0, which components of older releases have.
pub mod v0_1 {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        inline: "
            package vectorkeep:qdrant-backup-embedding@0.1.0;
            world embedder { export vectorkeep:qdrant-backup/tasks@0.1.0; }
        ",
        world: "vectorkeep:qdrant-backup-embedding/embedder",
        exports: { default: async },
    });
}

/// Version 0.2.0.
pub mod v0_2 {
    wasmtime::component::bindgen!({
        path: "../wit/v0.2",
        world: "vectorkeep:qdrant-backup/embedder",
        exports: { default: async },
    });
}
