//! One suite, every driver: what each must show, not what one happens to do.
#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test with real sockets"
)]

mod lab;

use std::rc::Rc;

use fulmar_driver::epoll::EpollDriver;
use fulmar_driver::listener::{ListenOptions, listen};
use fulmar_driver::sim::{SimDriver, SimOptions};
use fulmar_driver::uring::{UringDriver, UringOptions};
use fulmar_driver::{CloseCause, Driver, Member, Piece, SendBatch, Sending, Short, Took, Wake};

use lab::{Lab, Real, Seen, SimLab, SocketLab, TICK, accept, bytes, poll_some, poll_until, span};

fn bytes_and_order_are_kept_both_ways<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    let (client, socket) = accept(&mut lab, &mut seen);
    lab.driver().start_recv(socket);
    let (up, down) = (bytes(3 << 20, 1), bytes(2 << 20, 2));
    let mut batch = SendBatch::default();
    for part in down.chunks(10_000) {
        batch.push_owned(part.to_vec());
    }
    let mut done = matches!(lab.driver().send(socket, batch), Sending::Done(_));
    let (mut written, mut read) = (0, Vec::new());
    poll_until(&mut lab, &mut seen, |lab, seen| {
        written += lab.write(client, &up[written..]);
        read.extend(lab.read(client));
        done |= seen.sent.contains_key(&socket);
        done && read.len() == down.len()
            && seen.received.get(&socket).map_or(0, Vec::len) == up.len()
    });
    assert!(read == down && seen.received[&socket] == up);
}

fn receiving_begins_when_asked_and_pauses_without_loss<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    let (client, socket) = accept(&mut lab, &mut seen);
    lab.write(client, &bytes(1000, 1));
    poll_some(&mut lab, &mut seen);
    assert!(seen.received.is_empty(), "a socket is idle until it is started");
    lab.driver().start_recv(socket);
    poll_until(&mut lab, &mut seen, |_, seen| {
        seen.received.get(&socket).is_some_and(|got| got.len() == 1000)
    });
    lab.driver().stop_recv(socket);
    poll_some(&mut lab, &mut seen);
    lab.write(client, &bytes(5000, 2));
    poll_some(&mut lab, &mut seen);
    assert_eq!(seen.received[&socket].len(), 1000, "nothing comes once a stop has settled");
    lab.driver().start_recv(socket);
    poll_until(&mut lab, &mut seen, |_, seen| seen.received[&socket].len() == 6000);
    assert!(seen.received[&socket] == [bytes(1000, 1), bytes(5000, 2)].concat());
}

fn the_peers_end_is_told_once_after_its_bytes_and_sending_goes_on<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    let (client, socket) = accept(&mut lab, &mut seen);
    lab.driver().start_recv(socket);
    lab.write(client, b"last words");
    lab.finish(client);
    poll_until(&mut lab, &mut seen, |_, seen| seen.ended.contains_key(&socket));
    assert_eq!(seen.received[&socket], b"last words");
    let mut done = matches!(
        lab.driver().send(socket, SendBatch::from_bytes(b"answer".to_vec())),
        Sending::Done(_)
    );
    let mut read = Vec::new();
    poll_until(&mut lab, &mut seen, |lab, seen| {
        read.extend(lab.read(client));
        done |= seen.sent.contains_key(&socket);
        done && read == b"answer"
    });
    poll_some(&mut lab, &mut seen);
    assert_eq!((seen.ended[&socket], seen.closed.len()), (1, 0));
}

fn shutdown_comes_after_what_was_sent<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    let (client, socket) = accept(&mut lab, &mut seen);
    let down = bytes(6 << 20, 3);
    let mut done =
        matches!(lab.driver().send(socket, SendBatch::from_bytes(down.clone())), Sending::Done(_));
    lab.driver().shutdown(socket);
    let mut read = Vec::new();
    poll_until(&mut lab, &mut seen, |lab, seen| {
        read.extend(lab.read(client));
        done |= seen.sent.contains_key(&socket);
        done && read.len() == down.len()
    });
    poll_until(&mut lab, &mut seen, |lab, _| lab.is_ended(client));
    assert!(read == down && seen.closed.is_empty(), "the socket itself stays until it is closed");
}

