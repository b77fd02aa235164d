//! Guarantees 1 to 14: nothing is lost, invented, reordered or handled in secret.

use crate::support::*;
use liner::*;

async fn g01_everything_accepted_is_handled_whatever_breaks(mesh: Mesh) {
    let proxy = Proxy::new().await;
    let advertised = |mesh: &Mesh| mesh.config("billing").advertise(&proxy.addr());
    let mut orders = Node::start(mesh.config("orders")).await;
    let mut billing = Node::start(advertised(&mesh)).await;
    proxy.forward_to(&billing.bound().await);
    let mut inbox = Inbox::at(&billing).await;
    for round in 0..6 {
        orders.send_all("billing", &texts(&format!("{round}."), 40)).await;
        match round {
            0 | 3 => proxy.cut(),
            1 => {
                billing.crash().await;
                billing = Node::start(advertised(&mesh)).await;
                proxy.forward_to(&billing.bound().await);
                inbox.receive(&billing).await;
            }
            2 => {
                orders.crash().await;
                orders = Node::start(mesh.config("orders")).await;
            }
            4 => proxy.isolate(),
            _ => proxy.resume(),
        }
    }
    orders.settled().await;
    let mut first = Vec::new();
    for delivery in inbox.so_far() {
        let text = inbox::text(&delivery);
        if !first.contains(&text) {
            first.push(text);
        }
    }
    let sent: Vec<_> = (0..6).flat_map(|round| texts(&format!("{round}."), 40)).collect();
    assert_eq!(first, sent);
}

on_each_store!(g01_everything_accepted_is_handled_whatever_breaks);
