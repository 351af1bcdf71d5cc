//! `fulmar emit`: an event for clients, from a shell.

use crate::cli::{EmitArguments, EmitTo, EmitWhat};
use crate::config;
use crate::config::fabric::check_url;
use crate::exit::{Code, Failure};
use crate::json::is_json;
use fulmar::fabric::{EmitError, Emitter};
use std::time::Duration;

/// How long Redis is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes it; returns what is to be printed.
///
/// # Errors
/// Data that is no JSON, no address to publish to, a Redis that is not there.
pub(crate) fn emit(arguments: &EmitArguments) -> Result<String, Failure> {
    check(&arguments.to)?;
    let urls = urls(arguments)?;
    let mut emitter = Emitter::connect(&urls, PATIENCE).map_err(|error| failure(&error))?;
    let sent = match &arguments.to {
        EmitTo::Client { id, what } => emitter.client(id, &what.event, &what.data),
        EmitTo::User { id, what } => emitter.user(id, &what.event, &what.data),
        EmitTo::Room { name, what, exclude } => {
            let exclude: Vec<&str> = exclude.iter().map(String::as_str).collect();
            emitter.room(name, &what.event, &what.data, &exclude)
        }
        EmitTo::All { what } => emitter.all(&what.event, &what.data),
    };
    let nodes = sent.map_err(|error| failure(&error))?;
    emitter.shutdown();
    Ok(if arguments.tell_nodes { format!("{nodes}\n") } else { String::new() })
}

/// What can be wrong without Redis.
fn check(to: &EmitTo) -> Result<(), Failure> {
    let (target, what) = match to {
        EmitTo::Client { id, what } | EmitTo::User { id, what } => (Some(id), what),
        EmitTo::Room { name, what, .. } => (Some(name), what),
        EmitTo::All { what } => (None, what),
    };
    let EmitWhat { event, data } = what;
    if target.is_some_and(String::is_empty) || event.is_empty() {
        return Err(usage("the client, user, room or event is empty"));
    }
    if is_json(data) {
        return Ok(());
    }
    let is_word = data.chars().all(|c| !c.is_control() && !"\"{}[]\\".contains(c));
    let hint = if is_word { format!("; did you mean '\"{data}\"'?") } else { String::new() };
    Err(usage(&format!("the data is not JSON{hint}")))
}

fn urls(arguments: &EmitArguments) -> Result<Vec<String>, Failure> {
    for (index, url) in arguments.urls.iter().enumerate() {
        if let Err(expected) = check_url(url) {
            return Err(usage(&format!("--url {}: {expected}", index + 1)));
        }
    }
    if !arguments.urls.is_empty() {
        return Ok(arguments.urls.clone());
    }
    let loaded = config::load(&arguments.inputs()).map_err(|rejected| rejected.failure())?;
    let urls = &loaded.configuration.fabric.urls;
    if urls.is_empty() {
        return Err(usage("no Redis: set fabric.urls in the configuration, or --url"));
    }
    Ok(urls.iter().map(|url| url.reveal().to_owned()).collect())
}

fn usage(message: &str) -> Failure {
    Failure::new(Code::Usage, message)
}

fn failure(error: &EmitError) -> Failure {
    let code = match error {
        EmitError::Address { .. } | EmitError::Data | EmitError::Target => Code::Usage,
        EmitError::NotReady { .. } | EmitError::Redis(_) => Code::Failure,
    };
    Failure::new(code, error.to_string())
}
