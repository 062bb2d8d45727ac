//! Targets of rules: PutTargets, ListTargetsByRule, RemoveTargets.

use super::*;
use crate::request::TargetHttp;
use crate::store::{Rule, Space, Target as Record, Template};
use std::sync::Arc;

pub async fn put(bus: Arc<Bus>, cx: Context, input: PutTargetsRequest) -> Result<PutTargetsResponse> {
    let targets: Vec<Record> = input.targets.into_iter().map(record).collect::<Result<_>>()?;
    targets.iter().try_for_each(model::check_target)?;
    rules::change(&bus, cx.scope(), input.event_bus_name.as_deref(), &input.rule, |rule| {
        for target in &targets {
            match rule.targets.iter_mut().find(|t| t.id == target.id) {
                Some(old) => old.clone_from(target),
                None => rule.targets.push(target.clone()),
            }
        }
        if rule.targets.len() > model::TARGETS_MAX { Err(Error::TooMany) } else { Ok(()) }
    })
    .await?;
    Ok(PutTargetsResponse { failed_entry_count: Some(0), failed_entries: Some(Vec::new()) })
}

fn record(given: Target) -> Result<Record> {
    refuse(&[
        (given.kinesis_parameters.is_some(), "KinesisParameters of targets"),
        (given.run_command_parameters.is_some(), "RunCommandParameters of targets"),
        (given.ecs_parameters.is_some(), "EcsParameters of targets"),
        (given.batch_parameters.is_some(), "BatchParameters of targets"),
        (given.redshift_data_parameters.is_some(), "RedshiftDataParameters of targets"),
        (given.sage_maker_pipeline_parameters.is_some(), "SageMakerPipelineParameters of targets"),
        (given.app_sync_parameters.is_some(), "AppSyncParameters of targets"),
    ])?;
    let retry = given.retry_policy.unwrap_or_default();
    let number = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
    Ok(Record {
        id: given.id,
        arn: given.arn,
        role: given.role_arn,
        input: given.input,
        input_path: given.input_path,
        transformer: given
            .input_transformer
            .map(|t| Template { paths: t.input_paths_map.unwrap_or_default(), template: t.input_template }),
        message_group: given.sqs_parameters.and_then(|s| s.message_group_id),
        dead_letter: given.dead_letter_config.and_then(|d| d.arn),
        retries_max: number(retry.maximum_retry_attempts),
        age_max_s: number(retry.maximum_event_age_in_seconds),
        http: given.http_parameters.map(|http| TargetHttp {
            path: http.path_parameter_values.unwrap_or_default(),
            headers: http.header_parameters.unwrap_or_default(),
            query: http.query_string_parameters.unwrap_or_default(),
        }),
    })
}

fn shape(record: Record) -> Target {
    let integer = |n: Option<u32>| n.and_then(|n| i32::try_from(n).ok());
    let retry = RetryPolicy {
        maximum_retry_attempts: integer(record.retries_max),
        maximum_event_age_in_seconds: integer(record.age_max_s),
    };
    Target {
        id: record.id,
        arn: record.arn,
        role_arn: record.role,
        input: record.input,
        input_path: record.input_path,
        input_transformer: record.transformer.map(|t| InputTransformer {
            input_paths_map: (!t.paths.is_empty()).then_some(t.paths),
            input_template: t.template,
        }),
        sqs_parameters: record.message_group.map(|group| SqsParameters { message_group_id: Some(group) }),
        dead_letter_config: record.dead_letter.map(|arn| DeadLetterConfig { arn: Some(arn) }),
        http_parameters: record.http.map(|http| HttpParameters {
            path_parameter_values: (!http.path.is_empty()).then_some(http.path),
            header_parameters: (!http.headers.is_empty()).then_some(http.headers),
            query_string_parameters: (!http.query.is_empty()).then_some(http.query),
        }),
        retry_policy: (retry != RetryPolicy::default()).then_some(retry),
        ..Default::default()
    }
}

pub async fn list(bus: Arc<Bus>, cx: Context, input: ListTargetsByRuleRequest) -> Result<ListTargetsByRuleResponse> {
    let name = named_bus(&bus, cx.scope(), input.event_bus_name.as_deref()).await?;
    let rule: Option<Rule> = bus.store.get(&Space::Rule(cx.scope(), name, &input.rule).key()).await?;
    let targets = rule.ok_or_else(|| model::no_rule(&input.rule, name))?.targets;
    let after = read_token(input.next_token.as_deref())?;
    let from = after.and_then(|id| targets.iter().position(|t| t.id == id)).map_or(0, |i| i + 1);
    let mut page: Vec<Record> = targets.into_iter().skip(from).collect();
    let limit = limit(input.limit);
    let more = page.len() > limit;
    page.truncate(limit);
    let next_token = page.last().filter(|_| more).map(|t| token(&t.id));
    Ok(ListTargetsByRuleResponse { targets: Some(page.into_iter().map(shape).collect()), next_token })
}

pub async fn remove(bus: Arc<Bus>, cx: Context, input: RemoveTargetsRequest) -> Result<RemoveTargetsResponse> {
    let failed = rules::change(&bus, cx.scope(), input.event_bus_name.as_deref(), &input.rule, |rule| {
        let there = |id: &String| rule.targets.iter().any(|t| &t.id == id);
        let failed: Vec<String> = input.ids.iter().filter(|id| !there(id)).cloned().collect();
        rule.targets.retain(|t| !input.ids.contains(&t.id));
        Ok(failed)
    })
    .await?;
    let shape = |id: String| RemoveTargetsResultEntry {
        error_code: Some("ResourceNotFoundException".into()),
        error_message: Some(format!("Rule {} does not have a target with the Id {id}.", input.rule)),
        target_id: Some(id),
    };
    Ok(RemoveTargetsResponse {
        failed_entry_count: Some(failed.len() as i32),
        failed_entries: Some(failed.into_iter().map(shape).collect()),
    })
}
