//! The processes that are killed: a sender that offers messages at a rate, and a receiver that takes a little while for
//! some of them. Each writes a step down before it takes it. Both end when their standard input does.

use crate::log::{Key, Log, Step};
use crate::options::{Kind, Options, Part, WRITE_BEHIND_DELAY};
use actix::prelude::*;
use liner::{
    Config, Delivery, GetPublisher, LinerSystem, ListAddresses, Nack, PendingCount, Publisher, Receive, SendError,
    SendFuture, Shutdown, Timing,
};
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

type Failure = Box<dyn Error>;

/// Receipts the sender waits for at a time.
const OUTSTANDING: usize = 1024;
/// Between two bursts of the sender.
const TICK: Duration = Duration::from_millis(2);
/// What a life that drains may take.
const DRAIN: Duration = Duration::from_secs(60);
/// What a shutdown may wait for handlers and acks.
const SHUTDOWN: Duration = Duration::from_secs(5);

pub(crate) async fn run(options: Options, part: Part) -> Result<(), Failure> {
    let log = Log::create(&Log::path(&options.dir, part.word(), options.life))?;
    let system = LinerSystem::spawn(config(&options, part)).await?;
    match part {
        Part::Send => send(&options, &log, &system, end_of_input()).await?,
        Part::Drain => drain(&system).await?,
        Part::Receive => {
            let receiver = Receiver { log }.start();
            system.send(Receive::new(receiver.recipient())).await??.detach();
            end_of_input().await?;
        }
    }
    let report = system.send(Shutdown::drain(SHUTDOWN)).await??;
    if report.dropped == 0 { Ok(()) } else { Err(format!("the shutdown lost messages: {report:?}").into()) }
}

fn config(options: &Options, part: Part) -> Config {
    let (own, other) = (("sender", "source"), ("receiver", "sink"));
    let (own, other) = if part == Part::Receive { (other, own) } else { (own, other) };
    let timing = Timing::default().write_behind_delay(WRITE_BEHIND_DELAY);
    let mut config = store(options, own.0, own.1).durability(options.durability).timing(timing);
    if let Some(listen) = options.listen {
        config = config.listen(listen.to_string());
    }
    if let Some(peer) = options.peer {
        config = config.seed(other.1, other.0, peer.to_string());
    }
    config
}

fn store(options: &Options, name: &str, topic: &str) -> Config {
    match options.store {
        #[cfg(feature = "postgres")]
        Kind::Postgres => Config::postgres(name, topic, options.url_of(name)),
        #[cfg(feature = "redis")]
        Kind::Redis => Config::redis(name, topic, options.url_of(name)),
        Kind::Sqlite => file(options, name, topic),
    }
}

fn file(options: &Options, name: &str, topic: &str) -> Config {
    let file = if options.isolated { format!("{name}.sqlite") } else { "mesh.sqlite".to_owned() };
    Config::sqlite(name, topic, options.dir.join(file))
}

/// Resolves when standard input ends: the parent closed it, or is gone.
fn end_of_input() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    end
}

// ---- the sender ----

async fn send(
    options: &Options,
    log: &Log,
    system: &Addr<LinerSystem>,
    end: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    while system.send(ListAddresses::new("sink")).await??.is_empty() {
        sleep(TICK).await;
    }
    let publisher = system.send(GetPublisher::new("sink")).await??;
    let (sent, receipts) = mpsc::channel(OUTSTANDING);
    let offering = offer(options, log, publisher, sent, end);
    let (offered, accepted) = futures::future::join(offering, note_receipts(log, receipts)).await;
    offered?;
    accepted
}

/// Offers messages at the rate, in the order of their numbers.
async fn offer(
    options: &Options,
    log: &Log,
    publisher: Publisher,
    sent: mpsc::Sender<(Key, SendFuture)>,
    mut end: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    loop {
        tokio::select! {
            _ = &mut end => return Ok(()),
            _ = ticks.tick() => {}
        }
        let due = started.elapsed().as_millis() * u128::from(options.rate) / 1000;
        while u128::from(number) < due {
            let room = sent.reserve().await?;
            let key = Key { life: options.life, number };
            log.write(Step::Intent, key)?;
            room.send((key, publisher.send(key.payload())));
            number += 1;
        }
    }
}

async fn note_receipts(log: &Log, mut receipts: mpsc::Receiver<(Key, SendFuture)>) -> Result<(), Failure> {
    while let Some((key, sending)) = receipts.recv().await {
        match sending.await {
            Ok(_) => log.write(Step::Accepted, key)?,
            // May arrive or not, like a message whose sender was killed before it had the receipt.
            Err(SendError::Indeterminate) => {}
            Err(error) => {
                log.write(Step::Rejected, key)?;
                eprintln!("sender: {key:?} rejected: {error}");
            }
        }
    }
    Ok(())
}

/// Waits until everything earlier lives accepted is acked. Nothing new is sent: what waits must find its way alone.
async fn drain(system: &Addr<LinerSystem>) -> Result<(), Failure> {
    let empty = async {
        while system.send(PendingCount).await?? > 0 {
            sleep(TICK).await;
        }
        Ok::<_, Failure>(())
    };
    timeout(DRAIN, empty).await.map_err(|_| format!("messages are left after {DRAIN:?} without a fault"))?
}

// ---- the receiver ----

struct Receiver {
    log: Log,
}

impl Actor for Receiver {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Receiver {
    type Result = ResponseFuture<Result<(), Nack>>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        let log = self.log.clone();
        let (step, key) = match Key::of(&delivery.payload) {
            Some(key) => (Step::Delivered { redelivered: delivery.redelivered }, key),
            None => (Step::Corrupt, Key { life: 0, number: delivery.id.seq.get() }),
        };
        let noted = log.write(step, key);
        Box::pin(async move {
            noted.map_err(|error| Nack::new(error.to_string()))?;
            // The work: some messages take none, so that results come out of order, too.
            sleep(Duration::from_millis(key.number % 16)).await;
            log.write(Step::Handled, key).map_err(|error| Nack::new(error.to_string()))
        })
    }
}
