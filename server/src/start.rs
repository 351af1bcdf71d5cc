//! The seam between the configuration and the library: what is typed in `fulmar.toml` becomes a
//! running server here, and nowhere else.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use fulmar::{
    Backpressure, Config, DeflateOptions, Error, Limits, Page, Running, Server, SlowPolicy,
    Stopped, Timeouts,
};

use crate::announce;
use crate::auth::{self, Authenticators, Counts};
use crate::config::high::{self, Configuration, Policy};
use crate::config::{self, Inputs, Loaded};
use crate::exit::{Code, Failure};
use crate::fabric::{self, Readiness};
use crate::log::{Field, Level, Logger};
use crate::mount::mount;
use crate::signal::{self, Request};

/// The page at `/` while `demo` is on; it uses `/echo` and `/rooms/:room` on the same host.
const DEMO_PAGE: &str = include_str!("../demo/index.html");

/// What ends the wait for a running server.
enum Awaited {
    /// The start is over.
    Started(Box<Result<Running, Error>>),
    Signal(Request),
    /// The server ended by itself.
    Ended(Result<(), Error>),
    /// A graceful stop is over.
    Stopped(Stopped),
}

/// Runs the server until a signal stops it.
///
/// # Errors
/// What prevented the start or ended the server, with the exit code.
pub(crate) fn run(
    loaded: &Loaded,
    inputs: &Inputs,
    logger: &Arc<Logger>,
    began: Instant,
) -> Result<Code, Failure> {
    let configuration = &loaded.configuration;
    let (sender, awaited) = sync_channel(16);
    // Signals first: one that arrives during the start must find its handler.
    let _signals = listen_to_signals(sender.clone())?;
    let files = announce::raise_open_files();
    let io = configuration.io.choose().map_err(|error| failure(&error))?;
    announce::starting(logger, loaded, &io, files);
    let authenticators = authenticators(configuration, logger)?;
    let readiness = Readiness::new(authenticators.clone());
    let server = server(configuration, authenticators.as_ref(), &readiness, logger)?;
    let Some(running) = started(server, configuration, &awaited, &sender)? else {
        logger.event(Level::Info, "stop", "stopped before the start was over", &[]);
        return Ok(Code::Clean);
    };
    readiness.started(running.fabric());
    announce::fabric(logger, &configuration.fabric, &running);
    let address = running.local_addr();
    announce::listening(logger, address);
    let too_few_files = announce::open_files_warning(configuration.limits.connections_max, files);
    announce::warnings(logger, &loaded.warnings);
    announce::warnings(logger, too_few_files.as_slice());
    announce::ready(logger, address, began.elapsed());
    let refusals = Refusals { authenticators, told: Counts::default() };
    serve(running, &awaited, &sender, inputs, logger, refusals)
}

/// Starts on a thread of its own: waiting for Redis may take long, and a signal must end it. `None`
/// if one did.
fn started(
    server: Server<()>,
    configuration: &Configuration,
    awaited: &Receiver<Awaited>,
    sender: &SyncSender<Awaited>,
) -> Result<Option<Running>, Failure> {
    let (listen, told) = (configuration.listen, sender.clone());
    std::thread::spawn(move || told.send(Awaited::Started(Box::new(server.start(listen)))));
    for happened in awaited {
        match happened {
            Awaited::Started(result) => {
                return (*result).map(Some).map_err(|error| failure(&error));
            }
            Awaited::Signal(Request::Stop | Request::StopNow) => return Ok(None),
            // Nothing runs yet that could end, or be reloaded.
            Awaited::Signal(Request::Reload) | Awaited::Ended(_) | Awaited::Stopped(_) => {}
        }
    }
    Ok(None)
}

/// How often it is told who was refused.
const REFUSALS_TOLD: Duration = Duration::from_secs(60);

/// Who was refused, and how many of them the log knows.
struct Refusals {
    authenticators: Option<Arc<Authenticators>>,
    told: Counts,
}

