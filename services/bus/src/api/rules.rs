//! Rules: PutRule, DescribeRule, ListRules, EnableRule, DisableRule, DeleteRule, ListRuleNamesByTarget.

use super::*;
use crate::store::{Rule, Space, next_edition};
use ::rules::pattern::Pattern;
use ::rules::schedule::Schedule;
use ::store::Tx;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Empty;

/// Rules of a bus: far above AWS's default of 300, which can be raised there.
const RULES_MAX: usize = 20_000;

pub async fn put(bus: Arc<Bus>, cx: Context, input: PutRuleRequest) -> Result<PutRuleResponse> {
    let name = named_bus(&bus, cx.scope(), input.event_bus_name.as_deref()).await?;
    let pattern = input.event_pattern.filter(|p| !p.is_empty());
    let schedule = input.schedule_expression.filter(|s| !s.is_empty());
    if pattern.is_none() && schedule.is_none() {
        return Err(Error::invalid("Parameter(s) EventPattern or ScheduleExpression must be specified."));
    }
    if let Some(text) = &pattern {
        Pattern::parse(text)?;
    }
    if let Some(text) = &schedule {
        check_schedule(text, name)?;
    }
    let now = bus.clock.now();
    let state = input.state.unwrap_or_else(|| "ENABLED".into());
    let mut tags = BTreeMap::new();
    model::add_tags(&mut tags, buses::pairs(input.tags))?;
    let new = Rule {
        pattern,
        schedule,
        enabled: state != "DISABLED",
        state,
        description: input.description,
        role: input.role_arn,
        tags,
        targets: Vec::new(),
        since: Some(now),
        due: None,
    };
    let key = Space::Rule(cx.scope(), name, &input.name).key();
    let all = crate::store::rules(cx.scope(), name);
    let count = bus.store.scan(all.as_bytes(), &all.end(), RULES_MAX).await?.len();
    bus.store
        .transact(async |tx: Tx| {
            let old = tx.get::<Rule>(&key).await?;
            if old.is_none() && count >= RULES_MAX {
                return Err(Error::TooMany);
            }
            let mut rule = new.clone();
            // What was there keeps its targets and tags, whatever is said of tags now.
            if let Some(old) = old {
                if old.schedule == rule.schedule {
                    rule.since = old.since;
                }
                (rule.targets, rule.tags, rule.due) = (old.targets, old.tags, old.due);
            }
            bus.arm(&tx, (cx.scope(), name, &input.name), &mut rule, now)?;
            tx.put(&key, &rule)?;
            Ok(next_edition(&tx, cx.scope(), name).await?)
        })
        .await?;
    bus.alarms.wake();
    Ok(PutRuleResponse { rule_arn: Some(model::rule_arn(cx.scope(), name, &input.name)) })
}

/// Rules know rates and cron expressions, on the default bus.
fn check_schedule(text: &str, bus: &str) -> Result<()> {
    if bus != model::DEFAULT {
        return Err(Error::invalid("ScheduleExpression is supported only on the default event bus."));
    }
    match Schedule::parse(text) {
        Ok(schedule) if !schedule.once() => Ok(()),
        _ => Err(Error::invalid("Parameter ScheduleExpression is not valid.")),
    }
}

pub async fn describe(bus: Arc<Bus>, cx: Context, input: DescribeRuleRequest) -> Result<DescribeRuleResponse> {
    let name = named_bus(&bus, cx.scope(), input.event_bus_name.as_deref()).await?;
    let rule: Option<Rule> = bus.store.get(&Space::Rule(cx.scope(), name, &input.name).key()).await?;
    let rule = rule.ok_or_else(|| model::no_rule(&input.name, name))?;
    Ok(DescribeRuleResponse {
        arn: Some(model::rule_arn(cx.scope(), name, &input.name)),
        name: Some(input.name),
        event_pattern: rule.pattern,
        schedule_expression: rule.schedule,
        state: Some(rule.state),
        description: rule.description,
        role_arn: rule.role,
        event_bus_name: Some(name.to_owned()),
        created_by: Some(cx.account().to_owned()),
        ..Default::default()
    })
}

