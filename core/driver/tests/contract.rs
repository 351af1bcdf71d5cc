//! One suite, every driver: what each must show, not what one happens to do.
#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test with real sockets"
)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fulmar_driver::epoll::{EpollDriver, EpollOptions};
use fulmar_driver::listener::{ListenOptions, listen};
use fulmar_driver::sim::{SimClient, SimDriver, SimNetwork, SimOptions};
use fulmar_driver::uring::{UringDriver, UringOptions};
use fulmar_driver::{
    Block, CloseCause, Driver, Event, EventHandler, Ledger, Member, Piece, SendBatch, Sending,
    Short, SocketId, Took, Wake,
};

/// A driver with clients on the other side of it. Clients never block.
trait Lab {
    type Driver: Driver;
    fn new() -> Self;
    fn driver(&mut self) -> &mut Self::Driver;
    fn connect(&mut self) -> usize;
    /// How much was taken.
    fn write(&mut self, client: usize, bytes: &[u8]) -> usize;
    fn read(&mut self, client: usize) -> Vec<u8>;
    fn finish(&mut self, client: usize);
    fn reset(&mut self, client: usize);
    /// Whether the client has seen the end.
    fn is_ended(&mut self, client: usize) -> bool;
}

/// A driver over real sockets.
trait Real: Driver + Sized {
    fn over(listener: TcpListener) -> Self;
    /// Sockets the driver still knows.
    fn open(&self) -> usize;
}

impl Real for EpollDriver {
    fn over(listener: TcpListener) -> Self {
        let mut driver = Self::new(EpollOptions::default()).unwrap();
        driver.listen(listener).unwrap();
        driver
    }
    fn open(&self) -> usize {
        self.sockets()
    }
}

impl Real for UringDriver {
    fn over(listener: TcpListener) -> Self {
        let mut driver = Self::new(UringOptions::default())
            .expect("io_uring is needed here; a container may forbid it");
        driver.listen(listener).unwrap();
        driver
    }
    fn open(&self) -> usize {
        self.sockets()
    }
}

struct SocketLab<D> {
    driver: D,
    address: SocketAddr,
    clients: Vec<TcpStream>,
    ended: Vec<bool>,
}

impl<D: Real> Lab for SocketLab<D> {
    type Driver = D;
    fn new() -> Self {
        let listener = listen(([127, 0, 0, 1], 0).into(), &ListenOptions::default()).unwrap();
        let address = listener.local_addr().unwrap();
        Self { driver: D::over(listener), address, clients: Vec::new(), ended: Vec::new() }
    }
    fn driver(&mut self) -> &mut D {
        &mut self.driver
    }
    fn connect(&mut self) -> usize {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_nonblocking(true).unwrap();
        self.clients.push(client);
        self.ended.push(false);
        self.clients.len() - 1
    }
    fn write(&mut self, client: usize, bytes: &[u8]) -> usize {
        self.clients[client].write(bytes).unwrap_or(0)
    }
    fn read(&mut self, client: usize) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 65536]);
        for _ in 0..64 {
            match self.clients[client].read(&mut buffer) {
                Ok(0) => self.ended[client] = true,
                Ok(n) => {
                    all.extend(&buffer[..n]);
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => self.ended[client] = true,
            }
            break;
        }
        all
    }
    fn finish(&mut self, client: usize) {
        self.clients[client].shutdown(Shutdown::Write).unwrap();
    }
    fn reset(&mut self, client: usize) {
        let socket = socket2::SockRef::from(&self.clients[client]);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        // Dropping the stream with a zero linger sends the reset.
        self.clients[client] = TcpStream::connect(self.address).unwrap();
    }
    fn is_ended(&mut self, client: usize) -> bool {
        self.read(client);
        self.ended[client]
    }
}

struct SimLab {
    driver: SimDriver,
    network: SimNetwork,
    clients: Vec<SimClient>,
}

impl Lab for SimLab {
    type Driver = SimDriver;
    fn new() -> Self {
        let (driver, network) = SimDriver::new(7, SimOptions::default());
        Self { driver, network, clients: Vec::new() }
    }
    fn driver(&mut self) -> &mut SimDriver {
        &mut self.driver
    }
    fn connect(&mut self) -> usize {
        self.clients.push(self.network.connect());
        self.clients.len() - 1
    }
    fn write(&mut self, client: usize, bytes: &[u8]) -> usize {
        self.network.write(self.clients[client], bytes);
        bytes.len()
    }
    fn read(&mut self, client: usize) -> Vec<u8> {
        self.network.read(self.clients[client])
    }
    fn finish(&mut self, client: usize) {
        self.network.finish(self.clients[client]);
    }
    fn reset(&mut self, client: usize) {
        self.network.reset(self.clients[client]);
    }
    fn is_ended(&mut self, client: usize) -> bool {
        self.network.is_ended(self.clients[client])
    }
}

