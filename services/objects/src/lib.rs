//! objects: see ARCHITECTURE.md.
