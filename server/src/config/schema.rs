//! JSON Schemas (2020-12) of a route's parameters: the part of it that says which JSON there may
//! be. Words that are not checked are refused, unless they are only remarks.

use super::low::{Node, Value};
use super::read::Mistake;
use super::suggest;
use crate::json::{Object, Quoted, list};
use sonic_rs::{JsonContainerTrait, JsonValueTrait};
use std::collections::BTreeMap;

/// One schema.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Schema {
    /// Any of these; empty for all.
    types: Vec<Type>,
    /// Only these.
    values: Option<Vec<Literal>>,
    any_of: Vec<Self>,
    properties: BTreeMap<String, Self>,
    required: Vec<String>,
    additional: Additional,
    items: Option<Box<Self>>,
    number: Range,
    length: Range,
    count: Range,
    /// The whole of it.
    json: String,
}

/// Where a value does not fit: a JSON Pointer (RFC 6901), what would fit, and what is there.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// Empty for the whole.
    pub(crate) path: String,
    /// What would fit.
    pub(crate) message: String,
    /// What is there, as JSON; none where something is missing.
    pub(crate) value: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

/// In the order of [`TYPE_WORDS`].
const TYPES: [Type; 7] = [
    Type::Null,
    Type::Boolean,
    Type::Integer,
    Type::Number,
    Type::String,
    Type::Array,
    Type::Object,
];

const TYPE_WORDS: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// What is checked, then what is only said.
const WORDS: [&str; 21] = [
    "type",
    "enum",
    "const",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "title",
    "description",
    "format",
    "default",
    "examples",
    "deprecated",
    "$comment",
];

#[derive(Clone, Debug, Eq, PartialEq)]
enum Literal {
    Text(String),
    Integer(i128),
    Switch(bool),
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
enum Additional {
    #[default]
    Any,
    Nothing,
    Of(Box<Schema>),
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Range {
    least: Option<i128>,
    most: Option<i128>,
}

impl Schema {
    /// What was typed.
    ///
    /// # Errors
    /// The first mistake.
    pub(crate) fn read(node: &Node) -> Result<Self, Mistake> {
        let Value::Table(members) = &node.value else {
            return Err(mistake(node, expected("a JSON Schema as a table", node)));
        };
        let mut schema = Self { json: json_of(node)?, ..Self::default() };
        for (name, member) in members {
            if !WORDS.contains(&name.as_str()) {
                let hint = suggest::choice(name, &WORDS);
                return Err(Mistake {
                    place: member.key_place.clone(),
                    message: format!("'{name}' is no word of JSON Schema that is checked here"),
                    hint: hint.map(|word| format!("did you mean '{word}'?")),
                });
            }
            schema.read_word(name, member)?;
        }
        Ok(schema)
    }

    fn read_word(&mut self, name: &str, node: &Node) -> Result<(), Mistake> {
        match name {
            "type" => self.types = types(node)?,
            "enum" => self.values = Some(each(node, literal)?),
            "const" => self.values = Some(vec![literal(node)?]),
            "anyOf" => self.any_of = each(node, Self::read)?,
            "required" => self.required = each(node, text)?,
            "items" => self.items = Some(Box::new(Self::read(node)?)),
            "properties" => {
                let Value::Table(members) = &node.value else {
                    return Err(mistake(node, expected("a table of JSON Schemas", node)));
                };
                for (name, member) in members {
                    self.properties.insert(name.clone(), Self::read(member)?);
                }
            }
            "additionalProperties" => {
                self.additional = match &node.value {
                    Value::Switch(true) => Additional::Any,
                    Value::Switch(false) => Additional::Nothing,
                    _ => Additional::Of(Box::new(Self::read(node)?)),
                }
            }
            "minimum" => self.number.least = Some(integer(node)?),
            "maximum" => self.number.most = Some(integer(node)?),
            "minLength" => self.length.least = Some(integer(node)?),
            "maxLength" => self.length.most = Some(integer(node)?),
            "minItems" => self.count.least = Some(integer(node)?),
            "maxItems" => self.count.most = Some(integer(node)?),
            _ => {}
        }
        Ok(())
    }

