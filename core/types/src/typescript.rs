//! Signatures as modules of routes for alien-rpc's client.
use std::collections::BTreeMap;

use serde_json::Value;

use crate::convert::{description, spaces, type_of};
use crate::names;
use crate::shared::{Adopted, Shared};
use crate::signature::{Param, Pattern, Signatures};

/// How modules are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleOptions {
    /// The package of the client; its `/protocols/websocket` is imported. `@alien-rpc/client`
    /// without a word.
    pub client: String,
}

impl Default for ModuleOptions {
    fn default() -> Self {
        Self { client: "@alien-rpc/client".to_owned() }
    }
}

/// Routes for alien-rpc's `defineClient`, in JavaScript and TypeScript.
///
/// The default export has all routes. Those with a dot in their name are members of a scope, named
/// by what is before the first dot, which is exported by its name too, where a constant may be
/// called so. With a route `admin.stats`:
///
/// ```js
/// import routes from "./routes.js";
/// const client = defineClient(routes, { prefixUrl: "ws://127.0.0.1:9000" });
/// await client.admin.stats();
/// ```
/// What is after the first dot is one name, `client.a["b.c"]()` for `a.b.c`: the client's types
/// know scopes, but none within scopes.
///
/// The declarations need no other module. They have types for the definitions that schemas refer
/// to, and `Client`, an interface of all routes as functions, which what `defineClient` makes of
/// the routes is assignable to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// `routes.js`: what is there at run time.
    pub javascript: String,
    /// `routes.d.ts`: the types of `routes.js`.
    pub declarations: String,
    /// `routes.ts`: both, for those who compile it themselves.
    pub typescript: String,
}

impl Signatures {
    /// The routes as a module. The same signatures make the same text.
    #[must_use]
    pub fn typescript(&self, options: &ModuleOptions) -> Module {
        let (shared, adopted) = Shared::adopt_all(self);
        let writer = Writer { shared: &shared, scopes: Scopes::of(&adopted) };
        let import =
            format!("import websocket from {};\n", names::literal(&protocol(&options.client)));
        let types = writer.types();
        Module {
            javascript: format!("{HEAD}{import}\n{}", writer.values(Form::JavaScript)),
            declarations: format!("{HEAD}{types}\n{}", writer.declared()),
            typescript: format!("{HEAD}{import}\n{types}\n{}", writer.values(Form::TypeScript)),
        }
    }
}

const HEAD: &str =
    "// Written by Fulmar from the types of its routes: changes to this file get lost.\n";

/// What every module of types begins with.
const COMMON: &str = "\
/** The last argument of a call that can be cancelled. */
export type RequestOptions = { signal?: AbortSignal | undefined };

/** What a subscription answers with. */
export type Subscription<T> = ReadableStream<T> & AsyncIterable<T>;

/** A route: how it is called (`n`: told, `r`: asked, `s`: subscribed to), and its type. */
export type Route<P extends \"n\" | \"r\" | \"s\", F extends (...args: any) => any> = {
  protocol: any;
  pattern: P;
  /** Is not there at run time. */
  callee: F;
};
";

fn protocol(client: &str) -> String {
    format!("{client}/protocols/websocket")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    JavaScript,
    TypeScript,
}

/// Routes by scope; those of none first.
struct Scopes<'a> {
    /// By the names they have there.
    root: BTreeMap<&'a str, &'a Adopted<'a>>,
    scopes: BTreeMap<&'a str, BTreeMap<&'a str, &'a Adopted<'a>>>,
}

impl<'a> Scopes<'a> {
    fn of(adopted: &'a [Adopted<'a>]) -> Self {
        let names: Vec<&str> = adopted.iter().map(|one| one.signature.name.as_str()).collect();
        let mut scopes = Self { root: BTreeMap::new(), scopes: BTreeMap::new() };
        for (name, one) in names.iter().zip(adopted) {
            match name.split_once('.') {
                // Not where a route has the name of the scope. The client puts names together with
                // dots: a name with one is as good.
                Some((scope, rest))
                    if !scope.is_empty() && !rest.is_empty() && !names.contains(&scope) =>
                {
                    scopes.scopes.entry(scope).or_default().insert(rest, one);
                }
                _ => {
                    scopes.root.insert(name, one);
                }
            }
        }
        scopes
    }
}

struct Writer<'a> {
    shared: &'a Shared,
    scopes: Scopes<'a>,
}

