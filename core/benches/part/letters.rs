//! The mailbox between shards.

use std::hint::black_box;
use std::sync::Arc;

use fulmar::output::{Broadcast, Exclude, PayloadBytes, Position, Publication, Reach, RoomMail};

use super::Operation;
use crate::mailbox::{Mail, mailbox};

/// A turn: another shard posts `count` deliveries to an owner that is awake, which then reads all.
pub(super) fn turn(count: usize) -> Operation {
    let mailbox = mailbox(1024);
    let room: Arc<str> = "room".into();
    let publication = Publication {
        room: room.clone(),
        event: "".into(),
        payload: PayloadBytes::Binary(vec![7; 64].into()),
        exclude: Exclude::Nobody,
        reach: Reach::Node,
    };
    let messages = Arc::from([Broadcast::new(publication, Position::default())]);
    let letter = RoomMail::Deliver { room, interest: 1, from: 0, messages };
    Box::new(move || {
        for _ in 0..count {
            assert!(mailbox.post().post(Mail::Room(letter.clone())).is_ok());
        }
        let mut drained = 0;
        mailbox.drain(256, |mail| {
            black_box(mail);
            drained += 1;
        });
        assert_eq!(drained, count);
    })
}
