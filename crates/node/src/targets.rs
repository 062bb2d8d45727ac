//! What events can be sent to, by the service in an ARN.

use base::Arn;
use base::port::{Target, Targets};
use bus::Bus;
use eventgrid::EventGrid;
use functions::Functions;
use logs::Logs;
use objects::Inbox;
use queues::Queues;
use std::sync::{Arc, OnceLock};
use topics::Topics;

/// Every target of this node.
pub struct Wired {
    pub functions: Arc<Functions>,
    pub queues: Arc<Queues>,
    pub bus: Arc<Bus>,
    pub logs: Arc<Logs>,
    pub topics: Arc<Topics>,
    /// These send to the others, and are set once they are there.
    pub objects: OnceLock<Inbox>,
    pub eventgrid: OnceLock<Arc<EventGrid>>,
}

impl Targets for Wired {
    fn find(&self, target: &Arn) -> Option<&dyn Target> {
        match target.service.as_str() {
            "lambda" => Some(self.functions.as_ref()),
            "sqs" => Some(self.queues.as_ref()),
            "events" => Some(self.bus.as_ref()),
            "sns" => Some(self.topics.as_ref()),
            "eventgrid" => self.eventgrid.get().map(|grid| grid.as_ref() as &dyn Target),
            "s3" => self.objects.get().map(|inbox| inbox as &dyn Target),
            "logs" => Some(self.logs.as_ref()),
            _ => None,
        }
    }
}