fn the_last_batch_ends_the_stream<L: Lab>() {
    for size in [1, 6 << 20] {
        let (mut lab, mut seen) = (L::new(), Seen::default());
        let (client, socket) = accept(&mut lab, &mut seen);
        let down = bytes(size, 4);
        let sending = lab.driver().send_last(socket, SendBatch::from_bytes(down.clone()));
        let mut done = matches!(sending, Sending::Done(_));
        lab.driver().shutdown(socket);
        let mut read = Vec::new();
        poll_until(&mut lab, &mut seen, |lab, seen| {
            read.extend(lab.read(client));
            done |= seen.sent.contains_key(&socket);
            done && read.len() == down.len()
        });
        poll_until(&mut lab, &mut seen, |lab, _| lab.is_ended(client));
        assert!(read == down && seen.closed.is_empty());
    }
}

fn close_is_reported_once_also_with_a_batch_in_flight<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    let (client, socket) = accept(&mut lab, &mut seen);
    lab.driver().start_recv(socket);
    let stuck = lab.driver().send(socket, SendBatch::from_bytes(vec![7; 64 << 20]));
    assert!(matches!(stuck, Sending::Pending), "nobody reads");
    poll_some(&mut lab, &mut seen);
    assert!(seen.sent.is_empty());
    lab.driver().close(socket);
    lab.driver().close(socket);
    poll_some(&mut lab, &mut seen);
    assert_eq!(seen.closed[&socket], [CloseCause::Requested]);
    let stale = lab.driver().send(socket, SendBatch::from_bytes(vec![1]));
    assert!(matches!(stale, Sending::Pending), "a stale id is ignored");
    lab.driver().start_recv(socket);
    lab.driver().shutdown(socket);
    lab.driver().close(socket);
    poll_some(&mut lab, &mut seen);
    assert_eq!((seen.closed[&socket].len(), seen.sent.len()), (1, 0));
    poll_until(&mut lab, &mut seen, |lab, _| lab.is_ended(client));
}

fn an_index_used_again_has_another_generation<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    let (_, first) = accept(&mut lab, &mut seen);
    lab.driver().close(first);
    poll_until(&mut lab, &mut seen, |_, seen| seen.closed.contains_key(&first));
    let (client, second) = accept(&mut lab, &mut seen);
    assert_eq!(first.index, second.index);
    assert_ne!(first.generation, second.generation);
    lab.driver().close(first);
    lab.driver().start_recv(second);
    lab.write(client, b"still here");
    poll_until(&mut lab, &mut seen, |_, seen| {
        seen.received.get(&second).is_some_and(|got| got == b"still here")
    });
}

fn a_reset_ends_the_socket_once<L: Lab>() {
    for receiving in [true, false] {
        let (mut lab, mut seen) = (L::new(), Seen::default());
        let (client, socket) = accept(&mut lab, &mut seen);
        if receiving {
            lab.driver().start_recv(socket);
        }
        poll_some(&mut lab, &mut seen);
        lab.reset(client);
        poll_until(&mut lab, &mut seen, |_, seen| seen.closed.contains_key(&socket));
        poll_some(&mut lab, &mut seen);
        assert_eq!(seen.closed[&socket], [CloseCause::Reset]);
    }
}

fn an_offer_reaches_everybody_or_says_how_far_it_got<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    let members: Vec<_> = (0..5).map(|_| accept(&mut lab, &mut seen)).collect();
    let dead = accept(&mut lab, &mut seen).1;
    lab.driver().close(dead);
    let message = bytes(6 << 20, 5);
    let pieces = span(&message);
    let mut entries: Vec<Member> = members
        .iter()
        .enumerate()
        .map(|(n, (_, socket))| Member { socket: *socket, slot: n as u32, tag: 9 })
        .collect();
    entries.push(Member { socket: dead, slot: 5, tag: 9 });
    lab.driver().offer(3, &entries, &pieces);
    let mut shorts: Vec<Short> = Vec::new();
    lab.driver().settle(&mut shorts);
    assert!(shorts.iter().all(|short| short.offer == 3 && short.member.tag == 9));
    assert!(shorts.iter().any(|short| short.member.slot == 5 && short.took == Took::Dead));
    let mut waiting = 0;
    for short in shorts.iter().filter(|short| short.member.slot < 5) {
        let Took::Bytes(took) = short.took else { panic!("alive") };
        let rest = message[took as usize..].to_vec();
        let sending = lab.driver().send(short.member.socket, SendBatch::from_bytes(rest));
        waiting += usize::from(matches!(sending, Sending::Pending));
    }
    assert!(waiting > 0, "a socket does not hold {} bytes", message.len());
    let mut read = vec![Vec::new(); members.len()];
    poll_until(&mut lab, &mut seen, |lab, seen| {
        for (n, (client, _)) in members.iter().enumerate() {
            read[n].extend(lab.read(*client));
        }
        seen.sent.len() == waiting && read.iter().all(|got| got.len() == message.len())
    });
    assert!(read.iter().all(|got| *got == message), "bytes kept");
    let mut none = Vec::new();
    lab.driver().settle(&mut none);
    assert!(none.is_empty(), "an offer is reported once");
}

