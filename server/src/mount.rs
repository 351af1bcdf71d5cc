//! From an `[[endpoint]]` of the configuration to an endpoint of the library.

use crate::auth::Authenticators;
use crate::auth::hooks::{Patterns, Without, allow_by_claims};
use crate::config::endpoint::{self, Access, EndpointConfiguration, Mode};
use crate::config::event::Events;
use crate::config::route::Rpc;
use crate::exit::{Code, Failure};
use crate::log::Logger;
use crate::routes::{self, Rules};
use crate::start::backpressure;
use fulmar::dialect::rpc::{Rpc as RpcDialect, RpcOptions};
use fulmar::event::{Authentication, Encryption, Event, EventOptions, JoinPolicy, RoomFilter};
use fulmar::text::{Role, RoomOptions, Text};
use fulmar::{Endpoint, EndpointOptions, encryption};
use fulmar_auth::RoomPatterns;
use std::sync::Arc;

/// The library's endpoint.
///
/// # Errors
/// A room, a pattern or a service that is refused although the configuration took it.
pub(crate) fn mount(
    from: &EndpointConfiguration,
    authenticators: Option<&Arc<Authenticators>>,
    logger: &Arc<Logger>,
) -> Result<Endpoint<()>, Failure> {
    let mounted = match &from.mode {
        Mode::Echo => Endpoint::new(&from.path).speaks(Text::echo()),
        Mode::Room { room, role, echo_to_self } => {
            let options = RoomOptions {
                room: room.to_string().parse().map_err(|error| invalid(from, error))?,
                role: match role {
                    endpoint::Role::Both => Role::Both,
                    endpoint::Role::Member => Role::Member,
                    endpoint::Role::Publisher => Role::Publisher,
                },
                echo_to_self: *echo_to_self,
                allow: match &from.join {
                    Some(join) => Some(filter(patterns(from, join)?)),
                    None => None,
                },
            };
            Endpoint::new(&from.path).speaks(Text::room(options))
        }
        Mode::Events(events) => {
            speak_events(Endpoint::new(&from.path), from, events, authenticators)?
        }
        Mode::Rpc(rpc) => speak_rpc(Endpoint::new(&from.path), from, rpc, logger)?,
        Mode::Auto(events, rpc) => {
            let mounted = speak_rpc(Endpoint::new(&from.path), from, rpc, logger)?;
            speak_events(mounted, from, events, authenticators)?
        }
    };
    Ok(guarded(mounted, from, authenticators).options(options(from)))
}

fn speak_rpc(
    mounted: Endpoint<()>,
    from: &EndpointConfiguration,
    rpc: &Rpc,
    logger: &Arc<Logger>,
) -> Result<Endpoint<()>, Failure> {
    let dialect = RpcOptions { calls_max: rpc.calls_max, subscriptions_max: rpc.subscriptions_max };
    let rules = Rules {
        join: match &from.join {
            Some(join) => Some(patterns(from, join)?),
            None => None,
        },
        // Else the guard lets nobody in who is not known.
        must_be_proven: matches!(from.mode, Mode::Auto(..)) && from.auth == Access::Required,
    };
    let mounted = mounted.speaks(RpcDialect::new(dialect));
    routes::mount(mounted, rpc, rules, logger).map_err(|error| invalid(from, error))
}

fn speak_events(
    mounted: Endpoint<()>,
    from: &EndpointConfiguration,
    events: &Events,
    authenticators: Option<&Arc<Authenticators>>,
) -> Result<Endpoint<()>, Failure> {
    let rooms = rooms(from, authenticators)?;
    let dialect = Event::new(EventOptions {
        auth_timeout: events.auth_timeout.unwrap_or_default(),
        heartbeat_interval: events.heartbeat_interval.unwrap_or_default(),
        heartbeat_timeout: events.heartbeat_timeout.unwrap_or_default(),
        default_rooms: events.default_rooms.iter().map(|room| room.as_str().into()).collect(),
        join: match &rooms {
            Rooms::None => JoinPolicy::Nobody,
            Rooms::Patterns(patterns) => JoinPolicy::Patterns(filter(patterns.clone())),
            Rooms::Claims(_) | Rooms::Callback(_) => JoinPolicy::Ask,
        },
        authentication: match from.auth {
            Access::Off => Authentication::Anybody,
            Access::Optional | Access::Required => Authentication::Ask,
        },
        encryption: events.encryption,
        ..EventOptions::default()
    });
    let mut mounted = mounted.speaks(dialect);
    mounted = match rooms {
        Rooms::None | Rooms::Patterns(_) => mounted,
        Rooms::Claims(patterns) => mounted.allow_rooms(allow_by_claims(patterns)),
        Rooms::Callback(own) => mounted.allow_rooms(own.allow_rooms()),
    };
    if let (Some(own), true) = (authenticators, from.auth != Access::Off) {
        mounted = mounted.authenticate(own.authenticate(from.auth));
    }
    if events.encryption != Encryption::Off {
        mounted = mounted.handshake(encryption::handshake);
    }
    Ok(mounted)
}

/// Who decides which rooms clients of an event endpoint may join.
enum Rooms {
    None,
    Patterns(RoomPatterns),
    /// Patterns that look into claims.
    Claims(RoomPatterns),
    Callback(Arc<Authenticators>),
}

fn rooms(
    from: &EndpointConfiguration,
    authenticators: Option<&Arc<Authenticators>>,
) -> Result<Rooms, Failure> {
    Ok(match (&from.join, authenticators) {
        (Some(join), _) if join.is_empty() => Rooms::None,
        (Some(join), _) => {
            let patterns = patterns(from, join)?;
            let by_claims = join.iter().any(|pattern| pattern.contains("{claim."));
            if by_claims { Rooms::Claims(patterns) } else { Rooms::Patterns(patterns) }
        }
        (None, Some(own)) if own.decides_rooms() => Rooms::Callback(own.clone()),
        (None, _) => Rooms::None,
    })
}

/// The endpoint with a guard, where its clients may show a token with the upgrade.
fn guarded(
    mounted: Endpoint<()>,
    from: &EndpointConfiguration,
    authenticators: Option<&Arc<Authenticators>>,
) -> Endpoint<()> {
    let Some(own) = authenticators.filter(|_| from.auth != Access::Off) else {
        return mounted;
    };
    let without = match (&from.mode, from.auth) {
        // Some say later who they are: the dialect sees to it that they do, or the routes.
        (Mode::Auto(..), Access::Required) => return mounted.guard(own.guard_both()),
        (Mode::Events(_), _) | (_, Access::Optional) => Without::Anonymous,
        _ => Without::Refused,
    };
    mounted.guard(own.guard(without))
}

fn patterns(from: &EndpointConfiguration, join: &[String]) -> Result<RoomPatterns, Failure> {
    RoomPatterns::parse(join).map_err(|error| invalid(from, error))
}

fn filter(patterns: RoomPatterns) -> Arc<dyn RoomFilter> {
    Arc::new(Patterns::new(patterns))
}

fn invalid(from: &EndpointConfiguration, error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Configuration, format!("{}: {error}", from.path))
}

fn options(from: &EndpointConfiguration) -> EndpointOptions {
    EndpointOptions {
        backpressure: Some(backpressure(from.backpressure)),
        message_bytes_max: Some(from.message_bytes_max),
        idle: Some(from.idle),
        ping_interval: Some(from.ping_interval),
        origins: from.origins.iter().map(|origin| origin.as_str().into()).collect(),
        subprotocols: from.subprotocols.iter().map(|name| name.as_str().into()).collect(),
        no_deflate: false,
    }
}
