//! Definitions of many schemas in one table.
//!
//! The same name may mean different things: another type in another module, or the same type, which
//! may look different when it is read and when it is written.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::names;
use crate::signature::{DEFINITIONS, Signature, Signatures, definition_name, definitions};

/// Schemas that all refer to the same definitions.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// By names that are good for TypeScript.
    pub(crate) definitions: BTreeMap<String, Value>,
}

/// A signature whose schemas refer to [`Shared::definitions`].
#[derive(Debug)]
pub(crate) struct Adopted<'a> {
    pub(crate) signature: &'a Signature,
    pub(crate) params: Vec<Value>,
    pub(crate) rest: Option<Value>,
    pub(crate) result: Option<Value>,
}

impl Shared {
    /// All signatures, over one table.
    pub(crate) fn adopt_all(signatures: &Signatures) -> (Self, Vec<Adopted<'_>>) {
        let mut shared = Self::default();
        // Results first: theirs are the plain names where a type looks different as an argument.
        let results: Vec<_> = signatures
            .iter()
            .map(|signature| signature.result.as_ref().map(|one| shared.adopt(one, "Output")))
            .collect();
        let adopted = signatures.iter().zip(results).map(|(signature, result)| {
            let params =
                signature.params.iter().map(|one| shared.adopt(&one.schema, "Input")).collect();
            let rest = signature.rest.as_ref().map(|rest| shared.adopt(&rest.schema, "Input"));
            Adopted { signature, params, rest, result }
        });
        let adopted = adopted.collect();
        (shared, adopted)
    }

    /// Takes over a schema's definitions; what is left is the schema without them. `role` is the
    /// first thing tried to tell different definitions of one name apart, numbers are the next.
    fn adopt(&mut self, schema: &Value, role: &str) -> Value {
        let own: BTreeMap<&str, &Value> = definitions(schema)
            .flatten()
            .map(|(name, definition)| (name.as_str(), definition))
            .collect();
        let mut attempts: BTreeMap<&str, usize> = own.keys().map(|name| (*name, 0)).collect();
        // Ends: each round moves a name on, and there are only so many that are taken.
        let renamed = loop {
            let targets: BTreeMap<&str, String> = attempts
                .iter()
                .map(|(name, attempt)| (*name, candidate(name, *attempt, role)))
                .collect();
            let mut seen = BTreeSet::new();
            let mut clashing = Vec::new();
            let mut renamed = BTreeMap::new();
            for (name, definition) in &own {
                let definition = rewritten(definition, &targets);
                let target = &targets[name];
                let other = self.definitions.get(target);
                if other.is_some_and(|other| *other != definition) || !seen.insert(target.clone()) {
                    clashing.push(*name);
                }
                renamed.insert(target.clone(), definition);
            }
            if clashing.is_empty() {
                self.definitions.extend(renamed);
                break targets;
            }
            for name in clashing {
                *attempts.entry(name).or_default() += 1;
            }
        };
        rewritten(&without_definitions(schema), &renamed)
    }
}

fn candidate(name: &str, attempt: usize, role: &str) -> String {
    let name = names::type_name(name);
    match attempt {
        0 => name,
        1 => name + role,
        number => format!("{name}{number}"),
    }
}

fn without_definitions(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| !DEFINITIONS.contains(&key.as_str()))
            .map(|(key, member)| (key.clone(), member.clone()))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// With references to the targets. Descends into what only looks like a schema, too: a `$ref` that
/// is data (in `const`, say) with the form of a reference to one of the schema's own definitions.
fn rewritten(schema: &Value, targets: &BTreeMap<&str, String>) -> Value {
    match schema {
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| {
                let target = member
                    .as_str()
                    .filter(|_| key == "$ref")
                    .and_then(definition_name)
                    .and_then(|name| targets.get(name.as_str()));
                let member = match target {
                    Some(target) => format!("#/$defs/{target}").into(),
                    None => rewritten(member, targets),
                };
                (key.clone(), member)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| rewritten(item, targets)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(definition: &Value) -> Value {
        json!({
            "$ref": "#/$defs/Outer",
            "$defs": {"Outer": {"items": {"$ref": "#/$defs/Inner"}}, "Inner": definition}
        })
    }

    #[test]
    fn equal_definitions_are_kept_once() {
        let mut shared = Shared::default();
        let first = shared.adopt(&schema(&json!({"type": "null"})), "Output");
        let second = shared.adopt(&schema(&json!({"type": "null"})), "Input");
        assert_eq!(first, json!({"$ref": "#/$defs/Outer"}));
        assert_eq!(first, second);
        assert_eq!(shared.definitions.len(), 2);
    }

    #[test]
    fn what_refers_to_a_different_definition_is_different_itself() {
        let mut shared = Shared::default();
        shared.adopt(&schema(&json!({"type": "null"})), "Output");
        for _ in 0..2 {
            let adopted = shared.adopt(&schema(&json!({"type": "string"})), "Input");
            assert_eq!(adopted, json!({"$ref": "#/$defs/OuterInput"}));
        }
        let adopted = shared.adopt(&schema(&json!({"type": "boolean"})), "Input");
        assert_eq!(adopted, json!({"$ref": "#/$defs/Outer2"}));
        let names: Vec<_> = shared.definitions.keys().map(String::as_str).collect();
        assert_eq!(names, ["Inner", "Inner2", "InnerInput", "Outer", "Outer2", "OuterInput"]);
    }

    #[test]
    fn names_that_become_the_same_identifier_stay_apart() {
        let mut shared = Shared::default();
        let both = json!({
            "anyOf": [{"$ref": "#/$defs/a-b"}, {"$ref": "#/$defs/a+b"}],
            "$defs": {"a-b": {"type": "null"}, "a+b": {"type": "string"}}
        });
        let adopted = shared.adopt(&both, "Input");
        assert_eq!(adopted["anyOf"][0]["$ref"], "#/$defs/a_bInput");
        assert_eq!(adopted["anyOf"][1]["$ref"], "#/$defs/a_b");
    }
}
