//! As much of a NATS server over WebSocket as the load generator needs.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use tungstenite::{Message, WebSocket, accept};

type Subjects = Arc<Mutex<HashMap<String, Vec<WebSocket<TcpStream>>>>>;

/// A server that cuts what it sends into frames of `piece` bytes.
pub(crate) fn serve(piece: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let subjects = Subjects::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let subjects = subjects.clone();
            std::thread::spawn(move || connection(stream, &subjects, piece));
        }
    });
    address
}

fn connection(stream: TcpStream, subjects: &Subjects, piece: usize) {
    stream.set_nodelay(true).unwrap();
    // A generator that ends or changes its mind is no failure of the server.
    let Ok(mut socket) = accept(stream) else {
        return;
    };
    say(&mut socket, b"INFO {\"server_name\":\"test\"}\r\n", piece);
    let Ok(greeting) = socket.read() else {
        return;
    };
    let greeting = String::from_utf8(greeting.into_data().to_vec()).unwrap();
    let mut lines = greeting.split("\r\n");
    assert_eq!(lines.next(), Some("CONNECT {\"verbose\":false,\"pedantic\":false}"));
    if let Some(subject) = greeting.split("SUB ").nth(1).and_then(|rest| rest.split(' ').next()) {
        let mut subjects = subjects.lock().unwrap();
        say(&mut socket, b"PONG\r\n", piece);
        subjects.entry(subject.to_owned()).or_default().push(socket);
        return;
    }
    say(&mut socket, b"PONG\r\nPING\r\n", piece);
    let mut alive = false;
    while let Ok(message) = socket.read() {
        let data = message.into_data();
        alive |= data.as_ref() == b"PONG\r\n";
        // Whoever does not answer a ping is not served.
        if alive && data.starts_with(b"PUB ") {
            publish(&mut subjects.lock().unwrap(), &data, piece);
        }
    }
}

fn publish(
    subjects: &mut HashMap<String, Vec<WebSocket<TcpStream>>>,
    publication: &[u8],
    piece: usize,
) {
    let end = publication.iter().position(|byte| *byte == b'\n').unwrap();
    let line = std::str::from_utf8(&publication[4..end]).unwrap().trim_end();
    let (subject, length) = line.split_once(' ').unwrap();
    let mut delivery = format!("MSG {subject} 1 {length}\r\n").into_bytes();
    delivery.extend_from_slice(&publication[end + 1..]);
    for member in subjects.entry(subject.to_owned()).or_default() {
        say(member, &delivery, piece);
    }
}

fn say(socket: &mut WebSocket<TcpStream>, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        let _gone = socket.write(Message::binary(piece.to_vec()));
    }
    let _gone = socket.flush();
}
