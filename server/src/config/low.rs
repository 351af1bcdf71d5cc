//! What was typed: a tree of values that each remember their place, and the merging of layers.
//!
//! Values are kept as typed, not decoded into structs: only so can every mistake be reported at
//! once, each with its line, and can a file, the environment and flags be laid over each other.

use super::error::Problem;
use super::source::{Origin, Place, Sources};
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with the places of its key and of itself.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where the key stands; the value's place where there is none (list items, the root).
    pub(crate) key_place: Place,
    /// Where the value stands.
    pub(crate) place: Place,
    /// The value.
    pub(crate) value: Value,
}

/// What can be typed in TOML.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A string.
    Text(String),
    /// A whole number, saturated where it does not fit.
    Integer(i128),
    /// A number with a fraction or an exponent; no key takes one.
    Float,
    /// `true` or `false`.
    Switch(bool),
    /// A date or a time; no key takes one.
    Moment,
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Node>),
}

impl Value {
    /// The value's kind in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Float => "a number with a fraction",
            Self::Switch(_) => "true or false",
            Self::Moment => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// An empty root, for when nothing was typed.
    pub(crate) fn empty() -> Self {
        let place = Place { source: usize::MAX, span: 0..0 };
        Self { key_place: place.clone(), place, value: Value::Table(BTreeMap::new()) }
    }

    /// The node at a path of dotted names, if all tables on the way are there.
    pub(crate) fn find(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, name| match &node.value {
            Value::Table(members) => members.get(name),
            _ => None,
        })
    }
}

/// Reads the TOML text of a source. A syntax error becomes a problem and an empty table.
pub(crate) fn parse_file(sources: &mut Sources, source: usize) -> Node {
    let mut root = Node::empty();
    match DeTable::parse(&sources.list[source].text) {
        Ok(table) => {
            root.place = Place { source, span: table.span() };
            root.value = table_value(table.get_ref(), source, 0);
        }
        Err(error) => {
            let place = Place { source, span: error.span().unwrap_or(0..0) };
            let message = error.message().replace('\n', ", ");
            sources.problems.push(Problem::new(Some(place), "", message));
        }
    }
    root
}

/// Reads the value of an override: TOML where it is TOML, else the bare text. The source's text
/// is `prefix` bytes of key, then the value. The result is a root that holds only `key`.
pub(crate) fn parse_override(sources: &Sources, source: usize, key: &str, prefix: usize) -> Node {
    let text = &sources.list[source].text;
    let typed = &text[prefix..];
    let value = match DeValue::parse(typed) {
        // An environment variable or a flag is a word of the shell; only `--set` means TOML by
        // intent, but lists and numbers are wanted everywhere, so all are tried the same way.
        Ok(value) => value_of(value.get_ref(), source, prefix),
        Err(_) => Value::Text(typed.to_owned()),
    };
    let place = Place { source, span: prefix..text.len() };
    let key_place = match sources.list[source].origin {
        Origin::Set => Place { source, span: 0..prefix.saturating_sub(1) },
        Origin::File | Origin::Environment | Origin::Flag => place.clone(),
    };
    let leaf = Node { key_place: key_place.clone(), place: place.clone(), value };
    key.rsplit('.').fold(leaf, |node, name| Node {
        key_place: key_place.clone(),
        place: place.clone(),
        value: Value::Table(BTreeMap::from([(name.to_owned(), node)])),
    })
}

/// Lays `above` over `below`: tables are merged by name, everything else is replaced.
pub(crate) fn merge(below: &mut Node, above: Node) {
    match (&mut below.value, above.value) {
        (Value::Table(members), Value::Table(added)) => {
            for (name, node) in added {
                match members.get_mut(&name) {
                    Some(existing) => merge(existing, node),
                    None => drop(members.insert(name, node)),
                }
            }
        }
        (_, value) => {
            *below = Node { key_place: above.key_place, place: above.place, value };
        }
    }
}

