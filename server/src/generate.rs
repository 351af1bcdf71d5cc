//! `fulmar gen`: typed clients of the routes of a configuration.

use crate::cli::{GenArguments, GenWhat};
use crate::config;
use crate::config::endpoint::{EndpointConfiguration, Mode};
use crate::config::route::{Backing, Pattern, Route};
use crate::config::schema::Schema;
use crate::exit::{Code, Failure};
use fulmar_types::serde_json::{Value, from_str};
use fulmar_types::{self as types, ModuleOptions, Param, Signature, Signatures};
use std::fs;
use std::path::Path;

/// Generates it; returns what is to be printed.
///
/// # Errors
/// An invalid configuration, no or several endpoints with routes, a directory that cannot be
/// written, files that are stale.
pub(crate) fn generate(what: &GenWhat) -> Result<String, Failure> {
    match what {
        GenWhat::Schema { of } => Ok(signatures(of)?.json_schema_text()),
        GenWhat::Ts { of, out, check, client_import } => {
            let options = ModuleOptions { client: client_import.clone() };
            let module = signatures(of)?.typescript(&options);
            let Some(directory) = out else { return Ok(module.typescript) };
            let files = [("routes.js", module.javascript), ("routes.d.ts", module.declarations)];
            if *check { compare(directory, &files) } else { write(directory, &files) }
        }
    }
}

fn signatures(of: &GenArguments) -> Result<Signatures, Failure> {
    let loaded = config::load(&of.inputs()).map_err(|rejected| rejected.failure())?;
    let routes = routes(&loaded.configuration.endpoints, of.endpoint.as_deref())?;
    let mut signatures = Signatures::new();
    signatures.extend(routes.iter().map(signature));
    Ok(signatures)
}

/// The routes of the endpoint at this path, or of the only one that has any.
fn routes<'a>(
    endpoints: &'a [EndpointConfiguration],
    path: Option<&str>,
) -> Result<&'a [Route], Failure> {
    let with_routes = endpoints.iter().filter_map(|endpoint| match &endpoint.mode {
        Mode::Rpc(rpc) | Mode::Auto(_, rpc) => Some((endpoint.path.as_str(), &*rpc.routes)),
        Mode::Echo | Mode::Room { .. } | Mode::Events(_) => None,
    });
    let with_routes: Vec<(&str, &[Route])> = with_routes.collect();
    let paths = || with_routes.iter().map(|(path, _)| *path).collect::<Vec<&str>>().join(", ");
    let usage = |message: String| Err(Failure::new(Code::Usage, message));
    match (path, with_routes.as_slice()) {
        (_, []) => usage("no endpoint has dialect = \"rpc\" or \"auto\"".to_owned()),
        (None, [(_, only)]) => Ok(only),
        (None, _) => {
            usage(format!("several endpoints have routes: --endpoint, one of {}", paths()))
        }
        (Some(path), _) => match with_routes.iter().find(|(known, _)| *known == path) {
            Some((_, routes)) => Ok(routes),
            None => usage(format!("no endpoint at {path} has routes; there is {}", paths())),
        },
    }
}

fn signature(route: &Route) -> Signature {
    let pattern = match route.pattern {
        Pattern::Notification => types::Pattern::Notification,
        Pattern::Request => types::Pattern::Request,
        Pattern::Subscription => types::Pattern::Subscription,
    };
    let mut signature = Signature::new(&route.name, pattern);
    match &route.params {
        Some(params) => signature.params = params.iter().map(param).collect(),
        None => signature.rest = Some(Param { name: None, schema: Value::Bool(true) }),
    }
    let is_silent =
        route.pattern == Pattern::Notification || matches!(route.backing, Backing::Publish { .. });
    if !is_silent {
        let first = route.params.as_ref().and_then(|params| params.first());
        let known = match (&route.result, &route.backing) {
            (Some(result), _) => Some(result),
            (None, Backing::Echo) => first,
            (None, _) => None,
        };
        signature.result = Some(known.map_or(Value::Bool(true), value));
    }
    signature
}

/// A parameter is called what its schema has as its title.
fn param(schema: &Schema) -> Param {
    let schema = value(schema);
    let title = schema.get("title").and_then(Value::as_str);
    let is_name = |title: &&str| {
        let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
        title.starts_with(|first: char| first.is_ascii_alphabetic()) && title.chars().all(word)
    };
    Param { name: title.filter(is_name).map(str::to_owned), schema }
}

fn value(schema: &Schema) -> Value {
    // Written by us: it is JSON.
    from_str(schema.json()).unwrap_or(Value::Bool(true))
}

fn write(directory: &Path, files: &[(&str, String)]) -> Result<String, Failure> {
    let cannot = |what: &Path, error: &std::io::Error| {
        Failure::new(Code::Failure, format!("cannot write {}: {error}", what.display()))
    };
    fs::create_dir_all(directory).map_err(|error| cannot(directory, &error))?;
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| cannot(&path, &error))?;
    }
    Ok(String::new())
}

fn compare(directory: &Path, files: &[(&str, String)]) -> Result<String, Failure> {
    let is_stale = |(name, text): &&(&str, String)| {
        fs::read(directory.join(name)).ok().is_none_or(|found| found != text.as_bytes())
    };
    let stale: Vec<&str> = files.iter().filter(is_stale).map(|(name, _)| *name).collect();
    if stale.is_empty() {
        return Ok(String::new());
    }
    let message = format!("stale in {}: {}", directory.display(), stale.join(", "));
    Err(Failure::new(Code::Failure, message))
}
