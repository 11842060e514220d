//! guest/component
