//! From endpoints and a configuration to what the shards share.

use std::sync::Arc;

use fulmar_dialect::Dialect;
use fulmar_proto::ws::MessageLimits;
use fulmar_proto::ws::deflate::DeflateOptions;

use crate::cluster::Cluster;
use crate::config::{Backpressure, Config, SlowPolicy};
use crate::directory::Directory;
use crate::encoding::DialectEncoding;
use crate::endpoint::Bound;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::mailbox::{Mailbox, mailbox};
use crate::node::{Admission, Mounted, Node, SHARDS_MAX};
use crate::output::{Encode, Encoding, Encodings, Policy, Profile, ProfileId};
use crate::page::Page;
use crate::path::PathPattern;
use crate::timer::Timer;
use crate::worker::Pool;

/// A node and its shards' mailboxes.
pub(crate) struct Assembly {
    pub(crate) node: Arc<Node>,
    pub(crate) mailboxes: Vec<Mailbox>,
}

/// Checks everything and puts it together.
///
/// # Errors
/// What of the configuration cannot be.
pub(crate) fn assemble(
    config: Config,
    endpoints: Vec<Bound>,
    pages: Vec<Page>,
    timer: Timer,
    entropy: impl Fn() -> Box<dyn Entropy> + Send + Sync + 'static,
) -> Result<Assembly, Error> {
    check(&config)?;
    let mut table = Table { deflate: config.deflate, ..Table::default() };
    let mut mounted = Vec::new();
    for endpoint in endpoints {
        mounted.push(table.mount(endpoint, &config)?);
    }
    // A literal path wins over a parameter, whatever the order of mounting.
    mounted.sort_by_key(|endpoint| endpoint.pattern.parameters());
    let refuse = |what: &str| Error::Config { key: "endpoint.dialect", what: what.into() };
    let encodings =
        Encodings::new(table.encodings).ok_or_else(|| refuse("more than 16 protocols"))?;
    let mailboxes: Vec<Mailbox> =
        (0..config.shards).map(|_| mailbox(config.limits.mailbox_max)).collect();
    let mut seed = [0; 8];
    entropy().fill(&mut seed);
    let node = Arc::new(Node {
        endpoints: mounted,
        pages,
        posts: mailboxes.iter().map(|mailbox| mailbox.post().clone()).collect(),
        pool: Pool::new(),
        timer,
        encodings,
        profiles: table.profiles,
        home_seed: u64::from_le_bytes(seed),
        epoch: 0,
        admission: Admission::default(),
        directory: Directory::default(),
        cluster: Cluster::new(fulmar_dialect::uuid_text(entropy().uuid())),
        entropy: Box::new(entropy),
        config,
    });
    Ok(Assembly { node, mailboxes })
}

fn check(config: &Config) -> Result<(), Error> {
    let refuse = |key, what: String| Err(Error::Config { key, what: what.into() });
    if config.shards == 0 || config.shards > SHARDS_MAX {
        return refuse("shards", format!("{} is not between 1 and {SHARDS_MAX}", config.shards));
    }
    if config.workers == 0 {
        return refuse("workers", "there must be at least 1".to_owned());
    }
    let limits = &config.limits;
    let least = limits.message_bytes_max.saturating_mul(2);
    if limits.room_retain_bytes_max < least {
        let retain = limits.room_retain_bytes_max;
        return refuse(
            "limits.room_retain_bytes_max",
            format!("{retain} is less than twice limits.message_bytes_max, {least}"),
        );
    }
    Ok(())
}

/// What endpoints share by index.
#[derive(Default)]
struct Table {
    encodings: Vec<Arc<dyn Encode>>,
    names: Vec<&'static str>,
    deflate: Option<DeflateOptions>,
    profiles: Vec<Profile>,
}

impl Table {
    fn mount(&mut self, endpoint: Bound, config: &Config) -> Result<Mounted, Error> {
        let path = &endpoint.path;
        if endpoint.dialects.is_empty() {
            let what = "speaks no protocol: call .speaks(..)";
            return Err(Error::Path { path: path.clone(), what: what.into() });
        }
        let pattern = PathPattern::parse(path)?;
        let options = endpoint.options;
        let backpressure = options.backpressure.unwrap_or(config.backpressure);
        let message_bytes_max =
            options.message_bytes_max.unwrap_or(config.limits.message_bytes_max);
        if message_bytes_max.saturating_mul(2) > config.limits.room_retain_bytes_max {
            return Err(Error::Path {
                path: path.clone(),
                what: "allows messages of more than half of limits.room_retain_bytes_max".into(),
            });
        }
        let dialects =
            endpoint.dialects.into_iter().map(|dialect| self.encoding(dialect)).collect();
        Ok(Mounted {
            pattern,
            dialects,
            main: endpoint.main,
            hooks: endpoint.hooks,
            gates: endpoint.gates,
            has_handlers: endpoint.has_handlers,
            limits: MessageLimits {
                message_bytes_max,
                // The message's limit bounds its frames, and knows that noise grows when deflated.
                frame_bytes_max: usize::MAX,
                fragments_max: config.limits.fragments_max,
            },
            profile: self.profile(backpressure)?,
            policy: policy(backpressure.policy),
            pause_bytes: u64::from(backpressure.bytes_max) / 2,
            idle: options.idle.unwrap_or(config.timeouts.idle),
            ping_interval: options.ping_interval.unwrap_or(config.timeouts.ping_interval),
            origins: options.origins,
            subprotocols: options.subprotocols,
            deflate: !options.no_deflate,
        })
    }

    /// Endpoints of one protocol share its encoding, so that a room they share is encoded once.
    fn encoding(&mut self, dialect: Arc<dyn Dialect>) -> (Arc<dyn Dialect>, Encoding) {
        let known = self.names.iter().position(|name| *name == dialect.name());
        let index = known.unwrap_or_else(|| {
            self.add(&dialect, Arc::new(DialectEncoding::new(dialect.clone())));
            if let Some(options) = &self.deflate {
                // Its place is right behind the plain one; a join takes the one that fits.
                let deflated = DialectEncoding::deflated(dialect.clone(), options);
                self.add(&dialect, Arc::new(deflated));
                return self.names.len() - 2;
            }
            self.names.len() - 1
        });
        (dialect, Encoding(u8::try_from(index).unwrap_or(u8::MAX)))
    }

    fn add(&mut self, dialect: &Arc<dyn Dialect>, encoding: Arc<dyn Encode>) {
        self.names.push(dialect.name());
        self.encodings.push(encoding);
    }

    fn profile(&mut self, backpressure: Backpressure) -> Result<ProfileId, Error> {
        let profile = Profile {
            backlog_bytes_max: backpressure.bytes_max,
            backlog_bytes_low: backpressure.low_bytes,
            policy: policy(backpressure.policy),
        };
        let known = self.profiles.iter().position(|known| *known == profile);
        let index = known.unwrap_or_else(|| {
            self.profiles.push(profile);
            self.profiles.len() - 1
        });
        let too_many = || Error::Config {
            key: "endpoint.backpressure",
            what: "more than 256 different settings".into(),
        };
        u8::try_from(index).map(ProfileId).map_err(|_| too_many())
    }
}

fn policy(policy: SlowPolicy) -> Policy {
    match policy {
        SlowPolicy::DropNewest => Policy::DropNewest,
        SlowPolicy::Skip => Policy::Skip,
        SlowPolicy::Close => Policy::Close,
    }
}
