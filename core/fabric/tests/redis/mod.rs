//! Real Redis servers for tests: started on free loopback ports, without persistence, and killed
//! when the guard goes. Needs nothing but the standard library, `redis-server` and `redis-cli`.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Ports that leave room for a cluster's bus, 10,000 above, and stay below the ephemeral ones.
const PORTS: std::ops::Range<u16> = 12_000..22_000;
const PATIENCE: Duration = Duration::from_secs(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running (or killed) `redis-server`.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    port: u16,
    directory: PathBuf,
    arguments: Vec<String>,
}

/// What Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A status line.
    Simple(String),
    /// An error line.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string of bytes, or none.
    Bulk(Option<Vec<u8>>),
    /// Several.
    Array(Vec<Self>),
}

impl Reply {
    /// The text of a status or a string.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) => text.clone(),
            Self::Bulk(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The texts of an array.
    pub(crate) fn texts(&self) -> Vec<String> {
        let Self::Array(all) = self else { panic!("no array: {self:?}") };
        all.iter().map(Self::text).collect()
    }

    /// The number.
    pub(crate) fn integer(&self) -> i64 {
        let Self::Integer(number) = self else { panic!("no number: {self:?}") };
        *number
    }
}

impl Server {
    /// A single server.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// A single server with further arguments, such as `["--requirepass", "secret"]`.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        for _ in 0..20 {
            let mut server = Self::stopped_with(arguments);
            if server.run() {
                return server;
            }
        }
        panic!("redis-server does not start; is it installed?");
    }

    /// A server that is not running yet, on a port that was free just now.
    pub(crate) fn stopped() -> Self {
        Self::stopped_with(&[])
    }

    fn stopped_with(arguments: &[&str]) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fulmar-redis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory for redis-server");
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { child: None, port: free_port(number), directory, arguments }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its directory, removed with it.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Kills it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it (again) on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.run(), "redis-server does not start on port {}", self.port);
    }

    /// Stops its process without closing anything, so that it looks dead to its peers.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Undoes [`freeze`](Self::freeze).
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// One command over a connection of its own.
    pub(crate) fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        Client::connect(self.port).and_then(|mut c| c.command(arguments)).expect("an answer")
    }

    /// A connection for several commands.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port).expect("a connection")
    }

    /// Publishes bytes as they are; the number of receivers.
    pub(crate) fn publish(&self, channel: &str, message: &[u8]) -> i64 {
        self.command(&[b"PUBLISH", channel.as_bytes(), message]).integer()
    }

    /// The channels that somebody is subscribed to, sorted.
    pub(crate) fn channels(&self) -> Vec<String> {
        let mut channels = self.command(&["PUBSUB", "CHANNELS"]).texts();
        channels.sort();
        channels
    }

    /// The names of the connections that have one, sorted.
    pub(crate) fn client_names(&self) -> Vec<String> {
        let list = self.command(&["CLIENT", "LIST"]).text();
        let names = list.split_whitespace().filter_map(|word| word.strip_prefix("name="));
        let mut names: Vec<String> =
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        names.sort();
        names
    }

    fn run(&mut self) -> bool {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--logfile", "log"])
            .args(&self.arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return false };
        let running = until(|| {
            let ended = matches!(child.try_wait(), Ok(Some(_)));
            ended || self.answers()
        });
        let running = running && matches!(child.try_wait(), Ok(None));
        self.child = Some(child);
        if !running {
            self.kill();
        }
        running
    }

    /// Any answer will do: it may want a password.
    fn answers(&self) -> bool {
        Client::connect(self.port).and_then(|mut client| client.command(&["PING"])).is_ok()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(status.expect("kill").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A Redis Cluster of three primaries.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Its nodes.
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    /// Three nodes that know each other, with all slots served.
    pub(crate) fn start() -> Self {
        let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let nodes: Vec<Server> = (0..3).map(|_| Server::with(&arguments)).collect();
        let output = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)))
            .arg("--cluster-yes")
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let cluster = Self { nodes };
        assert!(until(|| cluster.is_whole()), "the cluster does not come up");
        cluster
    }

    fn is_whole(&self) -> bool {
        self.nodes.iter().all(|node| {
            let info = node.command(&["CLUSTER", "INFO"]).text();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
    }
}

/// A connection that speaks just enough RESP2.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command and waits for the answer.
    pub(crate) fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Reply> {
        self.send(arguments)?;
        self.receive()
    }

    /// Sends a command only.
    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<()> {
        let mut out = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments.iter().map(AsRef::as_ref) {
            out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            out.extend_from_slice(argument);
            out.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&out)
    }

    /// The next answer, or message of a subscription.
    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.trim_end_matches("\r\n");
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().map_err(io::Error::other);
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number()?),
            "$" => match usize::try_from(number()?) {
                Err(_) => Reply::Bulk(None),
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Reply::Bulk(Some(bytes))
                }
            },
            "*" => {
                let count = number()?.max(0);
                Reply::Array((0..count).map(|_| self.receive()).collect::<io::Result<_>>()?)
            }
            _ => return Err(io::Error::other(format!("not RESP2: {line}"))),
        })
    }
}

/// Whether something becomes true within 20 s.
pub(crate) fn until(condition: impl FnMut() -> bool) -> bool {
    within(PATIENCE, condition)
}

/// Whether something becomes true within `limit`.
#[expect(clippy::disallowed_methods, reason = "tests run in real time")]
pub(crate) fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begin.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A port that nobody has just now, and neither the one of the cluster's bus. Programs that run at
/// once begin at different places.
fn free_port(number: u32) -> u16 {
    let span = u32::from(PORTS.end - PORTS.start);
    let begin = std::process::id().wrapping_mul(97).wrapping_add(number * 7);
    (0..span)
        .filter_map(|step| u16::try_from(begin.wrapping_add(step) % span).ok())
        .map(|offset| PORTS.start + offset)
        .find(|&port| [port, port + 10_000].iter().all(|&port| is_free(port)))
        .expect("a free port")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
