//! From a connection's first byte to the answer of its request: an upgrade, a page or a refusal.

use std::net::SocketAddr;

use fulmar_dialect::{Gate, Link, Message, OpenRequest, Session};
use fulmar_driver::SocketId;
use fulmar_proto::http::{
    self, HeadLimits, HeadScanner, HttpError, Request as Head, choose_subprotocol, upgrade,
    write_response, write_switching_protocols,
};
use fulmar_proto::ws::deflate;

use super::connection::{Asked, NO_LANE, PAUSED_ADMISSION, Request, Stage};
use super::guarding::with_request;
use super::{Command, Shard};
use crate::connection::{Connection as Handle, ConnectionDetails};
use crate::hub::Hub;
use crate::node::Mounted;
use crate::output::{ConnectionId, Finish};
use crate::page::Page;
use crate::path::Parameters;
use crate::reason::Reason;

impl Shard {
    pub(super) fn new_request(&self, peer: SocketAddr, refuse: Option<Reason>) -> Request {
        let (buffer, scanner) = (Vec::new(), HeadScanner::default());
        Request { buffer, scanner, peer, refuse, asked: None }
    }

    fn head_limits(&self) -> HeadLimits {
        let limits = &self.node.config.limits;
        HeadLimits {
            head_bytes_max: limits.head_bytes_max,
            headers_max: limits.headers_max,
            target_bytes_max: limits.target_bytes_max,
        }
    }

    /// More of a request. The whole head in one read, the usual case, is never copied.
    pub(super) fn on_request_bytes(&mut self, socket: SocketId, bytes: &mut [u8]) {
        if self.keep_for_later(socket, bytes) {
            return;
        }
        let limits = self.head_limits();
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let Some(request) = connection.request_mut() else { return };
        if request.buffer.is_empty() {
            match request.scanner.scan(bytes, &limits) {
                Ok(None) => request.buffer.extend_from_slice(bytes),
                Ok(Some(end)) => self.on_head(socket, bytes, end, &limits),
                Err(error) => self.refuse_request(socket, &error),
            }
            return;
        }
        // Bounded: the scanner refuses a head over its limit before more is taken.
        request.buffer.extend_from_slice(bytes);
        let mut buffer = std::mem::take(&mut request.buffer);
        match request.scanner.scan(&buffer, &limits) {
            Ok(None) => request.buffer = buffer,
            Ok(Some(end)) => self.on_head(socket, &mut buffer, end, &limits),
            Err(error) => self.refuse_request(socket, &error),
        }
    }