pub async fn list(bus: Arc<Bus>, cx: Context, input: ListRulesRequest) -> Result<ListRulesResponse> {
    let name = named_bus(&bus, cx.scope(), input.event_bus_name.as_deref()).await?;
    let all = crate::store::rules(cx.scope(), name);
    let window = (input.next_token.as_deref(), limit(input.limit));
    let (found, next_token) = page::<Rule>(&bus, &all, input.name_prefix.as_deref(), window).await?;
    let shape = |(rule_name, rule): (String, Rule)| super::Rule {
        arn: Some(model::rule_arn(cx.scope(), name, &rule_name)),
        name: Some(rule_name),
        event_pattern: rule.pattern,
        schedule_expression: rule.schedule,
        state: Some(rule.state),
        description: rule.description,
        role_arn: rule.role,
        event_bus_name: Some(name.to_owned()),
        ..Default::default()
    };
    Ok(ListRulesResponse { rules: Some(found.into_iter().map(shape).collect()), next_token })
}

pub async fn names_by_target(
    bus: Arc<Bus>,
    cx: Context,
    input: ListRuleNamesByTargetRequest,
) -> Result<ListRuleNamesByTargetResponse> {
    let name = named_bus(&bus, cx.scope(), input.event_bus_name.as_deref()).await?;
    let (all, limit) = (crate::store::rules(cx.scope(), name), limit(input.limit));
    let (mut names, mut next) = (Vec::new(), input.next_token);
    loop {
        let (found, after) = page::<Rule>(&bus, &all, None, (next.as_deref(), PAGE_MAX)).await?;
        for (rule_name, rule) in found {
            if names.len() == limit {
                let last = names.last().map(|name: &String| token(name));
                return Ok(ListRuleNamesByTargetResponse { rule_names: Some(names), next_token: last });
            }
            if rule.targets.iter().any(|target| target.arn == input.target_arn) {
                names.push(rule_name);
            }
        }
        next = after;
        if next.is_none() {
            return Ok(ListRuleNamesByTargetResponse { rule_names: Some(names), next_token: None });
        }
    }
}

pub async fn enable(bus: Arc<Bus>, cx: Context, input: EnableRuleRequest) -> Result<Empty> {
    switch(&bus, &cx, input.event_bus_name.as_deref(), &input.name, "ENABLED").await
}

pub async fn disable(bus: Arc<Bus>, cx: Context, input: DisableRuleRequest) -> Result<Empty> {
    switch(&bus, &cx, input.event_bus_name.as_deref(), &input.name, "DISABLED").await
}

async fn switch(bus: &Bus, cx: &Context, given: Option<&str>, rule: &str, state: &str) -> Result<Empty> {
    change(bus, cx.scope(), given, rule, |rule| {
        rule.enabled = state != "DISABLED";
        state.clone_into(&mut rule.state);
        Ok(())
    })
    .await?;
    bus.alarms.wake();
    Ok(Empty {})
}

/// Changes a rule; the bus has another edition then.
pub async fn change<T>(
    bus: &Bus,
    scope: &Scope,
    given: Option<&str>,
    rule: &str,
    how: impl Fn(&mut Rule) -> Result<T> + Sync,
) -> Result<T>
where
    T: Send,
{
    let name = named_bus(bus, scope, given).await?;
    let key = Space::Rule(scope, name, rule).key();
    bus.store
        .transact(async |tx: Tx| {
            let mut record = tx.get::<Rule>(&key).await?.ok_or_else(|| model::no_rule(rule, name))?;
            let (enabled, done) = (record.enabled, how(&mut record)?);
            if record.enabled != enabled {
                bus.arm(&tx, (scope, name, rule), &mut record, bus.clock.now())?;
            }
            tx.put(&key, &record)?;
            next_edition(&tx, scope, name).await?;
            Ok(done)
        })
        .await
}

/// A rule that is not there is deleted already, as on AWS.
pub async fn delete(bus: Arc<Bus>, cx: Context, input: DeleteRuleRequest) -> Result<Empty> {
    let name = named_bus(&bus, cx.scope(), input.event_bus_name.as_deref()).await?;
    let key = Space::Rule(cx.scope(), name, &input.name).key();
    bus.store
        .transact(async |tx: Tx| {
            let Some(mut rule) = tx.get::<Rule>(&key).await? else { return Ok(()) };
            if !rule.targets.is_empty() {
                return Err(Error::invalid("Rule can't be deleted since it has targets."));
            }
            bus.disarm(&tx, (cx.scope(), name, &input.name), &mut rule);
            tx.delete(&key);
            Ok(next_edition(&tx, cx.scope(), name).await?)
        })
        .await?;
    Ok(Empty {})
}
