//! delivery: see ARCHITECTURE.md.