    /// The schema as JSON.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// Whether a value fits; `path` is where it stands.
    ///
    /// # Errors
    /// The first place where it does not.
    pub(crate) fn check(&self, value: &sonic_rs::Value, path: &str) -> Result<(), Misfit> {
        let refuse = |message: String| Err(misfit(path, message, value));
        if !self.types.is_empty() && !self.types.iter().any(|one| one.holds(value)) {
            let words: Vec<&str> = self.types.iter().map(|one| one.word()).collect();
            return refuse(format!("Expected {}", words.join(" or ")));
        }
        if let Some(values) = &self.values
            && !values.iter().any(|one| one.is(value))
        {
            let words = values.iter().map(Literal::json).collect::<Vec<String>>();
            return refuse(format!("Expected {}", words.join(" or ")));
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(|one| one.check(value, path).is_ok())
        {
            return refuse("Expected one of several types".to_owned());
        }
        if let Some(number) = value.as_f64() {
            self.number
                .check(number)
                .or_else(|bound| refuse(format!("Expected number {bound}")))?;
        }
        if let Some(text) = value.as_str() {
            let length = self.length.check(size(text.chars().count()));
            length.or_else(|bound| refuse(format!("Expected string length {bound}")))?;
        }
        if let Some(items) = value.as_array() {
            let count = self.count.check(size(items.len()));
            count.or_else(|bound| refuse(format!("Expected array length {bound}")))?;
            if let Some(schema) = &self.items {
                for (index, item) in items.iter().enumerate() {
                    schema.check(item, &format!("{path}/{index}"))?;
                }
            }
        }
        match value.as_object() {
            Some(members) => self.check_members(members, path),
            None => Ok(()),
        }
    }

    fn check_members(&self, members: &sonic_rs::Object, path: &str) -> Result<(), Misfit> {
        for name in &self.required {
            if members.get(name).is_none() {
                let message = "Expected required property".to_owned();
                return Err(Misfit { path: below(path, name), message, value: None });
            }
        }
        for (name, member) in members {
            let path = below(path, name);
            match (self.properties.get(name), &self.additional) {
                (Some(schema), _) => schema.check(member, &path)?,
                (None, Additional::Any) => {}
                (None, Additional::Of(schema)) => schema.check(member, &path)?,
                (None, Additional::Nothing) => {
                    return Err(misfit(&path, "Unexpected property".to_owned(), member));
                }
            }
        }
        Ok(())
    }
}

impl Type {
    fn word(self) -> &'static str {
        let index = TYPES.iter().position(|known| *known == self);
        index.map_or("", |index| TYPE_WORDS[index])
    }

