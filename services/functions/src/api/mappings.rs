//! Event source mappings: Create, Get, Update, Delete, List.

use super::configuration::number;
use super::shapes as s;
use crate::Functions;
use crate::error::{Error, Result};
use crate::mapping::Filters;
use crate::model::name;
use crate::records::{Mapping, MappingState};
use crate::store::{At, Below, page, resolve};
use base::{Arn, FunctionRef, QueueError, Scope};
use room::Context;
use std::sync::Arc;
use store::Tx;

const LIST_MAX: usize = 100;
const BATCH_DEFAULT: u32 = 10;
/// Larger batches need a window.
const BATCH_PLAIN_MAX: u32 = 10;
const MAPPINGS_MAX: usize = 10_000;

/// The ARN of a mapping.
pub fn arn(scope: &Scope, uuid: &str) -> Arn {
    let (region, account) = (scope.region.as_str(), scope.account.as_str());
    Arn::new("lambda", region, account, format!("event-source-mapping:{uuid}"))
}

/// What a request says, as far as queues are concerned.
#[derive(Default)]
struct Wanted {
    batch_size: Option<u32>,
    window_s: Option<u32>,
    /// `Some(None)` takes the bound away.
    concurrency_max: Option<Option<u32>>,
    filters: Option<Vec<String>>,
    partial: Option<bool>,
    enabled: Option<bool>,
}

fn whole(n: Option<i32>) -> Option<u32> {
    n.and_then(|n| u32::try_from(n).ok())
}

fn filters(criteria: Option<s::FilterCriteria>) -> Result<Option<Vec<String>>> {
    let Some(criteria) = criteria else { return Ok(None) };
    let filters = criteria.filters.unwrap_or_default();
    let patterns: Vec<String> = filters.into_iter().map(|f| f.pattern.unwrap_or_default()).collect();
    Filters::parse(&patterns)?;
    Ok(Some(patterns))
}

/// What other sources have and queues have not, as AWS refuses it, and what queues have and Wadi lacks, by name.
macro_rules! refuse {
    ($input:ident: others $($other:ident $of_others:literal),*; lacking $($field:ident $name:literal),* $(,)?) => {
        $(if $input.$other.is_some() {
            let told = concat!("Unsupported ", $of_others, " parameter for given event source mapping type.");
            return Err(Error::Invalid(told.into()));
        })*
        $(if $input.$field.is_some() {
            return Err(Error::unsupported($name));
        })*
    };
}

pub async fn create(
    room: Arc<Functions>,
    cx: Context,
    input: s::CreateEventSourceMappingRequest,
) -> Result<s::EventSourceMappingConfiguration> {
    let source = source(&cx, input.event_source_arn.as_deref())?;
    refuse!(input: others parallelization_factor "ParallelizationFactor", starting_position "StartingPosition",
        starting_position_timestamp "StartingPositionTimestamp", destination_config "DestinationConfig",
        maximum_record_age_in_seconds "MaximumRecordAgeInSeconds",
        bisect_batch_on_function_error "BisectBatchOnFunctionError", maximum_retry_attempts "MaximumRetryAttempts",
        tumbling_window_in_seconds "TumblingWindowInSeconds", topics "Topics", queues "Queues",
        source_access_configurations "SourceAccessConfigurations",
        self_managed_event_source "SelfManagedEventSource",
        amazon_managed_kafka_event_source_config "AmazonManagedKafkaEventSourceConfig",
        self_managed_kafka_event_source_config "SelfManagedKafkaEventSourceConfig",
        document_db_event_source_config "DocumentDBEventSourceConfig";
        lacking kms_key_arn "KMSKeyArn", metrics_config "MetricsConfig", logging_config "LoggingConfig", tags "Tags",
        provisioned_poller_config "ProvisionedPollerConfig");
    let function = name::function(cx.scope(), &input.function_name, None)?;
    let wanted = Wanted {
        batch_size: whole(input.batch_size),
        window_s: whole(input.maximum_batching_window_in_seconds),
        concurrency_max: input.scaling_config.map(|c| whole(c.maximum_concurrency)),
        filters: filters(input.filter_criteria)?,
        partial: input.function_response_types.map(|t| !t.is_empty()),
        enabled: input.enabled,
    };
    let mut mapping = Mapping {
        uuid: room.entropy.uuid(),
        scope: cx.scope().clone(),
        function,
        source,
        batch_size: BATCH_DEFAULT,
        window_s: 0,
        concurrency_max: None,
        filters: Vec::new(),
        partial: false,
        enabled: true,
        modified: room.clock.now(),
        state: MappingState::Creating,
    };
    apply(&mut mapping, wanted);
    let visibility_s = room.check(&mapping).await?;
    let mapping = &mapping;
    room.store
        .transact(|tx| async move {
            check_function(&tx, &mapping.function, visibility_s).await?;
            unique(&tx, mapping).await?;
            Ok::<_, Error>(tx.put(&At::Mapping(&mapping.scope, &mapping.uuid).key(), mapping)?)
        })
        .await?;
    room.mappings.changed();
    Ok(shape(&room, mapping))
}

