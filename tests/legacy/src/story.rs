//! What happens before liner comes: messages handled, messages waiting, a receiver killed, another gone in good order.

use crate::place::Place;
use liner_broker::Liner;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Above the broker's threshold, so that it is stored compressed.
const LARGE: usize = 3 << 19;

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A receiver in a process of its own, which tells what it gets.
struct Receiver {
    process: Child,
    got: mpsc::Receiver<String>,
}

impl Receiver {
    fn start(place: &Place, name: &str, topic: &str, subscription: &str) -> Receiver {
        let program = std::env::current_exe().expect("has a path");
        let mut process = Command::new(program);
        process.args(["receive", &place.text(), name, topic, subscription]);
        let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (told, got) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| told.send(line)));
        let receiver = Receiver { process, got };
        receiver.got("runs");
        receiver
    }

    /// Waits for a line.
    fn got(&self, expected: &str) {
        assert_eq!(self.got.recv_timeout(PATIENCE).as_deref(), Ok(expected));
    }

    fn kill(mut self) {
        self.process.kill().expect("kills");
        self.process.wait().expect("waits");
    }

    /// It withdraws its routes.
    fn stop(mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("waits");
    }
}

/// The receiver's process: runs until its input ends.
pub(crate) fn receive(place: &Place, name: &str, topic: &str, subscription: &str) {
    let tell = |line: &str| {
        println!("{line}");
        std::io::stdout().flush().expect("is read");
    };
    let mut client = place.client(name, topic);
    assert!(client.run(Box::new(move |_, _, data| tell(&String::from_utf8_lossy(data)))));
    // Before it runs, the broker would register an address without a port.
    if subscription != "-" {
        assert!(client.subscribe(subscription));
    }
    tell("runs");
    std::io::stdin().lines().for_each(drop);
    client.stop();
}

fn running(place: &Place, name: &str, topic: &str) -> Box<Liner> {
    let mut client = place.client(name, topic);
    assert!(client.run(Box::new(|_, _, _| {})));
    client
}

fn send(client: &mut Liner, topic: &str, text: &str) {
    assert!(client.send_to(topic, text.as_bytes(), true), "{topic}: {}", client.last_error_message());
}

/// Nodes that share a store.
pub(crate) fn shared(place: &Place) {
    let to_billing = "orders-1:orders:billing-1";
    let mut orders = running(place, "orders-1", "orders");
    let billing = Receiver::start(place, "billing-1", "billing", "refunds");
    let audit = Receiver::start(place, "audit-1", "audit", "-");
    for text in ["handled-0", "handled-1", "handled-2"] {
        send(&mut orders, "billing", text);
        billing.got(text);
    }
    send(&mut orders, "refunds", "handled-3");
    billing.got("handled-3");
    send(&mut orders, "audit", "audited");
    audit.got("audited");
    until("numbers are stored", || place.handled(to_billing) == 4 && place.handled("orders-1:orders:audit-1") == 1);
    audit.stop();
    // The sender ends before it can know that these were handled, and stores them.
    for text in ["handled-4", "handled-5"] {
        send(&mut orders, "billing", text);
        billing.got(text);
    }
    drop(orders);
    // The broker's own farewell may count, too.
    until("numbers are stored", || place.handled(to_billing) >= 6);
    billing.kill();

    let mut orders = running(place, "orders-1", "orders");
    send(&mut orders, "billing", "waiting-0");
    send(&mut orders, "refunds", "refund-0");
    send(&mut orders, "billing", "waiting-1");
    send(&mut orders, "billing", &"large ".repeat(LARGE / 6));
    send(&mut orders, "refunds", "refund-1");
    // Tells the others of it through a message of the broker's own, which waits with the rest.
    assert!(orders.subscribe("returns"));
    send(&mut orders, "billing", "waiting-2");
    drop(orders);

    Receiver::start(place, "bill:ing", "bill:s", "-").kill();
    let mut sender = running(place, "no:de", "or:ders");
    for text in ["colon-0", "colon-1", "colon-2"] {
        send(&mut sender, "bill:s", text);
    }
    drop(sender);
}

/// Two nodes with a file each, told of each other.
pub(crate) fn isolated(files: &[PathBuf; 2]) {
    let addr = || TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("binds").to_string();
    let (at_a, at_b) = (addr(), addr());
    let node = |file: &PathBuf, own: &str, at: &str, other: &str, other_at: &str| {
        let topic = |name: &str| format!("topic-{name}");
        let seed = format!(r#"[{{"topic": "{}", "addr": "{other_at}", "client_name": "{other}"}}]"#, topic(other));
        Box::new(Liner::new_sqlite(own, &topic(own), at, &file.to_string_lossy(), &seed))
    };
    let mut a = node(&files[0], "iso-a", &at_a, "iso-b", &at_b);
    let mut b = node(&files[1], "iso-b", &at_b, "iso-a", &at_a);
    let (to_a, at_a) = mpsc::channel();
    let (to_b, at_b) = mpsc::channel();
    let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
    assert!(a.run(Box::new(move |_, _, data| to_a.send(text(data)).expect("is read"))));
    assert!(b.run(Box::new(move |_, _, data| to_b.send(text(data)).expect("is read"))));
    for at in 0..5 {
        let text = format!("handled-{at}");
        send(&mut a, "topic-iso-b", &text);
        assert_eq!(at_b.recv_timeout(PATIENCE), Ok(text));
    }
    for at in 0..2 {
        let text = format!("answer-{at}");
        send(&mut b, "topic-iso-a", &text);
        assert_eq!(at_a.recv_timeout(PATIENCE), Ok(text));
    }
    drop(b);
    for at in 0..3 {
        send(&mut a, "topic-iso-b", &format!("waiting-{at}"));
    }
    drop(a);
}
