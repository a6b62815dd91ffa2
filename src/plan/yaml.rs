//! YAML as the CloudQuery CLI reads it, into JSON values. Pure.
//!
//! The CLI puts variables (`${NAME}`) into the text after it took the comments out, and reads the result with rules of YAML 1.1:
//! `yes` and `on` are booleans, a date is a text. Here a variable stays a marker while the text is parsed, and is replaced
//! scalar by scalar: what is in quotes stays a text, what stands alone becomes what it means, be it a number or a list. So a
//! variable is asked for only where its value is, and an error has the line.

mod scalar;

use saphyr_parser::{Event, Parser, ScalarStyle};
use scalar::resolved;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Nodes of a text, those of aliases counted each time: a config has hundreds, and aliases of aliases can make billions.
const MAX_NODES: usize = 100_000;
/// How deep lists and mappings go: more than a spec does, less than what recursion needs a stack for.
const MAX_DEPTH: usize = 64;
/// Characters that no config has, one of which marks variables while the text is parsed.
const MARKERS: std::ops::RangeInclusive<char> = '\u{E000}'..='\u{F8FF}';

/// Why a text cannot be used. The line counts from 1; the text never shows what a variable stands for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(crate) struct YamlError {
    /// Where.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) what: String,
}

/// The documents of a text, their variables still unknown.
#[derive(Debug)]
pub(crate) struct Documents {
    /// In the order of the text; empty ones are left out.
    pub(crate) roots: Vec<Node>,
    variables: Variables,
}

/// A value in a document, and the line where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    line: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Scalar { text: String, plain: bool },
    List(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

/// The names between `${` and `}`, and the character that marks them.
#[derive(Debug)]
struct Variables {
    marker: char,
    names: Vec<String>,
}

impl Variables {
    /// The text with markers in place of its variables.
    fn taken_out_of(text: &str) -> (Self, String) {
        let marker = MARKERS.clone().find(|marker| !text.contains(*marker)).unwrap_or('\u{F8FF}');
        let (mut names, mut rest, mut marked) = (Vec::new(), text, String::with_capacity(text.len()));
        while let Some((before, behind)) = rest.split_once("${") {
            marked.push_str(before);
            match behind.split_once('}').filter(|(name, _)| !name.is_empty()) {
                Some((name, behind)) => {
                    marked.push_str(&format!("{marker}{}{marker}", names.len()));
                    names.push(name.to_owned());
                    rest = behind;
                }
                None => {
                    marked.push_str("${");
                    rest = behind;
                }
            }
        }
        marked.push_str(rest);
        (Self { marker, names }, marked)
    }

    /// The text with what its variables stand for, by `lookup`; `None`: it has no variables.
    fn put_back(
        &self,
        text: &str,
        lookup: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Option<Result<String, String>> {
        text.contains(self.marker).then(|| {
            text.split(self.marker).enumerate().try_fold(String::new(), |all, (index, part)| {
                // Every second part is a number between two markers.
                let name = if index % 2 == 1 { part.parse().ok().and_then(|n: usize| self.names.get(n)) } else { None };
                Ok(all + &name.map_or_else(|| Ok(part.to_owned()), |name| lookup(name))?)
            })
        })
    }

    /// The text as it was written.
    fn as_written(&self, text: &str) -> String {
        let written = self.put_back(text, &mut |name| Ok(format!("${{{name}}}")));
        written.and_then(Result::ok).unwrap_or_else(|| text.to_owned())
    }
}

impl Documents {
    /// Parses a text. JSON is YAML, too.
    ///
    /// # Errors
    /// The first mistake.
    pub(crate) fn parse(text: &str) -> Result<Self, YamlError> {
        let (variables, marked) = Variables::taken_out_of(text);
        Ok(Self { roots: roots(&marked)?, variables })
    }

    /// The value of a node, with what `lookup` gives for its variables: `Err` says why there is nothing.
    ///
    /// # Errors
    /// All mistakes.
    pub(crate) fn value(
        &self,
        node: &Node,
        lookup: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Value, Vec<YamlError>> {
        let mut reader = Reader { variables: &self.variables, lookup, mistakes: Vec::new() };
        let value = reader.value(node);
        if reader.mistakes.is_empty() { Ok(value) } else { Err(reader.mistakes) }
    }
}

/// The documents of a text without variables.
fn roots(text: &str) -> Result<Vec<Node>, YamlError> {
    // Some texts of JSON are none of YAML: their escapes may be halves of a character.
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        return Ok(vec![from_json(value)]);
    }
    let mut loader = Loader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError {
            line: error.marker().line(),
            what: format!("this is not YAML: {}{}", error.info(), hint(error.info())),
        })?;
        loader.take(event, span.start.line())?;
    }
    Ok(loader.roots)
}

impl Node {
    /// The line where it begins, from 1.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// The value with this key, if this is a mapping that has it.
    pub(crate) fn get(&self, wanted: &str) -> Option<&Node> {
        let Kind::Mapping(entries) = &self.kind else { return None };
        let is_wanted = |(key, _): &&(Node, Node)| matches!(&key.kind, Kind::Scalar { text, .. } if text == wanted);
        entries.iter().find(is_wanted).map(|(_, value)| value)
    }

    /// Whether this is a mapping.
    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.kind, Kind::Mapping(_))
    }

    fn is_nothing(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if text.is_empty())
    }

    fn nodes(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => items.iter().map(Self::nodes).sum(),
            Kind::Mapping(entries) => entries.iter().map(|(key, value)| key.nodes() + value.nodes()).sum::<usize>(),
        }
    }
}

