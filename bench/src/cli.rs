//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::threshold::Threshold;
use crate::units::{parse_bytes, parse_count, parse_duration, parse_rate};

/// Load generator for WebSocket servers.
///
/// Exit status: 0 done, 1 the run failed, 2 wrong usage, 3 the generator could not keep its own
/// schedule, 99 a threshold is not met.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do to the server.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub(crate) enum Command {
    #[command(flatten)]
    Scenario(Scenario),
    /// Make one call of alien-rpc and print what comes of it as JSON, a line each.
    ///
    /// An error goes to standard error, with exit status 1.
    Call(CallArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// Address of the service, as its clients have it: http://127.0.0.1:9000 for the WebSocket at
    /// ws://127.0.0.1:9000/ws.
    pub(crate) url: String,
    /// The method.
    pub(crate) method: String,
    /// Its parameters, a JSON array.
    #[arg(value_name = "JSON", value_parser = parse_params, default_value = "[]")]
    pub(crate) params: String,
    /// Say it without waiting for an answer.
    #[arg(long, conflicts_with = "subscribe")]
    pub(crate) notify: bool,
    /// Print items until there are no more.
    #[arg(long)]
    pub(crate) subscribe: bool,
    /// How long to wait for the answer or for the next item.
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Send messages that the server sends back.
    ///
    /// Closed loop by default: the next message leaves when the last has come back. With --rate an
    /// open loop: messages leave on schedule, and latency counts from the scheduled time.
    Echo(EchoArgs),
    /// Make calls of alien-rpc and count the answers, which may come in any order.
    ///
    /// Loops and latencies as those of `echo`. An answer that is an error is one in the report,
    /// and none in rates and latencies.
    Request(RequestArgs),
    /// Publish to rooms and count what arrives at every member.
    Broadcast(BroadcastArgs),
    /// The same with many small rooms: 1,000 rooms of 10 unless told otherwise.
    Rooms(BroadcastArgs),
    /// Publish to one large room and time the first and the last receiver of every message.
    ///
    /// Counts from the moment before the publisher's frame is written. The generator polls without
    /// ever sleeping; `blind` is how long it had not looked when the first copy was read, the most
    /// that is its own part.
    Burst(BurstArgs),
    /// Measure what traffic in a large room does to a few echo connections.
    ///
    /// Two phases with the same connections: the room's members are silent in the first and receive
    /// --room-rate messages a second in the second. Echo connections and members each have a thread
    /// of the generator; both run on the CPU of --pin and pass it on after every few reads. `blind`
    /// is how long the echo thread had not looked when a reply was read, the most of a response
    /// time that is the generator's own part.
    Beside(BesideArgs),
    /// Open and close connections as fast as the server takes them.
    Churn(ChurnArgs),
    /// Hold silent connections and measure the server's memory for each.
    Idle(IdleArgs),
    /// Measure what members that never read do to those that do.
    Slow(SlowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// Address such as ws://127.0.0.1:9000/echo.
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) exchange: ExchangeArgs,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// Address such as ws://127.0.0.1:9000/rpc.
    pub(crate) url: String,
    /// The method. Unless --params are given it has to return the text it is called with.
    #[arg(long, default_value = "echo")]
    pub(crate) method: String,
    /// Its parameters, a JSON array, instead of one text of --size bytes. What comes back is not
    /// looked at then.
    #[arg(long, value_name = "JSON", value_parser = parse_params)]
    pub(crate) params: Option<String>,
    #[command(flatten)]
    pub(crate) exchange: ExchangeArgs,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Messages that are answered each by one.
#[derive(Debug, Args)]
pub(crate) struct ExchangeArgs {
    /// Connections.
    #[arg(short, long, value_parser = parse_count, default_value = "64")]
    pub(crate) connections: u32,
    /// Messages under way per connection at most [default: 1; with --rate 64].
    #[arg(long, value_parser = parse_count)]
    pub(crate) depth: Option<u32>,
    /// When a connection sends again: once all replies of its window are there, or for each.
    #[arg(long, value_enum, default_value_t = Refill::Window)]
    pub(crate) refill: Refill,
    /// Messages per second over all connections, on schedule.
    #[arg(short = 'q', long, value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Bytes of payload.
    #[arg(long, value_parser = parse_bytes, default_value = "20")]
    pub(crate) size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Refill {
    /// One send of a whole window.
    Window,
    /// One message for every reply.
    Each,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BroadcastArgs {
    /// Address of members, such as ws://127.0.0.1:9000/rooms/{room}.
    pub(crate) url: String,
    /// Address of publishers, if it differs.
    #[arg(long)]
    pub(crate) publish_url: Option<String>,
    /// Rooms [default: 1; for `rooms` 1,000].
    #[arg(long, value_parser = parse_count)]
    pub(crate) rooms: Option<u32>,
    /// Members in each room, besides its publisher [default: 100; for `rooms` 10].
    #[arg(long, value_parser = parse_count)]
    pub(crate) members: Option<u32>,
    /// Messages under way per room at most [default: 1; with --rate 1,024].
    #[arg(long, value_parser = parse_count)]
    pub(crate) window: Option<u32>,
    /// Publishers get their own messages as well, and a message is complete only with that copy.
    #[arg(long)]
    pub(crate) publisher_hears: bool,
    /// Published messages per second over all rooms, on schedule.
    #[arg(short = 'q', long, value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Bytes of payload, at least 8.
    #[arg(long, value_parser = parse_bytes, default_value = "64")]
    pub(crate) size: usize,
    /// What the server speaks after the handshake.
    #[arg(long, value_enum, default_value_t = Protocol::Websocket)]
    pub(crate) protocol: Protocol,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct BurstArgs {
    /// Address of members, such as ws://127.0.0.1:9000/rooms/{room}.
    pub(crate) url: String,
    /// Address of the publisher, if it differs.
    #[arg(long)]
    pub(crate) publish_url: Option<String>,
    /// Members of the room, besides its publisher.
    #[arg(long, value_parser = parse_count, default_value = "5k")]
    pub(crate) members: u32,
    /// The publisher gets its own messages as well, and a message is complete only with that copy.
    #[arg(long)]
    pub(crate) publisher_hears: bool,
    /// Published messages per second, on schedule.
    #[arg(short = 'q', long, value_parser = parse_rate, default_value = "20")]
    pub(crate) rate: f64,
    /// Bytes of payload, at least 8.
    #[arg(long, value_parser = parse_bytes, default_value = "64")]
    pub(crate) size: usize,
    /// What the server speaks after the handshake.
    #[arg(long, value_enum, default_value_t = Protocol::Websocket)]
    pub(crate) protocol: Protocol,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct BesideArgs {
    /// Address of the echo connections, such as ws://127.0.0.1:9000/echo.
    pub(crate) url: String,
    /// Address of members, such as ws://127.0.0.1:9000/rooms/{room}.
    pub(crate) room_url: String,
    /// Address of the room's publisher, if it differs from that of members.
    #[arg(long)]
    pub(crate) publish_url: Option<String>,
    /// Echo connections.
    #[arg(short, long, value_parser = parse_count, default_value = "4")]
    pub(crate) connections: u32,
    /// Echoes per second over all connections, on schedule.
    #[arg(short = 'q', long, value_parser = parse_rate, default_value = "200")]
    pub(crate) rate: f64,
    /// Bytes of payload of an echo.
    #[arg(long, value_parser = parse_bytes, default_value = "20")]
    pub(crate) size: usize,
    /// Members of the room, besides its publisher.
    #[arg(long, value_parser = parse_count, default_value = "5k")]
    pub(crate) members: u32,
    /// Messages published to the room per second, in the second phase. Sent 0.1 % faster, so that
    /// they fall on ever other moments of the echo's schedule.
    #[arg(long, value_parser = parse_rate, default_value = "10")]
    pub(crate) room_rate: f64,
    /// Bytes of payload of a room's message, at least 8.
    #[arg(long, value_parser = parse_bytes, default_value = "64")]
    pub(crate) room_size: usize,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// A message to a member is a message of WebSocket, and so is one from the publisher.
    Websocket,
    /// The NATS protocol. The room is a subject, named by the last segment of the address.
    Nats,
}

#[derive(Debug, Args)]
pub(crate) struct ChurnArgs {
    /// Address such as ws://127.0.0.1:9000/echo.
    pub(crate) url: String,
    /// Connections being opened or closed at a time: enough for the server never to be out of work.
    #[arg(short = 'c', long, value_parser = parse_count, default_value = "128")]
    pub(crate) parallel: u32,
    /// End connections without a close frame.
    #[arg(long)]
    pub(crate) abrupt: bool,
    /// Say this once open and leave it to the server to close: a login that is refused, say.
    #[arg(long, value_name = "TEXT", conflicts_with = "abrupt")]
    pub(crate) say: Option<String>,
    /// Connections to open a second, evenly; as fast as the server takes them without.
    #[arg(short = 'q', long, value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    /// Address such as ws://127.0.0.1:9000/echo.
    pub(crate) url: String,
    /// Connections.
    #[arg(short, long, value_parser = parse_count, default_value = "10k")]
    pub(crate) connections: u32,
    /// How long to hold them before the memory is read, and again after one message each.
    #[arg(long, value_parser = parse_duration, default_value = "2s")]
    pub(crate) hold: Duration,
    /// Bytes of payload of that message.
    #[arg(long, value_parser = parse_bytes, default_value = "20")]
    pub(crate) size: usize,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct SlowArgs {
    /// Address of members, such as ws://127.0.0.1:9000/rooms/{room}.
    pub(crate) url: String,
    /// Address of the publisher, if it differs.
    #[arg(long)]
    pub(crate) publish_url: Option<String>,
    /// Members that read.
    #[arg(long, value_parser = parse_count, default_value = "100")]
    pub(crate) members: u32,
    /// Members that never read, in the second phase.
    #[arg(long, value_parser = parse_count, default_value = "10")]
    pub(crate) stuck: u32,
    /// The publisher gets its own messages as well.
    #[arg(long)]
    pub(crate) publisher_hears: bool,
    /// Published messages per second.
    #[arg(short = 'q', long, value_parser = parse_rate, default_value = "1k")]
    pub(crate) rate: f64,
    /// Bytes of payload, at least 8.
    #[arg(long, value_parser = parse_bytes, default_value = "1k")]
    pub(crate) size: usize,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// How long to measure.
    #[arg(short = 'z', long, value_parser = parse_duration, default_value = "10s")]
    pub(crate) duration: Duration,
    /// How long to run before that.
    #[arg(long, value_parser = parse_duration, default_value = "2s")]
    pub(crate) warmup: Duration,
    /// How long to wait for messages still under way after it.
    #[arg(long, value_parser = parse_duration, default_value = "2s")]
    pub(crate) drain: Duration,
    /// Threads, each with its share of the connections (or rooms).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256), default_value = "1")]
    pub(crate) threads: u32,
    /// CPU of the first thread; the others take those after it.
    #[arg(long, value_name = "CPU")]
    pub(crate) pin: Option<u32>,
    /// Process of the server, to measure its CPU time and memory.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// CPU the server is pinned to, to add the kernel's soft interrupt thread there.
    #[arg(long, value_name = "CPU", requires = "pid")]
    pub(crate) server_cpu: Option<u32>,
    /// Write the report as JSON too; `-` writes it to stdout instead of the text.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Condition such as 'p99<5ms', 'rate>100k', 'lost=0', 'cpu_per_message<500ns'; repeatable.
    #[arg(long = "threshold", value_name = "CONDITION")]
    pub(crate) thresholds: Vec<Threshold>,
    /// Local addresses to connect from: auto, none, or a list. Auto uses 127.0.0.1, 127.0.0.2, ...
    /// where one address has too few ports.
    #[arg(long, default_value = "auto")]
    pub(crate) source_ips: SourceIps,
    /// Connections in their handshake at a time while setting up, per thread.
    #[arg(long, value_parser = parse_count, default_value = "128")]
    pub(crate) connecting: u32,
    /// Offer this subprotocol.
    #[arg(long)]
    pub(crate) subprotocol: Option<String>,
    /// Take handshakes whose Sec-WebSocket-Accept is wrong, as some bare test servers send.
    #[arg(long)]
    pub(crate) any_accept: bool,
    /// Send text messages (the default).
    #[arg(long, conflicts_with = "binary")]
    pub(crate) text: bool,
    /// Send binary messages.
    #[arg(long)]
    pub(crate) binary: bool,
    /// Masking keys of sent frames: zero costs nothing here, random is what browsers send.
    #[arg(long, value_enum, default_value_t = Mask::Zero)]
    pub(crate) mask: Mask,
    /// Seed of everything random.
    #[arg(long, default_value = "1")]
    pub(crate) seed: u64,
    /// Show nothing while running.
    #[arg(long)]
    pub(crate) no_progress: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mask {
    /// The key 0.
    Zero,
    /// Another key for every frame.
    Random,
}

/// Takes JSON that is an array.
fn parse_params(text: &str) -> Result<String, String> {
    match sonic_rs::from_str::<Vec<sonic_rs::Value>>(text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(_) => Err("parameters are a JSON array".to_owned()),
    }
}

/// Which local addresses connections come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourceIps {
    /// As many of 127.0.0.x as needed, if the server is on loopback.
    Auto,
    /// What the kernel picks.
    None,
    /// These in turn.
    List(Vec<IpAddr>),
}

impl FromStr for SourceIps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            list => {
                let address =
                    |text: &str| text.trim().parse().map_err(|_| format!("`{text}` is no address"));
                list.split(',').map(address).collect::<Result<_, _>>().map(Self::List)
            }
        }
    }
}

impl SourceIps {
    /// Connections that one local address carries to one port, with some left for others.
    pub(crate) const PORTS_PER_ADDRESS: u32 = 20_000;

    /// The local address of connection `number` of `total` to `server`.
    pub(crate) fn pick(&self, server: IpAddr, number: u32, total: u32) -> Option<IpAddr> {
        match self {
            Self::None => None,
            Self::List(list) => {
                list.get(usize::try_from(number).ok()? % list.len().max(1)).copied()
            }
            Self::Auto => {
                let IpAddr::V4(server) = server else {
                    return None;
                };
                let needed = total.div_ceil(Self::PORTS_PER_ADDRESS).min(250);
                (server.is_loopback() && needed > 1)
                    .then(|| IpAddr::from((0x7f00_0001 + number % needed).to_be_bytes()))
            }
        }
    }
}

impl Scenario {
    /// Options that every scenario has.
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Echo(args) => &args.common,
            Self::Broadcast(args) | Self::Rooms(args) => &args.common,
            Self::Burst(args) => &args.common,
            Self::Request(args) => &args.common,
            Self::Beside(args) => &args.common,
            Self::Churn(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Slow(args) => &args.common,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_units_and_repeated_thresholds() {
        let line = "fulmar-bench echo ws://127.0.0.1:1/ -c 1k -q 50k/s -z 500ms --size 16k \
                    --threshold p99<5ms --threshold lost=0 --source-ips 127.0.0.2,127.0.0.3";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Scenario(Scenario::Echo(echo)) = &cli.command else { panic!("echo") };
        let ExchangeArgs { connections, rate, size, .. } = echo.exchange;
        assert_eq!((connections, rate, size), (1_000, Some(50_000.0), 16_384));
        assert_eq!(echo.common.thresholds.len(), 2);
        let second = echo.common.source_ips.pick([127, 0, 0, 1].into(), 1, 2);
        assert_eq!(second, Some([127, 0, 0, 3].into()));
    }

    #[test]
    fn refuses_parameters_that_are_no_list() {
        for (params, is_list) in
            [("[]", true), (r#"["a",{"b":[1]}]"#, true), ("{}", false), ("[", false)]
        {
            let line = ["fulmar-bench", "request", "ws://127.0.0.1:1/", "--params", params];
            assert_eq!(Cli::try_parse_from(line).is_ok(), is_list, "{params}");
        }
    }

    #[test]
    fn refuses_wrong_values() {
        for wrong in ["--threshold p98<1ms", "--threads 0", "-z soon", "--server-cpu 0", "-q 0"] {
            let line = format!("fulmar-bench echo ws://127.0.0.1:1/ {wrong}");
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn more_connections_than_ports_come_from_several_addresses() {
        let auto = SourceIps::Auto;
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(auto.pick(loopback, 5, 20_000), None);
        assert_eq!(auto.pick(loopback, 5, 40_000), Some([127, 0, 0, 2].into()));
        assert_eq!(auto.pick([10, 0, 0, 1].into(), 5, 40_000), None);
    }
}
