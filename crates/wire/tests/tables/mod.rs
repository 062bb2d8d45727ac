//! The generated tables of the real services, for tests of the codecs.

#![allow(unused)]

#[path = "../../../../services/functions/src/api/shapes.rs"]
pub mod lambda;
#[path = "../../../../services/logs/src/api/shapes.rs"]
pub mod logs;
#[path = "../../../../services/topics/src/api/shapes.rs"]
pub mod sns;
#[path = "../../../../services/queues/src/api/shapes.rs"]
pub mod sqs;
#[path = "../../../../services/usage/src/api/shapes.rs"]
pub mod usage;

pub static ALL: [&wire::table::Service; 5] =
    [&lambda::SERVICE, &logs::SERVICE, &sqs::SERVICE, &sns::SERVICE, &usage::SERVICE];