/// What a handler saw, per socket.
#[derive(Default)]
struct Seen {
    accepted: Vec<SocketId>,
    received: HashMap<SocketId, Vec<u8>>,
    sent: HashMap<SocketId, u32>,
    ended: HashMap<SocketId, u32>,
    closed: HashMap<SocketId, Vec<CloseCause>>,
    woken: u32,
}

impl EventHandler for Seen {
    fn on_event(&mut self, event: Event<'_>) {
        let after_close = |socket: &SocketId| self.closed.contains_key(socket);
        match event {
            Event::Accepted { socket, .. } => self.accepted.push(socket),
            Event::Connected { .. } | Event::AcceptFailed { .. } => {}
            Event::Received { socket, bytes } => {
                assert!(!bytes.is_empty() && !after_close(&socket));
                assert!(!self.ended.contains_key(&socket), "nothing is received after the end");
                bytes.iter_mut().for_each(|byte| *byte = !*byte); // the buffer is ours to change
                self.received.entry(socket).or_default().extend(bytes.iter().map(|byte| !*byte));
            }
            Event::Sent { socket, batch } => {
                assert!(!batch.is_empty() && !after_close(&socket));
                *self.sent.entry(socket).or_default() += 1;
            }
            Event::Ended { socket } => {
                assert!(!after_close(&socket));
                *self.ended.entry(socket).or_default() += 1;
            }
            Event::Closed { socket, cause } => self.closed.entry(socket).or_default().push(cause),
            Event::Woken => self.woken += 1,
        }
    }
}

const TICK: Option<Duration> = Some(Duration::from_millis(1));

fn poll_until<L: Lab>(lab: &mut L, seen: &mut Seen, mut done: impl FnMut(&mut L, &Seen) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done(lab, seen) {
        assert!(Instant::now() < deadline, "the awaited event never came");
        lab.driver().poll(TICK, seen).unwrap();
    }
}

fn poll_some<L: Lab>(lab: &mut L, seen: &mut Seen) {
    for _ in 0..30 {
        lab.driver().poll(TICK, seen).unwrap();
    }
}

fn accept<L: Lab>(lab: &mut L, seen: &mut Seen) -> (usize, SocketId) {
    let before = seen.accepted.len();
    let client = lab.connect();
    poll_until(lab, seen, |_, seen| seen.accepted.len() > before);
    (client, seen.accepted[before])
}

fn bytes(n: usize, salt: usize) -> Vec<u8> {
    (0..n).map(|i| ((i * 31 + i / 251 + salt * 7) % 256) as u8).collect()
}

fn span(bytes: &[u8]) -> Vec<Piece> {
    let block = Block::whole(bytes.into(), &Ledger::default());
    let middle = (bytes.len() / 2) as u32;
    let ranges = [0..middle, middle..bytes.len() as u32];
    ranges.into_iter().map(|range| Piece { block: Rc::clone(&block), range }).collect()
}

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

type EpollLab = SocketLab<EpollDriver>;
type UringLab = SocketLab<UringDriver>;

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod epoll { $(#[test] fn $name() { super::$name::<super::EpollLab>(); })* }
        mod uring { $(#[test] fn $name() { super::$name::<super::UringLab>(); })* }
        mod sim { $(#[test] fn $name() { super::$name::<super::SimLab>(); })* }
    };
}

contract! {
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
    sockets_come_and_go_while_receiving_without_a_trace,
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

#[test]
fn epoll_members_take_offers_in_any_number_and_size() {
    members_take_offers_in_any_number_and_size::<EpollDriver>();
}

#[test]
fn uring_members_take_offers_in_any_number_and_size() {
    members_take_offers_in_any_number_and_size::<UringDriver>();
}

#[test]
fn epoll_leaves_no_socket_when_all_are_closed() {
    no_socket_is_left_when_all_are_closed::<EpollDriver>();
}

#[test]
fn uring_leaves_no_socket_when_all_are_closed() {
    no_socket_is_left_when_all_are_closed::<UringDriver>();
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
