//! JSON Schemas as types of TypeScript.
//!
//! Types say less than schemas: patterns, formats and bounds are left out. What a schema leaves
//! open is `unknown`.
use serde_json::{Map, Value};

use crate::names;
use crate::signature::definition_name;

/// How deep types may be nested; what is deeper is `unknown`.
const DEPTH_MAX: usize = 64;
/// How many items an array of fixed length may have to be written as a tuple.
const TUPLE_MAX: u64 = 16;
/// How long an object may be to be written on one line.
const LINE_MAX: usize = 60;

/// The type of what a schema allows. References must be to `#/$defs/NAME` with names that
/// `is_known`; lines after the first are indented `depth` times.
pub(crate) fn type_of(schema: &Value, depth: usize, is_known: &dyn Fn(&str) -> bool) -> String {
    let converter = Converter { is_known };
    converter.convert(schema, depth, 0)
}

/// The description of a schema, as its comment.
pub(crate) fn description(schema: &Value) -> Option<String> {
    let text = |key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
    let description = text("description").or_else(|| text("title"));
    if schema.get("deprecated").and_then(Value::as_bool) == Some(true) {
        return Some(format!("{}\n@deprecated", description.unwrap_or_default()));
    }
    description
}

struct Converter<'a> {
    is_known: &'a dyn Fn(&str) -> bool,
}

impl Converter<'_> {
    /// `indent` is that of the lines; `depth` counts how deep it is, so that it ends.
    fn convert(&self, schema: &Value, indent: usize, depth: usize) -> String {
        let members = match schema {
            Value::Bool(false) => return "never".to_owned(),
            Value::Object(members) if depth < DEPTH_MAX => members,
            _ => return "unknown".to_owned(),
        };
        let mut parts = Vec::new();
        let mut add = |part: String| {
            if !parts.contains(&part) && part != "unknown" {
                parts.push(part);
            }
        };
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            add(self.reference(reference));
        }
        if let Some(value) = members.get("const") {
            add(self.literal(value));
        } else if let Some(values) = members.get("enum").and_then(Value::as_array) {
            add(union(values.iter().map(|value| self.literal(value))));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(choices) = members.get(key).and_then(Value::as_array) {
                add(union(choices.iter().map(|one| self.convert(one, indent, depth + 1))));
            }
        }
        for part in members.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            add(self.convert(part, indent, depth + 1));
        }
        // A bare `type` beside these says nothing new.
        let has_shape = SHAPES.iter().any(|key| members.contains_key(*key));
        if has_shape || parts.is_empty() {
            let shape = self.shape(members, indent, depth);
            if shape != "unknown" && !parts.contains(&shape) {
                parts.push(shape);
            }
        }
        intersection(parts)
    }

    fn reference(&self, reference: &str) -> String {
        match definition_name(reference) {
            Some(name) if (self.is_known)(&name) => name,
            _ => "unknown".to_owned(),
        }
    }

    fn literal(&self, value: &Value) -> String {
        match value {
            Value::String(text) => names::literal(text),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.literal(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(members) if members.is_empty() => "{ [key: string]: never }".to_owned(),
            Value::Object(members) => {
                let members: Vec<_> = in_order(members)
                    .map(|(key, value)| format!("{}: {}", names::member(key), self.literal(value)))
                    .collect();
                format!("{{ {} }}", members.join("; "))
            }
            other => other.to_string(),
        }
    }

    /// What `type` and the keywords of its kinds say.
    fn shape(&self, members: &Map<String, Value>, indent: usize, depth: usize) -> String {
        let kinds: Vec<&str> = match members.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ if ["properties", "required", "additionalProperties", "patternProperties"]
                .iter()
                .any(|key| members.contains_key(*key)) =>
            {
                vec!["object"]
            }
            _ if ["items", "prefixItems"].iter().any(|key| members.contains_key(*key)) => {
                vec!["array"]
            }
            _ => return "unknown".to_owned(),
        };
        union(kinds.into_iter().map(|kind| match kind {
            "null" | "boolean" | "string" | "number" => kind.to_owned(),
            "integer" => "number".to_owned(),
            "array" => self.array(members, indent, depth),
            "object" => self.object(members, indent, depth),
            _ => "unknown".to_owned(),
        }))
    }

    fn array(&self, members: &Map<String, Value>, indent: usize, depth: usize) -> String {
        let least = members.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let most = members.get("maxItems").and_then(Value::as_u64);
        let (fixed, more) = match (members.get("prefixItems"), members.get("items")) {
            (Some(Value::Array(fixed)), more) => (fixed.as_slice(), more),
            (_, Some(Value::Array(fixed))) => (fixed.as_slice(), members.get("additionalItems")),
            (_, more) => (&[][..], more),
        };
        let item = |schema: &Value| self.convert(schema, indent, depth + 1);
        if fixed.is_empty() {
            let item = more.map_or_else(|| "unknown".to_owned(), item);
            return match usize::try_from(least) {
                Ok(count) if most == Some(least) && least <= TUPLE_MAX => {
                    format!("[{}]", vec![item; count].join(", "))
                }
                _ => format!("Array<{item}>"),
            };
        }
        let mut items: Vec<String> = (0..)
            .zip(fixed)
            .map(|(index, schema)| match item(schema) {
                item if index < least => item,
                item if is_alternatives(&item) => format!("({item})?"),
                item => format!("{item}?"),
            })
            .collect();
        let has_more = most.is_none_or(|most| usize::try_from(most).is_ok_and(|n| n > fixed.len()));
        match more {
            Some(Value::Bool(false)) => {}
            Some(schema) if has_more => items.push(format!("...Array<{}>", item(schema))),
            None if has_more => items.push("...Array<unknown>".to_owned()),
            _ => {}
        }
        format!("[{}]", items.join(", "))
    }

    fn object(&self, members: &Map<String, Value>, indent: usize, depth: usize) -> String {
        let empty = Map::new();
        let properties = members.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required: Vec<&str> = members
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        // Those that are required, but of which no more is said, as well.
        let unsaid = required.iter().filter(|name| !properties.contains_key(**name));
        let mut fields: Vec<(String, String)> = in_order(properties)
            .map(|(name, schema)| {
                let mark = if required.contains(&name.as_str()) { "" } else { "?" };
                let kind = self.convert(schema, indent + 1, depth + 1);
                let comment = names::comment(description(schema).as_deref(), &spaces(indent + 1));
                (comment, format!("{}{mark}: {kind}", names::member(name)))
            })
            .chain(unsaid.map(|name| (String::new(), format!("{}: unknown", names::member(name)))))
            .collect();
        fields.dedup();
        let others = self.others(members, indent, depth);
        if fields.is_empty() {
            return others.unwrap_or_else(|| "{ [key: string]: unknown }".to_owned());
        }
        let own = object_of(&fields, indent);
        // Other members have to be in a type of their own: theirs need not fit the named ones.
        match others {
            Some(others) if !others.ends_with(": never }") => format!("{own} & {others}"),
            _ => own,
        }
    }

    /// The type of members without a name of their own, where there is something to say.
    fn others(&self, members: &Map<String, Value>, indent: usize, depth: usize) -> Option<String> {
        let convert = |schema: &Value| self.convert(schema, indent, depth + 1);
        let patterns = members.get("patternProperties").and_then(Value::as_object);
        let mut kinds: Vec<String> =
            patterns.into_iter().flat_map(in_order).map(|(_, schema)| convert(schema)).collect();
        match members.get("additionalProperties") {
            Some(Value::Bool(false)) if kinds.is_empty() => kinds.push("never".to_owned()),
            None | Some(Value::Bool(_)) => {}
            Some(schema) => kinds.push(convert(schema)),
        }
        // Not `Record`: a type may not refer to itself through that.
        (!kinds.is_empty()).then(|| format!("{{ [key: string]: {} }}", union(kinds)))
    }
}

