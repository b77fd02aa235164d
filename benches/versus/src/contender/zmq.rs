//! libzmq over TCP: PUSH to PULL, and PUB to many SUB.
//!
//! PUSH blocks at its high-water mark, which has the default of 1,000 messages. With 100,000, or none, it is no faster here,
//! and slower at 1 KiB. PUB drops messages at its high-water mark. It therefore has none, and SUB has none either, so that
//! every message reaches every subscriber.

use crate::rows::FAN_OUT;
use std::sync::Arc;
use std::thread;
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender};
use zmq::{Context, DONTWAIT, Message, POLLIN, Socket, SocketType, poll};

pub struct Zmq;

impl Contender for Zmq {
    fn receive(&self, _: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let context = Context::new();
        let socket = context.socket(SocketType::PULL)?;
        socket.bind("tcp://127.0.0.1:*")?;
        let endpoint = socket.get_last_endpoint()?.map_err(|_| "the endpoint is not text")?;
        thread::spawn(move || pull(&socket, &inbox));
        Ok(Box::new(ZmqReceiver { endpoint, _context: context }))
    }

    fn send(&self, _: &Environment, peer: &str) -> Result<Box<dyn Sender>, Failure> {
        let context = Context::new();
        let socket = context.socket(SocketType::PUSH)?;
        socket.connect(peer)?;
        Ok(Box::new(ZmqSender { socket, _context: context }))
    }
}

struct ZmqReceiver {
    endpoint: String,
    _context: Context,
}

impl Receiver for ZmqReceiver {
    fn address(&self) -> String {
        self.endpoint.clone()
    }
}

fn pull(socket: &Socket, inbox: &Inbox) -> zmq::Result<()> {
    let mut message = Message::new();
    loop {
        socket.recv(&mut message, 0)?;
        inbox.take(&message);
    }
}

struct ZmqSender {
    socket: Socket,
    _context: Context,
}

impl Sender for ZmqSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut message = load.blank();
        for number in load.numbers.clone() {
            load.write(number, &mut message);
            self.socket.send(&message[..], 0)?;
        }
        Ok(())
    }
}

/// One publisher, and many subscribers with one connection each.
pub struct PubSub;

impl Contender for PubSub {
    fn receivers(&self) -> usize {
        FAN_OUT
    }

    fn receive(&self, _: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let context = Context::new();
        let (mut sockets, mut endpoints) = (Vec::new(), Vec::new());
        for _ in 0..FAN_OUT {
            let socket = context.socket(SocketType::SUB)?;
            socket.set_rcvhwm(0)?;
            socket.set_subscribe(b"")?;
            socket.bind("tcp://127.0.0.1:*")?;
            endpoints.push(socket.get_last_endpoint()?.map_err(|_| "the endpoint is not text")?);
            sockets.push(socket);
        }
        thread::spawn(move || take_subscribed(&sockets, &inbox));
        Ok(Box::new(ZmqReceiver { endpoint: endpoints.join(","), _context: context }))
    }

    fn send(&self, _: &Environment, peers: &str) -> Result<Box<dyn Sender>, Failure> {
        let context = Context::new();
        // An XPUB is a PUB that also returns the subscriptions to its application.
        let socket = context.socket(SocketType::XPUB)?;
        socket.set_sndhwm(0)?;
        socket.set_xpub_verbose(true)?;
        for peer in peers.split(',') {
            socket.connect(peer)?;
        }
        // Messages published before a subscription arrives do not reach the subscriber.
        for _ in 0..FAN_OUT {
            socket.recv_bytes(0)?;
        }
        Ok(Box::new(ZmqSender { socket, _context: context }))
    }
}

/// Reads from all sockets on one thread, which is faster here than a thread per socket.
fn take_subscribed(sockets: &[Socket], inbox: &Inbox) -> zmq::Result<()> {
    let mut items: Vec<_> = sockets.iter().map(|socket| socket.as_poll_item(POLLIN)).collect();
    let mut message = Message::new();
    loop {
        poll(&mut items, -1)?;
        let readable = items.iter().enumerate().filter(|(_, item)| item.is_readable());
        for (at, _) in readable {
            while sockets[at].recv(&mut message, DONTWAIT).is_ok() {
                inbox.take_at(at, &message);
            }
        }
    }
}
