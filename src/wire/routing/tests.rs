//! The rules of routing, one test each.

use super::selection::{Blocked, Guarantee, Target, every, offer_in_turn, pick, usable};
use super::*;
use crate::wire::outbound::OfferError;

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("valid")
}

fn topic(name: &str) -> Topic {
    Topic::new(name).expect("valid")
}

fn route(name: &str, live: bool) -> CatalogueRoute {
    CatalogueRoute { node: node(name), addrs: vec![format!("{name}:1")], subscription: false, live }
}

fn entry(routes: &[(&str, bool)], tombstones: &[&str]) -> CatalogueEntry {
    CatalogueEntry {
        routes: routes.iter().map(|(name, live)| route(name, *live)).collect(),
        tombstones: tombstones.iter().map(|name| node(name)).collect(),
    }
}

/// A node that uses the topic "t".
struct Bench {
    routing: Routing,
    topic: Topic,
    look_ups: Vec<(LookUpId, Vec<Topic>)>,
    looked_up: Vec<(LookUpId, bool)>,
    changes: usize,
    targets: Vec<TopicTarget>,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Bench {
            routing: Routing::new(node("me")),
            topic: topic("t"),
            look_ups: Vec::new(),
            looked_up: Vec::new(),
            changes: 0,
            targets: Vec::new(),
        };
        assert!(bench.routing.use_topic(&topic("t")), "is used for the first time");
        bench.poll();
        bench
    }

    fn poll(&mut self) {
        while let Some(event) = self.routing.poll_event() {
            match event {
                RoutingEvent::LookUp { id, topics } => self.look_ups.push((id, topics)),
                RoutingEvent::Targets { topic, targets } if topic == self.topic => self.targets = targets,
                RoutingEvent::Targets { .. } => {}
                RoutingEvent::Changed(_) => self.changes += 1,
                RoutingEvent::LookedUp { id, read, .. } => self.looked_up.push((id, read)),
            }
        }
    }

    /// Looks the topic up, and finds `entry`.
    fn read(&mut self, entry: CatalogueEntry) {
        self.routing.look_up(&topic("t"));
        self.poll();
        self.look_up_done(Some(entry));
    }

    /// Ends the oldest look-up.
    fn look_up_done(&mut self, entry: Option<CatalogueEntry>) {
        let (id, _) = self.look_ups.remove(0);
        self.routing.handle_look_up(id, entry.map(|entry| vec![entry]));
        self.poll();
    }

    fn targets(&self) -> Vec<(String, RouteState)> {
        self.targets.iter().map(|target| (target.node.to_string(), target.state)).collect()
    }

    fn names(&self) -> Vec<String> {
        self.targets.iter().map(|target| target.node.to_string()).collect()
    }
}

#[test]
fn the_catalogue_a_peer_and_a_lane_each_make_a_node_a_target() {
    let mut bench = Bench::new();
    bench.read(entry(&[("listed", true), ("expired", false), ("me", true)], &[]));
    bench.routing.handle_met(&node("met"), &topic("t"), "met:1", false);
    bench.routing.handle_lane_opened(&node("old"), &topic("t"));
    bench.poll();
    let expected = [
        ("listed", RouteState::Live),
        ("met", RouteState::Live),
        ("expired", RouteState::Expired),
        ("old", RouteState::Released),
    ];
    assert_eq!(bench.targets(), expected.map(|(name, state)| (name.to_owned(), state)));
}

#[test]
fn a_tombstone_ends_a_listed_route_and_a_lane() {
    let mut bench = Bench::new();
    bench.routing.handle_lane_opened(&node("lane"), &topic("t"));
    bench.read(entry(&[("listed", true), ("other", true)], &["listed", "lane"]));
    assert_eq!(bench.names(), ["other"]);
}

#[test]
fn a_peer_that_withdraws_is_no_target_whatever_the_catalogue_and_lanes_say() {
    let mut bench = Bench::new();
    bench.read(entry(&[("peer", true)], &[]));
    bench.routing.handle_lane_opened(&node("peer"), &topic("t"));
    bench.routing.handle_met(&node("peer"), &topic("other"), "peer:1", false);
    bench.routing.handle_serves(&node("peer"), &topic("t"), true);
    bench.routing.handle_serves(&node("peer"), &topic("t"), false);
    bench.poll();
    assert_eq!(bench.targets(), []);
    bench.read(entry(&[("peer", true)], &[]));
    assert_eq!(bench.targets(), [], "a seed of a peer with a store of its own says nothing new");
}

#[test]
fn a_peer_that_serves_again_is_a_target_though_the_store_has_its_old_tombstone() {
    let mut bench = Bench::new();
    bench.read(entry(&[], &["peer"]));
    bench.routing.handle_serves(&node("peer"), &topic("t"), true);
    bench.poll();
    assert_eq!(bench.names(), ["peer"]);
}