/// Keywords that say more of arrays and objects than their `type`.
const SHAPES: [&str; 6] =
    ["properties", "required", "additionalProperties", "patternProperties", "items", "prefixItems"];

fn object_of(fields: &[(String, String)], indent: usize) -> String {
    let texts: Vec<&str> = fields.iter().map(|(_, field)| field.as_str()).collect();
    let line = format!("{{ {} }}", texts.join("; "));
    let is_plain = fields.iter().all(|(comment, _)| comment.is_empty());
    if is_plain && line.len() <= LINE_MAX && !line.contains('\n') {
        return line;
    }
    let inner = spaces(indent + 1);
    let lines: String =
        fields.iter().map(|(comment, field)| format!("{comment}{inner}{field};\n")).collect();
    format!("{{\n{lines}{}}}", spaces(indent))
}

/// Each once; `unknown` takes in all others.
fn union(kinds: impl IntoIterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for kind in kinds {
        if kind == "unknown" {
            return kind;
        }
        if kind != "never" && !all.contains(&kind) {
            all.push(kind);
        }
    }
    if all.is_empty() { "never".to_owned() } else { all.join(" | ") }
}

fn intersection(mut parts: Vec<String>) -> String {
    match parts.len() {
        0 => "unknown".to_owned(),
        1 => parts.remove(0),
        _ => {
            let parts = parts
                .into_iter()
                .map(|part| if is_alternatives(&part) { format!("({part})") } else { part });
            parts.collect::<Vec<_>>().join(" & ")
        }
    }
}

