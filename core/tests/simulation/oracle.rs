//! What must be true of what clients saw.

use std::collections::{HashMap, HashSet};

use crate::client::{Client, Kind};

/// Echoes and answers: in order, complete unless the client broke off or lost data by policy.
pub(crate) fn check_dialogue(client: &Client, is_tight: bool, by_stop: bool) -> Result<(), String> {
    let expected: Vec<String> = match client.kind {
        Kind::Room(_) => return Ok(()),
        Kind::Echo => client.sent.clone(),
        Kind::Handler => client.sent.iter().map(|text| format!("re {text}")).collect(),
    };
    if !is_subsequence(&client.got, &expected) {
        return Err("answers out of order or twice".to_owned());
    }
    // Answers of handlers that still run when the client says goodbye are not awaited; whoever
    // reads so slowly that the close frame does not come in time is cut.
    let is_cut = client.close.is_none();
    let may_miss =
        client.broke_off || by_stop || is_tight || is_cut || client.kind == Kind::Handler;
    if !may_miss && client.got.len() != expected.len() {
        return Err(format!("{} of {} answers", client.got.len(), expected.len()));
    }
    let is_prefix = expected.get(..client.got.len()) == Some(&client.got[..]);
    if client.kind == Kind::Handler && !is_prefix {
        return Err("an answer was dropped for data".to_owned());
    }
    Ok(())
}

/// Rooms: one order for all, unbroken stretches, nothing missed after the 101.
pub(crate) fn check_rooms(clients: &[Client], is_tight: bool, by_stop: bool) -> Result<(), String> {
    let rooms: HashSet<u64> = clients.iter().filter_map(room).collect();
    for number in rooms {
        let members: Vec<&Client> = clients.iter().filter(|c| room(c) == Some(number)).collect();
        for member in &members {
            check_member(member, &members)?;
            if !is_tight {
                for other in &members {
                    check_stretch(member, other)?;
                }
            }
            if !is_tight && !by_stop && !member.broke_off && member.close.is_some() {
                check_nothing_missed(member, &members)?;
            }
        }
        check_one_order(&members)?;
    }
    Ok(())
}

fn room(client: &Client) -> Option<u64> {
    match client.kind {
        Kind::Room(number) => Some(number),
        Kind::Echo | Kind::Handler => None,
    }
}

/// Everything it got was said in its room, each thing once.
fn check_member(member: &Client, members: &[&Client]) -> Result<(), String> {
    let said: HashSet<&String> = members.iter().flat_map(|client| &client.sent).collect();
    let got: HashSet<&String> = member.got.iter().collect();
    if got.len() != member.got.len() {
        return Err(format!("client {} got something twice", member.name));
    }
    if !got.is_subset(&said) {
        return Err(format!("client {} got what its room never said", member.name));
    }
    Ok(())
}

/// What both got stands in an unbroken stretch of each.
fn check_stretch(one: &Client, other: &Client) -> Result<(), String> {
    let places: HashMap<&String, usize> =
        other.got.iter().enumerate().map(|(place, text)| (text, place)).collect();
    let common: Vec<usize> = one.got.iter().filter_map(|text| places.get(text).copied()).collect();
    if common.windows(2).all(|pair| pair[1] == pair[0] + 1) {
        return Ok(());
    }
    Err(format!("clients {} and {} disagree on the order, or one missed", one.name, other.name))
}

/// A member that stayed until everything was at rest got whatever was sent after it saw its 101.
fn check_nothing_missed(member: &Client, members: &[&Client]) -> Result<(), String> {
    let Some(opened_at) = member.opened_at.filter(|_| member.stayed) else { return Ok(()) };
    let got: HashSet<&String> = member.got.iter().collect();
    // A sender whose close was answered was heard to the end.
    for sender in members.iter().filter(|sender| !sender.broke_off && sender.close.is_some()) {
        for (text, at) in sender.sent.iter().zip(&sender.sent_at) {
            if *at > opened_at && !got.contains(text) {
                return Err(format!("client {} missed {text}", member.name));
            }
        }
    }
    Ok(())
}

/// Each sender's messages come in the order in which they were sent, and all members agree.
fn check_one_order(members: &[&Client]) -> Result<(), String> {
    for member in members {
        for sender in members {
            let of_sender: Vec<&String> =
                member.got.iter().filter(|text| sender.sent.contains(*text)).collect();
            let mut rest = sender.sent.iter();
            if !of_sender.iter().all(|text| rest.any(|sent| sent == *text)) {
                return Err(format!("client {} got {}'s out of order", member.name, sender.name));
            }
        }
        for other in members {
            let places: HashMap<&String, usize> =
                other.got.iter().enumerate().map(|(place, text)| (text, place)).collect();
            let common: Vec<usize> =
                member.got.iter().filter_map(|text| places.get(text).copied()).collect();
            if !common.is_sorted() {
                return Err(format!("{} and {} disagree on order", member.name, other.name));
            }
        }
    }
    Ok(())
}

fn is_subsequence(part: &[String], whole: &[String]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|text| rest.any(|other| other == text))
}