/// The queue; other sources are refused by name.
fn source(cx: &Context, arn: Option<&str>) -> Result<Arn> {
    let arn = arn.ok_or_else(|| Error::Invalid("EventSourceArn is required for a queue.".into()))?;
    let parsed: Arn = arn.parse().map_err(|_| Error::Invalid(format!("Unrecognized event source: {arn}")))?;
    if parsed.service != "sqs" {
        return Err(Error::unsupported(&format!("event sources of {}", parsed.service)));
    }
    if parsed.region != cx.region() || parsed.account != cx.account() {
        return Err(Error::Invalid("The event source must be in the region and account of the function.".into()));
    }
    Ok(parsed)
}

fn apply(mapping: &mut Mapping, wanted: Wanted) {
    mapping.batch_size = wanted.batch_size.unwrap_or(mapping.batch_size);
    mapping.window_s = wanted.window_s.unwrap_or(mapping.window_s);
    mapping.concurrency_max = wanted.concurrency_max.unwrap_or(mapping.concurrency_max);
    mapping.filters = wanted.filters.unwrap_or_else(|| std::mem::take(&mut mapping.filters));
    mapping.partial = wanted.partial.unwrap_or(mapping.partial);
    mapping.enabled = wanted.enabled.unwrap_or(mapping.enabled);
}

impl Functions {
    /// Does the mapping suit its queue? Gives the queue's visibility timeout, in seconds.
    async fn check(&self, mapping: &Mapping) -> Result<u64> {
        let facts = self.queues.facts(&mapping.source).await.map_err(|error| match error {
            QueueError::NoSuchQueue => Error::Invalid(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS \
                 Error Message: The specified queue does not exist."
                    .into(),
            ),
            QueueError::Unavailable(why) => Error::Service(why),
        })?;
        if facts.fifo && mapping.batch_size > BATCH_PLAIN_MAX {
            return Err(Error::Invalid(format!(
                "Batch size must be less than or equal to {BATCH_PLAIN_MAX} for FIFO queues."
            )));
        }
        if facts.fifo && mapping.window_s > 0 {
            return Err(Error::Invalid("Batching window is not supported for FIFO queues.".into()));
        }
        if mapping.batch_size > BATCH_PLAIN_MAX && mapping.window_s == 0 {
            return Err(Error::Invalid(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
                    .into(),
            ));
        }
        Ok(facts.visibility.as_secs())
    }
}

/// The function must be there, and done with a batch before its messages come back.
async fn check_function(tx: &Tx, function: &FunctionRef, visibility_s: u64) -> Result<()> {
    let timeout_s = resolve(tx, function).await?.snapshot.settings.timeout_s;
    if visibility_s < timeout_s.into() {
        return Err(Error::Invalid(format!(
            "Queue visibility timeout: {visibility_s} seconds is less than Function timeout: {timeout_s} seconds"
        )));
    }
    Ok(())
}

async fn unique(tx: &Tx, mapping: &Mapping) -> Result<()> {
    let all = Below::Mappings.place(&mapping.scope);
    for item in tx.scan(all.as_bytes(), &all.end(), MAPPINGS_MAX).await? {
        let other: Mapping = store::record::decode(&item.value)?;
        if other.source == mapping.source && other.function == mapping.function {
            return Err(Error::Conflict(format!(
                "The event source arn (\" {} \") and function (\" {} \") provided mapping already exists. Please update \
                 or delete the existing mapping with UUID {}",
                mapping.source, mapping.function.name, other.uuid
            )));
        }
    }
    Ok(())
}

fn missing() -> Error {
    Error::NotFound("The resource you requested does not exist.".into())
}

pub async fn get(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetEventSourceMappingRequest,
) -> Result<s::EventSourceMappingConfiguration> {
    let mapping: Option<Mapping> = room.store.get(&At::Mapping(cx.scope(), &input.uuid).key()).await?;
    Ok(shape(&room, &mapping.ok_or_else(missing)?))
}

