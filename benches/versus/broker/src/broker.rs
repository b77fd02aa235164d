//! liner_broker on SQLite, in two ways. With one file per side it is at most once, as in its own benchmark. With one file for
//! both sides it is at least once, as its documentation requires for acknowledgements across processes.

use liner_broker::Liner;
use std::sync::Arc;
use std::thread::yield_now;
use std::time::{Duration, Instant};
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender, free_port};

const TOPIC: &str = "work";
const SOURCE: &str = "source";
/// How long a send is repeated that returns `false`.
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
    fn open(&self, environment: &Environment, own: &Side<'_>, peer: &Side<'_>) -> Result<Liner, Failure> {
        let (file, peers) = if self.stored {
            ("mesh.sqlite".to_owned(), String::new())
        } else {
            let Side { name, topic, addr } = peer;
            let peers = format!(r#"[{{"topic": "{topic}", "addr": "{addr}", "client_name": "{name}"}}]"#);
            (format!("{}.sqlite", own.name), peers)
        };
        let path = environment.dir.join(file);
        let path = path.to_str().ok_or("the directory's name is not UTF-8")?;
        Ok(Liner::new_sqlite(own.name, own.topic, own.addr, path, &peers))
    }
}

/// Splits the word with both addresses. Each side must know the other's address from the start.
fn sides(word: &str) -> Result<(Side<'_>, Side<'_>), Failure> {
    let (receiver, sender) = word.split_once(',').ok_or("two addresses are needed")?;
    let receiver = Side { name: "receiver", topic: TOPIC, addr: receiver };
    Ok((receiver, Side { name: "sender", topic: SOURCE, addr: sender }))
}

/// Starts `liner`, which must not be moved afterwards: it keeps a pointer into itself.
fn run(liner: &mut Liner, take: impl FnMut(&str, &str, &[u8]) + 'static) -> Result<(), Failure> {
    if liner.run(Box::new(take)) { Ok(()) } else { Err(liner.last_error_message().into()) }
}

impl Contender for Broker {
    fn receive(&self, environment: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let addrs = format!("127.0.0.1:{},127.0.0.1:{}", free_port()?, free_port()?);
        let (own, peer) = sides(&addrs)?;
        let mut receiving =
            Box::new(BrokerReceiver { liner: self.open(environment, &own, &peer)?, addrs: addrs.clone() });
        run(&mut receiving.liner, move |_, _, message| inbox.take(message))?;
        Ok(receiving)
    }

    fn send(&self, environment: &Environment, addrs: &str) -> Result<Box<dyn Sender>, Failure> {
        let (peer, own) = sides(addrs)?;
        let mut sending = Box::new(BrokerSender { liner: self.open(environment, &own, &peer)?, stored: self.stored });
        run(&mut sending.liner, |_, _, _| {})?;
        Ok(sending)
    }
}

struct BrokerReceiver {
    liner: Liner,
    addrs: String,
}

impl Receiver for BrokerReceiver {
    fn address(&self) -> String {
        self.addrs.clone()
    }
}

struct BrokerSender {
    liner: Liner,
    stored: bool,
}

impl Sender for BrokerSender {
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
