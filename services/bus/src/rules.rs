//! The compiled rules of buses, and what they make of an event.
//!
//! Compiled rules are kept as long as the bus's edition is theirs; every transaction that uses them reads the edition, so
//! that it commits only if no rule has changed meanwhile.

use crate::error::Result;
use crate::store::{self, Archive, Edition, Rule, Space, Target};
use crate::{Bus, destination, model};
use ::rules::pattern::{Index, Pattern};
use ::rules::transform::{Occasion, Path, Transformer};
use ::store::{KeyReader, Tx, record};
use base::{Arn, Event, Scope, Source, Terms, Timestamp};
use parking_lot::Mutex;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Rules read at a time.
const PAGE: usize = 500;
/// Buses whose rules are kept compiled; over it all are forgotten and made again.
const BUSES_MAX: usize = 1_000;
/// Archives of an account in a region.
pub const ARCHIVES_MAX: usize = 100;
/// EventBridge's defaults.
const RETRIES: u32 = 185;
const AGE_S: u32 = 24 * 3600;

#[derive(Default)]
pub struct Cache {
    kept: Mutex<HashMap<(Scope, String), Arc<Compiled>>>,
    /// One compiles at a time: of all events that come after a rule has changed the first one does, and the others find it done.
    turn: tokio::sync::Mutex<()>,
}

impl Cache {
    fn get(&self, key: &(Scope, String), edition: u64) -> Option<Arc<Compiled>> {
        self.kept.lock().get(key).filter(|compiled| compiled.edition == edition).cloned()
    }
}

/// The enabled rules of a bus that have a pattern, and its archives.
pub struct Compiled {
    edition: u64,
    index: Index<Sender>,
    archives: Vec<Keeper>,
}

/// An archive's id, and what it keeps; `None` is everything.
struct Keeper(String, Option<Pattern>);

/// A rule's targets, ready to send to.
pub struct Sender {
    pub arn: String,
    pub name: String,
    targets: Vec<(Target, Arn, Form)>,
}

/// The form in which a target receives events.
enum Form {
    Whole,
    Text(String),
    Part(Path),
    Template(Transformer),
}

/// An event on a bus.
pub struct Arrived<'a> {
    pub event: &'a Value,
    /// Its id, for the trail.
    pub id: &'a str,
    pub at: Timestamp,
    /// Buses that it has come through.
    pub hops: u64,
}

impl Bus {
    /// The compiled rules of a bus as of this transaction.
    pub(crate) async fn compiled(&self, tx: &Tx, scope: &Scope, bus: &str) -> Result<Arc<Compiled>> {
        let Edition(edition) = tx.get(&Space::Edition(scope, bus).key()).await?.unwrap_or_default();
        let key = (scope.clone(), bus.to_owned());
        if let Some(compiled) = self.compiled.get(&key, edition) {
            return Ok(compiled);
        }
        let _turn = self.compiled.turn.lock().await;
        if let Some(compiled) = self.compiled.get(&key, edition) {
            return Ok(compiled);
        }
        // Read outside of the transaction, which need not remember every rule: if one changes meanwhile, so does the
        // edition, and the transaction runs again.
        let (index, archives) = (self.compile(scope, bus).await?, self.keepers(scope, bus).await?);
        let compiled = Arc::new(Compiled { edition, index, archives });
        let mut cache = self.compiled.kept.lock();
        if cache.len() >= BUSES_MAX {
            cache.clear();
        }
        cache.insert(key, compiled.clone());
        Ok(compiled)
    }

    async fn compile(&self, scope: &Scope, bus: &str) -> Result<Index<Sender>> {
        let all = store::rules(scope, bus);
        let mut from = all.as_bytes().to_vec();
        let mut compiled = Vec::new();
        loop {
            let items = self.store.scan(&from, &all.end(), PAGE).await?;
            for item in &items {
                let mut key = KeyReader::new(&item.key);
                let Some(name) = (0..5).map(|_| key.text()).last().flatten() else { continue };
                let rule: Rule = record::decode(&item.value)?;
                let Some(pattern) = rule.pattern.as_deref().filter(|_| rule.enabled) else { continue };
                match Pattern::parse(pattern) {
                    Ok(pattern) => compiled.push((pattern, sender(scope, bus, &name, rule.targets))),
                    Err(cause) => tracing::error!(%cause, rule = name, bus, "a stored rule does not match any more"),
                }
            }
            match items.last() {
                Some(last) if items.len() == PAGE => {
                    from = last.key.to_vec();
                    from.push(0);
                }
                _ => return Ok(Index::new(compiled)),
            }
        }
    }

    /// The archives of a bus.
    async fn keepers(&self, scope: &Scope, bus: &str) -> Result<Vec<Keeper>> {
        let all = store::archives(scope);
        let mut keepers = Vec::new();
        for item in self.store.scan(all.as_bytes(), &all.end(), ARCHIVES_MAX).await? {
            let archive: Archive = record::decode(&item.value)?;
            let pattern = archive.pattern.as_deref().map(Pattern::parse).transpose();
            match pattern {
                Ok(pattern) if archive.bus == bus => keepers.push(Keeper(archive.id, pattern)),
                Ok(_) => {}
                Err(cause) => tracing::error!(%cause, bus, "a stored archive does not match any more"),
            }
        }
        Ok(keepers)
    }

