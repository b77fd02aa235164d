//! Every store returns what the store in memory, the model, returns, for random histories.

// Part of the suite's harness is for the suite alone.
#[allow(dead_code)]
mod conformance;

use conformance::*;
use futures::executor::block_on;
use liner::stores::*;
use liner::{LaneName, Seq};
use proptest::prelude::*;

const LANES: [&str; 3] = ["x", "y", "z"];

/// Something a node asks of its store; lanes are indices into [`LANES`].
#[derive(Debug, Clone)]
enum Step {
    Restart,
    Open(usize, u64),
    Receive(usize),
    Commit(Vec<Change>),
    Load(usize, u64, usize),
    Clear,
    Forget(usize),
}

#[derive(Debug, Clone)]
enum Change {
    Append(usize, u64, u64),
    Trim(usize, u64),
    Remove(usize, u64),
    Advance(usize, Option<u64>, u64, u64),
    Attempt(usize, u64, u64),
}

fn change() -> impl Strategy<Value = Change> {
    let (lane, n, incarnation) = (0..LANES.len(), 0..60u64, 1..5u64);
    prop_oneof![
        (lane.clone(), n.clone(), 0..40u64).prop_map(|(l, from, count)| Change::Append(l, from, count)),
        (lane.clone(), n.clone()).prop_map(|(l, n)| Change::Trim(l, n)),
        (lane.clone(), n.clone()).prop_map(|(l, n)| Change::Remove(l, n)),
        (lane.clone(), proptest::option::of(incarnation.clone()), incarnation.clone(), n.clone())
            .prop_map(|(l, expected, to, n)| Change::Advance(l, expected, to, n)),
        (lane, incarnation, n).prop_map(|(l, of, n)| Change::Attempt(l, of, n)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let lane = 0..LANES.len();
    prop_oneof![
        1 => Just(Step::Restart),
        3 => (lane.clone(), 1..8u64).prop_map(|(l, incarnation)| Step::Open(l, incarnation)),
        2 => lane.clone().prop_map(Step::Receive),
        8 => proptest::collection::vec(change(), 1..5).prop_map(Step::Commit),
        3 => (lane.clone(), 0..60u64, 0..40usize).prop_map(|(l, after, limit)| Step::Load(l, after, limit)),
        1 => Just(Step::Clear),
        1 => lane.prop_map(Step::Forget),
    ]
}

/// A node on one backend, and the keys its lanes had last.
struct Subject<M> {
    medium: M,
    process: Process,
    keys: [LaneKey; LANES.len()],
}

fn named(lane: usize) -> LaneName {
    lane_on(LANES[lane])
}

impl<M: Medium> Subject<M> {
    async fn new() -> Self {
        let medium = M::fresh();
        let process = Process::start(medium.open(), "a").await;
        let mut keys = Vec::new();
        for lane in 0..LANES.len() {
            keys.push(process.open(&named(lane), 1).await.key);
        }
        Subject { medium, process, keys: [keys[0], keys[1], keys[2]] }
    }

    fn write(&self, change: &Change) -> Write {
        match *change {
            Change::Append(lane, from, count) => append(self.keys[lane], 1, from + 1..=from + count),
            Change::Trim(lane, through) => trim(self.keys[lane], through),
            Change::Remove(lane, n) => Write::Remove { lane: self.keys[lane], seq: Seq::new(n) },
            Change::Advance(lane, expected, to, n) => advance(self.keys[lane], expected, cursor(to, n)),
            Change::Attempt(lane, of, n) => {
                Write::Attempt { lane: self.keys[lane], incarnation: inc(of), seq: Seq::new(n), attempts: 1 }
            }
        }
    }

    /// Takes the step and says, in words that can be compared, what came of it.
    async fn take(&mut self, step: &Step) -> String {
        let (store, fence) = (&self.process.store, &self.process.fence);
        match step {
            Step::Restart => {
                self.process = Process::start(self.medium.open(), "a").await;
                format!("{:?}", self.process.fence)
            }
            Step::Open(lane, incarnation) => {
                let opened = self.process.open(&named(*lane), *incarnation).await;
                self.keys[*lane] = opened.key;
                format!("{opened:?}")
            }
            Step::Receive(lane) => {
                let mut found = self.process.receive(&named(*lane)).await;
                self.keys[*lane] = found.key;
                found.attempts.sort();
                format!("{found:?}")
            }
            Step::Commit(changes) => {
                let writes: Vec<_> = changes.iter().map(|change| self.write(change)).collect();
                format!("{:?}", store.commit(fence, batch(writes)).await)
            }
            Step::Load(lane, after, messages) => {
                let limit = PageLimit { messages: *messages, bytes: 30 };
                format!("{:?}", store.load(self.keys[*lane], Seq::new(*after), limit).await)
            }
            Step::Clear => format!("{:?}", store.clear(fence).await),
            Step::Forget(lane) => format!("{:?}", store.forget_lane(fence, &named(*lane)).await),
        }
    }

    async fn everything(&self) -> String {
        let store = &self.process.store;
        let mut all = format!("{:?} {:?}", store.lanes(&node("a")).await, store.pending(&node("a")).await);
        for key in self.keys {
            all += &format!(" {:?}", store.load(key, Seq::ZERO, ALL).await);
        }
        all
    }
}

/// Takes the same steps on a medium and in memory.
fn agrees<M: Medium>(steps: &[Step]) -> Result<(), TestCaseError> {
    block_on(async {
        let mut memory = Subject::<MemoryMedium>::new().await;
        let mut other = Subject::<M>::new().await;
        for step in steps {
            prop_assert_eq!(memory.take(step).await, other.take(step).await, "{:?}", step);
        }
        prop_assert_eq!(memory.everything().await, other.everything().await);
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_answers_what_memory_answers(steps in proptest::collection::vec(step(), 1..60)) {
        agrees::<SqliteMedium>(&steps)?;
    }
}

#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn postgres_answers_what_memory_answers(steps in proptest::collection::vec(step(), 1..60)) {
        agrees::<conformance::PostgresMedium>(&steps)?;
    }
}

#[cfg(feature = "redis")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redis_answers_what_memory_answers(steps in proptest::collection::vec(step(), 1..60)) {
        agrees::<conformance::RedisMedium>(&steps)?;
    }
}
