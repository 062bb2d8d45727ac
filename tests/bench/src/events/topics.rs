//! Publishing to a topic: to one queue, and to ten, bare and in signed notifications.

use super::client::{queue, sns};
use super::{Bench, CONNECTIONS, Measure, line, queues};
use crate::load::{self, Connection, Figures};
use anyhow::{Context, Result};
use std::net::SocketAddr;

pub async fn run(bench: &Bench) -> Result<()> {
    for (queues, raw) in [(1, true), (10, true), (1, false), (10, false)] {
        let mut node = bench.node(&format!("topics-{queues}-{raw}")).await?;
        for connections in CONNECTIONS {
            let form = if raw { "" } else { ", signed notifications" };
            let what = format!("publish, {queues} queues subscribed{form}");
            bench.line(line(what, connections, ""), node.address, Publishes { queues, raw }).await?;
        }
        node.stop()?;
    }
    Ok(())
}

/// To so many queues, raw or as a notification, for which each message is signed once.
struct Publishes {
    queues: usize,
    raw: bool,
}

impl Measure for Publishes {
    async fn at(&self, to: SocketAddr, connections: usize, seconds: f64) -> Result<Figures> {
        let mut connection = Connection::open(to).await?;
        let name = format!("bench-{}", self.queues);
        let made = connection.send(&sns("CreateTopic", &[("Name", &name)])).await?;
        let made = String::from_utf8_lossy(&made).into_owned();
        let arn = made.split("<TopicArn>").nth(1).and_then(|rest| rest.split('<').next()).context("a topic's ARN")?;
        for n in 0..self.queues {
            let queue = queue(to, &format!("subscriber-{n}")).await?;
            let is_raw = if self.raw { "true" } else { "false" };
            let raw = [("Attributes.entry.1.key", "RawMessageDelivery"), ("Attributes.entry.1.value", is_raw)];
            let subscribe =
                [[("TopicArn", arn), ("Protocol", "sqs"), ("Endpoint", &queue.arn)].as_slice(), &raw].concat();
            connection.send(&sns("Subscribe", &subscribe)).await?;
        }
        let publish = sns("Publish", &[("TopicArn", arn), ("Message", &"x".repeat(queues::BODY_BYTES))]);
        load::run(to, connections, seconds, move |_, _| publish.clone()).await
    }
}
