//! A server that speaks alien-rpc: `echo` is answered in no particular order, `twice` two times,
//! `other` with something else, `count` with three items, and everything else with an error.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use sonic_rs::{JsonValueTrait, Value};
use tungstenite::{Error, Message, WebSocket, accept};

/// How long answers are held back, so that those to later calls come first.
const HELD: Duration = Duration::from_millis(1);

pub(crate) fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                if let Ok(socket) = accept(stream) {
                    connection(socket);
                }
            });
        }
    });
    address
}

fn connection(mut socket: WebSocket<TcpStream>) {
    socket.get_ref().set_read_timeout(Some(HELD)).unwrap();
    let mut held = Vec::new();
    loop {
        let text = match socket.read() {
            Ok(Message::Text(text)) => text,
            Ok(_) => continue,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                // The last one first.
                while let Some(answer) = held.pop() {
                    if socket.send(answer).is_err() {
                        return;
                    }
                }
                continue;
            }
            Err(_) => return,
        };
        let call: Value = sonic_rs::from_str(&text).unwrap();
        let Some(id) = call.get("id") else { continue };
        let result = &call["params"][0];
        let answers = match call["method"].as_str().unwrap() {
            "echo" => vec![format!("\"result\":{result}")],
            "twice" => vec![format!("\"result\":{result}"); 2],
            "other" => vec!["\"result\":1".to_owned()],
            "count" => {
                let items = (0..3).map(|item| format!("\"result\":{item}"));
                items.chain(["\"close\":true".to_owned()]).rev().collect()
            }
            _ => vec![r#""error":{"code":404,"message":"Not Found"}"#.to_owned()],
        };
        held.extend(answers.iter().map(|rest| Message::text(format!("{{\"id\":{id},{rest}}}"))));
    }
}
