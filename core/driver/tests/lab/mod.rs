//! Drivers with clients on the other side of them, and what a handler saw.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fulmar_driver::epoll::{EpollDriver, EpollOptions};
use fulmar_driver::listener::{ListenOptions, listen};
use fulmar_driver::sim::{SimClient, SimDriver, SimNetwork, SimOptions};
use fulmar_driver::uring::{UringDriver, UringOptions};
use fulmar_driver::{Block, CloseCause, Driver, Event, EventHandler, Ledger, Piece, SocketId};

/// A driver with clients on the other side of it. Clients never block.
pub(crate) trait Lab {
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
pub(crate) trait Real: Driver + Sized {
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

pub(crate) struct SocketLab<D> {
    pub(crate) driver: D,
    pub(crate) address: SocketAddr,
    pub(crate) clients: Vec<TcpStream>,
    pub(crate) ended: Vec<bool>,
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

pub(crate) struct SimLab {
    pub(crate) driver: SimDriver,
    pub(crate) network: SimNetwork,
    pub(crate) clients: Vec<SimClient>,
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
pub(crate) struct Seen {
    pub(crate) accepted: Vec<SocketId>,
    pub(crate) received: HashMap<SocketId, Vec<u8>>,
    pub(crate) sent: HashMap<SocketId, u32>,
    pub(crate) ended: HashMap<SocketId, u32>,
    pub(crate) closed: HashMap<SocketId, Vec<CloseCause>>,
    pub(crate) woken: u32,
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

pub(crate) const TICK: Option<Duration> = Some(Duration::from_millis(1));

pub(crate) fn poll_until<L: Lab>(
    lab: &mut L,
    seen: &mut Seen,
    mut done: impl FnMut(&mut L, &Seen) -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done(lab, seen) {
        assert!(Instant::now() < deadline, "the awaited event never came");
        lab.driver().poll(TICK, seen).unwrap();
    }
}

pub(crate) fn poll_some<L: Lab>(lab: &mut L, seen: &mut Seen) {
    for _ in 0..30 {
        lab.driver().poll(TICK, seen).unwrap();
    }
}

pub(crate) fn accept<L: Lab>(lab: &mut L, seen: &mut Seen) -> (usize, SocketId) {
    let before = seen.accepted.len();
    let client = lab.connect();
    poll_until(lab, seen, |_, seen| seen.accepted.len() > before);
    (client, seen.accepted[before])
}

pub(crate) fn bytes(n: usize, salt: usize) -> Vec<u8> {
    (0..n).map(|i| ((i * 31 + i / 251 + salt * 7) % 256) as u8).collect()
}

pub(crate) fn span(bytes: &[u8]) -> Vec<Piece> {
    let block = Block::whole(bytes.into(), &Ledger::default());
    let middle = (bytes.len() / 2) as u32;
    let ranges = [0..middle, middle..bytes.len() as u32];
    ranges.into_iter().map(|range| Piece { block: Rc::clone(&block), range }).collect()
}
