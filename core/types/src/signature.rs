//! What routes take and answer with.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// How many arguments a list of fixed length may have to be written one by one.
const PARAMS_MAX: usize = 32;

/// Who says how much, when a route is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Nothing is answered: `n`.
    Notification,
    /// One answer: `r`.
    Request,
    /// Any number of answers, one after another: `s`.
    Subscription,
}

impl Pattern {
    /// The letter that alien-rpc has for it.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Notification => 'n',
            Self::Request => 'r',
            Self::Subscription => 's',
        }
    }
}

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// What it is called in declarations; `arg0`, `arg1` and so on without a name.
    pub name: Option<String>,
    /// Its JSON Schema, with the `$defs` that it refers to.
    pub schema: Value,
}

/// What a route takes and answers with.
///
/// # Defaults
/// No arguments, no result, no description.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// Its name, such as `add` or `admin.stats`.
    pub name: String,
    /// What it is for; becomes a comment.
    pub description: Option<String>,
    /// Who says how much.
    pub pattern: Pattern,
    /// Its arguments, all of which must be there.
    pub params: Vec<Param>,
    /// What may follow them, any number of times.
    pub rest: Option<Param>,
    /// JSON Schema of the result, or of each item of a subscription, with the `$defs` that it
    /// refers to. `None`: nothing comes.
    pub result: Option<Value>,
}

impl Signature {
    /// A route without arguments or result.
    #[must_use]
    pub fn new(name: &str, pattern: Pattern) -> Self {
        Self {
            name: name.to_owned(),
            description: None,
            pattern,
            params: Vec::new(),
            rest: None,
            result: None,
        }
    }

    /// From schemas: `params` describes the whole list of arguments (`prefixItems`, `items`),
    /// `result` what comes back. Each brings its own `$defs`.
    #[must_use]
    pub fn from_schemas(
        name: &str,
        pattern: Pattern,
        params: &Value,
        result: Option<Value>,
    ) -> Self {
        let mut signature = Self { result, ..Self::new(name, pattern) };
        signature.take_list(params);
        signature
    }

    /// Adds an argument of this type, as it is read.
    #[must_use]
    pub fn takes<T: JsonSchema>(mut self) -> Self {
        self.params.push(Param { name: None, schema: argument_schema::<T>() });
        self
    }

    /// Adds the arguments of a list: a tuple, an array or a tuple struct has as many as it has
    /// fields, a `Vec` any number.
    #[must_use]
    pub fn takes_list_of<T: JsonSchema>(mut self) -> Self {
        self.take_list(&argument_schema::<T>());
        self
    }

    /// The type of the result or of each item, as it is written.
    #[must_use]
    pub fn answers_with<T: JsonSchema>(mut self) -> Self {
        self.result = Some(result_schema::<T>());
        self
    }

    /// Names the arguments in their order; one more name is that of the rest. Names beyond those
    /// are left out.
    #[must_use]
    pub fn names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let params = self.params.iter_mut().chain(self.rest.as_mut());
        for (param, name) in params.zip(names) {
            param.name = Some(name.into());
        }
        self
    }

    fn take_list(&mut self, list: &Value) {
        let schema = resolved(list);
        let fixed =
            schema.get("prefixItems").or_else(|| schema.get("items")).and_then(Value::as_array);
        let items = match (fixed, schema.get("items")) {
            (Some(_), Some(Value::Array(_))) => schema.get("additionalItems"), // draft 7
            (_, items) => items,
        };
        let most = length(schema, "maxItems");
        let mut take = |item: &Value| {
            self.params.push(Param { name: None, schema: with_definitions(item, list) });
        };
        if let Some(fixed) = fixed {
            fixed.iter().for_each(&mut take);
            if most.is_some_and(|most| most <= fixed.len()) {
                return;
            }
        } else if schema.get("type").and_then(Value::as_str) == Some("null") {
            return; // the list of a unit
        } else if let (Some(most), Some(items)) = (most, items)
            && length(schema, "minItems") == Some(most)
            && most <= PARAMS_MAX
        {
            (0..most).for_each(|_| take(items));
            return;
        }
        match items {
            Some(Value::Bool(false)) => {}
            None if fixed.is_some() => {}
            Some(items) => {
                self.rest = Some(Param { name: None, schema: with_definitions(items, list) });
            }
            None => self.rest = Some(Param { name: None, schema: Value::Bool(true) }),
        }
    }
}

/// Signatures of routes, sorted by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signatures(BTreeMap<String, Signature>);

impl Signatures {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; one of the same name is replaced.
    pub fn add(&mut self, signature: Signature) {
        self.0.insert(signature.name.clone(), signature);
    }

