//! Publishing to a topic: to one queue, and to ten.

use super::client::{queue, sns};
use super::{Bench, CONNECTIONS, Measure, line, queues};
use crate::load::{self, Connection, Figures};
use anyhow::{Context, Result};
use std::net::SocketAddr;

pub async fn run(bench: &Bench) -> Result<()> {
    for subscribers in [1, 10] {
        let mut node = bench.node(&format!("topics-{subscribers}")).await?;
        for connections in CONNECTIONS {
            let what = format!("publish, {subscribers} queues subscribed");
            bench.line(line(what, connections, ""), node.address, Publishes(subscribers)).await?;
        }
        node.stop()?;
    }
    Ok(())
}

/// Raw, to so many queues.
struct Publishes(usize);

impl Measure for Publishes {
    async fn at(&self, to: SocketAddr, connections: usize, seconds: f64) -> Result<Figures> {
        let mut connection = Connection::open(to).await?;
        let name = format!("bench-{}", self.0);
        let made = connection.send(&sns("CreateTopic", &[("Name", &name)])).await?;
        let made = String::from_utf8_lossy(&made).into_owned();
        let arn = made.split("<TopicArn>").nth(1).and_then(|rest| rest.split('<').next()).context("a topic's ARN")?;
        for n in 0..self.0 {
            let queue = queue(to, &format!("subscriber-{n}")).await?;
            let raw = [("Attributes.entry.1.key", "RawMessageDelivery"), ("Attributes.entry.1.value", "true")];
            let subscribe =
                [[("TopicArn", arn), ("Protocol", "sqs"), ("Endpoint", &queue.arn)].as_slice(), &raw].concat();
            connection.send(&sns("Subscribe", &subscribe)).await?;
        }
        let publish = sns("Publish", &[("TopicArn", arn), ("Message", &"x".repeat(queues::BODY_BYTES))]);
        load::run(to, connections, seconds, move |_, _| publish.clone()).await
    }
}
