//! A client of the `rpc` dialect.

use std::net::SocketAddr;

use crate::client::{Client, frame};
use fulmar_proto::ws::Opcode;

/// A client that counts its requests as alien-rpc's does, from 1 on.
#[derive(Debug)]
pub struct RpcClient {
    /// The WebSocket below.
    pub socket: Client,
    last: u64,
}

impl RpcClient {
    /// A connected client.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn open(address: SocketAddr, target: &str) -> Self {
        Self::over(Client::open(address, target))
    }

    /// The same over a connection that is open.
    #[must_use]
    pub fn over(socket: Client) -> Self {
        Self { socket, last: 0 }
    }

    /// Calls a route without wanting an answer; `params` are JSON without the brackets.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn notify(&mut self, method: &str, params: &str) {
        self.socket.text(&format!(r#"{{"method":"{method}","params":[{params}]}}"#));
    }

    /// Calls a route; the call's id.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn request(&mut self, method: &str, params: &str) -> u64 {
        self.last += 1;
        self.socket.text(&request(method, params, self.last));
        self.last
    }

    /// Calls a route so many times in one go, with `params` of each's id; the first id.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn requests(&mut self, count: u64, method: &str, params: impl Fn(u64) -> String) -> u64 {
        let first = self.last + 1;
        self.last += count;
        self.send_all((first..first + count).map(|id| request(method, &params(id), id)));
        first
    }

    /// Calls a route; the next frame, whatever it is.
    ///
    /// # Panics
    /// If none comes.
    pub fn ask(&mut self, method: &str, params: &str) -> String {
        self.request(method, params);
        self.socket.expect_text()
    }

    /// Cancels a call as alien-rpc's client does, which has forgotten it then.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn cancel(&mut self, id: u64) {
        self.socket.text(&cancel(id));
    }

    /// Cancels calls in one go.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn cancel_all(&mut self, ids: impl IntoIterator<Item = u64>) {
        self.send_all(ids.into_iter().map(cancel));
    }

    /// Sends texts in one go.
    ///
    /// # Panics
    /// If the server does not take them.
    pub fn send_all(&mut self, texts: impl IntoIterator<Item = String>) {
        let frames = texts.into_iter();
        let bytes = frames.flat_map(|text| frame(true, false, Opcode::Text, text.as_bytes()));
        self.socket.send(&bytes.collect::<Vec<_>>());
    }

    /// Waits until the server has read everything that was sent; what came before it said so.
    ///
    /// # Panics
    /// If it does not say so.
    pub fn settle(&mut self) -> Vec<String> {
        self.socket.text(r#"{"method":".ping"}"#);
        let mut seen = Vec::new();
        loop {
            match self.socket.expect_text() {
                pong if pong == r#"{"pong":true}"# => return seen,
                other => seen.push(other),
            }
        }
    }

    /// That the next frame is this result of a call.
    ///
    /// # Panics
    /// If another comes, or none.
    pub fn expect_result(&mut self, id: u64, result: &str) {
        assert_eq!(self.socket.expect_text(), format!(r#"{{"id":{id},"result":{result}}}"#));
    }

    /// That the next frame is the end of a stream.
    ///
    /// # Panics
    /// If another comes, or none.
    pub fn expect_end(&mut self, id: u64) {
        assert_eq!(self.socket.expect_text(), format!(r#"{{"id":{id},"close":true}}"#));
    }

    /// That the next frame is an error of a call with this code; the frame.
    ///
    /// # Panics
    /// If another comes, or none.
    pub fn expect_error(&mut self, id: u64, code: i64) -> String {
        let frame = self.socket.expect_text();
        let beginning = format!(r#"{{"id":{id},"error":{{"code":{code},"message":"#);
        assert!(frame.starts_with(&beginning), "{frame} instead of {beginning}");
        frame
    }
}

fn request(method: &str, params: &str, id: u64) -> String {
    format!(r#"{{"method":"{method}","params":[{params}],"id":{id}}}"#)
}

fn cancel(id: u64) -> String {
    format!(r#"{{"method":".cancel","params":[{id}]}}"#)
}
