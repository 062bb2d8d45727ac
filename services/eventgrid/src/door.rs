//! The door: publishing and validation under `/_wadi/eventgrid/`, and the resource manager's paths.

use crate::EventGrid;
use crate::error::{Error, Result, answer};
use crate::model::BYTES_MAX;
use async_trait::async_trait;
use base::Region;
use base::port::Access;
use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use room::{Body, Door, Head};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

pub const PATH: &str = "/_wadi/eventgrid/";
const PROVIDER: &str = "/providers/Microsoft.EventGrid/";
const REGION: &str = "us-east-1";

/// Takes requests for Event Grid.
pub struct EventGridDoor(pub Arc<EventGrid>);

/// What a path of the resource manager means.
#[derive(Debug, PartialEq)]
enum Resource<'a> {
    /// Those whose ids begin with this.
    Topics(&'a str),
    Topic(&'a str),
    Action(&'a str, &'a str),
    Subscriptions(&'a str),
    Subscription(&'a str, &'a str),
}

/// `…/providers/Microsoft.EventGrid/topics[/{topic}]`, and below it `listKeys`, `regenerateKey`, `eventSubscriptions[/{name}]`
/// or, as clients of subscriptions write it, `providers/Microsoft.EventGrid/eventSubscriptions[/{name}]`.
fn resource(path: &str) -> Option<Resource<'_>> {
    let (place, rest) = path.split_once(PROVIDER)?;
    if rest.trim_end_matches('/') == "topics" {
        // `/subscriptions/{id}`, with `/resourceGroups/{name}` or without; the next character ends its last name.
        return matches!(place.split('/').count(), 3 | 5).then(|| Resource::Topics(&path[..=place.len()]));
    }
    let rest = rest.strip_prefix("topics/")?;
    let mut parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
    if parts.get(1..3) == Some(&["providers", "Microsoft.EventGrid"]) {
        parts.drain(1..3);
    }
    match parts[..] {
        [topic] => Some(Resource::Topic(topic)),
        [topic, "eventSubscriptions"] => Some(Resource::Subscriptions(topic)),
        [topic, action] => Some(Resource::Action(topic, action)),
        [topic, "eventSubscriptions", name] => Some(Resource::Subscription(topic, name)),
        _ => None,
    }
}

#[async_trait]
impl Door for EventGridDoor {
    fn opens(&self, head: Head<'_>) -> bool {
        let path = head.parts.uri.path();
        path.starts_with(PATH) || (path.starts_with("/subscriptions/") && path.contains(PROVIDER))
    }

    async fn serve(&self, request: http::Request<Body>, _: &str, _: IpAddr) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Some(allowed) = room::handshake(&parts) {
            return allowed;
        }
        let served = match parts.uri.path().strip_prefix(PATH) {
            Some("validate") => self.validate(&parts).await,
            Some(rest) => self.publish(rest, &parts, body).await,
            None => self.manage(&parts, body).await,
        };
        match served {
            Ok((status, Some(value))) => answer(status, &value),
            Ok((status, None)) => {
                let mut response = Response::new(room::empty());
                *response.status_mut() = status;
                response
            }
            Err(error) => error.response(),
        }
    }
}

type Served = (StatusCode, Option<Value>);

async fn whole(body: Body) -> Result<bytes::Bytes> {
    room::gather(body, BYTES_MAX).await.map_err(|why| match why {
        room::Unread::TooLarge(_) => Error::TooLarge(why.to_string()),
        room::Unread::Broken => Error::bad(why),
    })
}

impl EventGridDoor {
    async fn publish(&self, rest: &str, parts: &Parts, body: Body) -> Result<Served> {
        let name = rest.strip_suffix("/api/events").ok_or_else(|| Error::NotFound("There is nothing here.".into()))?;
        let topic = self.0.topic(name).await?;
        if parts.method != Method::POST {
            return Err(Error::Method);
        }
        self.0.check_key(&topic, parts)?;
        self.0.publish(&topic, parts, &whole(body).await?).await?;
        Ok((StatusCode::OK, None))
    }

    async fn validate(&self, parts: &Parts) -> Result<Served> {
        if parts.method != Method::GET && parts.method != Method::POST {
            return Err(Error::Method);
        }
        let query = parts.uri.query().unwrap_or_default();
        let given = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let given = (given("topic"), given("subscription"), given("code"));
        let (Some(topic), Some(name), Some(code)) = given else {
            return Err(Error::bad("The validation URL is not whole."));
        };
        self.0.validate(topic, name, code).await?;
        Ok((StatusCode::OK, Some(json!("Webhook successfully validated as a subscription endpoint."))))
    }

