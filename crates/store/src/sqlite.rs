//! sqlite engine: to come.
