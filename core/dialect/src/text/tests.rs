//! The text dialect's own promises; its dialogues are in `tests/text`.
use super::*;
use crate::event::RoomFilter;
use crate::{Identity, Position, Publication};
use crate::{Value, transcript::play};

fn room(template: &str, role: Role, echo_to_self: bool) -> Text {
    Text::room(RoomOptions { room: template.parse().unwrap(), role, echo_to_self, allow: None })
}

#[test]
fn a_publication_is_sent_as_it_is() {
    let encoded = |payload| {
        let mut out = Vec::new();
        let publication = Publication::new("r", "ignored", payload).unwrap();
        let encoded = Text::default().encode(&publication.said(Position::default()), &mut out);
        assert_eq!(encoded.data, 0..out.len());
        (encoded.binary, String::from_utf8(out).unwrap())
    };
    assert_eq!(encoded(Payload::Text("say \"hi\"".into())), (false, "say \"hi\"".into()));
    assert_eq!(encoded(Payload::Binary(b"bytes".to_vec().into())), (true, "bytes".into()));
    assert_eq!(encoded(Payload::json(r#"{"a":1}"#)), (false, r#"{"a":1}"#.into()));
    let rich = Value::Array(vec![Value::Date(0.0), Value::BigInt("1".into())]);
    let json = r#"["1970-01-01T00:00:00.000Z","1"]"#;
    assert_eq!(encoded(Payload::Rich(rich)), (false, json.into()));
}

#[test]
fn a_room_is_named_by_the_path_then_by_the_query() {
    let text = room("{room}", Role::Both, false);
    play(&text, "@ open /rooms/lobby?room=other room=lobby\n! join lobby 0 shared\n").unwrap();
    play(&text, "@ open /rooms?room=a%20b\n! join a b 0 shared\n").unwrap();
    let text = room("chat/{team}/{query.topic}", Role::Both, false);
    let script = "@ open /chat/7?team=no&topic=x team=7 topic=no\n! join chat/7/x 0 shared\n";
    play(&text, script).unwrap();
}

#[test]
fn a_request_without_a_usable_room_is_refused_and_not_heard() {
    let refused = "! close 1008 the request names no room\n> hello\n@ close us\n";
    for target in ["/", "/?room=", "/?other=x"] {
        play(&Text::room(RoomOptions::default()), &format!("@ open {target}\n{refused}")).unwrap();
    }
    let long = "x".repeat(257);
    let refused = "! close 1008 the name of the room is longer than 256 bytes\n> hello\n";
    let script = format!("@ open /?room={long}\n{refused}");
    play(&Text::room(RoomOptions::default()), &script).unwrap();
    let script = format!("@ open /?room={0}\n! join {0} 0 shared\n", "x".repeat(256));
    play(&Text::room(RoomOptions::default()), &script).unwrap();
}

#[test]
fn rooms_of_the_server_and_those_that_are_not_allowed_cannot_be_entered() {
    #[derive(Debug)]
    struct OnlyLobby;
    impl RoomFilter for OnlyLobby {
        fn allows(&self, room: &str, identity: &Identity) -> bool {
            room == "lobby" && identity.user.is_none()
        }
    }
    let reserved = "! close 1008 names of rooms that begin with ws: are the server's own\n";
    let script = format!("@ open /?room=ws:user:ada\n{reserved}");
    play(&Text::room(RoomOptions::default()), &script).unwrap();
    let options = RoomOptions { allow: Some(Arc::new(OnlyLobby)), ..RoomOptions::default() };
    let text = Text::room(options);
    play(&text, "@ open /?room=lobby\n! join lobby 0 shared\n").unwrap();
    let script = "@ open /?room=attic\n! close 1008 this room may not be entered\n> x\n";
    play(&text, script).unwrap();
}

#[test]
fn roles_limit_what_a_connection_does() {
    let script = "@ open /?room=r\n! join r 0 shared\n> x\n! publish r - others text x\n";
    play(&room("{room}", Role::Both, false), script).unwrap();
    let script = "@ open /?room=r\n! join r 0 shared\n> x\n! publish r - text x\n";
    play(&room("{room}", Role::Both, true), script).unwrap();
    let script = "@ open /?room=r\n>x 0102\n! publish r - others binary 0102\n";
    play(&room("{room}", Role::Publisher, false), script).unwrap();
    let script = "@ open /?room=r\n! join r 0 shared\n\
        > x\n! close 1008 this endpoint only receives (role = \"member\")\n";
    play(&room("{room}", Role::Member, false), script).unwrap();
}

#[test]
fn dialogues_hold() {
    play(&Text::echo(), include_str!("../../tests/text/echo.txt")).unwrap();
    play(&Text::default(), include_str!("../../tests/text/handler.txt")).unwrap();
    let options = RoomOptions::default();
    play(&Text::room(options), include_str!("../../tests/text/room.txt")).unwrap();
}
