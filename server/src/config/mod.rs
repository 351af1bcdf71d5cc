//! Configuration: from what was typed to values that cannot be invalid.
//!
//! [`low`] keeps what was typed with its place, [`read`] checks it against [`keys`], [`high`]
//! resolves it. This file finds the layers and lays them over each other.

pub(crate) mod auth;
pub(crate) mod document;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod fabric;
pub(crate) mod high;
pub(crate) mod keys;
mod low;
pub(crate) mod profile;
mod read;
pub(crate) mod route;
pub(crate) mod schema;
pub(crate) mod secret;
mod service;
mod source;
mod suggest;
pub(crate) mod template;
pub(crate) mod units;
mod unknown;

#[cfg(test)]
mod tests;

use crate::exit::Code;
use error::{Problem, Rejected};
use high::{Configuration, Warning};
use low::Node;
use read::Reader;
use source::{Origin, Sources};
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Everything that takes part in a configuration, as the process was given it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    /// `-c FILE`, in order.
    pub(crate) files: Vec<PathBuf>,
    /// `--set key=value`, in order.
    pub(crate) sets: Vec<String>,
    /// Flags of their own: the flag, its key, its value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
    /// The environment; only `FULMAR_` names are looked at.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Where to look for `fulmar.toml` when no file is named; none does not look.
    pub(crate) directory: Option<PathBuf>,
    /// The number of cores.
    pub(crate) cores: usize,
}

/// A valid configuration and how it came to be.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) configuration: Configuration,
    /// The files, as named.
    pub(crate) files: Vec<String>,
    /// What was laid over the files: variables, `--set` and flags, without values.
    pub(crate) overrides: Vec<String>,
    /// What is probably not wanted.
    pub(crate) warnings: Vec<Warning>,
}

/// Reads and resolves the configuration.
///
/// # Errors
/// Every mistake at once.
pub(crate) fn load(inputs: &Inputs) -> Result<Loaded, Rejected> {
    let mut layers = Layers::default();
    for file in layers.discover(inputs) {
        layers.add_file(&file);
    }
    layers.add_environment(inputs);
    for set in &inputs.sets {
        layers.add_set(set);
    }
    for (flag, key, value) in &inputs.flags {
        layers.add_override(Origin::Flag, flag, key, value.clone(), 0);
    }
    let mut root = Node::empty();
    for layer in layers.nodes {
        low::merge(&mut root, layer);
    }
    let mut reader = Reader::new(inputs.cores);
    let configuration = high::resolve(&mut reader, &root);
    let mut sources = layers.sources;
    sources.problems.append(&mut reader.problems);
    if !sources.problems.is_empty() {
        // In reading order, so that the first error is the first in the file.
        sources.problems.sort_by_key(|problem| {
            problem.place.as_ref().map_or((usize::MAX, 0), |at| (at.source, at.span.start))
        });
        return Err(Rejected { code: layers.code.unwrap_or(Code::Configuration), sources });
    }
    let mut warnings = layers.warnings;
    warnings.extend(high::warnings(&configuration, inputs.cores));
    Ok(Loaded { configuration, files: layers.files, overrides: layers.overrides, warnings })
}

#[derive(Default)]
struct Layers {
    sources: Sources,
    nodes: Vec<Node>,
    files: Vec<String>,
    overrides: Vec<String>,
    warnings: Vec<Warning>,
    /// Another code than that of an invalid configuration.
    code: Option<Code>,
}

impl Layers {
    fn discover(&self, inputs: &Inputs) -> Vec<PathBuf> {
        if !inputs.files.is_empty() {
            return inputs.files.clone();
        }
        let named = inputs.environment.iter().find(|(name, _)| name == "FULMAR_CONFIG");
        if let Some((_, value)) = named.filter(|(_, value)| !value.is_empty()) {
            return vec![PathBuf::from(value)];
        }
        let found = inputs.directory.as_ref().map(|directory| directory.join("fulmar.toml"));
        found.into_iter().filter(|path| path.exists()).collect()
    }

    fn add_file(&mut self, path: &std::path::Path) {
        let shown = path.display().to_string();
        let name = shown.strip_prefix("./").unwrap_or(&shown).to_owned();
        let read = fs::read(path).and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
        });
        match read {
            Ok(text) => {
                // A byte order mark is no part of the text, though editors write it.
                let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
                let source = self.sources.add(Origin::File, name.clone(), text);
                let node = low::parse_file(&mut self.sources, source);
                self.nodes.push(node);
                self.files.push(name);
            }
            Err(error) => {
                if error.kind() == ErrorKind::PermissionDenied {
                    self.code = Some(Code::Permission);
                }
                let message = format!("cannot read {name}: {error}");
                self.sources.problems.push(Problem::new(None, "", message));
            }
        }
    }

    fn add_environment(&mut self, inputs: &Inputs) {
        let mut variables: Vec<_> = inputs.environment.iter().collect();
        variables.sort();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with("FULMAR_")) else {
                continue;
            };
            if name == "FULMAR_CONFIG" || value.is_empty() {
                continue;
            }
            let key = keys::KEYS.iter().find(|key| key.variable().as_deref() == Some(name));
            match (key, value.to_str()) {
                (Some(key), Some(value)) => {
                    self.add_override(Origin::Environment, name, key.name, value.to_owned(), 0);
                }
                (Some(_), None) => {
                    let message = "the value is not UTF-8 text";
                    self.sources.problems.push(Problem::new(None, name, message));
                }
                (None, _) => self.warn_unknown_variable(name),
            }
        }
    }

    fn warn_unknown_variable(&mut self, name: &str) {
        let typed = name["FULMAR_".len()..].to_lowercase().replace("__", ".");
        let variable = suggest::key(&typed).and_then(keys::find).and_then(keys::Key::variable);
        let hint = variable.map(|variable| format!(", did you mean {variable}?"));
        let message = format!("this variable is not known{}", hint.unwrap_or_default());
        self.warnings.push(Warning { key: name.to_owned(), message });
    }

    fn add_set(&mut self, typed: &str) {
        let Some((key, _)) = typed.split_once('=').filter(|(key, _)| is_dotted(key.trim())) else {
            // What stands behind a mistyped key may be a secret.
            let typed = typed.split('=').next().unwrap_or_default();
            let message =
                format!("--set {typed}: expected key=value, such as limits.headers_max=32");
            self.sources.problems.push(Problem::new(None, "", message));
            return;
        };
        let (prefix, key) = (key.len() + 1, key.trim().to_owned());
        let is_secret = keys::is_sensitive(&key);
        let name = if is_secret { format!("--set {key}=...") } else { format!("--set {typed}") };
        self.add_override(Origin::Set, &name, &key, typed.to_owned(), prefix);
    }

    fn add_override(&mut self, origin: Origin, name: &str, key: &str, text: String, prefix: usize) {
        let source = self.sources.add(origin, name, text);
        self.nodes.push(low::parse_override(&self.sources, source, key, prefix));
        let shown = if origin == Origin::Set { format!("--set {key}") } else { name.to_owned() };
        self.overrides.push(shown);
    }
}

fn is_dotted(key: &str) -> bool {
    key.split('.').all(|part| !part.is_empty()) && !key.contains(char::is_whitespace)
}
