//! flaky engine: to come.
