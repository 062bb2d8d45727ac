//! What the node and the launcher say to each other.