fn a_wake_from_another_thread_ends_the_poll<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    let waker = lab.driver().waker();
    let thread = std::thread::spawn(move || waker.wake());
    poll_until(&mut lab, &mut seen, |_, seen| seen.woken > 0);
    thread.join().unwrap();
}

fn no_connection_is_accepted_after_listening_stopped<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    let (client, socket) = accept(&mut lab, &mut seen);
    lab.driver().stop_listening();
    lab.driver().start_recv(socket);
    lab.write(client, b"x");
    poll_until(&mut lab, &mut seen, |_, seen| seen.received.contains_key(&socket));
    assert_eq!(seen.accepted.len(), 1);
}

fn members_take_offers_in_any_number_and_size<D: Real>() {
    let (mut lab, mut seen) = (SocketLab::<D>::new(), Seen::default());
    let members: Vec<_> = (0..300).map(|_| accept(&mut lab, &mut seen)).collect();
    let entries: Vec<Member> = members
        .iter()
        .map(|(_, socket)| Member { socket: *socket, slot: socket.index, tag: 0 })
        .collect();
    let mut expected = vec![Vec::new(); members.len()];
    let mut shorts = Vec::new();
    for (round, count) in [1, 7, 8, 127, 128, 129, 300].into_iter().enumerate() {
        let message = bytes(50 + round * 100, round);
        let (first, rest) = entries.split_at(count);
        let pieces = span(&message);
        let one = [Piece { block: Rc::clone(&pieces[0].block), range: 0..message.len() as u32 }];
        lab.driver.offer(0, first, if round % 2 == 0 { &pieces } else { &one });
        let other = bytes(20, round);
        lab.driver.offer(1, rest, &span(&other));
        lab.driver().settle(&mut shorts);
        for (n, expected) in expected.iter_mut().enumerate() {
            expected.extend(if n < count { &message } else { &other });
        }
    }
    assert!(shorts.is_empty(), "nobody is full");
    let mut read = vec![Vec::new(); members.len()];
    poll_until(&mut lab, &mut seen, |lab, _| {
        for (n, (client, _)) in members.iter().enumerate() {
            read[n].extend(lab.read(*client));
        }
        read.iter().zip(&expected).all(|(got, expected)| got.len() >= expected.len())
    });
    assert!(read == expected);
}

fn sockets_come_and_go_while_receiving_without_a_trace<L: Lab>() {
    let (mut lab, mut seen) = (L::new(), Seen::default());
    for round in 0..50 {
        let (client, socket) = accept(&mut lab, &mut seen);
        lab.driver().start_recv(socket);
        match round % 5 {
            0 => {}
            1 => drop(lab.write(client, &bytes(300_000, round))),
            2 => lab.finish(client),
            3 => lab.reset(client),
            _ => lab.driver().stop_recv(socket),
        }
        if round % 3 == 0 {
            lab.driver().poll(TICK, &mut seen).unwrap();
        }
        let member = Member { socket, slot: 0, tag: 0 };
        lab.driver().offer(0, &[member; 1], &span(b"to whom it may concern"));
        lab.driver().settle(&mut Vec::new());
        lab.driver().close(socket);
        poll_until(&mut lab, &mut seen, |_, seen| seen.closed.contains_key(&socket));
        assert_eq!(seen.closed[&socket].len(), 1);
    }
}

fn no_socket_is_left_when_all_are_closed<D: Real>() {
    let (mut lab, mut seen) = (SocketLab::<D>::new(), Seen::default());
    let sockets: Vec<_> = (0..200).map(|_| accept(&mut lab, &mut seen).1).collect();
    for (n, socket) in sockets.iter().enumerate() {
        lab.driver.start_recv(*socket);
        lab.write(n, &bytes(5000, n));
    }
    let entries: Vec<Member> =
        sockets.iter().map(|socket| Member { socket: *socket, slot: 0, tag: 0 }).collect();
    lab.driver.offer(0, &entries, &span(&bytes(4 << 20, 1)));
    lab.driver.settle(&mut Vec::new());
    lab.driver.poll(TICK, &mut seen).unwrap();
    let pending = lab.driver.send(sockets[0], SendBatch::from_bytes(vec![1; 16 << 20]));
    assert!(matches!(pending, Sending::Pending));
    sockets.iter().for_each(|socket| lab.driver.close(*socket));
    poll_until(&mut lab, &mut seen, |_, seen| seen.closed.len() == sockets.len());
    assert_eq!(lab.driver.open(), 0);
    poll_until(&mut lab, &mut seen, |lab, _| (0..sockets.len()).all(|n| lab.is_ended(n)));
}

