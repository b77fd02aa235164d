//! NATS. Core NATS is at most once, to one subscriber or to many. JetStream is a work queue in files with explicit
//! acknowledgements.

use crate::rows::FAN_OUT;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{self, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender, Window};

const SUBJECT: &str = "work";
const STREAM: &str = "queue";
/// Messages the client keeps for a subscriber before it drops them. Core NATS has no back-pressure.
const KEPT: usize = 4_000_000;
/// Messages per pull. Twice as many may be unacknowledged.
const PULL: usize = 4_096;

async fn connect(environment: &Environment) -> Result<Client, Failure> {
    let server = environment.server.as_deref().ok_or("there is no server")?;
    Ok(ConnectOptions::new().subscription_capacity(KEPT).connect(server).await?)
}

struct NatsReceiver(#[expect(dead_code, reason = "it drives the tasks")] Runtime);

impl Receiver for NatsReceiver {
    fn address(&self) -> String {
        "-".to_owned()
    }
}

/// Core NATS: each message goes to every subscriber.
pub struct Core {
    pub subscribers: usize,
}

impl Core {
    pub const ONE: Core = Core { subscribers: 1 };
    pub const FAN_OUT: Core = Core { subscribers: FAN_OUT };
}

/// Subscribes over a new connection. The server has the subscription when this returns.
async fn subscribe(environment: &Environment, inbox: Arc<Inbox>, receiver: usize) -> Result<(), Failure> {
    let client = connect(environment).await?;
    let mut messages = client.subscribe(SUBJECT).await?;
    // The server handles what a client sends in order. When the echo arrives, it has the subscription.
    let echo = client.new_inbox();
    let mut echoes = client.subscribe(echo.clone()).await?;
    client.publish(echo, "".into()).await?;
    echoes.next().await.ok_or("the connection ended")?;
    tokio::spawn(async move {
        let _client = client;
        while let Some(message) = messages.next().await {
            inbox.take_at(receiver, &message.payload);
        }
    });
    Ok(())
}

impl Contender for Core {
    fn receivers(&self) -> usize {
        self.subscribers
    }

    fn receive(&self, environment: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let runtime = Runtime::new()?;
        runtime.block_on(async {
            for receiver in 0..self.subscribers {
                subscribe(environment, inbox.clone(), receiver).await?;
            }
            Ok::<_, Failure>(())
        })?;
        Ok(Box::new(NatsReceiver(runtime)))
    }

    fn send(&self, environment: &Environment, _: &str) -> Result<Box<dyn Sender>, Failure> {
        let runtime = Runtime::new()?;
        let client = runtime.block_on(connect(environment))?;
        Ok(Box::new(NatsSender { runtime, client }))
    }
}

struct NatsSender {
    runtime: Runtime,
    client: Client,
}

impl Sender for NatsSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut message = load.blank();
        self.runtime.block_on(async {
            for number in load.numbers.clone() {
                load.write(number, &mut message);
                self.client.publish(SUBJECT, message.clone().into()).await?;
            }
            Ok(self.client.flush().await?)
        })
    }
}

pub struct JetStream;

impl Contender for JetStream {
    fn receive(&self, environment: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let runtime = Runtime::new()?;
        runtime.block_on(async {
            let context = jetstream::new(connect(environment).await?);
            let stream = stream::Config {
                name: STREAM.to_owned(),
                subjects: vec![SUBJECT.to_owned()],
                retention: RetentionPolicy::WorkQueue,
                storage: StorageType::File,
                ..Default::default()
            };
            let stream = context.create_stream(stream).await?;
            let consumer = pull::Config {
                durable_name: Some("worker".to_owned()),
                ack_policy: AckPolicy::Explicit,
                max_ack_pending: PULL as i64 * 2,
                ..Default::default()
            };
            let consumer: PullConsumer = stream.create_consumer(consumer).await?;
            let mut messages = consumer.stream().max_messages_per_batch(PULL).messages().await?;
            tokio::spawn(async move {
                while let Some(Ok(message)) = messages.next().await {
                    inbox.take(&message.payload);
                    if message.ack().await.is_err() {
                        return;
                    }
                }
            });
            Ok::<_, Failure>(())
        })?;
        Ok(Box::new(NatsReceiver(runtime)))
    }

    fn send(&self, environment: &Environment, _: &str) -> Result<Box<dyn Sender>, Failure> {
        let runtime = Runtime::new()?;
        let context = runtime.block_on(async {
            let client = connect(environment).await?;
            Ok::<_, Failure>(jetstream::new(client))
        })?;
        Ok(Box::new(JetStreamSender { runtime, context }))
    }
}

struct JetStreamSender {
    runtime: Runtime,
    context: Context,
}

impl Sender for JetStreamSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut message = load.blank();
        self.runtime.block_on(async {
            let mut window = Window::default();
            for number in load.numbers.clone() {
                load.write(number, &mut message);
                let ack = self.context.publish(SUBJECT, message.clone().into()).await?;
                if let Some(oldest) = window.push(ack) {
                    oldest.await?;
                }
            }
            for ack in window.drain() {
                ack.await?;
            }
            Ok(())
        })
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut stream = self.context.get_stream(STREAM).await?;
            while stream.info().await?.state.messages > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        })
    }
}