    /// Puts an event into the archives that want it. What is replayed is not archived again.
    pub(crate) fn keep(&self, tx: &Tx, compiled: &Compiled, arrived: &Arrived<'_>) -> Result<()> {
        if arrived.event.get("replay-name").is_some() {
            return Ok(());
        }
        let wants = |keeper: &&Keeper| keeper.1.as_ref().is_none_or(|pattern| pattern.matches(arrived.event));
        for Keeper(id, _) in compiled.archives.iter().filter(wants) {
            tx.put_bytes(&Space::Archived(id, arrived.at, arrived.id).key(), arrived.event.to_string())?;
        }
        Ok(())
    }

    /// What the rules of a bus make of an event: one event a target.
    pub(crate) fn route(&self, compiled: &Compiled, scope: &Scope, arrived: &Arrived<'_>) -> Vec<Event> {
        let rules = compiled.index.matches(arrived.event);
        rules.into_iter().flat_map(|rule| rule.send(scope, arrived, || self.entropy.uuid())).collect()
    }
}

pub fn sender(scope: &Scope, bus: &str, name: &str, targets: Vec<Target>) -> Sender {
    let ready = |target: Target| {
        let form = match (&target.input, &target.input_path, &target.transformer) {
            (Some(text), ..) => Form::Text(text.clone()),
            (_, Some(path), _) => Form::Part(Path::parse(path).ok()?),
            (.., Some(given)) => Form::Template(Transformer::parse(&given.paths, &given.template).ok()?),
            _ => Form::Whole,
        };
        let arn = target.arn.parse().ok()?;
        Some((target, arn, form))
    };
    let targets = targets.into_iter().filter_map(ready).collect();
    Sender { arn: model::rule_arn(scope, bus, name), name: name.to_owned(), targets }
}

impl Sender {
    /// One event a target.
    pub fn send(&self, scope: &Scope, arrived: &Arrived<'_>, id: impl Fn() -> String) -> Vec<Event> {
        self.targets.iter().map(|(target, arn, form)| self.event(scope, arrived, (target, arn, form), id())).collect()
    }

    fn event(&self, scope: &Scope, arrived: &Arrived<'_>, to: (&Target, &Arn, &Form), id: String) -> Event {
        let (target, arn, form) = to;
        let mut attributes = Map::new();
        if let Some(group) = &target.message_group {
            attributes.insert("MessageGroupId".into(), group.as_str().into());
        }
        if let Some(http) = &target.http {
            attributes.insert(destination::HTTP.into(), json!(http.filled(|value| read(value, arrived.event))));
        }
        if arn.service == "events" {
            attributes.insert("hops".into(), json!(arrived.hops + 1));
        }
        Event {
            id,
            target: arn.clone(),
            source: Source {
                service: Some("events.amazonaws.com".into()),
                arn: self.arn.parse().ok(),
                account: scope.account.as_str().to_owned(),
            },
            created: arrived.at,
            payload: self.payload(form, arrived, &mut attributes),
            attributes,
            terms: Terms {
                retries_max: Some(target.retries_max.unwrap_or(RETRIES)),
                age_max_s: Some(target.age_max_s.unwrap_or(AGE_S)),
                dead_letter: target.dead_letter.as_deref().and_then(|arn| arn.parse().ok()),
                rule: Some(self.arn.clone()),
                origin: Some(arrived.id.to_owned()),
                ..Terms::default()
            },
        }
    }

    /// What the target receives. Text that is not JSON, of a template of several lines say, is a JSON string, and
    /// `RawBody` says that its text is meant.
    fn payload(&self, form: &Form, arrived: &Arrived<'_>, attributes: &mut Map<String, Value>) -> Box<RawValue> {
        let text = match form {
            Form::Whole => arrived.event.to_string(),
            Form::Text(text) => text.clone(),
            Form::Part(path) => path.find(arrived.event).unwrap_or_default().to_string(),
            Form::Template(transformer) => {
                let ingested = arrived.at.iso8601();
                let occasion = Occasion { rule_arn: &self.arn, rule_name: &self.name, ingested: &ingested };
                transformer.apply(arrived.event, &occasion).unwrap_or_else(|why| {
                    attributes.insert("undeliverable".into(), format!("InputTransformer: {why}").into());
                    arrived.event.to_string()
                })
            }
        };
        if serde_json::from_str::<IgnoredAny>(&text).is_err() {
            attributes.insert("RawBody".into(), true.into());
            return RawValue::from_string(Value::from(text).to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned());
        }
        RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

/// A value as it is, or what it points to in the event.
fn read(value: &str, event: &Value) -> String {
    let found = value.strip_prefix("$.").and(Path::parse(value).ok()).and_then(|path| path.find(event));
    match found {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None if value.starts_with("$.") => String::new(),
        None => value.to_owned(),
    }
}
