//! Events that log groups receive, from rules of a bus say: one log event each, in a stream of the sender's name.

use crate::{Logs, store};
use async_trait::async_trait;
use base::log::{LogBatch, LogLine};
use base::port::{Denied, LogSink, Target};
use base::{AccountId, Arn, Event, Region, Scope, Source, Verdict};
use std::time::Duration;

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The group an ARN means: `log-group:<name>` or `log-group:<name>:*`.
fn of_target(target: &Arn) -> Option<(Scope, &str)> {
    let name = target.resource.strip_prefix("log-group:")?;
    let scope = Scope::new(AccountId::parse(&target.account)?, Region::parse(&target.region)?);
    Some((scope, name.strip_suffix(":*").unwrap_or(name)))
}

/// Does this sender make the group itself, where there is none? Topics do: for what became of their deliveries.
fn makes_its_own(source: &Source, group: &str) -> bool {
    source.service.as_deref() == Some("sns.amazonaws.com") && group.starts_with("sns/")
}

#[async_trait]
impl Target for Logs {
    async fn accepts(&self, target: &Arn, from: &Source) -> Result<(), Denied> {
        let Some((scope, name)) = of_target(target) else { return Err(Denied(format!("{target} is not a log group"))) };
        match store::group(&self.store, &scope, name).await {
            Ok(Some(_)) if from.account == scope.account.as_str() => Ok(()),
            Ok(Some(_)) => Err(Denied(format!("{} is not authorized to perform: logs:PutLogEvents", from.account))),
            Ok(None) => Err(Denied("The specified log group does not exist.".into())),
            Err(cause) => Err(Denied(cause.to_string())),
        }
    }

    async fn deliver(&self, event: &Event, _: u32) -> Verdict {
        let Some((scope, name)) = of_target(&event.target) else {
            return Verdict::Dead { reason: format!("{} is not a log group", event.target) };
        };
        match store::group(&self.store, &scope, name).await {
            Ok(Some(_)) if event.source.account == scope.account.as_str() => {}
            Ok(None) if event.source.account == scope.account.as_str() && makes_its_own(&event.source, name) => {}
            Ok(_) => return Verdict::Dead { reason: "The specified log group does not exist.".into() },
            Err(cause) => return Verdict::Retry { after: RETRY_AFTER, reason: cause.to_string() },
        }
        let sender = event.terms.rule.as_deref().and_then(|arn| arn.rsplit(['/', ':']).next()).unwrap_or("events");
        let lines = vec![LogLine { at: self.clock.now(), message: event.payload.get().to_owned() }];
        self.append(LogBatch { scope, group: name.to_owned(), stream: sender.to_owned(), lines }).await;
        self.flush().await;
        Verdict::Done
    }
}
