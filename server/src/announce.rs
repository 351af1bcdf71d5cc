//! The first lines: what runs, with which configuration, where, and what to watch out for.

use crate::config::Loaded;
use crate::config::auth::{Auth, JwtKeys, Method};
use crate::config::endpoint::{Access, EndpointConfiguration, Mode, Role};
use crate::config::fabric::{Fabric, Subscriptions};
use crate::config::high::Warning;
use crate::config::units::show_count;
use crate::log::{Field, Level, Logger};
use fulmar::{ChosenIo, Running};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::time::Duration;

/// The version line, where the configuration came from, threads, limits and endpoints.
///
/// `io` is the kernel interface and why it was chosen; `files` is the limit of open files.
pub(crate) fn starting(logger: &Logger, loaded: &Loaded, io: &ChosenIo, files: u64) {
    let configuration = &loaded.configuration;
    version(logger);
    configuration_origin(logger, loaded);
    let (shards, workers) = (configuration.shards, configuration.workers);
    let fields =
        [("shards", Field::Number(shards as u64)), ("workers", Field::Number(workers as u64))];
    let words = format!("{}, {}", plural(shards, "shard"), plural(workers, "worker"));
    logger.fact("threads", &words, &fields);
    let name = io.io.to_string();
    let fields = [("io", Field::Text(&name)), ("reason", Field::Text(&io.reason))];
    logger.fact("io", &format!("{name}: {}", io.reason), &fields);
    let connections = configuration.limits.connections_max as u64;
    let words = format!(
        "open files {}, connections {}",
        if files == u64::MAX { "unlimited".to_owned() } else { show_count(files) },
        show_count(connections)
    );
    let fields =
        [("nofile", Field::Number(files)), ("connections_max", Field::Number(connections))];
    logger.fact("limits", &words, &fields);
    endpoints(logger, &configuration.endpoints, configuration.demo);
    auth(logger, &configuration.auth, &configuration.endpoints);
}

/// The Redis that connects this node with others, once it is known; after [`starting`]. Nothing for
/// a node alone.
pub(crate) fn fabric(logger: &Logger, from: &Fabric, running: &Running) {
    let Some(fabric) = running.fabric() else { return };
    let status = fabric.status();
    let address = status.publisher_address.as_deref().unwrap_or("not connected yet");
    let mode = match from.subscriptions {
        Subscriptions::Interest => "interest",
        Subscriptions::Patterns => "patterns",
    };
    let hub = running.hub();
    let server_id = hub.server_id();
    let fields = [
        ("address", Field::Text(address)),
        ("subscriptions", Field::Text(mode)),
        ("server_id", Field::Text(server_id)),
        ("connected", Field::Switch(status.is_ready())),
    ];
    logger.fact("fabric", &format!("{address} by {mode}, this node is {server_id}"), &fields);
}

/// The address that is listened on, once it is known; after [`starting`].
pub(crate) fn listening(logger: &Logger, address: SocketAddr) {
    let address = address.to_string();
    logger.fact("listen", &address, &[("address", Field::Text(&address))]);
}

/// One `WARN` line each, naming its key; after [`listening`].
pub(crate) fn warnings(logger: &Logger, warnings: &[Warning]) {
    for Warning { key, message } in warnings {
        logger.warning(key, message);
    }
}

/// The last line of the start; the server accepts connections from here on.
pub(crate) fn ready(logger: &Logger, address: SocketAddr, took: Duration) {
    let address = address.to_string();
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let fields =
        [("address", Field::Text(&address)), ("milliseconds", Field::Number(milliseconds))];
    logger.fact("ready", &format!("{address} in {milliseconds} ms"), &fields);
}

/// Raises the limit of open files to what the system allows this process, since a connection is
/// an open file. Returns the limit in force; `u64::MAX` is no limit.
pub(crate) fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    now.unwrap_or(u64::MAX)
}

/// The warning for more connections than open files, if it is due.
pub(crate) fn open_files_warning(connections_max: usize, files: u64) -> Option<Warning> {
    /// Listeners, event queues, standard streams.
    const OTHER_FILES: u64 = 64;
    let needed = (connections_max as u64).saturating_add(OTHER_FILES);
    (needed > files).then(|| Warning {
        key: "limits.connections_max".to_owned(),
        message: format!(
            "{} connections do not fit into {} open files: raise LimitNOFILE (systemd) or \
             ulimit -n",
            show_count(connections_max as u64),
            show_count(files)
        ),
    })
}

fn version(logger: &Logger) {
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    let process = std::process::id();
    let version = env!("CARGO_PKG_VERSION");
    let fields = [
        ("version", Field::Text(version)),
        ("os", Field::Text(system)),
        ("arch", Field::Text(machine)),
        ("pid", Field::Number(u64::from(process))),
    ];
    logger.fact("fulmar", &format!("{version} ({system} {machine})  pid {process}"), &fields);
}