impl Refusals {
    /// Logs those that are new.
    fn tell(&mut self, logger: &Logger) {
        let Some(authenticators) = &self.authenticators else { return };
        let now = authenticators.counts();
        if let Some(words) = auth::since(&self.told, &now) {
            logger.event(Level::Info, "auth", &format!("refused: {words}"), &[]);
        }
        self.told = now;
    }
}

/// Waits for signals until the server has stopped.
fn serve(
    running: Running,
    awaited: &Receiver<Awaited>,
    sender: &SyncSender<Awaited>,
    inputs: &Inputs,
    logger: &Logger,
    mut refusals: Refusals,
) -> Result<Code, Failure> {
    let (stopper, waiter) = running.split();
    let told = sender.clone();
    std::thread::spawn(move || told.send(Awaited::Ended(waiter.wait())));
    let mut stopping = false;
    loop {
        let happened = match awaited.recv_timeout(REFUSALS_TOLD) {
            Ok(happened) => happened,
            Err(RecvTimeoutError::Timeout) => {
                refusals.tell(logger);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(Code::Clean),
        };
        match happened {
            Awaited::Started(_) => {}
            Awaited::Signal(Request::Reload) => revalidate(inputs, logger),
            Awaited::Signal(Request::Stop) if !stopping => {
                stopping = true;
                let connections = stopper.stats().connections;
                let fields = [("connections", Field::Number(connections))];
                logger.event(Level::Info, "stop", "closing connections", &fields);
                let (stopper, told) = (stopper.clone(), sender.clone());
                std::thread::spawn(move || told.send(Awaited::Stopped(stopper.stop())));
            }
            Awaited::Signal(Request::Stop | Request::StopNow) => {
                logger.event(Level::Warn, "stop", "cutting connections", &[]);
                stopper.kill();
            }
            Awaited::Stopped(Stopped::Cut(connections)) => {
                let fields = [("connections", Field::Number(connections))];
                let message = "timeouts.stop has passed: connections were cut";
                logger.event(Level::Warn, "stop", message, &fields);
                return Ok(Code::DrainTimedOut);
            }
            Awaited::Stopped(Stopped::Drained) => {
                refusals.tell(logger);
                logger.event(Level::Info, "stop", "stopped", &[]);
                return Ok(Code::Clean);
            }
            // A stop tells more, a moment later.
            Awaited::Ended(Ok(())) if stopping => {}
            Awaited::Ended(Ok(())) => return Ok(Code::Clean),
            Awaited::Ended(Err(error)) => return Err(failure(&error)),
        }
    }
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Listen { address, error } => Failure::cannot_listen(*address, error),
        Error::Config { .. } | Error::Path { .. } => {
            Failure::new(Code::Configuration, error.to_string())
        }
        Error::Fabric { error } => fabric::failure(&**error),
        _ => Failure::new(Code::Failure, error.to_string()),
    }
}

/// The configuration's authenticators, if it has any.
fn authenticators(
    configuration: &Configuration,
    logger: &Arc<Logger>,
) -> Result<Option<Arc<Authenticators>>, Failure> {
    let auth = &configuration.auth;
    if auth.methods.is_empty() && auth.callback.rooms_url.is_none() {
        return Ok(None);
    }
    Authenticators::new(auth, Some(logger.clone())).map(|made| Some(Arc::new(made)))
}

/// The library's server of a configuration.
fn server(
    configuration: &Configuration,
    authenticators: Option<&Arc<Authenticators>>,
    readiness: &Readiness,
    logger: &Arc<Logger>,
) -> Result<Server<()>, Failure> {
    let mut server = Server::new(()).config(library_config(configuration));
    for endpoint in &configuration.endpoints {
        server = server.mount(mount(endpoint, authenticators, logger)?);
    }
    if let Some(options) = fabric::options(&configuration.fabric, logger) {
        server = server.fabric(options);
    }
    server = server.page(Page::new("/healthz", "text/plain; charset=utf-8", "ok\n"));
    server = server.page(readiness.page());
    if configuration.demo {
        server = server.page(Page::new("/", "text/html; charset=utf-8", DEMO_PAGE));
    }
    Ok(server)
}