fn table_value(table: &DeTable<'_>, source: usize, offset: usize) -> Value {
    let members = table.iter().map(|(key, value)| {
        let key_place = Place { source, span: shift(key.span(), offset) };
        let node = Node { key_place, ..node_of(value, source, offset) };
        (key.get_ref().clone().into_owned(), node)
    });
    Value::Table(members.collect())
}

fn node_of(value: &Spanned<DeValue<'_>>, source: usize, offset: usize) -> Node {
    let place = Place { source, span: shift(value.span(), offset) };
    Node { key_place: place.clone(), place, value: value_of(value.get_ref(), source, offset) }
}

fn value_of(value: &DeValue<'_>, source: usize, offset: usize) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => Value::Integer(
            i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX),
        ),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(value) => Value::Switch(*value),
        DeValue::Datetime(_) => Value::Moment,
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| node_of(item, source, offset)).collect())
        }
        DeValue::Table(table) => table_value(table, source, offset),
    }
}

fn shift(span: std::ops::Range<usize>, offset: usize) -> std::ops::Range<usize> {
    span.start + offset..span.end + offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (Sources, Node) {
        let mut sources = Sources::default();
        let source = sources.add(Origin::File, "fulmar.toml", text.to_owned());
        let root = parse_file(&mut sources, source);
        (sources, root)
    }

    #[test]
    fn every_value_remembers_its_place() {
        let text = "shards = 0x10\n[limits]\nheaders_max = 64\n[[endpoint]]\npath = \"/a\"\n";
        let (sources, root) = file(text);
        assert!(sources.problems.is_empty());
        let shards = root.find("shards").unwrap();
        assert!(matches!(shards.value, Value::Integer(16)));
        assert_eq!(&text[shards.place.span.clone()], "0x10");
        let headers = root.find("limits.headers_max").unwrap();
        assert_eq!(&text[headers.key_place.span.clone()], "headers_max");
        let Value::List(endpoints) = &root.find("endpoint").unwrap().value else { panic!() };
        let path = endpoints[0].find("path").unwrap();
        assert_eq!(&text[path.place.span.clone()], "\"/a\"");
    }

    #[test]
    fn a_syntax_error_is_a_problem_with_a_place() {
        let (sources, _) = file("shards = 1\nlisten = \n");
        let place = sources.problems[0].place.clone().unwrap();
        assert_eq!(place.line_and_column(&sources.list[0].text).0, 2);
    }

    #[test]
    fn later_layers_replace_values_and_lists_but_merge_tables() {
        let (_, mut below) = file("shards = 1\n[limits]\nheaders_max = 1\nhead_bytes_max = 2\n");
        let (_, above) = file("shards = 2\n[limits]\nheaders_max = 9\n");
        merge(&mut below, above);
        let number = |path| match below.find(path).unwrap().value {
            Value::Integer(number) => number,
            _ => panic!(),
        };
        assert_eq!(number("shards"), 2);
        assert_eq!(number("limits.headers_max"), 9);
        assert_eq!(number("limits.head_bytes_max"), 2);
    }

    #[test]
    fn an_override_is_toml_or_a_bare_text() {
        let mut sources = Sources::default();
        let mut parse = |text: &str| {
            let source = sources.add(Origin::Set, "--set", text.to_owned());
            let prefix = text.find('=').unwrap() + 1;
            parse_override(&sources, source, &text[..prefix - 1], prefix)
        };
        let bare = parse("listen=[::1]:9000");
        assert!(matches!(&bare.find("listen").unwrap().value, Value::Text(t) if t == "[::1]:9000"));
        let number = parse("limits.headers_max=7");
        assert!(matches!(number.find("limits.headers_max").unwrap().value, Value::Integer(7)));
        let quoted = parse("log=\"json\"");
        assert!(matches!(&quoted.find("log").unwrap().value, Value::Text(text) if text == "json"));
        let list = parse("endpoint=[{path=\"/x\"}]");
        let Value::List(items) = &list.find("endpoint").unwrap().value else { panic!() };
        assert_eq!(items[0].find("path").unwrap().place.span, 16..20);
    }
}
