//! The limit of any transport: frames of known length through a socket, with buffers at both ends.

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use versus_work::{Contender, Failure, Inbox, Load, Place, Receiver, Sender};

const BUFFER: usize = 256 * 1024;

pub struct Tcp;

impl Contender for Tcp {
    fn receive(&self, _: &Place, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let bound = listener.local_addr()?;
        thread::spawn(move || listener.accept().and_then(|(socket, _)| read(socket, &inbox)));
        Ok(Box::new(Listening(bound)))
    }

    fn send(&self, _: &Place, peer: &str) -> Result<Box<dyn Sender>, Failure> {
        let socket = TcpStream::connect(peer)?;
        socket.set_nodelay(true)?;
        Ok(Box::new(Writing(BufWriter::with_capacity(BUFFER, socket))))
    }
}

struct Listening(SocketAddr);

impl Receiver for Listening {
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

struct Writing(BufWriter<TcpStream>);

impl Sender for Writing {
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
