//! A network that fails on command: TCP connections through it can be cut, stalled and refused.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Forward,
    /// Bytes stop; connections stay.
    Stall,
    /// New connections are closed at once.
    Refuse,
}

#[derive(Clone)]
struct Wires {
    target: Arc<Mutex<Option<String>>>,
    flow: watch::Receiver<Flow>,
    /// Counts cuts.
    cut: watch::Receiver<u64>,
    /// Connections seen.
    taken: watch::Sender<u64>,
}

/// Stands between two nodes, for both directions of a connection.
pub(crate) struct Proxy {
    addr: SocketAddr,
    target: Arc<Mutex<Option<String>>>,
    flow: watch::Sender<Flow>,
    cut: watch::Sender<u64>,
    taken: watch::Receiver<u64>,
}

impl Proxy {
    /// Listens on a free port. Connections wait until there is a target.
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("is bound");
        let target = Arc::new(Mutex::new(None));
        let (flow, flows) = watch::channel(Flow::Forward);
        let (cut, cuts) = watch::channel(0);
        let (taken, takes) = watch::channel(0);
        let wires = Wires { target: target.clone(), flow: flows, cut: cuts, taken };
        actix_rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                wires.taken.send_modify(|n| *n += 1);
                if *wires.flow.borrow() != Flow::Refuse {
                    actix_rt::spawn(connection(wires.clone(), stream));
                }
            }
        });
        Proxy { addr, target, flow, cut, taken: takes }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Where new connections go.
    pub(crate) fn forward_to(&self, target: &str) {
        *self.target.lock().expect("not poisoned") = Some(target.to_owned());
    }

    /// Breaks every connection.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }

    /// Takes connections and bytes, and lets nothing through.
    pub(crate) fn stall(&self) {
        self.flow.send_replace(Flow::Stall);
    }

    /// Breaks every connection and takes no more.
    pub(crate) fn isolate(&self) {
        self.flow.send_replace(Flow::Refuse);
        self.cut();
    }

    pub(crate) fn resume(&self) {
        self.flow.send_replace(Flow::Forward);
    }

    /// Waits until more than `n` connections were taken, and returns how many.
    pub(crate) async fn taken_more_than(&self, n: u64) -> u64 {
        let mut taken = self.taken.clone();
        *super::soon("a connection", taken.wait_for(|taken| *taken > n)).await.expect("the proxy lives")
    }
}

async fn connection(mut wires: Wires, near: TcpStream) {
    let mut cut = wires.cut.clone();
    cut.mark_unchanged();
    let run = async {
        let _ = wires.flow.wait_for(|flow| *flow == Flow::Forward).await;
        let target = wires.target.lock().expect("not poisoned").clone();
        let Some(target) = target else { return };
        let Ok(far) = TcpStream::connect(target).await else { return };
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        tokio::select! {
            () = pump(wires.flow.clone(), near_read, far_write) => {}
            () = pump(wires.flow.clone(), far_read, near_write) => {}
        }
    };
    tokio::select! {
        () = run => {}
        _ = cut.changed() => {}
    }
}

async fn pump(mut flow: watch::Receiver<Flow>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(n @ 1..) = from.read(&mut buffer).await else { return };
        if flow.wait_for(|flow| *flow == Flow::Forward).await.is_err() || to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
