//! A request and its reply between two nodes: an actor that receives, `reply_to`, headers, and an ack that waits until the
//! reply is accepted.
//!
//! `cargo run --release --example one_to_one`

mod common;

use actix::prelude::*;
use common::{Store, next};
use liner::{Delivery, Headers, LinerSystem, Nack, Receive, SendTo, Shutdown};
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc;

/// Squares numbers. A request counts as handled when its reply is stored, so a reply comes whatever crashes.
struct Calculator {
    system: Addr<LinerSystem>,
}

impl Actor for Calculator {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Calculator {
    type Result = ResponseFuture<Result<(), Nack>>;

    fn handle(&mut self, question: Delivery, _: &mut Self::Context) -> Self::Result {
        let system = self.system.clone();
        Box::pin(async move {
            let answer = answer(&question).map_err(|error| Nack::new(error.to_string()))?;
            let accepted = system.send(answer).await.map_err(|error| Nack::new(error.to_string()))?;
            accepted.map(|_| ()).map_err(|error| Nack::new(error.to_string()))
        })
    }
}

fn answer(question: &Delivery) -> Result<SendTo, Box<dyn Error>> {
    let number: u64 = std::str::from_utf8(&question.payload)?.parse()?;
    let id = question.headers.get("question").ok_or("a question without its number")?;
    let headers = Headers::builder().with("question", id).build()?;
    Ok(SendTo::new(question.reply_to(), (number * number).to_string()).headers(headers))
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::from_args()?;
    let client = LinerSystem::spawn(store.config("client-1", "client")).await?;
    let server = LinerSystem::spawn(store.config("server-1", "squares")).await?;
    let calculator = Calculator { system: server.clone() }.start();
    server.send(Receive::new(calculator.recipient())).await??.detach();

    let (seen, mut answers) = mpsc::unbounded_channel();
    let callback = Receive::callback(move |answer| {
        let id = String::from_utf8_lossy(answer.headers.get("question").unwrap_or_default()).into_owned();
        let number = String::from_utf8_lossy(&answer.payload).into_owned();
        seen.send((id, number)).map_err(|_| Nack::new("nobody listens"))
    });
    client.send(callback).await??.detach();

    println!("client-1 asks server-1 for squares; answers come back to the client's own topic");
    for number in 1..=5_u64 {
        let headers = Headers::builder().with("question", number.to_string()).build()?;
        client.send(SendTo::new("squares", number.to_string()).headers(headers)).await??;
    }
    for number in 1..=5_u64 {
        let (question, answer) = next(&mut answers).await?;
        println!("   question {question}: {number} squared is {answer}");
        if (question, answer) != (number.to_string(), (number * number).to_string()) {
            return Err("a wrong answer, or answers out of order".into());
        }
    }

    for system in [client, server] {
        system.send(Shutdown::drain(Duration::from_secs(5))).await??;
    }
    println!("done: every question has its answer");
    Ok(())
}
