//! The manifests in `k8s/` and the chart in `charts/`: valid by Kubernetes' own schemas, locked down, and with settings that
//! the program takes.
//!
//! Needs `QDRANT_BACKUP_PYTHON` with `tests/requirements.txt` and `tests/kubernetes/tools.txt`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod chart;
mod checks;
mod component;
mod guide;
mod kustomize;
mod monitoring;
mod options;
mod qdrant;
mod readme;
