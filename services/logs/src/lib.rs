//! logs: see ARCHITECTURE.md.