fn library_config(configuration: &Configuration) -> Config {
    let Configuration { limits, timeouts, deflate, .. } = configuration;
    let longest = configuration.endpoints.iter().map(|endpoint| endpoint.message_bytes_max).max();
    let longest = longest.unwrap_or(0).max(limits.message_bytes_max);
    let defaults = Limits::default();
    Config {
        shards: configuration.shards,
        workers: configuration.workers,
        io: configuration.io,
        busy_poll: configuration.busy_poll.unwrap_or_default(),
        pin: configuration.pin,
        limits: Limits {
            connections_max: limits.connections_max,
            connections_per_address_max: limits.connections_per_address_max.unwrap_or(0),
            connections_pending_max: limits.connections_pending_max,
            head_bytes_max: limits.head_bytes_max,
            headers_max: limits.headers_max,
            target_bytes_max: limits.target_bytes_max,
            message_bytes_max: limits.message_bytes_max,
            fragments_max: u32::try_from(limits.fragments_max).unwrap_or(u32::MAX),
            rooms_per_connection_max: limits.rooms_per_connection_max,
            calls_in_flight_max: limits.calls_in_flight_max,
            calls_queued_max: limits.calls_queued_max,
            sealing_max: limits.sealing_max,
            mailbox_max: limits.mailbox_max,
            // A room must hold the longest message twice, or it could never be sent.
            room_retain_bytes_max: defaults.room_retain_bytes_max.max(longest.saturating_mul(2)),
        },
        timeouts: Timeouts {
            handshake: timeouts.handshake,
            idle: timeouts.idle,
            ping_interval: timeouts.ping_interval,
            pong: timeouts.pong,
            close: timeouts.close,
            stop: timeouts.stop,
        },
        backpressure: backpressure(configuration.backpressure),
        deflate: deflate.enabled.then_some(DeflateOptions {
            client_context_takeover: deflate.context_takeover,
            server_context_takeover: deflate.context_takeover,
            window_bits: deflate.window_bits,
            level: deflate.level,
            min_bytes: deflate.min_bytes,
        }),
        ..Config::default()
    }
}

pub(crate) fn backpressure(from: high::Backpressure) -> Backpressure {
    Backpressure {
        bytes_max: u32::try_from(from.bytes_max).unwrap_or(u32::MAX),
        low_bytes: u32::try_from(from.low_bytes).unwrap_or(u32::MAX),
        policy: match from.policy {
            Policy::DropNewest => SlowPolicy::DropNewest,
            Policy::Skip => SlowPolicy::Skip,
            Policy::Close => SlowPolicy::Close,
        },
    }
}

fn listen_to_signals(sender: SyncSender<Awaited>) -> Result<signal::Listener, Failure> {
    signal::listen(move |request| {
        // Bounded: what is not taken is a repetition.
        let _repeated = sender.try_send(Awaited::Signal(request));
    })
    .map_err(|error| {
        Failure::new(Code::Failure, format!("cannot install signal handlers: {error}"))
    })
}

/// `SIGHUP`: says whether the configuration as it is now would start; changes nothing.
fn revalidate(inputs: &Inputs, logger: &Logger) {
    match config::load(inputs) {
        Ok(_) => {
            let message = "the configuration is valid; reload is not supported yet: restart";
            logger.event(Level::Info, "config", message, &[]);
        }
        Err(rejected) => {
            let errors = rejected.render("The running configuration stays.");
            let message = "the configuration is invalid and would not start";
            logger.event(Level::Error, "config", message, &[("errors", Field::Text(&errors))]);
        }
    }
}
