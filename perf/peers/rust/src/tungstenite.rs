//! The tokio-tungstenite peer: one thread, a channel per member, one flush per batch.

mod rooms;

use std::io;
use std::sync::Arc;

use futures_util::stream::SplitSink;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use rooms::{Membership, Role, Rooms};

/// What a publisher sent in one read, for all members.
type Batch = Arc<[Message]>;
type Socket = WebSocketStream<TcpStream>;

/// The library clears its buffer before every read, so its 128 KiB cost more than a read does.
const READ_BYTES: usize = 16 << 10;
/// Messages taken together at most.
const MESSAGES_MAX: usize = 1024;
/// Batches that a member writes with one flush at most.
const BATCHES_MAX: usize = 64;

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve())
}

async fn serve() -> io::Result<()> {
    let listener = rooms::listen()?;
    let rooms = Rooms::new();
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, rooms.clone()));
    }
}

/// Serves one connection; an error ends it and nothing else.
async fn connection(stream: TcpStream, rooms: Rooms<Batch>) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut role = Role::Echo;
    let callback = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        role = Role::of(request.uri().path());
        Ok(response)
    };
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
    let socket =
        tokio_tungstenite::accept_hdr_async_with_config(stream, callback, Some(config)).await?;
    match role {
        Role::Echo => echo(socket).await,
        Role::Member(room) => member(socket, rooms.join(room)).await,
        Role::Publisher(room) => publisher(socket, &rooms, &room).await,
    }
}

async fn echo(mut socket: Socket) -> Result<(), Error> {
    let mut batch = Vec::with_capacity(MESSAGES_MAX);
    while read_batch(&mut socket, &mut batch).await? {
        for message in batch.drain(..) {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn publisher(mut socket: Socket, rooms: &Rooms<Batch>, room: &str) -> Result<(), Error> {
    let mut batch = Vec::with_capacity(MESSAGES_MAX);
    while read_batch(&mut socket, &mut batch).await? {
        rooms.publish(room, &batch.drain(..).collect());
    }
    Ok(())
}

/// Reads and writes in tasks of their own: a task that did both would, at every message it writes,
/// look for something to read as well, which clears the library's buffer again.
async fn member(socket: Socket, place: Membership<Batch>) -> Result<(), Error> {
    let (sink, mut stream) = socket.split();
    let writer = tokio::spawn(write_published(sink, place));
    while let Some(Ok(_)) = stream.next().await {}
    writer.abort();
    Ok(())
}

async fn write_published(
    mut sink: SplitSink<Socket, Message>,
    mut place: Membership<Batch>,
) -> Result<(), Error> {
    let mut batches = Vec::with_capacity(BATCHES_MAX);
    while place.receiver.recv_many(&mut batches, BATCHES_MAX).await > 0 {
        for batch in batches.drain(..) {
            for message in batch.iter() {
                sink.feed(message.clone()).await?;
            }
        }
        sink.flush().await?;
    }
    Ok(())
}

/// Waits for a message and takes all that came with it; false at the end.
async fn read_batch(socket: &mut Socket, batch: &mut Vec<Message>) -> Result<bool, Error> {
    let mut next = socket.next().await;
    loop {
        match next {
            Some(message) => {
                let message = message?;
                if message.is_text() || message.is_binary() {
                    batch.push(message);
                }
            }
            None => return Ok(!batch.is_empty()),
        }
        if batch.len() == MESSAGES_MAX {
            return Ok(true);
        }
        match socket.next().now_or_never() {
            Some(more) => next = more,
            None if batch.is_empty() => next = socket.next().await,
            None => return Ok(true),
        }
    }
}