type EpollLab = SocketLab<EpollDriver>;
type UringLab = SocketLab<UringDriver>;

/// What every driver must show, and what those over real sockets must show besides.
macro_rules! contract {
    (every: $($every:ident),* ; real: $($real:ident),* $(;)?) => {
        mod epoll {
            $(#[test] fn $every() { super::$every::<super::EpollLab>(); })*
            $(#[test] fn $real() { super::$real::<super::EpollDriver>(); })*
        }
        mod uring {
            $(#[test] fn $every() { super::$every::<super::UringLab>(); })*
            $(#[test] fn $real() { super::$real::<super::UringDriver>(); })*
        }
        mod sim {
            $(#[test] fn $every() { super::$every::<super::SimLab>(); })*
        }
    };
}

contract! {
every:
    bytes_and_order_are_kept_both_ways,
    receiving_begins_when_asked_and_pauses_without_loss,
    the_peers_end_is_told_once_after_its_bytes_and_sending_goes_on,
    shutdown_comes_after_what_was_sent,
    the_last_batch_ends_the_stream,
    close_is_reported_once_also_with_a_batch_in_flight,
    an_index_used_again_has_another_generation,
    a_reset_ends_the_socket_once,
    an_offer_reaches_everybody_or_says_how_far_it_got,
    a_wake_from_another_thread_ends_the_poll,
    no_connection_is_accepted_after_listening_stopped,
    sockets_come_and_go_while_receiving_without_a_trace;
real:
    members_take_offers_in_any_number_and_size,
    no_socket_is_left_when_all_are_closed;
}

#[test]
fn a_ring_short_of_buffers_loses_nothing() {
    let listener = listen(([127, 0, 0, 1], 0).into(), &ListenOptions::default()).unwrap();
    let address = listener.local_addr().unwrap();
    let options = UringOptions { receive_buffers: 2, receive_buffer_bytes: 4096 };
    let mut driver = UringDriver::new(options).unwrap();
    driver.listen(listener).unwrap();
    let mut lab = SocketLab { driver, address, clients: Vec::new(), ended: Vec::new() };
    let mut seen = Seen::default();
    let sockets: Vec<_> = (0..20).map(|_| accept(&mut lab, &mut seen)).collect();
    for (client, socket) in &sockets {
        assert_eq!(lab.write(*client, &bytes(60_000, *client)), 60_000);
        lab.driver.start_recv(*socket);
    }
    poll_until(&mut lab, &mut seen, |_, seen| {
        seen.received.values().map(Vec::len).sum::<usize>() == sockets.len() * 60_000
    });
    assert!(sockets.iter().all(|(client, socket)| seen.received[socket] == bytes(60_000, *client)));
}

#[test]
fn what_a_peer_sent_ahead_arrives_in_one_piece() {
    let (mut lab, mut seen) = (SocketLab::<UringDriver>::new(), Seen::default());
    let (client, socket) = accept(&mut lab, &mut seen);
    poll_some(&mut lab, &mut seen);
    assert_eq!(lab.write(client, &bytes(40_000, 1)), 40_000);
    lab.driver.start_recv(socket);
    poll_until(&mut lab, &mut seen, |_, seen| seen.received.contains_key(&socket));
    assert_eq!(seen.received[&socket].len(), 40_000);
}

#[test]
fn a_simulated_network_replays_from_its_seed() {
    let run = |seed| {
        let (mut driver, network) = SimDriver::new(seed, SimOptions::default());
        let clients: Vec<_> = (0..5).map(|_| network.connect()).collect();
        clients.iter().for_each(|client| network.write(*client, &bytes(5000, 1)));
        let mut seen = Seen::default();
        for _ in 0..60 {
            driver.poll(None, &mut seen).unwrap();
            seen.accepted.iter().for_each(|socket| driver.start_recv(*socket));
        }
        network.fingerprint()
    };
    let prints: std::collections::HashSet<u64> = (0..200).map(run).collect();
    assert!(prints.len() > 190, "seeds differ");
    assert!((0..200).all(|seed| run(seed) == run(seed)));
}
