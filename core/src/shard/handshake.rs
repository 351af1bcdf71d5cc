//! From a connection's first byte to the answer of its request: an upgrade, a page or a refusal.

use std::net::SocketAddr;

use fulmar_dialect::{Gate, Link, Message, OpenRequest, Session};
use fulmar_driver::SocketId;
use fulmar_proto::http::{
    self, HeadLimits, HeadScanner, HttpError, Request as Head, choose_subprotocol, upgrade,
    write_response, write_switching_protocols,
};
use fulmar_proto::ws::deflate::{self, Deflate};

use super::connection::{PAUSED_ADMISSION, Request, Stage};
use super::{Command, Shard};
use crate::connection::{Connection as Handle, ConnectionDetails};
use crate::node::Mounted;
use crate::output::Finish;
use crate::page::Page;
use crate::path::Parameters;
use crate::reason::Reason;

impl Shard {
    pub(super) fn new_request(&self, peer: SocketAddr, refuse: Option<Reason>) -> Request {
        Request { buffer: Vec::new(), scanner: HeadScanner::default(), peer, refuse }
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
        let subprotocol = choose_subprotocol(asked.subprotocols(), &ours);
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
        if self.output.reply_with(socket, |out| out.extend_from_slice(&answer)).is_err() {
            return;
        }
        let deflate = deflate.map(|(parameters, _)| parameters);
        let opening = Opening { index, head, peer, parameters, subprotocol, deflate };
        self.open(socket, &opening);
        if !rest.is_empty() {
            // Frames that came with the request are served, not lost.
            self.on_more_bytes(socket, rest);
        }
    }

    fn open(&mut self, socket: SocketId, opening: &Opening<'_, '_>) {
        let node = self.node.clone();
        let endpoint = &node.endpoints[opening.index];
        let Some(connection) = self.connections.get_mut(socket) else { return };
        connection.stage = Stage::Open;
        self.pending -= 1;
        connection.endpoint = u16::try_from(opening.index).unwrap_or(u16::MAX);
        connection.deadlines.received(self.now);
        let extras = connection.extras_mut();
        (extras.request, extras.deflate) = (None, opening.deflate);
        connection.tidy();
        self.stats.opened += 1;
        self.stats.open += 1;
        self.output.set_profile(socket, endpoint.profile);
        let dialect = self.dialect_by(endpoint, opening.subprotocol);
        let link = Link::new(node.clone(), self.number(socket));
        let id = self.entropy.uuid();
        let headers = opening.headers();
        let parameters: Vec<(&str, &str)> =
            opening.parameters.iter().map(|(name, value)| (*name, &**value)).collect();
        let request = OpenRequest {
            path: opening.head.path,
            query: opening.head.query,
            parameters: &parameters,
            headers: &headers,
            subprotocol: opening.subprotocol,
            peer: opening.peer,
            id,
            identity: None,
            link: &link,
            main: &endpoint.main,
        };
        let chosen = dialect.unwrap_or(0);
        let session = dialect.map(|index| endpoint.dialects[index].0.open(&request));
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.session = session;
            connection.extras_mut().dialect = u8::try_from(chosen).unwrap_or(0);
            connection.tidy();
        }
        if endpoint.has_handlers || dialect.is_none() {
            let form = endpoint.dialects.get(chosen).map(|(dialect, _)| dialect.form());
            let details = ConnectionDetails {
                id,
                peer: opening.peer,
                path: opening.head.path.into(),
                query: opening.head.query.into(),
                parameters: owned(&parameters),
                headers: owned(&headers),
                identity: None,
                link: link.clone(),
                form: form.unwrap_or(fulmar_dialect::Form::Json),
                rooms: node.clone(),
            };
            self.add_lane(socket, link.clone(), Handle::new(details).erase());
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
        let headers: Vec<(&str, &str)> = handle.headers().collect();
        let parameters: Vec<(&str, &str)> = handle.parameters().collect();
        let identity = handle.identity();
        *session = Some(chosen_dialect.open(&OpenRequest {
            path: handle.path(),
            query: handle.query(),
            parameters: &parameters,
            headers: &headers,
            subprotocol: None,
            peer: handle.peer_address(),
            id: handle.id_bits(),
            identity: identity.as_ref(),
            link: handle.link(),
            main: &endpoint.main,
        }));
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.extras_mut().dialect = u8::try_from(chosen).unwrap_or(0);
            connection.tidy();
        }
        self.with_session(socket, session, |session, host| session.on_open(host));
    }

    fn serve_page(&mut self, socket: SocketId, head: &Head<'_>, page: &Page) {
        let is_head = head.method == "HEAD";
        if head.method != "GET" && !is_head {
            return self.refuse(socket, Reason::MethodNotAllowed, Some(("Allow", "GET, HEAD")));
        }
        let mut out = Vec::with_capacity(256 + page.body.len());
        let headers = [("Content-Type", &*page.content_type), ("Cache-Control", "no-cache")];
        write_response(&mut out, 200, &headers, &page.body, is_head);
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

/// What is known of a connection that opens.
struct Opening<'a, 'b> {
    index: usize,
    head: &'a Head<'b>,
    peer: SocketAddr,
    parameters: Parameters<'a>,
    subprotocol: Option<&'a str>,
    deflate: Option<Deflate>,
}

impl Opening<'_, '_> {
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
