//! The limit of any transport: length-prefixed frames through a TCP socket, buffered at both ends.

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender};

const BUFFER: usize = 256 * 1024;

pub struct Tcp;

impl Contender for Tcp {
    fn receive(&self, _: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let bound = listener.local_addr()?;
        thread::spawn(move || listener.accept().and_then(|(socket, _)| read(socket, &inbox)));
        Ok(Box::new(TcpReceiver(bound)))
    }

    fn send(&self, _: &Environment, peer: &str) -> Result<Box<dyn Sender>, Failure> {
        let socket = TcpStream::connect(peer)?;
        socket.set_nodelay(true)?;
        Ok(Box::new(TcpSender(BufWriter::with_capacity(BUFFER, socket))))
    }
}

struct TcpReceiver(SocketAddr);

impl Receiver for TcpReceiver {
    fn address(&self) -> String {
        self.0.to_string()
    }
}

fn read(socket: TcpStream, inbox: &Inbox) -> std::io::Result<()> {
    let mut socket = BufReader::with_capacity(BUFFER, socket);
    let (mut length, mut message) = ([0; 4], Vec::new());
    loop {
        socket.read_exact(&mut length)?;
        message.resize(u32::from_le_bytes(length) as usize, 0);
        socket.read_exact(&mut message)?;
        inbox.take(&message);
    }
}

struct TcpSender(BufWriter<TcpStream>);

impl Sender for TcpSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut message = load.blank();
        for number in load.numbers.clone() {
            load.write(number, &mut message);
            self.0.write_all(&u32::try_from(message.len())?.to_le_bytes())?;
            self.0.write_all(&message)?;
        }
        Ok(self.0.flush()?)
    }
}
