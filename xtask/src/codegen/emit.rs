//! A table as Rust source.

use std::collections::BTreeMap;
use std::fmt::Write;
use wire::table::{Kind, Service, Shape};

/// `pub static SERVICE` and the statics it refers to. Rows are one line each, whatever their length.
pub fn write(service: &Service) -> String {
    let mut patterns: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for shape in service.shapes {
        if let Kind::String { pattern: Some(p), .. } = &shape.kind {
            let next = patterns.len();
            patterns.entry(p.text).or_insert((next, p.regex()));
        }
    }
    let mut numbered: Vec<_> = patterns.iter().map(|(text, (n, regex))| (*n, *text, *regex)).collect();
    numbered.sort_unstable();
    let mut out = String::from(
        "\npub use table::SERVICE;\n\n#[rustfmt::skip]\nmod table {\nuse wire::table::Kind::*;\nuse wire::table::Location::*;\n\
         use wire::table::{ErrorShape, Member, Names, Operation, Pattern, Protocol, Query, Routes, Service, Shape, TimeFormat};\n\n",
    );
    for (n, text, regex) in numbered {
        let _ = writeln!(out, "static P{n}: Pattern = Pattern::new({text:?}, {regex:?});");
    }
    let _ = write!(
        out,
        "\n/// The table of {0}.\npub static SERVICE: Service = Service {{\n    name: {0:?},\n    \
         protocol: Protocol::{1:?},\n    target_prefix: {2:?},\n    validation_code: {3:?},\n    payload_type: {4:?},\n",
        service.name, service.protocol, service.target_prefix, service.validation_code, service.payload_type
    );
    out += "    operations: &[\n";
    for op in service.operations {
        let _ = writeln!(out, "        {op:?},");
    }
    out += "    ],\n    routes: Routes::new(),\n    shapes: &[\n";
    for (i, s) in service.shapes.iter().enumerate() {
        let kind = kind(s, &patterns);
        let _ = writeln!(
            out,
            "        /* {i} */ Shape {{ name: {:?}, sensitive: {}, kind: {kind} }},",
            s.name, s.sensitive
        );
    }
    out += "    ],\n    errors: &[\n";
    for error in service.errors {
        let text = format!("{error:?}").replace("headers: [", "headers: &[");
        let _ = writeln!(out, "        {text},");
    }
    out += &format!("    ],\n    query: {},\n}};\n}}\n", query(service));
    out
}

fn query(service: &Service) -> String {
    let Some(query) = &service.query else { return "None".into() };
    let names: Vec<String> = query.names.iter().map(|row| format!("            {row:?},\n")).collect();
    let codes: Vec<String> = query.codes.iter().map(|row| format!("            {row:?},\n")).collect();
    format!(
        "Some(Query {{\n        namespace: {:?},\n        path_member: {:?},\n        missing_code: {:?},\n        names: &[\n{}        ],\n        codes: &[\n{}        ],\n    }})",
        query.namespace,
        query.path_member,
        query.missing_code,
        names.concat(),
        codes.concat()
    )
}

/// Debug prints these types as Rust writes them, but for slices and references.
fn kind(shape: &Shape, patterns: &BTreeMap<&str, (usize, &str)>) -> String {
    match &shape.kind {
        Kind::Structure { members, payload } => {
            format!("Structure {{ members: &{members:?}, payload: {payload:?} }}")
        }
        Kind::String { min, max, pattern, values } => {
            let pattern = pattern.map_or("None".to_owned(), |p| format!("Some(&P{})", patterns[p.text].0));
            format!("String {{ min: {min:?}, max: {max:?}, pattern: {pattern}, values: &{values:?} }}")
        }
        Kind::Timestamp { format: Some(format) } => format!("Timestamp {{ format: Some(TimeFormat::{format:?}) }}"),
        other => format!("{other:?}"),
    }
}
