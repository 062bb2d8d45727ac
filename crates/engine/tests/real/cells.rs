//! Node.js instances that are made of cells: what they see, what they share with nobody, and when they start plainly.

use crate::functions::{answer, failure, invoke};
use crate::nodejs::node;
use crate::support::{World, version};
use crate::{world, world_with};
use base::{Outcome, Start};
use engine::{Runner, Runtime, Version};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime as Tokio;

type Test = fn(&Tokio);

pub const TESTS: &[(&str, Test)] = &[
    ("cells_become_what_they_are_told", |tokio| tokio.block_on(become_what_they_are_told())),
];