fn configuration_origin(logger: &Logger, loaded: &Loaded) {
    let files = loaded.files.join(", ");
    let overrides = loaded.overrides.join(", ");
    let mut words = if files.is_empty() { "built-in defaults".to_owned() } else { files.clone() };
    if !overrides.is_empty() {
        let count = plural(loaded.overrides.len(), "override");
        words.push_str(&format!(" + {count} ({overrides})"));
    } else if files.is_empty() {
        words.push_str(" (fulmar genconfig > fulmar.toml writes a file to edit)");
    }
    let fields = [("files", Field::Text(&files)), ("overrides", Field::Text(&overrides))];
    logger.fact("config", &words, &fields);
}

fn endpoints(logger: &Logger, endpoints: &[EndpointConfiguration], demo: bool) {
    const SHOWN: usize = 6;
    let mut shown: Vec<String> = endpoints.iter().take(SHOWN).map(describe).collect();
    if endpoints.len() > SHOWN {
        shown.push(format!("{} more", endpoints.len() - SHOWN));
    }
    if demo {
        shown.push("/ demo page".to_owned());
    }
    let words = shown.join(" · ");
    let fields = [
        ("count", Field::Number(endpoints.len() as u64)),
        ("endpoints", Field::Text(&words)),
        ("demo", Field::Switch(demo)),
    ];
    logger.fact("endpoints", &words, &fields);
}

/// How clients prove who they are, and where they must. Nothing where they need not.
fn auth(logger: &Logger, auth: &Auth, endpoints: &[EndpointConfiguration]) {
    const SHOWN: usize = 6;
    if auth.methods.is_empty() {
        return;
    }
    let methods: Vec<String> = auth.methods.iter().map(|one| method(auth, *one)).collect();
    let methods = methods.join(", ");
    let asked = endpoints.iter().filter(|endpoint| endpoint.auth != Access::Off);
    let asked = asked.map(|endpoint| format!("{} {}", endpoint.path, endpoint.auth.name()));
    let mut shown: Vec<String> = asked.collect();
    if shown.len() > SHOWN {
        let more = shown.len() - SHOWN;
        shown.truncate(SHOWN);
        shown.push(format!("{more} more"));
    }
    let places = shown.join(" · ");
    let places = if places.is_empty() { "no endpoint asks for it" } else { &places };
    let fields = [("methods", Field::Text(&methods)), ("endpoints", Field::Text(places))];
    logger.fact("auth", &format!("{methods}; {places}"), &fields);
}

fn method(auth: &Auth, method: Method) -> String {
    let name = method.name();
    match (method, &auth.jwt) {
        (Method::Tokens, _) => format!("{name} ({})", show_count(auth.tokens.len() as u64)),
        (Method::Jwt, Some(jwt)) => match &jwt.keys {
            JwtKeys::Secret(_) => format!("{name} (secret)"),
            JwtKeys::PublicKey(_) => format!("{name} (public key)"),
            JwtKeys::File(path) => format!("{name} (keys in {})", path.display()),
            // Without the query, which may hold a secret.
            JwtKeys::Url(url) => {
                format!("{name} (keys at {})", url.split('?').next().unwrap_or_default())
            }
        },
        (Method::Anonymous | Method::Callback | Method::Jwt, _) => name.to_owned(),
    }
}

fn describe(endpoint: &EndpointConfiguration) -> String {
    match &endpoint.mode {
        Mode::Events(_) => format!("{} events", endpoint.path),
        Mode::Rpc(rpc) => format!("{} {}", endpoint.path, plural(rpc.routes.len(), "route")),
        Mode::Auto(_, rpc) => {
            format!("{} events, {}", endpoint.path, plural(rpc.routes.len(), "route"))
        }
        Mode::Echo => format!("{} echo", endpoint.path),
        Mode::Room { room, role, .. } => {
            let role = match role {
                Role::Both => "",
                Role::Member => " members",
                Role::Publisher => " publishers",
            };
            format!("{} room {room}{role}", endpoint.path)
        }
    }
}

fn plural(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", show_count(count as u64))
}

impl Logger {
    /// A warning about the configuration, under the key that governs it.
    fn warning(&self, key: &str, message: &str) {
        if self.is_text() {
            self.notice(Level::Warn, "WARN", &format!("{message} ({key})"));
        } else {
            self.event(Level::Warn, "start", message, &[("key", Field::Text(key))]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_where_connections_exceed_open_files() {
        assert_eq!(open_files_warning(100_000, 1_048_576), None);
        assert_eq!(open_files_warning(100_000, u64::MAX), None);
        let warning = open_files_warning(100_000, 1024).unwrap();
        assert_eq!(warning.key, "limits.connections_max");
        assert!(
            warning.message.starts_with("100,000 connections do not fit into 1,024 open files")
        );
    }

    #[test]
    fn open_files_are_raised_to_what_is_allowed() {
        let limit = raise_open_files();
        assert_eq!(limit, getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
        assert!(limit > 0);
    }
}