    /// That of a route.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Signature> {
        self.0.get(name)
    }

    /// Changes that of a route. `None` where there is none.
    pub fn change(
        &mut self,
        name: &str,
        change: impl FnOnce(Signature) -> Signature,
    ) -> Option<()> {
        let signature = self.0.remove(name)?;
        self.add(change(signature));
        Some(())
    }

    /// All, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Signature> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<Signature> for Signatures {
    fn extend<I: IntoIterator<Item = Signature>>(&mut self, signatures: I) {
        signatures.into_iter().for_each(|signature| self.add(signature));
    }
}

impl IntoIterator for Signatures {
    type Item = Signature;
    type IntoIter = std::collections::btree_map::IntoValues<String, Signature>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}

/// A type as it is read: what `#[serde(default)]` fills in may be missing.
fn argument_schema<T: JsonSchema>() -> Value {
    schema::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// A type as it is written.
fn result_schema<T: JsonSchema>() -> Value {
    schema::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn schema<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let mut generator = settings.into_generator();
    let mut schema = generator.subschema_for::<T>().to_value();
    let definitions = generator.take_definitions(true);
    if let Value::Object(members) = &mut schema
        && !definitions.is_empty()
    {
        members.insert("$defs".to_owned(), Value::Object(definitions));
    }
    schema
}

/// The schema that a chain of references leads to, if there is one.
fn resolved(root: &Value) -> &Value {
    let mut schema = root;
    for _ in 0..8 {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(definition_name)
            .and_then(|name| definitions(root).find_map(|map| map.get(&name)));
        let Some(target) = target else { break };
        schema = target;
    }
    schema
}

fn length(schema: &Value, key: &str) -> Option<usize> {
    schema.get(key).and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok())
}

fn with_definitions(item: &Value, root: &Value) -> Value {
    let mut schema = item.clone();
    if let Value::Object(members) = &mut schema {
        for key in DEFINITIONS {
            if let Some(definitions) = root.get(key) {
                members.insert(key.to_owned(), definitions.clone());
            }
        }
    }
    schema
}

/// Where schemas keep what they refer to: since draft 2019-09, and before.
pub(crate) const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// The tables of what a schema may refer to.
pub(crate) fn definitions(root: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    DEFINITIONS.into_iter().filter_map(|key| root.get(key)?.as_object())
}

/// What `#/$defs/NAME` names: a JSON pointer (RFC 6901) in a URI fragment.
pub(crate) fn definition_name(reference: &str) -> Option<String> {
    let name = DEFINITIONS
        .into_iter()
        .find_map(|key| reference.strip_prefix("#/")?.strip_prefix(key)?.strip_prefix('/'))?;
    Some(percent_decoded(name).replace("~1", "/").replace("~0", "~"))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(list: &Value) -> (Vec<Value>, Option<Value>) {
        let signature = Signature::from_schemas("x", Pattern::Request, list, None);
        let params = signature.params.into_iter().map(|param| param.schema).collect();
        (params, signature.rest.map(|rest| rest.schema))
    }

    #[test]
    fn a_tuple_is_as_many_arguments_as_it_has_fields() {
        let signature = Signature::new("x", Pattern::Request).takes_list_of::<(bool, String)>();
        assert_eq!(signature.params.len(), 2);
        assert_eq!(signature.params[1].schema, json!({"type": "string"}));
        assert_eq!(signature.rest, None);
    }

    #[test]
    fn a_unit_is_no_argument_and_a_vector_is_any_number() {
        assert_eq!(taken(&argument_schema::<()>()), (vec![], None));
        let (params, rest) = taken(&argument_schema::<Vec<bool>>());
        assert_eq!((params, rest), (vec![], Some(json!({"type": "boolean"}))));
    }

    #[test]
    fn an_array_of_fixed_length_is_that_many_arguments() {
        assert_eq!(taken(&argument_schema::<[bool; 3]>()).0.len(), 3);
    }

    #[test]
    fn lists_of_older_drafts_and_behind_references_are_understood() {
        let list = json!({
            "$ref": "#/definitions/a~1b%20c",
            "definitions": {"a/b c": {"items": [{"type": "null"}], "additionalItems": false}}
        });
        let (params, rest) = taken(&list);
        assert_eq!(params[0]["type"], "null");
        assert_eq!(rest, None);
    }

    #[test]
    fn names_go_to_arguments_in_their_order() {
        let signature = Signature::new("x", Pattern::Request)
            .takes::<bool>()
            .takes_list_of::<Vec<u8>>()
            .names(["a", "b", "c"]);
        assert_eq!(signature.params[0].name.as_deref(), Some("a"));
        assert_eq!(signature.rest.and_then(|rest| rest.name).as_deref(), Some("b"));
    }
}