fn from_json(value: Value) -> Node {
    let scalar = |text: String, plain| Kind::Scalar { text, plain };
    let kind = match value {
        Value::String(text) => scalar(text, false),
        Value::Array(items) => Kind::List(items.into_iter().map(from_json).collect()),
        Value::Object(map) => {
            let key = |text| Node { line: 1, kind: Kind::Scalar { text, plain: false } };
            Kind::Mapping(map.into_iter().map(|(name, value)| (key(name), from_json(value))).collect())
        }
        other => scalar(other.to_string(), true),
    };
    Node { line: 1, kind }
}

/// A list or a mapping that is not complete.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<Node>,
}

/// Makes nodes of events.
#[derive(Default)]
struct Loader {
    roots: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Loader {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        let error = |what: &str| Err(YamlError { line, what: what.to_owned() });
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let plain = style == ScalarStyle::Plain && !is_text;
                self.count(1, line)?;
                self.put(Node { line, kind: Kind::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(nodes) = self.anchors.get(&anchor).map(Node::nodes) else {
                    return error("an alias of something that is not complete");
                };
                self.count(nodes, line)?;
                self.anchors.get(&anchor).cloned().map_or(Ok(()), |node| self.put(node, 0))
            }
            Event::SequenceStart(anchor, _) => self.begin(Kind::List(Vec::new()), anchor, line),
            Event::MappingStart(anchor, _) => self.begin(Kind::Mapping(Vec::new()), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.put(node, anchor),
                None => error("it ends what has not begun"),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn begin(&mut self, kind: Kind, anchor: usize, line: usize) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(YamlError { line, what: format!("more than {MAX_DEPTH} levels of lists and mappings") });
        }
        self.count(1, line)?;
        self.open.push(Open { node: Node { line, kind }, anchor, key: None });
        Ok(())
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), YamlError> {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(YamlError { line, what: format!("more than {MAX_NODES} values, those of aliases counted each time") })
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            if !node.is_nothing() {
                self.roots.push(node);
            }
            return Ok(());
        };
        match (&mut open.node.kind, open.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Mapping(entries), Some(key)) => entries.push((key, node)),
            (Kind::Mapping(_), None) if !matches!(node.kind, Kind::Scalar { .. }) => {
                return Err(YamlError { line: node.line, what: "a key is a text, not a list or a mapping".to_owned() });
            }
            (_, None) => open.key = Some(node),
            // Only lists and mappings are open.
            (Kind::Scalar { .. }, Some(_)) => {}
        }
        Ok(())
    }
}

/// Makes values of nodes.
struct Reader<'a> {
    variables: &'a Variables,
    lookup: &'a mut dyn FnMut(&str) -> Result<String, String>,
    mistakes: Vec<YamlError>,
}

impl Reader<'_> {
    fn mistake(&mut self, line: usize, what: String) -> Value {
        self.mistakes.push(YamlError { line, what });
        Value::Null
    }

    fn value(&mut self, node: &Node) -> Value {
        match &node.kind {
            Kind::Scalar { text, plain } => self.scalar(node.line, text, *plain),
            Kind::List(items) => Value::Array(items.iter().map(|item| self.value(item)).collect()),
            Kind::Mapping(entries) => Value::Object(self.mapping(entries)),
        }
    }

    fn scalar(&mut self, line: usize, text: &str, plain: bool) -> Value {
        let expanded = match self.variables.put_back(text, self.lookup) {
            None if plain => return resolved(text),
            None => return text.into(),
            Some(Ok(expanded)) => expanded,
            Some(Err(what)) => return self.mistake(line, what),
        };
        if !plain {
            return expanded.into();
        }
        // It stands alone, so it means what its text means as YAML.
        match roots(&expanded).as_deref() {
            Ok([]) => Value::Null,
            Ok([root]) => {
                let variables = Variables { marker: self.variables.marker, names: Vec::new() };
                Reader { variables: &variables, lookup: self.lookup, mistakes: Vec::new() }.value(root)
            }
            _ => {
                let written = self.variables.as_written(text);
                self.mistake(line, format!("what {written} stands for is not one value of YAML: put it in quotes"))
            }
        }
    }

    fn mapping(&mut self, entries: &[(Node, Node)]) -> Map<String, Value> {
        let (mut map, mut merged) = (Map::new(), Map::new());
        for (key, value) in entries {
            let Kind::Scalar { text, plain } = &key.kind else { continue };
            let value = self.value(value);
            if *plain && text == "<<" {
                self.merge(&mut merged, key.line, value);
                continue;
            }
            let name = match self.scalar(key.line, text, *plain) {
                Value::String(name) => name,
                Value::Bool(flag) => flag.to_string(),
                _ => self.variables.as_written(text),
            };
            if map.contains_key(&name) {
                self.mistake(key.line, format!("the key {name:?} is given twice; keep one"));
            }
            map.insert(name, value);
        }
        add_missing(&mut map, merged);
        map
    }

    /// Takes in what stands behind `<<`: the first that has a key decides.
    fn merge(&mut self, merged: &mut Map<String, Value>, line: usize, value: Value) {
        match value {
            Value::Object(map) => add_missing(merged, map),
            Value::Array(maps) => maps.into_iter().for_each(|map| self.merge(merged, line, map)),
            _ => drop(self.mistake(line, "<< needs a mapping".to_owned())),
        }
    }
}

fn add_missing(map: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        map.entry(name).or_insert(value);
    }
}

/// What to do about an error within brackets.
fn hint(info: &str) -> &'static str {
    let within = info.contains("flow sequence") || info.contains("flow mapping");
    if within {
        "; within [] and {} quote texts that have brackets or commas, such as \"region in [eu, us]\""
    } else {
        ""
    }
}

#[cfg(test)]
mod tests;
