//! Mailboxes between shards: first in, first out, bounded for what may be refused.

use std::collections::VecDeque;

use fulmar::output::{Posts, RoomMail};

pub struct Mailboxes {
    pub boxes: Vec<VecDeque<RoomMail>>,
    pub max: usize,
    pub refused: u64,
}

impl Posts for Mailboxes {
    fn post(&mut self, shard: u32, mail: RoomMail) -> Result<(), RoomMail> {
        let mailbox = &mut self.boxes[shard as usize];
        if mailbox.len() >= self.max && mail.is_refusable() {
            self.refused += 1;
            return Err(mail);
        }
        mailbox.push_back(mail);
        Ok(())
    }
}
