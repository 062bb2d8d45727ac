//! The serde structs of inputs, outputs and what they hold.

use super::model::{Member, Model, Shape};
use super::table::reachable;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Words a field may not have as its name.
const KEYWORDS: [&str; 16] = [
    "type", "match", "ref", "self", "use", "in", "as", "fn", "mod", "move", "static", "where", "loop", "for", "enum",
    "async",
];

pub fn write(model: &Model, operations: &BTreeSet<&str>) -> Result<String> {
    let mut inputs = BTreeSet::new();
    let mut outputs = BTreeSet::new();
    for op in model.operations.values().filter(|o| operations.contains(o.name.as_str())) {
        inputs.extend(op.input.as_ref().map(|r| r.shape.as_str()));
        outputs.extend(op.output.as_ref().map(|r| r.shape.as_str()));
    }
    let all = reachable(model, inputs.iter().chain(&outputs).copied())?;
    let nested: BTreeSet<&str> = all.iter().flat_map(|n| model.shapes[*n].uses()).map(|m| m.shape.as_str()).collect();
    let mut out = String::from("use serde::{Deserialize, Serialize};\n");
    for name in all {
        let shape = &model.shapes[name];
        if shape.kind == "structure" && !shape.document && !shape.eventstream {
            let (input, output) = (inputs.contains(name), outputs.contains(name));
            let both = nested.contains(name);
            structure(&mut out, model, name, shape, (input || both, output || both))
                .with_context(|| format!("shape {name}"))?;
            traits(&mut out, name, shape, model, input, output);
        }
    }
    Ok(out)
}

fn structure(out: &mut String, model: &Model, name: &str, shape: &Shape, (read, write): (bool, bool)) -> Result<()> {
    let read = if read { ", Deserialize" } else { "" };
    let write = if write { ", Serialize" } else { "" };
    // A stream can neither be copied nor compared.
    let traits =
        if event_stream(model, shape).is_some() { "Debug, Default" } else { "Clone, Debug, Default, PartialEq" };
    let _ = writeln!(out, "\n#[derive({traits}{read}{write})]\npub struct {name} {{");
    for (member_name, member) in &shape.members {
        let required = shape.required.contains(member_name);
        let field = snake(member_name);
        if is_payload_blob(model, shape, member_name) {
            let _ = writeln!(out, "    /// The HTTP body.\n    #[serde(skip)]\n    pub {field}: bytes::Bytes,");
            continue;
        }
        if model.shapes[&member.shape].eventstream {
            let _ = writeln!(out, "    /// The HTTP body.\n    #[serde(skip)]\n    pub {field}: wire::EventStream,");
            continue;
        }
        let ty = rust_type(model, member)?;
        if is_status(member) {
            let _ = writeln!(out, "    /// The HTTP status.\n    #[serde(skip)]\n    pub {field}: Option<{ty}>,");
        } else if required {
            let _ = writeln!(out, "    #[serde(rename = {member_name:?})]\n    pub {field}: {ty},");
        } else {
            let _ = writeln!(
                out,
                "    #[serde(rename = {member_name:?}, default, skip_serializing_if = \"Option::is_none\")]\n    \
                 pub {field}: Option<{ty}>,"
            );
        }
    }
    *out += "}\n";
    Ok(())
}

fn traits(out: &mut String, name: &str, shape: &Shape, model: &Model, input: bool, output: bool) {
    let payload = shape.payload.as_ref().filter(|p| is_payload_blob(model, shape, p)).map(|p| snake(p));
    if input {
        let body = payload.as_ref().map_or(String::new(), |p| {
            format!("    fn set_payload(&mut self, payload: bytes::Bytes) {{\n        self.{p} = payload;\n    }}\n")
        });
        let _ = writeln!(out, "\nimpl wire::Input for {name} {{\n{body}}}");
    }
    if output {
        let mut body = payload.as_ref().map_or(String::new(), |p| {
            format!(
                "    fn take_payload(&mut self) -> Option<bytes::Bytes> {{\n        \
                 Some(std::mem::take(&mut self.{p}))\n    }}\n"
            )
        });
        if let Some(field) = event_stream(model, shape).map(snake) {
            body += &format!(
                "    fn take_events(&mut self) -> Option<wire::EventStream> {{\n        \
                 Some(std::mem::take(&mut self.{field}))\n    }}\n"
            );
        }
        if let Some((status, _)) = shape.members.iter().find(|(_, m)| is_status(m)) {
            let field = snake(status);
            body += &format!(
                "    fn status(&self) -> Option<u16> {{\n        \
                 self.{field}.and_then(|s| u16::try_from(s).ok())\n    }}\n"
            );
        }
        let _ = writeln!(out, "\nimpl wire::Output for {name} {{\n{body}}}");
    }
}

fn is_status(member: &Member) -> bool {
    member.location.as_deref() == Some("statusCode")
}

/// The member that is an event stream.
fn event_stream<'s>(model: &Model, shape: &'s Shape) -> Option<&'s str> {
    shape.members.iter().find(|(_, m)| model.shapes[&m.shape].eventstream).map(|(name, _)| name.as_str())
}

fn is_payload_blob(model: &Model, shape: &Shape, member: &str) -> bool {
    let kind = || shape.members.iter().find(|(n, _)| n == member).map(|(_, m)| &model.shapes[&m.shape].kind);
    shape.payload.as_deref() == Some(member) && kind().is_some_and(|k| k == "blob")
}

fn rust_type(model: &Model, member: &Member) -> Result<String> {
    let shape = &model.shapes[&member.shape];
    let inner = |m: &Option<Box<Member>>| rust_type(model, m.as_deref().context("lacks the shape of its content")?);
    Ok(match shape.kind.as_str() {
        "structure" if shape.document => "serde_json::Value".into(),
        "structure" => member.shape.clone(),
        "list" => format!("Vec<{}>", inner(&shape.member)?),
        "map" => format!("std::collections::BTreeMap<{}, {}>", inner(&shape.key)?, inner(&shape.value)?),
        "blob" => "wire::Blob".into(),
        "integer" | "short" | "byte" => "i32".into(),
        "long" => "i64".into(),
        "double" | "float" | "timestamp" => "f64".into(),
        "boolean" => "bool".into(),
        _ => "String".into(),
    })
}

/// `KMSKeyArn` → `kms_key_arn`, `S3Bucket` → `s3_bucket`, `CodeSha256` → `code_sha256`.
fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, c) in chars.iter().enumerate() {
        let after = i > 0 && (chars[i - 1].is_lowercase() || chars[i - 1].is_ascii_digit());
        let before = i > 0 && chars[i - 1].is_uppercase() && chars.get(i + 1).is_some_and(|n| n.is_lowercase());
        if c.is_uppercase() && (after || before) {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    let out = out.replace('-', "_");
    if KEYWORDS.contains(&out.as_str()) { out + "_" } else { out }
}

#[cfg(test)]
mod tests {
    #[test]
    fn snake_case() {
        for (name, field) in [
            ("KMSKeyArn", "kms_key_arn"),
            ("S3Bucket", "s3_bucket"),
            ("CodeSha256", "code_sha256"),
            ("Type", "type_"),
            ("logGroupName", "log_group_name"),
            ("Ipv6AllowedForDualStack", "ipv6_allowed_for_dual_stack"),
            ("URL", "url"),
        ] {
            assert_eq!(super::snake(name), field);
        }
    }
}