#[test]
fn what_a_peer_on_the_same_store_says_does_not_outlive_its_row() {
    let mut bench = Bench::new();
    bench.routing.handle_met(&node("peer"), &topic("t"), "peer:1", true);
    bench.poll();
    assert_eq!(bench.names(), Vec::<String>::new(), "its row says so, or nothing does");
    bench.routing.handle_serves(&node("peer"), &topic("t"), false);
    bench.read(entry(&[("peer", true)], &[]));
    assert_eq!(bench.names(), ["peer"], "the row was written after the word");
}

#[test]
fn a_look_up_that_began_before_a_peer_withdrew_does_not_bring_it_back() {
    let mut bench = Bench::new();
    bench.routing.handle_met(&node("peer"), &topic("own"), "peer:1", true);
    bench.read(entry(&[("peer", true)], &[]));
    bench.routing.look_up(&topic("t"));
    bench.poll();
    bench.routing.handle_serves(&node("peer"), &topic("t"), false);
    bench.look_up_done(Some(entry(&[("peer", true)], &[])));
    assert_eq!(bench.targets(), []);
    bench.read(entry(&[("peer", true)], &[]));
    assert_eq!(bench.names(), ["peer"], "it subscribed again");
}

#[test]
fn look_ups_asked_for_together_are_one_and_never_older_than_their_caller() {
    let mut bench = Bench::new();
    let first = bench.routing.look_up(&topic("t"));
    bench.poll();
    let second = bench.routing.look_up(&topic("t"));
    let third = bench.routing.look_up(&topic("t"));
    bench.poll();
    assert_eq!(bench.look_ups.len(), 1, "one is under way at a time");
    bench.look_up_done(Some(entry(&[], &[])));
    assert_eq!(bench.look_ups.len(), 1, "another one serves those who asked meanwhile");
    let (ended, _) = bench.looked_up[0];
    assert!(ended > first && ended <= second && ended <= third);
    bench.look_up_done(None);
    let (ended, read) = bench.looked_up[1];
    assert!(ended > second && ended > third && !read);
    assert_eq!(bench.look_ups, [], "nobody asked again");
}

#[test]
fn a_late_answer_replaces_nothing() {
    let mut bench = Bench::new();
    bench.routing.refresh();
    bench.poll();
    bench.routing.look_up(&topic("t"));
    bench.poll();
    let (early, late) = (bench.look_ups[0].0, bench.look_ups[1].0);
    bench.routing.handle_look_up(late, Some(vec![entry(&[("new", true)], &[])]));
    bench.routing.handle_look_up(early, Some(vec![entry(&[("old", true)], &[])]));
    bench.poll();
    assert_eq!(bench.names(), ["new"]);
    assert_eq!(bench.changes, 1);
}

#[test]
fn a_refresh_reads_all_topics_in_use_once_and_again_if_asked_meanwhile() {
    let mut bench = Bench::new();
    bench.routing.watch_topic(&topic("watched"));
    bench.routing.handle_serves(&node("peer"), &topic("heard of"), true);
    for _ in 0..3 {
        bench.routing.refresh();
    }
    bench.poll();
    assert_eq!(bench.look_ups.len(), 1);
    assert_eq!(bench.look_ups[0].1, [topic("t"), topic("watched")]);
    bench.look_up_done(None);
    assert_eq!(bench.look_ups.len(), 1);
    bench.look_up_done(None);
    assert_eq!(bench.look_ups, []);
}

#[test]
fn a_forgotten_node_is_no_target_and_a_look_up_under_way_does_not_bring_it_back() {
    let mut bench = Bench::new();
    bench.read(entry(&[("peer", true), ("other", true)], &[]));
    bench.routing.handle_lane_opened(&node("peer"), &topic("t"));
    bench.routing.look_up(&topic("t"));
    bench.routing.forget(&node("peer"));
    bench.poll();
    assert_eq!(bench.names(), ["other"]);
    assert_eq!(bench.routing.entry(&topic("t")), None);
    bench.look_up_done(Some(entry(&[("peer", true), ("other", true)], &[])));
    assert_eq!(bench.names(), ["other"]);
    assert_eq!(bench.looked_up.len(), 1, "those who asked wait for the look-up that follows");
    bench.look_up_done(Some(entry(&[("other", true)], &[])));
    assert_eq!((bench.names(), bench.looked_up.len()), (vec!["other".to_owned()], 2));
}

#[test]
fn a_forgotten_lane_is_no_target_until_the_topic_is_looked_up() {
    let mut bench = Bench::new();
    bench.routing.handle_serves(&node("peer"), &topic("t"), true);
    bench.routing.handle_lane_opened(&node("peer"), &topic("t"));
    bench.routing.forget_lane(&node("peer"), &topic("t"));
    bench.poll();
    assert_eq!(bench.names(), Vec::<String>::new());
}

