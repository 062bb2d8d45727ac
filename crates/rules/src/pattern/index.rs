//! Many patterns at once: an event is compared with those only that can match it.
//!
//! Most patterns ask for exact texts somewhere (`source`, `detail-type`, an id). Each is filed under the field that it
//! shares with the fewest others, in a tree of the events' shape; an event is led down that tree once and finds its
//! candidates by their values. Patterns that ask for no exact text are compared with every event.

use super::comparison::Comparison;
use super::{Fields, Node, Pattern};
use serde_json::Value;
use std::collections::HashMap;

/// Patterns, each with what it stands for.
#[derive(Debug)]
pub struct Index<T> {
    entries: Vec<(Pattern, T)>,
    tree: Branch,
    /// Those that ask for no exact text.
    rest: Vec<usize>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), tree: Branch::default(), rest: Vec::new() }
    }
}

#[derive(Debug, Default)]
struct Branch {
    fields: HashMap<String, Branch>,
    values: HashMap<String, Vec<usize>>,
}

/// A field that must have one of some texts.
struct Demand<'p> {
    path: Vec<&'p str>,
    texts: Vec<&'p str>,
}

impl<T> Index<T> {
    pub fn new(patterns: impl IntoIterator<Item = (Pattern, T)>) -> Self {
        let entries: Vec<(Pattern, T)> = patterns.into_iter().collect();
        let all: Vec<Vec<Demand<'_>>> = entries.iter().map(|(pattern, _)| demands(pattern)).collect();
        let mut shared: HashMap<(&[&str], &str), usize> = HashMap::new();
        for demand in all.iter().flatten() {
            for text in &demand.texts {
                *shared.entry((&demand.path, text)).or_default() += 1;
            }
        }
        let (mut tree, mut rest) = (Branch::default(), Vec::new());
        for (i, demands) in all.iter().enumerate() {
            let crowd = |d: &&Demand<'_>| d.texts.iter().map(|text| shared[&(d.path.as_slice(), *text)]).sum::<usize>();
            match demands.iter().min_by_key(crowd) {
                Some(demand) => tree.file(demand, i),
                None => rest.push(i),
            }
        }
        Self { entries, tree, rest }
    }

    /// What the patterns that match stand for, in the order in which they were given.
    pub fn matches(&self, event: &Value) -> Vec<&T> {
        let entry = |i: usize| self.entries.get(i).filter(|(pattern, _)| pattern.matches(event));
        self.candidates(event).into_iter().filter_map(entry).map(|(_, what)| what).collect()
    }

    /// The places of those that the event is to be compared with, in order.
    pub(super) fn candidates(&self, event: &Value) -> Vec<usize> {
        let mut candidates = self.rest.clone();
        self.tree.find(event, &mut candidates);
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Branch {
    fn file(&mut self, demand: &Demand<'_>, entry: usize) {
        let mut at = self;
        for &name in &demand.path {
            at = at.fields.entry(name.to_owned()).or_default();
        }
        for &text in &demand.texts {
            at.values.entry(text.to_owned()).or_default().push(entry);
        }
    }

    fn find(&self, value: &Value, found: &mut Vec<usize>) {
        match value {
            Value::Array(elements) => elements.iter().for_each(|element| self.find(element, found)),
            Value::String(text) => found.extend(self.values.get(text).into_iter().flatten()),
            Value::Object(fields) if fields.len() < self.fields.len() => {
                for (name, value) in fields {
                    self.fields.get(name).into_iter().for_each(|branch| branch.find(value, found));
                }
            }
            Value::Object(fields) => {
                for (name, branch) in &self.fields {
                    fields.get(name).into_iter().for_each(|value| branch.find(value, found));
                }
            }
            _ => {}
        }
    }
}

/// The fields of a pattern that must have one of some exact texts.
fn demands(pattern: &Pattern) -> Vec<Demand<'_>> {
    let mut demands = Vec::new();
    collect(&pattern.root, &mut Vec::new(), &mut demands);
    demands
}

fn collect<'p>(fields: &'p Fields, path: &mut Vec<&'p str>, into: &mut Vec<Demand<'p>>) {
    for (name, node) in &fields.all {
        path.push(name);
        match node {
            Node::Fields(below) => collect(below, path, into),
            Node::Leaf(leaf) => {
                let text = |c: &'p Comparison| match c {
                    Comparison::Text(text) => Some(text.as_str()),
                    _ => None,
                };
                let texts: Option<Vec<&str>> = leaf.any.iter().map(text).collect();
                let texts = texts.filter(|texts| !texts.is_empty() && leaf.absent.is_none());
                into.extend(texts.map(|texts| Demand { path: path.clone(), texts }));
            }
        }
        path.pop();
    }
}
