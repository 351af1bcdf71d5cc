//! A Redis server of a test's own, and a client for it that knows just enough of RESP2.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{PATIENCE, holds_within};

/// A `redis-server` on a port of the loopback, which ends when this is dropped.
#[derive(Debug)]
pub struct Redis {
    child: Option<Child>,
    port: u16,
    directory: PathBuf,
}

impl Redis {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    /// If there is no `redis-server` (Debian's package has its name), or it does not start.
    #[must_use]
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fulmar-redis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let mut redis = Self { child: None, port: 0, directory };
        for _ in 0..20 {
            redis.port = free_port();
            if redis.launch() {
                return redis;
            }
        }
        panic!("redis-server does not start on any of 20 ports")
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As nodes are told of it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a power failure would.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again, empty, where it was.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "redis-server does not start again on port {}", self.port);
    }

    /// A connection to it.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn connect(&self) -> RedisClient {
        RedisClient::over(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }

    /// Starts the process; whether it answers.
    fn launch(&mut self) -> bool {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("redis-server: {error}; apt-get install redis-server has it")
        });
        let port = self.port;
        let mut is_up = false;
        holds_within(PATIENCE, || {
            let has_ended = child.try_wait().unwrap().is_some();
            is_up = !has_ended && answers(port);
            is_up || has_ended
        });
        if !is_up {
            let _ended = child.kill();
            let _waited = child.wait();
            return false;
        }
        self.child = Some(child);
        true
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended = child.kill();
            let _waited = child.wait();
        }
        let _left = std::fs::remove_dir_all(&self.directory);
    }
}

fn answers(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut client = RedisClient::over(stream);
    client.write(&["PING"]).is_ok()
        && client.read(Duration::from_secs(1)) == Some(RedisReply::Text("PONG".into()))
}

/// A port that nobody uses, below those that the system gives to clients: it can be listened on
/// again after a pause in which many connections were made.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 20_000).unwrap();
    loop {
        // Processes begin at different places: tests run in many at a time.
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % 20_000;
        let port = 11_000 + (process.wrapping_mul(7) % 20_000 + step) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What Redis answers or pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisReply {
    /// A status or a string.
    Text(String),
    /// A number.
    Number(i64),
    /// A refusal.
    Error(String),
    /// Nothing where there might be a string or a list.
    Nil,
    /// Several.
    List(Vec<Self>),
}

impl RedisReply {
    /// The texts in it, in order.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            Self::List(list) => list.iter().flat_map(Self::texts).collect(),
            Self::Number(_) | Self::Error(_) | Self::Nil => Vec::new(),
        }
    }

    /// The numbers in it, in order.
    #[must_use]
    pub fn numbers(&self) -> Vec<i64> {
        match self {
            Self::Number(number) => vec![*number],
            Self::List(list) => list.iter().flat_map(Self::numbers).collect(),
            Self::Text(_) | Self::Error(_) | Self::Nil => Vec::new(),
        }
    }
}

/// A connection to Redis.
#[derive(Debug)]
pub struct RedisClient {
    reader: BufReader<TcpStream>,
}

impl RedisClient {
    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Sends a command; its answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn command(&mut self, words: &[&str]) -> RedisReply {
        self.write(words).unwrap();
        self.read(PATIENCE).unwrap_or_else(|| panic!("no answer to {words:?}"))
    }

    /// Publishes; how many receivers Redis knew of.
    ///
    /// # Panics
    /// If it is refused.
    pub fn publish(&mut self, channel: &str, message: &str) -> i64 {
        match self.command(&["PUBLISH", channel, message]) {
            RedisReply::Number(receivers) => receivers,
            other => panic!("{other:?} to PUBLISH"),
        }
    }

    /// Channels that somebody is subscribed to, in order.
    ///
    /// # Panics
    /// If Redis does not say.
    pub fn channels(&mut self) -> Vec<String> {
        let mut channels = self.command(&["PUBSUB", "CHANNELS"]).texts();
        channels.sort();
        channels
    }

    /// How many are subscribed to a channel, patterns not counted.
    ///
    /// # Panics
    /// If Redis does not say.
    pub fn subscribers(&mut self, channel: &str) -> i64 {
        self.command(&["PUBSUB", "NUMSUB", channel]).numbers()[0]
    }

    fn write(&mut self, words: &[&str]) -> std::io::Result<()> {
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.reader.get_mut().write_all(bytes.as_bytes())
    }

    /// What is pushed next, if something is within so long.
    ///
    /// # Panics
    /// If the connection ends.
    pub fn next(&mut self, most: Duration) -> Option<RedisReply> {
        self.read(most)
    }

    /// The next reply, if one begins within so long.
    fn read(&mut self, most: Duration) -> Option<RedisReply> {
        if self.reader.buffer().is_empty() {
            let most = most.max(Duration::from_millis(1));
            self.reader.get_ref().set_read_timeout(Some(most)).unwrap();
            match self.reader.fill_buf() {
                Ok([]) => return None,
                Ok(_) => {}
                Err(error) if is_timeout(error.kind()) => return None,
                Err(error) => panic!("{error}"),
            }
            self.reader.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Some(self.reply())
    }

    fn reply(&mut self) -> RedisReply {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let (kind, rest) = line.trim_end().split_at(1);
        match kind {
            "+" => RedisReply::Text(rest.into()),
            "-" => RedisReply::Error(rest.into()),
            ":" => RedisReply::Number(rest.parse().unwrap()),
            "$" | "*" if rest == "-1" => RedisReply::Nil,
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.reader.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                RedisReply::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            "*" => {
                let length: usize = rest.parse().unwrap();
                RedisReply::List((0..length).map(|_| self.reply()).collect())
            }
            other => panic!("{other:?} is no RESP2"),
        }
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Hears everything that nodes say to each other.
#[derive(Debug)]
pub struct Recorder {
    client: RedisClient,
}

/// A message as it was published: its channel, its text.
pub type Recorded = (String, String);

impl Recorder {
    /// Subscribes to all channels that nodes use.
    ///
    /// # Panics
    /// If Redis refuses.
    #[must_use]
    pub fn start(redis: &Redis) -> Self {
        let mut client = redis.connect();
        let confirmed = client.command(&["PSUBSCRIBE", "ws:*"]);
        assert_eq!(confirmed.numbers(), [1], "{confirmed:?}");
        Self { client }
    }

    /// The next message, if one comes within so long.
    ///
    /// # Panics
    /// If something else comes.
    pub fn next(&mut self, most: Duration) -> Option<Recorded> {
        let reply = self.client.read(most)?;
        let texts = reply.texts();
        let [kind, _pattern, channel, message] = &texts[..] else { panic!("{reply:?}") };
        assert_eq!(kind, "pmessage");
        Some((channel.clone(), message.clone()))
    }

    /// The next so many messages, and that nothing follows them for so long.
    ///
    /// # Panics
    /// If fewer come, or more.
    pub fn expect(&mut self, count: usize, quiet: Duration) -> Vec<Recorded> {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while seen.len() < count {
            let left = end.saturating_duration_since(Instant::now());
            let Some(message) = self.next(left) else { panic!("{count} messages, got {seen:?}") };
            seen.push(message);
        }
        let more = self.next(quiet);
        assert_eq!(more, None, "behind {seen:?}");
        seen
    }
}