    fn on_head(&mut self, socket: SocketId, bytes: &mut [u8], end: usize, limits: &HeadLimits) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let Some(request) = connection.request_mut() else { return };
        let (peer, refused) = (request.peer, request.refuse);
        let (head, rest) = bytes.split_at_mut(end);
        if let Some(reason) = refused {
            return self.refuse(socket, reason, None);
        }
        match http::parse(head, limits) {
            Ok(request) => self.on_request(socket, &request, peer, rest),
            Err(error) => self.refuse_request(socket, &error),
        }
    }

    fn on_request(&mut self, socket: SocketId, head: &Head<'_>, peer: SocketAddr, rest: &mut [u8]) {
        let node = self.node.clone();
        if let Some(page) = node.pages.iter().find(|page| *page.path == *head.path)
            && !head.wants_upgrade()
        {
            return self.serve_page(socket, head, page);
        }
        let Some((index, parameters)) = node.endpoint(head.path) else {
            return self.refuse(socket, Reason::NotFound, None);
        };
        let endpoint = &node.endpoints[index];
        let asked = match upgrade(head) {
            Ok(asked) => asked,
            Err(error) => return self.refuse_request(socket, &error),
        };
        if !is_allowed(endpoint, head.header("origin").as_deref()) {
            return self.refuse(socket, Reason::OriginRefused, None);
        }
        let ours = endpoint.dialects.iter().flat_map(|(dialect, _)| dialect.subprotocols());
        let named = endpoint.subprotocols.iter().map(|name| &**name);
        let ours: Vec<&str> = ours.copied().chain(named).collect();
        let subprotocol = if ours.contains(&"*") {
            asked.subprotocols().next()
        } else {
            choose_subprotocol(asked.subprotocols(), &ours)
        };
        let deflate = match &node.config.deflate {
            Some(options) if endpoint.deflate => {
                let offer = asked.extensions();
                offer.and_then(|offer| deflate::negotiate(&offer, options))
            }
            _ => None,
        };
        let mut answer = Vec::with_capacity(256);
        let extensions = deflate.as_ref().map(|(_, answer)| &**answer);
        write_switching_protocols(&mut answer, asked.key(), subprotocol, extensions);
        let deflate = deflate.map(|(parameters, _)| parameters);
        let arrival = Arrival { index, head, peer, parameters, subprotocol };
        if endpoint.has_gate(Gate::Upgrade) {
            if let Some(connection) = self.connections.get_mut(socket) {
                connection.endpoint = u16::try_from(index).unwrap_or(u16::MAX);
            }
            let headers = arrival.headers();
            arrival.with_request(self, socket, &headers, |shard, request| {
                shard.add_handle(socket, true, request);
            });
            let subprotocol = subprotocol.map(Into::into);
            let rest = rest.to_vec();
            let asked = Asked { endpoint: index, answer, subprotocol, deflate, rest };
            return self.ask_guard(socket, asked);
        }
        if self.output.reply_with(socket, |out| out.extend_from_slice(&answer)).is_err() {
            return;
        }
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.extras_mut().deflate = deflate;
        }
        let headers = arrival.headers();
        arrival.with_request(self, socket, &headers, |shard, request| {
            shard.open(socket, index, request);
        });
        if !rest.is_empty() {
            // Frames that came with the request are served, not lost.
            self.on_more_bytes(socket, rest);
        }
    }

    /// It is a WebSocket from here on.
    pub(super) fn open(&mut self, socket: SocketId, index: usize, request: &OpenRequest<'_>) {
        let node = self.node.clone();
        let endpoint = &node.endpoints[index];
        let Some(connection) = self.connections.get_mut(socket) else { return };
        connection.stage = Stage::Open;
        self.pending -= 1;
        connection.endpoint = u16::try_from(index).unwrap_or(u16::MAX);
        connection.deadlines.received(self.now);
        connection.extras_mut().request = None;
        connection.tidy();
        self.stats.opened += 1;
        self.stats.open += 1;
        self.output.set_profile(socket, endpoint.profile);
        let dialect = self.dialect_by(endpoint, request.subprotocol);
        let chosen = dialect.unwrap_or(0);
        let session = dialect.map(|index| endpoint.dialects[index].0.open(request));
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.session = session;
            connection.extras_mut().dialect = u8::try_from(chosen).unwrap_or(0);
            connection.tidy();
        }
        if endpoint.has_handlers || dialect.is_none() || endpoint.is_addressable(chosen) {
            self.add_handle(socket, endpoint.has_handlers || dialect.is_none(), request);
        }
        if dialect.is_some() {
            self.set_form(socket);
            self.enter(socket, endpoint.is_addressable(chosen), request.id);
        }
        if endpoint.has_gate(Gate::Connect) {
            // Nothing is joined, said or heard before the hook has answered.
            if let Some(connection) = self.connections.get_mut(socket) {
                connection.flags.set(PAUSED_ADMISSION, true);
            }
            self.commands.push((socket, Command::StopRecv));
            self.run_hook(socket, Gate::Connect);
        } else {
            self.with_talk(socket, |session, host| session.on_open(host));
        }
        self.arm(socket);
    }

    /// Makes what handlers know of a connection, and its lane, if it has none yet.
    fn add_handle(&mut self, socket: SocketId, with_headers: bool, request: &OpenRequest<'_>) {
        if self.connections.get(socket).is_none_or(|connection| connection.lane() != NO_LANE) {
            return;
        }
        let node = &self.node;
        let headers = if with_headers { request.headers } else { &[] };
        let details = ConnectionDetails {
            id: request.id,
            opened_at: self.clock.wall_milliseconds(),
            peer: request.peer,
            path: request.path.into(),
            query: request.query.into(),
            parameters: owned(request.parameters),
            headers: owned(headers),
            link: request.link.clone(),
            form: self.form_of(socket),
            rooms: node.clone(),
            hub: Some(Hub::new(node.clone())),
        };
        let link = request.link.clone();
        self.add_lane(socket, link, Handle::new(details).erase());
    }

    /// Has a connection found by its id from now on.
    fn enter(&mut self, socket: SocketId, is_addressable: bool, id: u128) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if is_addressable && connection.id() == 0 {
            connection.extras_mut().id = id;
            self.node.directory.insert(id, ConnectionId { shard: self.id, socket });
            self.node.cluster.client(id, true);
        }
    }

    /// Which dialect is spoken from the start: the one whose subprotocol was agreed on, or the only
    /// one. `None`: the first message will show.
    fn dialect_by(&self, endpoint: &Mounted, subprotocol: Option<&str>) -> Option<usize> {
        if let Some(agreed) = subprotocol {
            let speaks = |(dialect, _): &(std::sync::Arc<dyn fulmar_dialect::Dialect>, _)| {
                dialect.subprotocols().contains(&agreed)
            };
            if let Some(index) = endpoint.dialects.iter().position(speaks) {
                return Some(index);
            }
        }
        (endpoint.dialects.len() == 1).then_some(0)
    }

    /// Opens the session of the dialect that claims the first message; the first one if none does.
    pub(super) fn open_claimed(
        &mut self,
        socket: SocketId,
        session: &mut Option<Box<dyn Session>>,
        first: &Message<'_>,
    ) {
        let Some(connection) = self.connections.get(socket) else { return };
        let node = self.node.clone();
        let endpoint = &node.endpoints[usize::from(connection.endpoint)];
        let claims =
            |(_, (dialect, _)): &(usize, &(std::sync::Arc<dyn fulmar_dialect::Dialect>, _))| {
                dialect.claims(first)
            };
        let chosen =
            endpoint.dialects.iter().enumerate().find(claims).map_or(0, |(index, _)| index);
        let Some((chosen_dialect, _)) = endpoint.dialects.get(chosen) else { return };
        let lane = self.lanes.get(connection.lane() as usize);
        let Some(handle) = lane.and_then(|lane| Handle::from_erased(&lane.connection)) else {
            return;
        };
        *session = Some(with_request(&handle, None, &endpoint.main, |request| {
            chosen_dialect.open(request)
        }));
        self.enter(socket, chosen_dialect.is_addressable(), handle.id_bits());
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.extras_mut().dialect = u8::try_from(chosen).unwrap_or(0);
            connection.tidy();
        }
        self.set_form(socket);
        self.with_session(socket, session, |session, host| session.on_open(host));
    }

    fn serve_page(&mut self, socket: SocketId, head: &Head<'_>, page: &Page) {
        let is_head = head.method == "HEAD";
        if head.method != "GET" && !is_head {
            return self.refuse(socket, Reason::MethodNotAllowed, Some(("Allow", "GET, HEAD")));
        }
        let (status, body) = page.answer();
        let mut out = Vec::with_capacity(256 + body.len());
        let headers = [("Content-Type", &*page.content_type), ("Cache-Control", "no-cache")];
        write_response(&mut out, status, &headers, &body, is_head);
        self.depart(socket, Reason::PageServed);
        self.last_words(socket, &out, Finish::AfterReplies);
    }

    fn refuse_request(&mut self, socket: SocketId, error: &HttpError) {
        let reason = match error.status {
            405 => Reason::MethodNotAllowed,
            414 => Reason::TargetTooLong,
            426 => Reason::UpgradeRequired,
            431 => Reason::HeadTooLarge,
            _ => Reason::BadRequest,
        };
        let mut out = Vec::with_capacity(256);
        http::write_refusal(&mut out, error);
        self.depart(socket, reason);
        self.last_words(socket, &out, Finish::AfterReplies);
    }

    /// Answers a request with a status and the reason's code, and ends the connection.
    pub(super) fn refuse(
        &mut self,
        socket: SocketId,
        reason: Reason,
        header: Option<(&str, &str)>,
    ) {
        let mut headers = vec![("Content-Type", "text/plain; charset=utf-8")];
        headers.extend(header);
        if matches!(reason.told(), 429 | 503) {
            headers.push(("Retry-After", "5"));
        }
        let body = match reason.key() {
            "" => format!("{}\n", reason.code()),
            key => format!("{} ({key})\n", reason.code()),
        };
        let mut out = Vec::with_capacity(256);
        write_response(&mut out, reason.told(), &headers, body.as_bytes(), false);
        self.depart(socket, reason);
        self.last_words(socket, &out, Finish::AfterReplies);
    }
}

