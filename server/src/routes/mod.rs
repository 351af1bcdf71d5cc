//! The routes of a configuration as handlers of the library: rooms, HTTP services, echoes.

mod parameters;
mod room;
mod upstream;

use crate::auth::hooks::Standing;
use crate::config::route::{Backing, Route, Rpc};
use crate::config::schema::Schema;
use crate::log::Logger;
use fulmar::dialect::{Outcome, Payload};
use fulmar::handler::{CallParts, FromCall, Handler, IntoOutcome, With};
use fulmar::{CallError, Endpoint, Local, inline, worker};
use fulmar_auth::{RoomPatterns, SetupError};
use parameters::Parameters;
use room::Rooms;
use std::sync::Arc;
use upstream::Upstream;

/// What holds for all routes of an endpoint.
pub(crate) struct Rules {
    /// The rooms that may be named; none for any.
    pub(crate) join: Option<RoomPatterns>,
    /// Whether clients get in who may not call anything yet.
    pub(crate) must_be_proven: bool,
}

/// Adds the routes to an endpoint, and starts what asks HTTP services if there are any.
///
/// # Errors
/// A service that cannot be asked, no threads to be had.
pub(crate) fn mount(
    endpoint: Endpoint<()>,
    rpc: &Rpc,
    rules: Rules,
    logger: &Arc<Logger>,
) -> Result<Endpoint<()>, SetupError> {
    let has_services = rpc.routes.iter().any(|route| matches!(route.backing, Backing::Http(_)));
    let services = if has_services {
        Some(Arc::new(upstream::Services::start(&rpc.upstream, logger)?))
    } else {
        None
    };
    let join = rules.join.map(Arc::new);
    rpc.routes.iter().try_fold(endpoint, |endpoint, route| {
        let service = || match (&route.backing, &services) {
            (Backing::Http(url), Some(services)) => services.service(url).map(Some),
            _ => Ok(None),
        };
        let running = Running {
            params: route.params.clone(),
            must_be_proven: rules.must_be_proven,
            work: Work::of(route, join.as_ref(), service()?),
        };
        let placed = if running.is_quick() { inline(running) } else { worker(running) };
        Ok(endpoint.route(&route.name, limited(placed, route)))
    })
}

/// With the limits of its calls.
fn limited(mut placed: With<Running>, route: &Route) -> With<Running> {
    if let Some(timeout) = route.timeout {
        placed = placed.timeout(timeout);
    }
    match route.rate {
        None => placed,
        Some(rate) if rate.is_bucket => {
            let per_second = f64::from(rate.calls) / rate.per.as_secs_f64();
            placed.rate(fulmar::Rate::bucket(rate.calls, per_second))
        }
        Some(rate) => placed.rate(fulmar::Rate::window(rate.calls, rate.per)),
    }
}

/// A route that answers.
struct Running {
    params: Option<Vec<Schema>>,
    must_be_proven: bool,
    work: Work,
}

enum Work {
    Echo,
    Subscribe(Rooms),
    Publish { rooms: Rooms, event: String, echo_to_self: bool },
    Ask(Upstream),
}

impl Work {
    fn of(route: &Route, join: Option<&Arc<RoomPatterns>>, service: Option<Upstream>) -> Self {
        match (&route.backing, service) {
            (Backing::Subscribe(room), _) => Self::Subscribe(Rooms::new(room, join)),
            (Backing::Publish { room, event, echo_to_self }, _) => Self::Publish {
                rooms: Rooms::new(room, join),
                event: event.clone(),
                echo_to_self: *echo_to_self,
            },
            (Backing::Http(_), Some(service)) => Self::Ask(service.named(&route.name)),
            (Backing::Echo | Backing::Http(_), _) => Self::Echo,
        }
    }
}

/// Tells this handler from functions.
pub(crate) struct OfRoute;

impl Handler<OfRoute, ()> for Running {
    fn handle(&self, parts: &mut CallParts<'_, '_, ()>) -> Outcome {
        self.answer(parts).unwrap_or_else(|error| Outcome::Ready(Err(error)))
    }
}

impl Running {
    /// Whether it takes microseconds, so that a worker would only be a detour.
    fn is_quick(&self) -> bool {
        let is_quick = match &self.work {
            Work::Echo => true,
            Work::Subscribe(rooms) | Work::Publish { rooms, .. } => !rooms.reads_claims(),
            Work::Ask(_) => false,
        };
        is_quick && self.params.is_none()
    }

    fn answer(&self, parts: &mut CallParts<'_, '_, ()>) -> Result<Outcome, CallError> {
        if self.must_be_proven {
            let standing = Local::<Standing>::from_call(parts)?;
            if !standing.with(|standing| standing.is_proven) {
                return Err(CallError::with_code(401, "Unauthorized"));
            }
        }
        let (connection, form) = (parts.connection()?, parts.form());
        let params = Parameters::of(parts.take_args())?;
        if let Some(schemas) = &self.params {
            params.check(schemas)?;
        }
        match &self.work {
            Work::Echo => Ok(Outcome::Ready(Ok(params.first()?))),
            Work::Subscribe(rooms) => {
                let name = rooms.name(&connection, &params.list()?)?;
                Ok(fulmar::Subscription::new(&name).into_outcome(form))
            }
            Work::Publish { rooms, event, echo_to_self } => {
                let list = params.list()?;
                let name = rooms.name(&connection, &list)?;
                let room = connection.room(&name);
                let room = if *echo_to_self { room } else { room.except(&connection) };
                rooms.publish(&room, event, &list)?;
                Ok(Outcome::Ready(Ok(Payload::Undefined)))
            }
            Work::Ask(upstream) => Ok(upstream.ask(&connection, params.text())),
        }
    }
}
