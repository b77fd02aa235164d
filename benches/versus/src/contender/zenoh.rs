//! zenoh: two peers and one TCP link without discovery, reliable, blocking when congested. `express` is off: it is no faster
//! for a lone message here, and far slower for a burst.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender, free_port};
use zenoh::Wait;
use zenoh::pubsub::Publisher;
use zenoh::qos::CongestionControl;
use zenoh::{Config, Session};

const KEY: &str = "work";
/// How long the sender waits for a matching subscriber.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Zenoh;

fn open(settings: &[(&str, String)]) -> Result<Session, Failure> {
    let mut config = Config::default();
    let fixed = [("mode", "\"peer\""), ("scouting/multicast/enabled", "false"), ("scouting/gossip/enabled", "false")];
    for (key, value) in fixed.into_iter().chain(settings.iter().map(|(key, value)| (*key, value.as_str()))) {
        config.insert_json5(key, value)?;
    }
    zenoh::open(config).wait()
}

impl Contender for Zenoh {
    fn receive(&self, _: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let endpoint = format!("tcp/127.0.0.1:{}", free_port()?);
        let session = open(&[("listen/endpoints", format!("[\"{endpoint}\"]"))])?;
        let take = move |sample: zenoh::sample::Sample| inbox.take(&sample.payload().to_bytes());
        session.declare_subscriber(KEY).callback(take).background().wait()?;
        Ok(Box::new(ZenohReceiver { endpoint, _session: session }))
    }

    fn send(&self, _: &Environment, peer: &str) -> Result<Box<dyn Sender>, Failure> {
        let none = ("listen/endpoints", "[]".to_owned());
        let session = open(&[none, ("connect/endpoints", format!("[\"{peer}\"]"))])?;
        let publisher = session.declare_publisher(KEY).congestion_control(CongestionControl::Block);
        let publisher = publisher.wait()?;
        let start = Instant::now();
        while !publisher.matching_status().wait()?.matching() {
            if start.elapsed() > PATIENCE {
                return Err("no subscriber was found".into());
            }
            sleep(Duration::from_millis(1));
        }
        Ok(Box::new(ZenohSender { publisher, _session: session }))
    }
}

struct ZenohReceiver {
    endpoint: String,
    _session: Session,
}

impl Receiver for ZenohReceiver {
    fn address(&self) -> String {
        self.endpoint.clone()
    }
}

struct ZenohSender {
    publisher: Publisher<'static>,
    _session: Session,
}

impl Sender for ZenohSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut message = load.blank();
        for number in load.numbers.clone() {
            load.write(number, &mut message);
            self.publisher.put(&message[..]).wait()?;
        }
        Ok(())
    }
}