/// A request for a connection.
struct Arrival<'a, 'b> {
    index: usize,
    head: &'a Head<'b>,
    peer: SocketAddr,
    parameters: Parameters<'a>,
    subprotocol: Option<&'a str>,
}

impl Arrival<'_, '_> {
    /// The request as sessions see it, with an id of its own.
    fn with_request(
        &self,
        shard: &mut Shard,
        socket: SocketId,
        headers: &[(&str, &str)],
        work: impl FnOnce(&mut Shard, &OpenRequest<'_>),
    ) {
        let node = shard.node.clone();
        let link = Link::new(node.clone(), shard.number(socket));
        let parameters: Vec<(&str, &str)> =
            self.parameters.iter().map(|(name, value)| (*name, &**value)).collect();
        let request = OpenRequest {
            path: self.head.path,
            query: self.head.query,
            parameters: &parameters,
            headers,
            subprotocol: self.subprotocol,
            peer: self.peer,
            id: shard.entropy.uuid(),
            identity: None,
            link: &link,
            main: &node.endpoints[self.index].main,
        };
        work(shard, &request);
    }

    /// Fields whose values are text; others no handler could use.
    fn headers(&self) -> Vec<(&str, &str)> {
        let fields = self.head.headers();
        fields.filter_map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?))).collect()
    }
}

fn owned(pairs: &[(&str, &str)]) -> Box<[(Box<str>, Box<str>)]> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// RFC 6455, 10.2: a browser's origin must be one of the endpoint's, if it names any. Clients that
/// are not browsers send none.
fn is_allowed(endpoint: &Mounted, origin: Option<&str>) -> bool {
    let allowed = |origin: &str| {
        endpoint.origins.iter().any(|known| known.eq_ignore_ascii_case(origin) || **known == *"*")
    };
    endpoint.origins.is_empty() || origin.is_none_or(allowed)
}