    fn holds(self, value: &sonic_rs::Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            // A number without a fraction is one, however it is written (6.1.1).
            Self::Integer => {
                value.is_i64()
                    || value.is_u64()
                    || value.as_f64().is_some_and(|number| number.fract() == 0.0)
            }
            Self::Number => value.is_number(),
            Self::String => value.is_str(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

impl Literal {
    fn is(&self, value: &sonic_rs::Value) -> bool {
        match self {
            Self::Text(text) => value.as_str() == Some(text),
            Self::Switch(known) => value.as_bool() == Some(*known),
            Self::Integer(number) => {
                value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
                    == Some(*number)
            }
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Text(text) => Quoted(text).to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Switch(value) => value.to_string(),
        }
    }
}

impl Range {
    #[expect(clippy::cast_precision_loss, reason = "bounds are small, or all the same")]
    fn check(self, number: f64) -> Result<(), String> {
        match (self.least, self.most) {
            (Some(least), _) if number < least as f64 => Err(format!("of at least {least}")),
            (_, Some(most)) if number > most as f64 => Err(format!("of at most {most}")),
            _ => Ok(()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nothing a client sends is that long")]
fn size(count: usize) -> f64 {
    count as f64
}

fn misfit(path: &str, message: String, value: &sonic_rs::Value) -> Misfit {
    Misfit { path: path.to_owned(), message, value: sonic_rs::to_string(value).ok() }
}

/// RFC 6901 section 3.
fn below(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn types(node: &Node) -> Result<Vec<Type>, Mistake> {
    match &node.value {
        Value::List(_) => each(node, one_type),
        _ => one_type(node).map(|one| vec![one]),
    }
}

fn one_type(node: &Node) -> Result<Type, Mistake> {
    let word = text(node)?;
    match TYPE_WORDS.iter().position(|known| *known == word) {
        Some(index) => Ok(TYPES[index]),
        None => {
            let hint = suggest::choice(&word, &TYPE_WORDS);
            let hint = hint.map(|word| format!("did you mean '{word}'?"));
            let message = format!("'{word}' is not one of {}", TYPE_WORDS.join(", "));
            Err(Mistake { hint, ..mistake(node, message) })
        }
    }
}

fn each<T>(node: &Node, read: fn(&Node) -> Result<T, Mistake>) -> Result<Vec<T>, Mistake> {
    match &node.value {
        Value::List(items) => items.iter().map(read).collect(),
        _ => Err(mistake(node, expected("a list", node))),
    }
}

fn text(node: &Node) -> Result<String, Mistake> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(mistake(node, expected("a text", node))),
    }
}

fn integer(node: &Node) -> Result<i128, Mistake> {
    match node.value {
        Value::Integer(number) => Ok(number),
        _ => Err(mistake(node, expected("a whole number", node))),
    }
}

fn literal(node: &Node) -> Result<Literal, Mistake> {
    match &node.value {
        Value::Text(text) => Ok(Literal::Text(text.clone())),
        Value::Integer(number) => Ok(Literal::Integer(*number)),
        Value::Switch(value) => Ok(Literal::Switch(*value)),
        _ => Err(mistake(node, expected("a text, a whole number, true or false", node))),
    }
}

fn json_of(node: &Node) -> Result<String, Mistake> {
    Ok(match &node.value {
        Value::Text(text) => Quoted(text).to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Switch(value) => value.to_string(),
        Value::List(items) => list(items.iter().map(json_of).collect::<Result<Vec<_>, _>>()?),
        Value::Table(members) => {
            let mut object = Object::new();
            for (name, member) in members {
                object.raw(name, &json_of(member)?);
            }
            object.finish()
        }
        Value::Float | Value::Moment => {
            return Err(mistake(node, format!("{} cannot stand here", node.value.kind())));
        }
    })
}

fn expected(what: &str, node: &Node) -> String {
    format!("expected {what}, found {}", node.value.kind())
}

fn mistake(node: &Node, message: String) -> Mistake {
    Mistake { place: node.place.clone(), message, hint: None }
}

#[cfg(test)]
mod tests {
    use super::super::low::parse_file;
    use super::super::source::{Origin, Sources};
    use super::*;

    fn schema(text: &str) -> Result<Schema, Mistake> {
        let mut sources = Sources::default();
        let source = sources.add(Origin::File, "x", format!("schema = {text}"));
        let root = parse_file(&mut sources, source);
        assert!(sources.problems.is_empty(), "{:?}", sources.problems);
        Schema::read(root.find("schema").unwrap())
    }

    #[test]
    fn values_fit_or_are_told_where_they_do_not() {
        let text = r#"{ type = "object", required = ["name"], additionalProperties = false,
            properties = { name = { type = "string", minLength = 1 }, kind = { enum = ["a", 2] },
            "a/b" = { items = { type = ["integer", "null"], minimum = 0 }, maxItems = 2 } } }"#
            .replace('\n', " ");
        let schema = schema(&text).unwrap();
        let check = |json: &str| {
            let value = sonic_rs::from_str(json).unwrap();
            let told = |misfit: Misfit| format!("{} {}", misfit.path, misfit.message);
            schema.check(&value, "/0").map_err(told)
        };
        assert_eq!(check(r#"{"name":"x","kind":2,"a/b":[1,null]}"#), Ok(()));
        assert_eq!(check(r#"{"name":"x","kind":"a","a/b":[1.0]}"#), Ok(()));
        for (json, told) in [
            ("5", "/0 Expected object"),
            ("{}", "/0/name Expected required property"),
            (r#"{"name":5}"#, "/0/name Expected string"),
            (r#"{"name":""}"#, "/0/name Expected string length of at least 1"),
            (r#"{"name":"x","kind":"b"}"#, "/0/kind Expected \"a\" or 2"),
            (r#"{"name":"x","a/b":[-1]}"#, "/0/a~1b/0 Expected number of at least 0"),
            (r#"{"name":"x","a/b":[1.5]}"#, "/0/a~1b/0 Expected integer or null"),
            (r#"{"name":"x","a/b":[1,1,1]}"#, "/0/a~1b Expected array length of at most 2"),
            (r#"{"name":"x","more":1}"#, "/0/more Unexpected property"),
        ] {
            assert_eq!(check(json), Err(told.to_owned()), "{json}");
        }
    }

    #[test]
    fn mistakes_are_found_and_suggested() {
        for (text, message) in [
            ("{ typ = 'string' }", "'typ' is no word"),
            ("{ type = 'strin' }", "'strin' is not one of null, boolean"),
            ("{ minimum = 0.5 }", "a number with a fraction cannot stand here"),
            ("{ required = 'a' }", "expected a list, found a text"),
            ("5", "expected a JSON Schema as a table, found a number"),
        ] {
            let mistake = schema(text).unwrap_err();
            assert!(mistake.message.contains(message), "{text}: {}", mistake.message);
        }
        let hint = schema("{ type = 'strin' }").unwrap_err().hint;
        assert_eq!(hint.as_deref(), Some("did you mean 'string'?"));
    }

    #[test]
    fn the_whole_is_kept_for_generated_clients() {
        let text = r#"{ type = "string", description = "say \"hi\"", enum = ["a"] }"#;
        let expected = r#"{"description":"say \"hi\"","enum":["a"],"type":"string"}"#;
        assert_eq!(schema(text).unwrap().json(), expected);
    }
}