    async fn manage(&self, parts: &Parts, body: Body) -> Result<Served> {
        let path = parts.uri.path();
        let resource = resource(path).ok_or_else(|| {
            Error::NotFound(format!("Wadi has topics and their event subscriptions of Event Grid, not {path}."))
        })?;
        let unknown = || Error::Unauthorized("An access key and its secret are the user and the password.".into());
        let region = Region::parse(REGION).ok_or_else(unknown)?;
        let caller = room::basic(&*self.0.identity, parts, region).await.ok_or_else(unknown)?;
        let (topic, name) = match resource {
            Resource::Topic(topic) | Resource::Action(topic, _) | Resource::Subscriptions(topic) => (topic, ""),
            Resource::Subscription(topic, name) => (topic, name),
            Resource::Topics(_) => ("*", ""),
        };
        let query = parts.uri.query().unwrap_or_default();
        if let Some(option) = query.split('&').find(|option| option.starts_with('$') || option.starts_with("%24")) {
            return Err(Error::bad(format!("Wadi has no options of lists, as {option} is.")));
        }
        let verb = match (&parts.method, &resource) {
            (_, Resource::Action(..)) => "ManageKeys",
            (&Method::GET, _) => "Read",
            (&Method::DELETE, _) => "Delete",
            _ => "Write",
        };
        let resource_arn = format!("arn:aws:eventgrid:{REGION}:{}:topic/{topic}", caller.scope.account.as_str());
        let access = Access { action: format!("eventgrid:{verb}"), resource: resource_arn };
        self.0.identity.authorise(&caller, &access).await.map_err(|denied| Error::Forbidden(denied.0))?;
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let grid = &self.0;
        let whole = whole(body).await?;
        match (&parts.method, resource) {
            (&Method::PUT, Resource::Topic(_)) => {
                Ok((StatusCode::CREATED, Some(grid.put_topic(&caller, path, topic, host, &whole).await?)))
            }
            (&Method::GET, Resource::Topic(_)) => ok(grid.get_topic(&caller, topic, host).await?),
            (&Method::PATCH, Resource::Topic(_)) => {
                Ok((StatusCode::CREATED, Some(grid.update_topic(&caller, topic, host, &whole).await?)))
            }
            (&Method::GET, Resource::Topics(place)) => ok(grid.list_topics(&caller, place, host).await?),
            (&Method::DELETE, Resource::Topic(_)) => {
                grid.delete_topic(&caller, topic).await?;
                Ok((StatusCode::OK, None))
            }
            (&Method::POST, Resource::Action(_, "listKeys")) => ok(grid.list_keys(&caller, topic).await?),
            (&Method::POST, Resource::Action(_, "regenerateKey")) => {
                ok(grid.regenerate_key(&caller, topic, &whole).await?)
            }
            (_, Resource::Action(_, other)) => Err(Error::NotFound(format!("Wadi has no {other} of topics."))),
            (&Method::GET, Resource::Subscriptions(_)) => ok(grid.list_subscriptions(&caller, topic).await?),
            (&Method::PUT, Resource::Subscription(..)) => {
                let place = (path, topic, name);
                Ok((StatusCode::CREATED, Some(grid.put_subscription(&caller, place, host, &whole).await?)))
            }
            (&Method::PATCH, Resource::Subscription(..)) => {
                Ok((StatusCode::CREATED, Some(grid.update_subscription(&caller, (topic, name), host, &whole).await?)))
            }
            (&Method::GET, Resource::Subscription(..)) => ok(grid.get_subscription(&caller, topic, name).await?),
            (&Method::DELETE, Resource::Subscription(..)) => {
                grid.delete_subscription(&caller, topic, name).await?;
                Ok((StatusCode::OK, None))
            }
            _ => Err(Error::Method),
        }
    }
}

fn ok(value: Value) -> Result<Served> {
    Ok((StatusCode::OK, Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_resources() {
        let base = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/orders";
        let of = |rest: &str| format!("{base}{rest}");
        assert_eq!(resource(base), Some(Resource::Topic("orders")));
        assert_eq!(resource(&of("/listKeys")), Some(Resource::Action("orders", "listKeys")));
        assert_eq!(resource(&of("/eventSubscriptions")), Some(Resource::Subscriptions("orders")));
        for path in ["/eventSubscriptions/hook", "/providers/Microsoft.EventGrid/eventSubscriptions/hook"] {
            assert_eq!(resource(&of(path)), Some(Resource::Subscription("orders", "hook")));
        }
        for place in ["/subscriptions/s", "/subscriptions/s/resourceGroups/g"] {
            let path = format!("{place}/providers/Microsoft.EventGrid/topics");
            assert_eq!(resource(&path), Some(Resource::Topics(&format!("{place}/"))));
        }
        assert_eq!(resource("/subscriptions/s/resourceGroups/providers/Microsoft.EventGrid/topics"), None);
        assert_eq!(resource("/subscriptions/s/providers/Microsoft.EventGrid/domains/d"), None);
    }
}
