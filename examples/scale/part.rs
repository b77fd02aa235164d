//! A process with some of the nodes, which does what its parent says.

use crate::Failure;
use crate::options::{Kind, Options};
use actix::prelude::*;
use futures::future::{join_all, try_join_all};
use liner::{Config, GetPublisher, LinerSystem, PendingCount, Receive, SendTo, Shutdown};
use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// Between two looks at what is pending.
const LOOK: Duration = Duration::from_millis(20);

/// A send is tried for so long: a mesh that starts all at once on a small machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

struct Nodes<'a> {
    options: &'a Options,
    /// With their numbers.
    running: Vec<(usize, Addr<LinerSystem>)>,
    handled: Arc<AtomicUsize>,
}

pub(crate) async fn run(options: &Options, part: usize) -> Result<(), Failure> {
    let mut nodes = Nodes { options, running: Vec::new(), handled: Arc::default() };
    while let Some(word) = line().await? {
        let mut number = 0;
        match word.as_str() {
            "start" => nodes.start(part).await?,
            "send" => nodes.send().await?,
            "settle" => nodes.settle().await?,
            "count" => number = nodes.handled.load(Ordering::Relaxed),
            "use" => nodes.use_all().await?,
            "end" => nodes.end().await?,
            _ => return Err(format!("what is {word:?}?").into()),
        }
        println!("{word} {number}");
    }
    Ok(())
}

async fn line() -> Result<Option<String>, Failure> {
    let line = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next()).await?;
    Ok(line.transpose()?)
}

impl Nodes<'_> {
    fn config(&self, number: usize) -> Config {
        let (name, topic, url) = (format!("node-{number}"), format!("topic-{number}"), &self.options.url);
        match self.options.store {
            // The server shows whose connections are whose.
            Kind::Postgres => Config::postgres(&name, &topic, format!("{url}?application_name={name}")),
            Kind::Redis => Config::redis(&name, &topic, url.as_str()),
        }
    }

    async fn start(&mut self, part: usize) -> Result<(), Failure> {
        for number in (part..self.options.nodes).step_by(self.options.processes) {
            let node = LinerSystem::spawn(self.config(number)).await?;
            let handled = self.handled.clone();
            let count = move |_: &liner::Delivery| {
                handled.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            node.send(Receive::callback(count)).await??.detach();
            self.running.push((number, node));
        }
        Ok(())
    }

    /// Each node sends to some others; receipts say that each has found its routes.
    async fn send(&self) -> Result<(), Failure> {
        let sends = self.running.iter().flat_map(|(number, node)| {
            let texts = (0..self.options.messages).map(|n| n.to_string());
            let to: Vec<_> = others(*number, self.options).into_iter().map(|other| format!("topic-{other}")).collect();
            texts.flat_map(move |text| {
                let send = |topic: &String| node.send(SendTo::new(topic, text.clone()).deadline(PATIENCE));
                to.iter().map(send).collect::<Vec<_>>()
            })
        });
        for receipt in join_all(sends.collect::<Vec<_>>()).await {
            receipt??;
        }
        Ok(())
    }

    /// Until nothing that was sent here is pending: all of it has been handled then.
    async fn settle(&self) -> Result<(), Failure> {
        for (_, node) in &self.running {
            while node.send(PendingCount).await?? > 0 {
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// One node finds the topics that nobody has used.
    async fn use_all(&self) -> Result<(), Failure> {
        let (_, node) = self.running.first().ok_or("there is no node here")?;
        for number in 0..self.options.topics {
            node.send(GetPublisher::new(format!("further-{number}").as_str())).await??;
        }
        Ok(())
    }

    async fn end(&self) -> Result<(), Failure> {
        let ends = self.running.iter().map(|(_, node)| node.send(Shutdown::drain(Duration::from_secs(10))));
        for report in try_join_all(ends).await? {
            report?;
        }
        Ok(())
    }
}

/// Whom a node sends to: others chosen at random, the same in every run.
fn others(node: usize, options: &Options) -> BTreeSet<usize> {
    let mut state = node as u64 + 1;
    let mut others = BTreeSet::new();
    while others.len() < options.peers {
        // Xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = (state >> 16) as usize % options.nodes;
        if other != node {
            others.insert(other);
        }
    }
    others
}