/// Whether it may be a union; parentheses around what is none do no harm.
fn is_alternatives(kind: &str) -> bool {
    kind.contains(" | ")
}

/// Members sorted by name, whatever order the features of the JSON library keep.
fn in_order(members: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members.into_iter()
}

/// The space before a line.
pub(crate) fn spaces(depth: usize) -> String {
    "  ".repeat(depth)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: &Value, expected: &str) {
        assert_eq!(type_of(schema, 0, &|name| name == "Known"), expected, "{schema}");
    }

    #[test]
    fn simple_kinds() {
        check(&json!({"type": "string", "format": "date-time"}), "string");
        check(&json!({"type": "integer", "minimum": 1}), "number");
        check(&json!({"type": ["boolean", "null"]}), "boolean | null");
        check(&json!({"type": "null"}), "null");
        check(&json!({"type": "?"}), "unknown");
        check(&json!(true), "unknown");
        check(&json!(false), "never");
        check(&json!({}), "unknown");
        check(&json!({"description": "anything"}), "unknown");
    }

    #[test]
    fn values() {
        check(&json!({"const": "a\"b"}), r#""a\"b""#);
        check(&json!({"type": "string", "enum": ["a", "b"]}), r#""a" | "b""#);
        check(
            &json!({"enum": [1, null, true, [2], {"c-d": {}}]}),
            r#"1 | null | true | [2] | { "c-d": { [key: string]: never } }"#,
        );
        check(&json!({"enum": []}), "never");
    }

    #[test]
    fn arrays_and_tuples() {
        check(
            &json!({"type": "array", "items": {"type": ["string", "null"]}}),
            "Array<string | null>",
        );
        check(&json!({"type": "array"}), "Array<unknown>");
        check(&json!({"items": {"type": "null"}, "minItems": 2, "maxItems": 2}), "[null, null]");
        let tuple = json!([{"type": "string"}, {"type": ["number", "null"]}]);
        check(
            &json!({"type": "array", "prefixItems": tuple, "minItems": 2, "maxItems": 2}),
            "[string, number | null]",
        );
        check(
            &json!({"prefixItems": tuple, "minItems": 1, "items": false}),
            "[string, (number | null)?]",
        );
        check(
            &json!({"prefixItems": tuple, "minItems": 2, "items": {"type": "null"}}),
            "[string, number | null, ...Array<null>]",
        );
        check(
            &json!({"items": tuple, "minItems": 2}),
            "[string, number | null, ...Array<unknown>]",
        );
    }

    #[test]
    fn objects() {
        check(&json!({"type": "object"}), "{ [key: string]: unknown }");
        check(&json!({"additionalProperties": {"type": "null"}}), "{ [key: string]: null }");
        check(
            &json!({"type": "object", "additionalProperties": false}),
            "{ [key: string]: never }",
        );
        check(
            &json!({"properties": {"b": {"type": "null"}, "a-b": true}, "required": ["b", "c"]}),
            r#"{ "a-b"?: unknown; b: null; c: unknown }"#,
        );
        check(
            &json!({"properties": {"a": {"type": "null"}},
                "patternProperties": {"^x": {"type": "string"}}}),
            "{ a?: null } & { [key: string]: string }",
        );
        check(
            &json!({"properties": {"new": {"type": "null", "description": "Of it. */"}}}),
            "{\n  /** Of it. *\\/ */\n  \"new\"?: null;\n}",
        );
    }

    #[test]
    fn combinations() {
        check(&json!({"anyOf": [{"$ref": "#/$defs/Known"}, {"type": "null"}]}), "Known | null");
        check(&json!({"$ref": "#/$defs/Unknown"}), "unknown");
        check(&json!({"$ref": "https://example.org/"}), "unknown");
        check(&json!({"anyOf": [{"type": "null"}, true]}), "unknown");
        check(
            &json!({"type": "object", "properties": {"a": {"type": "null"}},
                "oneOf": [{"$ref": "#/$defs/Known"}, {"type": "string"}]}),
            "(Known | string) & { a?: null }",
        );
        check(&json!({"type": "object", "allOf": [{"$ref": "#/$defs/Known"}, {}]}), "Known");
    }

    #[test]
    fn a_schema_that_is_too_deep_ends() {
        let mut schema = json!({"type": "null"});
        for _ in 0..100 {
            schema = json!({"type": "array", "items": schema});
        }
        let text = type_of(&schema, 0, &|_| false);
        assert!(text.contains("<unknown>"), "{text}");
    }
}
