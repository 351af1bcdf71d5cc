//! What is written for an interface that has a bit of everything.
#![allow(dead_code, reason = "only the types matter")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::Signature;

/// A message.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Message {
    /// Who wrote it.
    from: String,
    text: String,
    #[serde(default)]
    tags: Vec<String>,
    kind: Kind,
    replies: Vec<Self>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Plain,
    Notice,
}

#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Event {
    Joined { who: String },
    Said(Message),
    Closed,
}

fn signatures() -> Signatures {
    let request = |name| Signature::new(name, Pattern::Request);
    let mut signatures = Signatures::new();
    signatures.extend([
        Signature {
            description: Some("Adds two numbers.".to_owned()),
            ..request("add").takes_list_of::<(f64, f64)>().names(["a", "b"]).answers_with::<f64>()
        },
        request("send").takes::<Message>().takes::<Option<u32>>().answers_with::<Message>(),
        Signature::new("log", Pattern::Notification).takes::<String>().names(["default"]),
        Signature::new("watch", Pattern::Subscription).takes::<String>().answers_with::<Event>(),
        request("sum").takes::<bool>().takes_list_of::<Vec<f64>>().answers_with::<f64>(),
        request("admin.stats").answers_with::<BTreeMap<String, u64>>(),
        request("admin.users.drop").takes::<u64>().names(["options"]),
        request("new.delete"),
        request("a b"),
    ]);
    signatures
}

#[test]
fn javascript_has_every_route_with_its_pattern() {
    let module = signatures().typescript(&ModuleOptions::default());
    let expected = include_str!("expected/routes.js");
    assert_eq!(module.javascript, expected);
}

#[test]
fn declarations_have_the_types_of_arguments_and_results() {
    let module = signatures().typescript(&ModuleOptions::default());
    let (common, rest) = module.declarations.split_once("\nexport type Event").unwrap();
    assert_eq!(common, format!("{HEAD}{COMMON}"));
    let expected = include_str!("expected/declarations.d.ts");
    assert_eq!(rest, expected);
}

#[test]
fn typescript_is_both() {
    let module = signatures().typescript(&ModuleOptions { client: "alien-rpc/client".to_owned() });
    let types = module.declarations.split_once("\nexport declare").unwrap().0;
    let types = types.strip_prefix(HEAD).unwrap();
    let text = module.typescript;
    assert!(text.contains("from \"alien-rpc/client/protocols/websocket\";\n"), "{text}");
    assert!(text.contains(types), "{text}");
    assert!(
        text.contains(
            "  log: { protocol: websocket, pattern: \"n\" } \
             as Route<\"n\", (default_: string) => Promise<void>>,\n"
        ),
        "{text}"
    );
}

#[test]
fn a_scope_with_the_name_of_a_route_is_spelled_out() {
    let mut signatures = Signatures::new();
    for name in ["a", "a.b", ".c", "d.", "websocket.e", "__proto__"] {
        signatures.add(Signature::new(name, Pattern::Request));
    }
    let module = signatures.typescript(&ModuleOptions::default());
    let keys: Vec<&str> = module
        .javascript
        .lines()
        .filter_map(|line| line.trim_start().split_once(": ").map(|(key, _)| key))
        .skip(1)
        .collect();
    assert_eq!(keys, [r#"".c""#, r#"["__proto__"]"#, "a", r#""a.b""#, r#""d.""#, "websocket", "e"]);
    assert!(!module.javascript.contains("export const"));
}

#[test]
fn routes_from_schemas_are_like_those_from_types() {
    let item = json!({"$ref": "#/$defs/Point"});
    let definitions = json!({"Point": {"type": "object", "properties": {"x": {"type": "number"}}}});
    let list =
        json!({"type": "array", "prefixItems": [item], "items": false, "$defs": definitions});
    let result = json!({"type": "array", "items": item, "$defs": definitions});
    let mut signatures = Signatures::new();
    signatures.add(Signature::from_schemas("near", Pattern::Request, &list, Some(result)));
    let text = signatures.typescript(&ModuleOptions::default()).declarations;
    assert!(text.contains("export type Point = { x?: number };\n"), "{text}");
    assert!(
        text.contains("near(arg0: Point, options?: RequestOptions): Promise<Array<Point>>;\n"),
        "{text}"
    );
}

#[test]
fn the_same_signatures_make_the_same_text() {
    let mut reversed: Vec<_> = signatures().into_iter().collect();
    reversed.reverse();
    let mut again = Signatures::new();
    again.extend(reversed);
    let options = ModuleOptions::default();
    assert_eq!(again.typescript(&options), signatures().typescript(&options));
    assert_eq!(again.json_schema_text(), signatures().json_schema_text());
}
