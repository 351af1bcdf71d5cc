//! Servers under test: in this process, or as the binary in a fresh one.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use fulmar::text::{RoomOptions, Text};
use fulmar::{Backpressure, Config, Endpoint, EndpointOptions, Io, Running, Server};
use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, ended_within};

/// A configuration with one shard and one worker, and nothing that happens by itself.
#[must_use]
pub fn config() -> Config {
    let mut config = Config { shards: 1, workers: 2, pin: false, io: io(), ..Config::default() };
    config.timeouts.ping_interval = None;
    config.timeouts.stop = Duration::from_secs(5);
    config
}

/// The kernel interface the servers under test use: what `FULMAR_IO` says, else `auto`.
///
/// # Panics
/// If it says something else than `auto`, `epoll` or `io_uring`.
#[must_use]
pub fn io() -> Io {
    std::env::var("FULMAR_IO").map_or(Io::Auto, |word| word.parse().unwrap())
}

/// A server with `/echo` and `/rooms/:room`, at a free port of the loopback.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn echo(config: Config) -> Running {
    start(
        config,
        vec![
            Endpoint::new("/echo").speaks(Text::echo()),
            Endpoint::new("/rooms/:room").speaks(Text::room(RoomOptions::default())),
        ],
    )
}

/// A server with these endpoints, at a free port of the loopback.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn start(config: Config, endpoints: Vec<Endpoint<()>>) -> Running {
    let server = Server::new(()).config(config);
    endpoints.into_iter().fold(server, Server::mount).start("127.0.0.1:0").unwrap()
}

/// Options that differ from the server's in backpressure only.
#[must_use]
pub fn pressed(backpressure: Backpressure) -> EndpointOptions {
    EndpointOptions { backpressure: Some(backpressure), ..EndpointOptions::default() }
}

/// The binary `fulmar` as a process of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Binary {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
}

impl Binary {
    /// Starts it on a free port of the loopback with this configuration file, and waits until it
    /// accepts connections. The file `FULMAR_BIN` names is run, else the one beside this test.
    ///
    /// # Panics
    /// If there is no such file (`cargo build -p fulmar-server` makes it), or it does not start.
    #[must_use]
    pub fn start(configuration: &str, arguments: &[&str]) -> Self {
        let io = ["--io", &io().to_string()];
        Self::launch(Command::new(executable()), configuration, &[&io, arguments].concat())
    }

    /// The same where the system refuses io_uring with this error (`EPERM`, `ENOSYS`), as
    /// containers do; without [`io`].
    ///
    /// # Panics
    /// As [`start`](Self::start), and without `python3`.
    #[must_use]
    pub fn start_without_io_uring(error: &str, configuration: &str, arguments: &[&str]) -> Self {
        Self::launch(without_io_uring(error), configuration, arguments)
    }

    fn launch(mut command: Command, configuration: &str, arguments: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fulmar-tests-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("fulmar.toml"), configuration).unwrap();
        // Only what a test sets itself may take part.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FULMAR_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--log", "text", "-c", "fulmar.toml"])
            .args(arguments)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                let path = executable();
                panic!("{}: {error}; cargo build -p fulmar-server makes it", path.display())
            });
        let errors = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, ready) = mpsc::channel();
        let lines = log.clone();
        // Reads to the end, so that the binary never waits for its log to be read.
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if let Some(address) = ready_address(&line) {
                    let _gone = sender.send(address);
                }
                lines.lock().unwrap().push(line);
            }
        });
        let address = ready.recv_timeout(PATIENCE);
        let address = address.unwrap_or_else(|_| {
            let _gone = child.kill();
            panic!("did not become ready: {:#?}", log.lock().unwrap())
        });
        Self { child, address, directory, log }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far, line by line.
    ///
    /// # Panics
    /// If reading it panicked.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has ended and been waited for.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits for its end, at most so long; `None` if it goes on.
    ///
    /// # Panics
    /// If the system cannot tell.
    pub fn wait(&mut self, most: Duration) -> Option<ExitStatus> {
        ended_within(&mut self.child, most)
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
        let _left = std::fs::remove_dir_all(&self.directory);
    }
}

/// The address in a line such as `ready      127.0.0.1:9000 in 3 ms`.
fn ready_address(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "ready");
    words.nth(1)?.parse().ok()
}

/// The binary, not yet started, in a process that may not use io_uring.
#[must_use]
pub fn without_io_uring(error: &str) -> Command {
    let wrapper = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/without_io_uring.py");
    let mut command = Command::new("python3");
    command.args([wrapper, error]).arg(executable());
    command
}

fn executable() -> PathBuf {
    if let Some(path) = std::env::var_os("FULMAR_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    // target/PROFILE/deps/TEST
    test.parent().and_then(std::path::Path::parent).unwrap().join("fulmar")
}
