//! Tests of the room, through its operation table, with a fake runner and a clock that stands still.

mod capacity;
mod events;
mod images;
mod invoke;
mod layers;
mod life;
mod limits;
mod lists;
mod mappings;
mod permissions;
mod provisioned;
mod queues;
mod recovery;
mod rig;
mod secrets;
mod streaming;
mod urls;
mod versions;
