//! liner_broker on SQLite. Two ways: a file for each side and at most once, which is what its own benchmark measures; and
//! one file for both and at least once, which its documentation asks for with acknowledgements across processes.

use liner_broker::Liner;
use std::sync::Arc;
use std::thread::yield_now;
use std::time::{Duration, Instant};
use versus_work::{Contender, Failure, Inbox, Load, Place, Receiver, Sender, free_port};

const TOPIC: &str = "work";
const SOURCE: &str = "source";
/// How long a send is repeated that is answered with `false`.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Broker {
    /// At least once, on a shared file.
    pub(crate) stored: bool,
}

/// One side's name, topic and address.
struct Side<'a> {
    name: &'a str,
    topic: &'a str,
    addr: &'a str,
}

impl Broker {
    fn open(&self, place: &Place, own: &Side<'_>, peer: &Side<'_>) -> Result<Liner, Failure> {
        let (file, peers) = if self.stored {
            ("mesh.sqlite".to_owned(), String::new())
        } else {
            let Side { name, topic, addr } = peer;
            let peers = format!(r#"[{{"topic": "{topic}", "addr": "{addr}", "client_name": "{name}"}}]"#);
            (format!("{}.sqlite", own.name), peers)
        };
        let path = place.dir.join(file);
        let path = path.to_str().ok_or("the directory's name is not UTF-8")?;
        Ok(Liner::new_sqlite(own.name, own.topic, own.addr, path, &peers))
    }
}

/// Both sides' addresses travel as one word, since each has to know the other's from the start.
fn sides(word: &str) -> Result<(Side<'_>, Side<'_>), Failure> {
    let (receiver, sender) = word.split_once(',').ok_or("two addresses are needed")?;
    let receiver = Side { name: "receiver", topic: TOPIC, addr: receiver };
    Ok((receiver, Side { name: "sender", topic: SOURCE, addr: sender }))
}

/// It must not be moved any more after this: it keeps a pointer into itself.
fn run(liner: &mut Liner, take: impl FnMut(&str, &str, &[u8]) + 'static) -> Result<(), Failure> {
    if liner.run(Box::new(take)) { Ok(()) } else { Err(liner.last_error_message().into()) }
}

impl Contender for Broker {
    fn receive(&self, place: &Place, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let addrs = format!("127.0.0.1:{},127.0.0.1:{}", free_port()?, free_port()?);
        let (own, peer) = sides(&addrs)?;
        let mut receiving = Box::new(Receiving { liner: self.open(place, &own, &peer)?, addrs: addrs.clone() });
        run(&mut receiving.liner, move |_, _, message| inbox.take(message))?;
        Ok(receiving)
    }

    fn send(&self, place: &Place, addrs: &str) -> Result<Box<dyn Sender>, Failure> {
        let (peer, own) = sides(addrs)?;
        let mut sending = Box::new(Sending { liner: self.open(place, &own, &peer)?, stored: self.stored });
        run(&mut sending.liner, |_, _, _| {})?;
        Ok(sending)
    }
}

struct Receiving {
    liner: Liner,
    addrs: String,
}

impl Receiver for Receiving {
    fn address(&self) -> String {
        self.addrs.clone()
    }
}

struct Sending {
    liner: Liner,
    stored: bool,
}

impl Sender for Sending {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut message = load.blank();
        for number in load.numbers.clone() {
            load.write(number, &mut message);
            let start = Instant::now();
            while !self.liner.send_to(TOPIC, &message, self.stored) {
                if start.elapsed() > PATIENCE {
                    return Err(self.liner.last_error_message().into());
                }
                yield_now();
            }
        }
        Ok(())
    }
}