impl Writer<'_> {
    /// What is there at run time.
    fn values(&self, form: Form) -> String {
        let route = |one: &Adopted<'_>| {
            let value = format!(
                "{{ protocol: websocket, pattern: \"{}\" }}",
                one.signature.pattern.letter()
            );
            match form {
                Form::JavaScript => value,
                Form::TypeScript => format!("{value} as {}", self.route_type(one)),
            }
        };
        let is_documented = form == Form::TypeScript;
        let members = |routes: &BTreeMap<&str, &Adopted<'_>>, depth: usize| -> String {
            routes
                .iter()
                .map(|(name, one)| {
                    let comment = if is_documented { comment(one, depth) } else { String::new() };
                    format!("{comment}{}{}: {},\n", spaces(depth), names::key(name), route(one))
                })
                .collect()
        };
        let mut exports = String::new();
        let mut all = members(&self.scopes.root, 1);
        for (scope, routes) in &self.scopes.scopes {
            if is_exported(scope) {
                exports += &format!("export const {scope} = {{\n{}}};\n\n", members(routes, 1));
                all += &format!("  {scope},\n");
            } else {
                all += &format!("  {}: {{\n{}  }},\n", names::key(scope), members(routes, 2));
            }
        }
        format!("{exports}export default {{\n{all}}};\n")
    }

    /// The types of what is there at run time.
    fn declared(&self) -> String {
        let members = |routes: &BTreeMap<&str, &Adopted<'_>>, depth: usize| -> String {
            routes
                .iter()
                .map(|(name, one)| {
                    let (comment, kind) = (comment(one, depth), self.route_type(one));
                    format!("{comment}{}{}: {kind};\n", spaces(depth), names::member(name))
                })
                .collect()
        };
        let mut exports = String::new();
        let mut all = members(&self.scopes.root, 1);
        for (scope, routes) in &self.scopes.scopes {
            if is_exported(scope) {
                exports +=
                    &format!("export declare const {scope}: {{\n{}}};\n\n", members(routes, 1));
                all += &format!("  {scope}: typeof {scope};\n");
            } else {
                all += &format!("  {}: {{\n{}  }};\n", names::member(scope), members(routes, 2));
            }
        }
        format!("{exports}declare const routes: {{\n{all}}};\nexport default routes;\n")
    }

    /// The types that have names.
    fn types(&self) -> String {
        let mut types = COMMON.to_owned();
        for (name, schema) in &self.shared.definitions {
            types += "\n";
            types += &names::comment(description(schema).as_deref(), "");
            types += &format!("export type {name} = {};\n", self.type_of(schema, 0));
        }
        let method = |name: &str, one: &Adopted<'_>, depth: usize| {
            let (comment, name) = (comment(one, depth), names::member(name));
            let (params, result) = self.callee(one);
            format!("{comment}{}{name}({params}): {result};\n", spaces(depth))
        };
        types += "\n/** All routes as functions. */\nexport interface Client {\n";
        for (name, one) in &self.scopes.root {
            types += &method(name, one, 1);
        }
        for (scope, routes) in &self.scopes.scopes {
            let routes: String = routes.iter().map(|(name, one)| method(name, one, 2)).collect();
            types += &format!("  {}: {{\n{routes}  }};\n", names::member(scope));
        }
        types + "}\n"
    }

    fn route_type(&self, one: &Adopted<'_>) -> String {
        let (params, result) = self.callee(one);
        format!("Route<\"{}\", ({params}) => {result}>", one.signature.pattern.letter())
    }

    /// The list of parameters and the result of a route as a function.
    fn callee(&self, one: &Adopted<'_>) -> (String, String) {
        let result = || {
            let schema = one.result.as_ref();
            schema.map_or_else(|| "void".to_owned(), |schema| self.type_of(schema, 1))
        };
        let (result, options) = match one.signature.pattern {
            // The client sends all arguments of these: there is nothing to cancel.
            Pattern::Notification => ("Promise<void>".to_owned(), None),
            Pattern::Request => (format!("Promise<{}>", result()), Some("RequestOptions")),
            Pattern::Subscription => {
                (format!("Subscription<{}>", result()), Some("RequestOptions"))
            }
        };
        (self.params(one, options), result)
    }

    fn params(&self, one: &Adopted<'_>, options: Option<&str>) -> String {
        let mut taken = Vec::new();
        let params: Vec<(String, String)> = one
            .signature
            .params
            .iter()
            .zip(&one.params)
            .enumerate()
            .map(|(index, (param, schema))| {
                (unused(&mut taken, param, index), self.type_of(schema, 1))
            })
            .collect();
        if let Some((rest, schema)) = one.signature.rest.as_ref().zip(one.rest.as_ref()) {
            let name = unused(&mut taken, rest, params.len());
            let fixed: String = params.iter().map(|(_, kind)| format!("{kind}, ")).collect();
            let all = format!("[{fixed}...Array<{}>", self.type_of(schema, 1));
            // An optional item cannot follow those of which there may be any number.
            let options = options.map(|options| format!(" | {all}, {options}]"));
            return format!("...{name}: {all}]{}", options.unwrap_or_default());
        }
        let mut params: Vec<String> =
            params.into_iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
        if let Some(options) = options {
            let name = free("options".to_owned(), &taken);
            params.push(format!("{name}?: {options}"));
        }
        params.join(", ")
    }

    fn type_of(&self, schema: &Value, depth: usize) -> String {
        type_of(schema, depth, &|name| self.shared.definitions.contains_key(name))
    }
}

/// The name of a parameter that none before it has.
fn unused(taken: &mut Vec<String>, param: &Param, index: usize) -> String {
    let name = match &param.name {
        Some(name) => names::parameter(name),
        None => format!("arg{index}"),
    };
    let name = free(name, taken);
    taken.push(name.clone());
    name
}

fn free(mut name: String, taken: &[String]) -> String {
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

fn comment(one: &Adopted<'_>, depth: usize) -> String {
    names::comment(one.signature.description.as_deref(), &spaces(depth))
}

/// Whether a scope can be exported by its name. The others are names of the module itself.
fn is_exported(scope: &str) -> bool {
    names::is_variable(scope) && !["websocket", "routes"].contains(&scope)
}

#[cfg(test)]
mod tests;
