//! The typed interface of the component, generated from `wit/v0.1/world.wit`.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../wit/v0.1",
    inline: "
        package vectorkeep:qdrant-backup-embedding@0.1.0;
        world embedder { export vectorkeep:qdrant-backup/tasks@0.1.0; }
    ",
    world: "vectorkeep:qdrant-backup-embedding/embedder",
    exports: { default: async },
});
