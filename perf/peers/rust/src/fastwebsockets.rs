//! The fastwebsockets peer: upgraded by hyper, one thread, a channel per member.
//!
//! Its interface writes each frame as it is given; there is nothing to flush later.

mod rooms;

use std::error::Error;
use std::io;

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, WebSocket, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use rooms::{Membership, Role, Rooms};

type Published = (OpCode, Bytes);
type Socket = WebSocket<TokioIo<Upgraded>>;

/// Messages that a member takes from its channel at a time.
const MESSAGES_MAX: usize = 256;

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve())
}

async fn serve() -> io::Result<()> {
    let listener = rooms::listen()?;
    let rooms = Rooms::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(handshake(stream, rooms.clone()));
    }
}

async fn handshake(stream: TcpStream, rooms: Rooms<Published>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| answer(request, rooms.clone()));
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await
}

async fn answer(
    mut request: Request<Incoming>,
    rooms: Rooms<Published>,
) -> Result<Response<Empty<Bytes>>, Box<dyn Error + Send + Sync>> {
    let role = Role::of(request.uri().path());
    let (response, upgraded) = upgrade(&mut request)?;
    tokio::spawn(tokio::task::unconstrained(connection(upgraded, role, rooms)));
    Ok(response)
}

/// Serves one connection; an error ends it and nothing else.
async fn connection(
    upgraded: UpgradeFut,
    role: Role,
    rooms: Rooms<Published>,
) -> Result<(), WebSocketError> {
    let socket = upgraded.await?;
    match role {
        Role::Echo => echo(FragmentCollector::new(socket)).await,
        Role::Member(room) => member(socket, rooms.join(room)).await,
        Role::Publisher(room) => publisher(FragmentCollector::new(socket), &rooms, &room).await,
    }
}

async fn echo(mut socket: FragmentCollector<TokioIo<Upgraded>>) -> Result<(), WebSocketError> {
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

async fn publisher(
    mut socket: FragmentCollector<TokioIo<Upgraded>>,
    rooms: &Rooms<Published>,
    room: &str,
) -> Result<(), WebSocketError> {
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => {
                rooms.publish(room, &(frame.opcode, Bytes::copy_from_slice(&frame.payload)));
            }
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

async fn member(
    mut socket: Socket,
    mut place: Membership<Published>,
) -> Result<(), WebSocketError> {
    let mut messages = Vec::with_capacity(MESSAGES_MAX);
    loop {
        tokio::select! {
            biased;
            _ = place.receiver.recv_many(&mut messages, MESSAGES_MAX) => {
                for (opcode, payload) in messages.drain(..) {
                    let payload = Payload::Borrowed(&payload);
                    socket.write_frame(Frame::new(true, opcode, None, payload)).await?;
                }
            }
            frame = socket.read_frame() => {
                if frame?.opcode == OpCode::Close {
                    return Ok(());
                }
            }
        }
    }
}
