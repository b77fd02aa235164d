//! libzmq: PUSH to PULL over TCP, with the default high-water mark of 1,000 messages. With 100,000, or none, it is no faster
//! here, and slower at 1 KiB.

use std::sync::Arc;
use std::thread;
use versus_work::{Contender, Failure, Inbox, Load, Place, Receiver, Sender};
use zmq::{Context, Message, Socket, SocketType};

pub struct Zmq;

impl Contender for Zmq {
    fn receive(&self, _: &Place, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let context = Context::new();
        let socket = context.socket(SocketType::PULL)?;
        socket.bind("tcp://127.0.0.1:*")?;
        let endpoint = socket.get_last_endpoint()?.map_err(|_| "the endpoint is not text")?;
        thread::spawn(move || pull(&socket, &inbox));
        Ok(Box::new(Pulling { endpoint, _context: context }))
    }

    fn send(&self, _: &Place, peer: &str) -> Result<Box<dyn Sender>, Failure> {
        let context = Context::new();
        let socket = context.socket(SocketType::PUSH)?;
        socket.connect(peer)?;
        Ok(Box::new(Pushing { socket, _context: context }))
    }
}

struct Pulling {
    endpoint: String,
    _context: Context,
}

impl Receiver for Pulling {
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

struct Pushing {
    socket: Socket,
    _context: Context,
}

impl Sender for Pushing {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut message = load.blank();
        for number in load.numbers.clone() {
            load.write(number, &mut message);
            self.socket.send(&message[..], 0)?;
        }
        Ok(())
    }
}
