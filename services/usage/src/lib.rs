//! usage: see ARCHITECTURE.md.
