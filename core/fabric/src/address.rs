//! Where Redis is: the addresses given, and those a Redis Cluster tells of its other nodes.

use std::fmt;
use std::sync::Arc;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

/// Nodes of a cluster that are remembered.
const LEARNED_MAX: usize = 128;

/// One address with its credentials.
#[derive(Clone)]
pub(crate) struct Address {
    info: ConnectionInfo,
    label: Arc<str>,
}

/// All that is known of where to connect.
pub(crate) struct Addresses {
    given: Vec<Address>,
    learned: Vec<Address>,
}

impl Address {
    /// The error never repeats the text, which may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let info = url.into_connection_info().map_err(|error| error.to_string())?;
        Ok(Self::new(info))
    }

    /// The error is the failing one's position and the reason.
    pub(crate) fn parse_all<S: AsRef<str>>(urls: &[S]) -> Result<Vec<Self>, (usize, String)> {
        if urls.is_empty() {
            return Err((0, "no address is given".into()));
        }
        let parse =
            |(index, url): (usize, &S)| Self::parse(url.as_ref()).map_err(|why| (index, why));
        urls.iter().enumerate().map(parse).collect()
    }

    /// The address without user and password.
    pub(crate) fn label(&self) -> &Arc<str> {
        &self.label
    }

    pub(crate) fn client(&self, protocol: ProtocolVersion) -> redis::RedisResult<Client> {
        let settings = self.info.redis_settings().clone().set_protocol(protocol);
        Client::open(self.info.clone().set_redis_settings(settings.set_skip_set_lib_name()))
    }

    fn new(info: ConnectionInfo) -> Self {
        let label = match info.addr() {
            address @ ConnectionAddr::Tcp(..) => format!("redis://{address}"),
            address @ ConnectionAddr::TcpTls { .. } => format!("rediss://{address}"),
            address => format!("unix:{address}"),
        };
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Self { info, label: label.into() }
    }

    /// Another node of the cluster that this one belongs to: with the same credentials.
    fn neighbour(&self, host: &str, port: u16) -> Option<Self> {
        let host = host.to_owned();
        let address = match self.info.addr().clone() {
            ConnectionAddr::Tcp(..) => ConnectionAddr::Tcp(host, port),
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => return None,
        };
        Some(Self::new(self.info.clone().set_addr(address)))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl Addresses {
    pub(crate) fn new(given: Vec<Address>) -> Self {
        Self { given, learned: Vec::new() }
    }

    /// In the order in which they are tried.
    pub(crate) fn all(&self) -> Vec<Address> {
        self.given.iter().chain(&self.learned).cloned().collect()
    }

    /// Those given, as people are to see them.
    pub(crate) fn labels(&self) -> String {
        self.given.iter().map(|address| &**address.label()).collect::<Vec<_>>().join(", ")
    }

    /// Takes the answer to `CLUSTER NODES` by the node at `from`.
    pub(crate) fn learn(&mut self, from: &Address, nodes: &str) {
        self.learned.clear();
        for (host, port) in nodes.lines().filter_map(node).take(LEARNED_MAX) {
            let Some(address) = from.neighbour(host, port) else { return };
            if !self.given.iter().any(|given| given.label == address.label) {
                self.learned.push(address);
            }
        }
    }
}

/// Host and port in a line of `CLUSTER NODES`: `<id> <host:port@busport[,name]> <flags> ...`; the
/// one that answers is left out, and whatever the cluster itself cannot reach.
fn node(line: &str) -> Option<(&str, u16)> {
    let mut words = line.split(' ');
    let (address, flags) = (words.nth(1)?, words.next()?);
    if flags.split(',').any(|flag| matches!(flag, "myself" | "fail" | "noaddr" | "handshake")) {
        return None;
    }
    let address = address.split([',', '@']).next()?;
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port != 0)?;
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
07c37df 127.0.0.1:30004@31004,hostname4 slave e7d1eecce 0 1426238317239 4 connected
67ed2db 127.0.0.1:30002@31002 master - 0 1426238316232 2 connected 5461-10922
292f8b3 127.0.0.1:30003@31003 master,fail - 0 1426238318243 3 connected 10923-16383
6ec2392 fe80::1:30005@31005,,tls-port=0 slave,fail? 67ed2db 0 1426238316232 5 connected
824fe11 :0@0 master,noaddr - 0 1426238317741 6 connected
e7d1eec 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5460
garbage
x 127.0.0.1:99999@1 master
y nothing master
";

    #[test]
    fn the_nodes_of_a_cluster_are_learned_with_the_credentials_of_the_one_that_told() {
        let given = Address::parse("redis://:secret@127.0.0.1:30001").unwrap();
        let mut addresses = Addresses::new(vec![given.clone()]);
        addresses.learn(&given, NODES);
        let all = addresses.all();
        let labels: Vec<&str> = all.iter().map(|address| &**address.label()).collect();
        assert_eq!(
            labels[..3],
            ["redis://127.0.0.1:30001", "redis://127.0.0.1:30004", "redis://127.0.0.1:30002",]
        );
        assert!(labels[3].contains("fe80::1") && labels[3].contains("30005"));
        assert_eq!(labels.len(), 4);
        assert_eq!(all[2].info.redis_settings().password(), Some("secret"));
        assert_eq!(addresses.labels(), "redis://127.0.0.1:30001");
    }

    #[test]
    fn learning_is_bounded_and_repeatable() {
        let given = Address::parse("redis://localhost").unwrap();
        let mut addresses = Addresses::new(vec![given.clone()]);
        let many: String = (1..5000).map(|port| format!("x 10.0.0.1:{port}@1 master\n")).collect();
        for _ in 0..3 {
            addresses.learn(&given, &many);
        }
        assert_eq!(addresses.all().len(), 1 + LEARNED_MAX);
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused() {
        for url in ["", "localhost", "http://localhost", "redis://", "redis://localhost:99999"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
        #[cfg(not(feature = "tls"))]
        assert!(Address::parse("rediss://localhost").unwrap_err().contains("TLS"));
        #[cfg(feature = "tls")]
        assert_eq!(&**Address::parse("rediss://h").unwrap().label(), "rediss://h:6379");
    }
}
