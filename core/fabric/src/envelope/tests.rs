//! Tests of the envelope: byte-exact examples, and input that a careful peer would not send.

use super::*;

const SERVER: &str = "3ceff78a-af37-47ce-a726-1c720249e583";

fn encoded(letter: &Letter<'_>) -> String {
    let mut out = Vec::new();
    encode(SERVER, letter, &mut out);
    String::from_utf8(out).unwrap()
}

fn decoded(text: &str) -> Result<Received, Dropped> {
    decode(text.as_bytes(), "own", 1 << 20)
}

fn channel(kind: Kind, target: &str) -> String {
    let mut out = Vec::new();
    kind.write_channel(target, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn letters_have_the_bytes_that_an_ignis_node_publishes() {
    let client = "9a629c12-564f-469c-8a3e-281025f2f785";
    let cases = [
        (
            Kind::Room,
            "elsewhere",
            r#"{"from":"user-alice","text":"hi"}"#,
            concat!(
                r#"{"serverId":"3ceff78a-af37-47ce-a726-1c720249e583","type":"room","#,
                r#""target":"elsewhere","event":"chat","data":{"from":"user-alice","text":"hi"}}"#,
            ),
        ),
        (
            Kind::Client,
            client,
            r#"{"from":"user-alice","text":"direct"}"#,
            concat!(
                r#"{"serverId":"3ceff78a-af37-47ce-a726-1c720249e583","type":"client","#,
                r#""target":"9a629c12-564f-469c-8a3e-281025f2f785","event":"chat","#,
                r#""data":{"from":"user-alice","text":"direct"}}"#,
            ),
        ),
    ];
    for (kind, target, data, expected) in cases {
        let letter = Letter { kind, target, event: "chat", data: Some(data), exclude: &[] };
        assert_eq!(encoded(&letter), expected);
        let back = decoded(expected).unwrap();
        assert_eq!((back.kind, &*back.target, &*back.event), (kind, target, "chat"));
        assert_eq!(back.data.as_deref(), Some(data));
        assert!(back.exclude.is_empty());
    }
    assert_eq!(channel(Kind::Room, "elsewhere"), "ws:room:elsewhere");
    assert_eq!(channel(Kind::Client, client), format!("ws:client:{client}"));
    assert_eq!(channel(Kind::User, "u"), "ws:user:u");
    assert_eq!(channel(Kind::Broadcast, ""), "ws:broadcast");
}

#[test]
fn absent_keys_are_left_out() {
    let letter = Letter { kind: Kind::Broadcast, target: "", event: "e", data: None, exclude: &[] };
    assert_eq!(
        encoded(&letter),
        format!(r#"{{"serverId":"{SERVER}","type":"broadcast","event":"e"}}"#)
    );
    let exclude = ["a".into(), "b".into()];
    let letter =
        Letter { kind: Kind::User, target: "u", event: "e", data: Some("null"), exclude: &exclude };
    let text = encoded(&letter);
    assert!(
        text.ends_with(
            r#","type":"user","target":"u","event":"e","data":null,"exclude":["a","b"]}"#
        )
    );
    let back = decoded(&text).unwrap();
    assert_eq!(back.exclude, exclude);
    assert_eq!(back.data.as_deref(), Some("null"));
}

#[test]
fn strings_are_escaped_as_json_stringify_does() {
    let mut out = Vec::new();
    write_string("a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é😀\u{2028}/", &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f\u{7f}é😀\u{2028}/\""
    );
}

#[test]
fn strange_names_come_back_as_they_went() {
    for name in ["", "\0", "a\"b", "\\", "\\u0041", "é😀", "\u{7f}\u{2029}", "{[", "]}"] {
        let room = format!("r{name}");
        let exclude = [Box::from(name)];
        let letter = Letter {
            kind: Kind::Room,
            target: &room,
            event: name,
            data: Some("[1, {\"a\" : \"]}\"}]"),
            exclude: &exclude,
        };
        let back = decoded(&encoded(&letter)).unwrap();
        assert_eq!((&*back.target, &*back.event), (&*room, name));
        assert_eq!(back.data.as_deref(), letter.data);
        assert_eq!(back.exclude, exclude);
    }
}

#[test]
fn own_messages_are_told_apart_from_malformed_ones() {
    let own = r#"{"serverId":"own","type":"broadcast","event":"e"}"#;
    assert_eq!(decoded(own), Err(Dropped::Own));
    assert_eq!(decode(own.as_bytes(), "other", 1 << 20).unwrap().kind, Kind::Broadcast);
}

#[test]
fn anything_that_is_not_an_envelope_is_malformed() {
    let cases = [
        "",
        " ",
        "null",
        "[]",
        "7",
        "\"serverId\"",
        "{}",
        "not json",
        r#"{"serverId":"s"}"#,
        r#"{"serverId":7,"type":"broadcast","event":"e"}"#,
        r#"{"serverId":null,"type":"broadcast","event":"e"}"#,
        r#"{"type":"broadcast","event":"e"}"#,
        r#"{"serverId":"s","type":"broadcast"}"#,
        r#"{"serverId":"s","type":"broadcast","event":7}"#,
        r#"{"serverId":"s","type":"broadcast","event":["e"]}"#,
        r#"{"serverId":"s","type":"Broadcast","event":"e"}"#,
        r#"{"serverId":"s","type":"all","event":"e"}"#,
        r#"{"serverId":"s","type":7,"event":"e"}"#,
        r#"{"serverId":"s","event":"e"}"#,
        r#"{"serverId":"s","type":"room","event":"e"}"#,
        r#"{"serverId":"s","type":"user","target":"","event":"e"}"#,
        r#"{"serverId":"s","type":"client","target":null,"event":"e"}"#,
        r#"{"serverId":"s","type":"room","target":7,"event":"e"}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e"} x"#,
        r#"{"serverId":"s","type":"broadcast","event":"e"}{}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e",}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e","data":01}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e","data":tru}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e","data":[1,]}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e","data":"\x"}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e","data":"\u12g4"}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e","data":"\u12"}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e","data":NaN}"#,
        r#"{"serverId":"s","type":"broadcast","event":"e","unknown":.5}"#,
        r#"{"serverId":"s","type":"broadcast","event":"\ud800"}"#,
        "{\"serverId\":\"s\",\"type\":\"broadcast\",\"event\":\"e\",\"data\":\"\n\"}",
        "\u{feff}{\"serverId\":\"s\",\"type\":\"broadcast\",\"event\":\"e\"}",
    ];
    for case in cases {
        assert_eq!(decoded(case), Err(Dropped::Malformed), "{case}");
    }
    let bytes = b"{\"serverId\":\"s\",\"type\":\"broadcast\",\"event\":\"\xff\"}";
    assert_eq!(decode(bytes, "own", 1 << 20), Err(Dropped::Malformed));
}

#[test]
fn every_prefix_of_an_envelope_and_every_changed_byte_is_survived() {
    let whole = concat!(
        r#"{"serverId":"s","type":"room","target":"t","event":"e","data":{"a":[1,"#,
        r#""\u00e9",null]},"exclude":["x",3]}"#,
    )
    .as_bytes();
    assert!(decode(whole, "own", 1 << 20).is_ok());
    for end in 0..whole.len() {
        assert_eq!(decode(&whole[..end], "own", 1 << 20), Err(Dropped::Malformed));
    }
    for index in 0..whole.len() {
        for byte in 0..=255 {
            let mut changed = whole.to_vec();
            changed[index] = byte;
            if let Ok(received) = decode(&changed, "own", 1 << 20) {
                assert!(received.data.as_deref().is_none_or(is_json));
            }
        }
    }
}

#[test]
fn absent_data_is_not_null_and_exclude_keeps_only_strings() {
    let text = concat!(
        r#" {"event":"","type":"broadcast","serverId":"emitter","exclude":["a",7,null,"#,
        r#"["b"],"\u0063",{"d":"e"}],"other":{}} "#,
    );
    let received = decoded(text).unwrap();
    assert_eq!(received.data, None);
    assert_eq!(&*received.event, "");
    assert_eq!(received.exclude, ["a", "c"].map(Box::<str>::from));
    for exclude in ["7", "null", "\"a\"", "{\"a\":\"b\"}"] {
        let text =
            format!(r#"{{"serverId":"s","type":"broadcast","event":"e","exclude":{exclude}}}"#);
        assert!(decoded(&text).unwrap().exclude.is_empty());
    }
}

#[test]
fn of_a_repeated_key_the_last_counts() {
    let text = concat!(
        r#"{"serverId":"own","serverId":"s","type":7,"type":"room","target":"a","#,
        r#""target":"b","event":"a","event":"b","data":1,"data":2,"exclude":["a"],"#,
        r#""exclude":[],"d\u0061ta":3}"#,
    );
    let received = decoded(text).unwrap();
    assert_eq!((received.kind, &*received.target, &*received.event), (Kind::Room, "b", "b"));
    assert_eq!(received.data.as_deref(), Some("3"));
    assert!(received.exclude.is_empty());
    let own_last = r#"{"serverId":"s","serverId":"own","type":"broadcast","event":"e"}"#;
    assert_eq!(decoded(own_last), Err(Dropped::Own));
}

#[test]
fn nesting_and_size_are_bounded() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"serverId":"s","type":"broadcast","event":"e","data":{open}{close}}}"#)
    };
    assert!(decoded(&nested(NESTING_MAX - 1)).is_ok());
    assert_eq!(decoded(&nested(NESTING_MAX)), Err(Dropped::Malformed));
    assert_eq!(decoded(&"[".repeat(1 << 20)), Err(Dropped::Malformed));
    assert_eq!(decoded(&"{\"a\":".repeat(100_000)), Err(Dropped::Malformed));
    let brackets = "[".repeat(1000);
    let quoted = format!(r#"{{"serverId":"s","type":"broadcast","event":"\"{brackets}"}}"#);
    assert!(decoded(&quoted).is_ok(), "brackets within strings are no nesting");
    let length = quoted.len();
    assert!(decode(quoted.as_bytes(), "own", length).is_ok());
    assert_eq!(decode(quoted.as_bytes(), "own", length - 1), Err(Dropped::Malformed));
}
