//! gate: see ARCHITECTURE.md.