/// A row of an operator may be out of date under one topic while the node publishes another.
#[test]
fn a_node_is_dialled_at_its_addresses_under_all_topics_whichever_was_read_last() {
    let listed = |addrs: &[&str]| {
        let addrs = addrs.iter().map(|addr| (*addr).to_owned()).collect();
        CatalogueEntry { routes: vec![CatalogueRoute { addrs, ..route("peer", true) }], tombstones: Vec::new() }
    };
    let read = |bench: &mut Bench, name: &str, entry| {
        bench.routing.look_up(&topic(name));
        bench.poll();
        bench.look_up_done(Some(entry));
    };
    let addrs = |bench: &Bench| bench.targets[0].addrs.clone();
    let (mut first, mut second) = (Bench::new(), Bench::new());
    read(&mut first, "t", listed(&["new", "old"]));
    read(&mut first, "z", listed(&["old"]));
    read(&mut second, "z", listed(&["old"]));
    read(&mut second, "t", listed(&["new", "old"]));
    assert_eq!(addrs(&second), ["new", "old"]);
    assert_eq!(addrs(&first), addrs(&second));
    second.routing.remember(&node("peer"), "met".to_owned());
    second.routing.handle_lane_opened(&node("peer"), &topic("t"));
    second.poll();
    assert_eq!(addrs(&second), ["new", "old", "met"]);
    read(&mut second, "t", CatalogueEntry::default());
    assert_eq!(addrs(&second), ["old", "met"]);
    assert!(!second.routing.handle_met(&node("peer"), &topic("z"), "met", false), "the address is known");
    assert!(second.routing.handle_met(&node("peer"), &topic("z"), "moved", false));
}

// ---- selection ----

#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate(NodeId, RouteState, bool);

impl Target for Candidate {
    fn node(&self) -> &NodeId {
        &self.0
    }

    fn state(&self) -> RouteState {
        self.1
    }

    fn is_up(&self) -> bool {
        self.2
    }
}

fn candidate(name: &str, state: RouteState, is_up: bool) -> Candidate {
    Candidate(node(name), state, is_up)
}

fn live() -> Candidate {
    candidate("live", RouteState::Live, false)
}

fn expired() -> Candidate {
    candidate("expired", RouteState::Expired, true)
}

fn released() -> Candidate {
    candidate("released", RouteState::Released, true)
}

#[test]
fn an_expired_lease_is_used_only_when_no_live_one_is_left() {
    assert_eq!(usable(&[live(), expired(), released()], Guarantee::AtLeastOnce), [live()]);
    assert_eq!(usable(&[expired(), released()], Guarantee::AtLeastOnce), [expired()]);
    assert_eq!(usable(&[expired(), released()], Guarantee::AtMostOnce), [expired()]);
}

#[test]
fn only_at_least_once_goes_to_a_released_node() {
    assert_eq!(usable(&[released()], Guarantee::AtLeastOnce), [released()]);
    assert_eq!(usable(&[released()], Guarantee::AtMostOnce), []);
    assert_eq!(every(&[released()], Guarantee::AtMostOnce), []);
}

#[test]
fn every_node_means_the_listed_ones_whatever_their_lease_and_released_ones_only_alone() {
    assert_eq!(every(&[live(), expired(), released()], Guarantee::AtLeastOnce), [live(), expired()]);
    assert_eq!(every(&[released()], Guarantee::AtLeastOnce), [released()]);
}

#[test]
fn targets_take_turns_those_with_a_live_link_first() {
    let targets = [("a", false), ("b", true), ("c", true)].map(|(name, up)| candidate(name, RouteState::Live, up));
    let taken = |turn| offer_in_turn(&targets, turn, |target| Ok(target.0.to_string())).expect("all take it");
    assert_eq!([0, 1, 2, 3].map(taken), ["b", "b", "c", "b"]);
    let picked = |turn| pick(&targets, turn).map(|target| target.0.to_string()).expect("there are some");
    assert_eq!([0, 1, 2, 3].map(picked), ["b", "b", "c", "b"]);
    assert_eq!(pick(&targets[..1], 7), Some(&targets[0]), "one that is down is better than none");
}

#[test]
fn a_full_target_passes_the_message_on_and_a_lane_that_is_not_open_is_opened() {
    let targets = ["a", "b"].map(|name| candidate(name, RouteState::Live, true));
    let offer = |errors: [Option<OfferError>; 2]| {
        let at = |target: &Candidate| usize::from(target.0.as_str() == "b");
        offer_in_turn(&targets, 0, |target| errors[at(target)].map_or(Ok(at(target)), Err))
            .map_err(|blocked| blocked.map(at))
    };
    assert_eq!(offer([Some(OfferError::Full), None]), Ok(1));
    assert_eq!(offer([Some(OfferError::LaneFull), Some(OfferError::Full)]), Err(Blocked::Full(1)));
    assert_eq!(offer([Some(OfferError::Full), Some(OfferError::LaneFull)]), Err(Blocked::Full(0)));
    assert_eq!(offer([Some(OfferError::LaneFull), Some(OfferError::LaneFull)]), Err(Blocked::LaneFull));
    assert_eq!(offer([Some(OfferError::NotOpen), None]), Err(Blocked::NotOpen(0)));
    let nobody: [Candidate; 0] = [];
    assert_eq!(offer_in_turn(&nobody, 0, |_| Ok(())), Err(Blocked::NoRoute));
}
