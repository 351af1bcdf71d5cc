//! Signatures as one JSON document.
use serde_json::{Map, Value, json};

use crate::shared::{Adopted, Shared};
use crate::signature::Signatures;

impl Signatures {
    /// All routes as one document: `routes` has each route's `pattern` (`n`, `r` or `s`), `params`
    /// as the schema of the whole list of arguments, and `result`, unless nothing comes; `$defs`
    /// has what they refer to. All schemas are those of draft 2020-12; members are sorted.
    #[must_use]
    pub fn json_schema(&self) -> Value {
        let (shared, adopted) = Shared::adopt_all(self);
        let routes: Map<_, _> =
            adopted.iter().map(|one| (one.signature.name.clone(), route(one))).collect();
        let definitions: Map<_, _> = shared.definitions.into_iter().collect();
        sorted(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "routes": routes,
            "$defs": definitions,
        }))
    }

    /// [`json_schema`](Self::json_schema) as text, indented, with a newline at the end.
    #[must_use]
    pub fn json_schema_text(&self) -> String {
        format!("{:#}\n", self.json_schema())
    }
}

fn route(adopted: &Adopted<'_>) -> Value {
    let signature = adopted.signature;
    let named = |schema: &Value, name: Option<&String>| match (schema, name) {
        (Value::Object(members), Some(name)) if !members.contains_key("title") => {
            let mut members = members.clone();
            members.insert("title".to_owned(), name.clone().into());
            members.into()
        }
        _ => schema.clone(),
    };
    let params: Vec<Value> = adopted
        .params
        .iter()
        .zip(&signature.params)
        .map(|(schema, param)| named(schema, param.name.as_ref()))
        .collect();
    let mut list = Map::new();
    list.insert("type".to_owned(), "array".into());
    list.insert("minItems".to_owned(), params.len().into());
    match (&adopted.rest, &signature.rest) {
        (Some(schema), Some(rest)) => {
            list.insert("items".to_owned(), named(schema, rest.name.as_ref()));
        }
        _ => {
            list.insert("maxItems".to_owned(), params.len().into());
        }
    }
    // It must not be empty.
    if !params.is_empty() {
        list.insert("prefixItems".to_owned(), params.into());
    }
    let mut route = Map::new();
    route.insert("pattern".to_owned(), signature.pattern.letter().to_string().into());
    route.insert("params".to_owned(), list.into());
    if let Some(description) = &signature.description {
        route.insert("description".to_owned(), description.clone().into());
    }
    if let Some(result) = &adopted.result {
        route.insert("result".to_owned(), result.clone());
    }
    route.into()
}

/// The same text whatever order the features of the JSON library keep.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_unstable_by(|one, other| one.0.cmp(&other.0));
            members.into_iter().map(|(key, member)| (key, sorted(member))).collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pattern, Signature};

    #[test]
    fn a_document_has_every_route() {
        let mut signatures = Signatures::new();
        signatures.add(Signature::new("log", Pattern::Notification).takes_list_of::<Vec<u8>>());
        signatures.add(
            Signature::new("add", Pattern::Request)
                .takes::<bool>()
                .takes::<Option<String>>()
                .names(["yes"])
                .answers_with::<()>(),
        );
        let document = signatures.json_schema();
        let expected = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {},
            "routes": {
                "add": {
                    "pattern": "r",
                    "params": {
                        "type": "array",
                        "minItems": 2,
                        "maxItems": 2,
                        "prefixItems": [
                            {"type": "boolean", "title": "yes"},
                            {"type": ["string", "null"]},
                        ],
                    },
                    "result": {"type": "null"},
                },
                "log": {
                    "pattern": "n",
                    "params": {
                        "type": "array",
                        "minItems": 0,
                        "items": {
                            "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255
                        },
                    },
                },
            },
        });
        assert_eq!(document, expected);
        assert!(signatures.json_schema_text().starts_with("{\n  \"$defs\": {},\n  \"$schema\""));
    }
}