pub async fn update(
    room: Arc<Functions>,
    cx: Context,
    input: s::UpdateEventSourceMappingRequest,
) -> Result<s::EventSourceMappingConfiguration> {
    refuse!(input: others parallelization_factor "ParallelizationFactor", destination_config "DestinationConfig",
        maximum_record_age_in_seconds "MaximumRecordAgeInSeconds",
        bisect_batch_on_function_error "BisectBatchOnFunctionError", maximum_retry_attempts "MaximumRetryAttempts",
        tumbling_window_in_seconds "TumblingWindowInSeconds",
        source_access_configurations "SourceAccessConfigurations",
        amazon_managed_kafka_event_source_config "AmazonManagedKafkaEventSourceConfig",
        self_managed_kafka_event_source_config "SelfManagedKafkaEventSourceConfig",
        document_db_event_source_config "DocumentDBEventSourceConfig";
        lacking kms_key_arn "KMSKeyArn", metrics_config "MetricsConfig", logging_config "LoggingConfig",
        provisioned_poller_config "ProvisionedPollerConfig");
    let key = At::Mapping(cx.scope(), &input.uuid).key();
    let before: Mapping = room.store.get(&key).await?.ok_or_else(missing)?;
    let mut mapping = before.clone();
    if let Some(function) = &input.function_name {
        mapping.function = name::function(cx.scope(), function, None)?;
    }
    apply(
        &mut mapping,
        Wanted {
            batch_size: whole(input.batch_size),
            window_s: whole(input.maximum_batching_window_in_seconds),
            concurrency_max: input.scaling_config.map(|c| whole(c.maximum_concurrency)),
            filters: filters(input.filter_criteria)?,
            partial: input.function_response_types.map(|t| !t.is_empty()),
            enabled: input.enabled,
        },
    );
    mapping.modified = room.clock.now();
    mapping.state = match (before.enabled, mapping.enabled) {
        (false, true) => MappingState::Enabling,
        (true, false) => MappingState::Disabling,
        _ => MappingState::Updating,
    };
    let visibility_s = room.check(&mapping).await?;
    let (key, before, mapping) = (&key, &before, &mapping);
    room.store
        .transact(|tx| async move {
            check_function(&tx, &mapping.function, visibility_s).await?;
            let now: Mapping = tx.get(key).await?.ok_or_else(missing)?;
            // A transition that was over in the meantime changes nothing else.
            if (Mapping { state: before.state, ..now.clone() }) != *before || now.state == MappingState::Deleting {
                return Err(in_use());
            }
            Ok::<_, Error>(tx.put(key, mapping)?)
        })
        .await?;
    room.mappings.changed();
    Ok(shape(&room, mapping))
}

fn in_use() -> Error {
    Error::InUse("Cannot update the event source mapping because it is in use.".into())
}

pub async fn delete(
    room: Arc<Functions>,
    cx: Context,
    input: s::DeleteEventSourceMappingRequest,
) -> Result<s::EventSourceMappingConfiguration> {
    let key = &At::Mapping(cx.scope(), &input.uuid).key();
    let now = room.clock.now();
    let mapping = room
        .store
        .transact(|tx| async move {
            let mut mapping: Mapping = tx.get(key).await?.ok_or_else(missing)?;
            if mapping.state == MappingState::Deleting {
                return Err(Error::InUse("Cannot delete the event source mapping because it is in use.".into()));
            }
            mapping.state = MappingState::Deleting;
            mapping.modified = now;
            tx.put(key, &mapping)?;
            Ok(mapping)
        })
        .await?;
    room.mappings.changed();
    Ok(shape(&room, &mapping))
}

pub async fn list(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListEventSourceMappingsRequest,
) -> Result<s::ListEventSourceMappingsResponse> {
    let function = input.function_name.as_deref().map(|f| name::function(cx.scope(), f, None)).transpose()?;
    let wanted = |m: &Mapping| {
        input.event_source_arn.as_ref().is_none_or(|arn| *arn == m.source.to_string())
            && function.as_ref().is_none_or(|f| *f == m.function)
    };
    let limit = input.max_items.and_then(|n| usize::try_from(n).ok()).unwrap_or(LIST_MAX).clamp(1, LIST_MAX);
    let mut marker = input.marker.filter(|m| !m.is_empty());
    let (mut found, prefix) = (Vec::new(), Below::Mappings.place(cx.scope()));
    loop {
        let some = page::<Mapping>(&room.store, &prefix, marker.as_deref(), limit - found.len()).await?;
        found.extend(some.items.into_iter().map(|(_, m)| m).filter(wanted));
        marker = some.next;
        if marker.is_none() || found.len() >= limit {
            break;
        }
    }
    let mappings = found.iter().map(|m| shape(&room, m)).collect();
    Ok(s::ListEventSourceMappingsResponse { next_marker: marker, event_source_mappings: Some(mappings) })
}

fn shape(room: &Functions, m: &Mapping) -> s::EventSourceMappingConfiguration {
    let filter = |pattern: &String| s::Filter { pattern: Some(pattern.clone()) };
    s::EventSourceMappingConfiguration {
        uuid: Some(m.uuid.clone()),
        batch_size: Some(number(m.batch_size)),
        maximum_batching_window_in_seconds: Some(number(m.window_s)),
        event_source_arn: Some(m.source.to_string()),
        filter_criteria: (!m.filters.is_empty())
            .then(|| s::FilterCriteria { filters: Some(m.filters.iter().map(filter).collect()) }),
        scaling_config: m.concurrency_max.map(|n| s::ScalingConfig { maximum_concurrency: Some(number(n)) }),
        function_arn: Some(name::arn_of(&m.function).to_string()),
        last_modified: Some(m.modified.seconds()),
        last_processing_result: room.mappings.result(&m.uuid),
        state: Some(m.state.word().into()),
        state_transition_reason: Some("USER_INITIATED".into()),
        function_response_types: Some(if m.partial { vec!["ReportBatchItemFailures".into()] } else { Vec::new() }),
        event_source_mapping_arn: Some(arn(&m.scope, &m.uuid).to_string()),
        ..Default::default()
    }
}
