//! Adopts legacy connection keys. `legacy` decides what each row becomes.
//!
//! A script cannot decode the rows. So they are read in pages, converted and staged in lists; one script then makes all
//! changes at once. Until it has run, no legacy data is changed, and a failed attempt starts again.

use super::MAX_MESSAGE;
use super::commit;
use super::directory::{fenced, parsed};
use super::error::Outcome;
use super::lanes::Lanes;
use super::script::{ADOPT, LEFT, RENAME, STAGE, ScriptReply};
use crate::stores::legacy::redis::{FoundKeys, PATTERN, parties, route, routes_key, unescaped};
use crate::stores::legacy::{
    ADOPTED, AdoptedLane, AdoptionContext, LegacyCatalogue, LegacyConnection, QueueSplit, RememberedRoute, RowOutcome,
};
use crate::stores::shared::{naming, row};
use crate::stores::{Adopted, Batch, Fence, LaneKey, StoreError, Write};
use crate::types::{Incarnation, LaneName, Payload, Topic};
use redis::Cmd;
use std::collections::BTreeMap;

/// Keys per step of a scan.
const SCANNED: usize = 1000;

/// Limits of a page of rows that is read, and of one that is staged.
const ROWS: usize = 256;
const BYTES: usize = 4 * 1024 * 1024;

/// A key to adopt.
struct KeyToAdopt {
    left: LegacyConnection,
    /// The legacy composite; empty if the key belongs to a lane.
    composite: String,
    /// The number of our rows at the front of the queue.
    keep: usize,
    length: usize,
}

async fn get(db: &Lanes<'_>, command: &Cmd) -> Outcome<Option<String>> {
    parsed(db.connection.read(command).await?)
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

pub(super) async fn adopt(db: &Lanes<'_>, fence: &Fence) -> Outcome<Adopted> {
    let node = format!("lnr_node:{}", fence.node);
    // liner_broker increments this with every key it makes. If it has not changed, there are no new keys.
    let made = get(db, &command(&["GET", "lnr_unique_key"])).await?.unwrap_or_default();
    let known = get(db, &command(&["HGET", &node, "searched"])).await?;
    let searched = known.as_ref() == Some(&made);
    let found = if searched { FoundKeys::default() } else { search(db, fence).await? };
    for topic in &found.routed {
        let call = RENAME.call().text(fence.node.as_str()).number(fence.epoch.get());
        db.connection.write(&call.text(topic).text(&unescaped(topic))).await?;
    }
    let taken = left(db, fence, &found.composites).await?;
    let mut adopted = Adopted::default();
    if !taken.is_empty() {
        let catalogue = catalogue(db, fence, &taken, &found.numbered).await?;
        for taken in &taken {
            adopted += take(db, fence, &catalogue, taken).await?;
        }
    }
    if !searched {
        db.connection.write(&fenced(fence, "searched").text(&made)).await?;
    }
    Ok(adopted)
}

async fn search(db: &Lanes<'_>, fence: &Fence) -> Outcome<FoundKeys> {
    let mut found = FoundKeys::default();
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = command(&["SCAN", &cursor, "MATCH", PATTERN, "COUNT"]);
        scan.arg(SCANNED);
        let (next, keys): (String, Vec<Vec<u8>>) = parsed(db.connection.read(&scan).await?)?;
        for key in keys.into_iter().filter_map(|key| String::from_utf8(key).ok()) {
            found.add(&fence.node, &key);
        }
        if next == "0" {
            break;
        }
        cursor = next;
    }
    found.sort();
    Ok(found)
}

/// Returns the keys to adopt: composites that belong to no lane, and lanes to whose queue liner_broker has appended rows.
async fn left(db: &Lanes<'_>, fence: &Fence, composites: &[String]) -> Outcome<Vec<KeyToAdopt>> {
    let mut taken = Vec::new();
    // The script also returns lanes, so it is called even without composites.
    let parts = composites.chunks(SCANNED).collect::<Vec<_>>();
    for part in if parts.is_empty() { vec![&[][..]] } else { parts } {
        let mut call = LEFT.call().text(fence.node.as_str());
        for composite in part {
            call.add(composite.as_str());
        }
        let mut reply = db.connection.run(&call).await?;
        while !reply.is_over() {
            taken.extend(read(db, reply.parts()?).await?);
        }
    }
    taken.sort_by_key(|taken| taken.left.key);
    taken.dedup_by_key(|taken| taken.left.key);
    Ok(taken)
}

async fn read(db: &Lanes<'_>, mut found: ScriptReply) -> Outcome<Option<KeyToAdopt>> {
    let (composite, key) = (found.text()?, i64::try_from(found.number()?).unwrap_or(0));
    let (source, receiver, handled) = (found.text()?, found.text()?, found.number()?);
    let length = usize::try_from(found.number()?).unwrap_or(0);
    if composite.is_empty() {
        let keep = ours(db, key, length).await?;
        return Ok(Some(KeyToAdopt {
            left: LegacyConnection { key, source, receiver, handled },
            composite,
            keep,
            length,
        }));
    }
    let Some((source, receiver)) = parties(&composite) else { return Ok(None) };
    let left = LegacyConnection { key, source, receiver, handled };
    Ok(Some(KeyToAdopt { left, composite, keep: 0, length }))
}

/// Returns how many rows at the front of a queue are ours.
async fn ours(db: &Lanes<'_>, key: i64, length: usize) -> Outcome<usize> {
    let (mut ours, mut theirs) = (0, length);
    while ours < theirs {
        let middle = ours.midpoint(theirs);
        let row: Option<Vec<u8>> = parsed(db.connection.read(&row_at(key, middle)).await?)?;
        let is_ours = row.as_ref().and_then(|row| row.first()).is_some_and(|first| first & 0x80 != 0);
        if is_ours { ours = middle + 1 } else { theirs = middle }
    }
    Ok(ours)
}

fn row_at(key: i64, at: usize) -> Cmd {
    let mut command = command(&["LINDEX", &format!("lnr_connection:{key}:messages")]);
    command.arg(at);
    command
}

async fn catalogue(
    db: &Lanes<'_>,
    fence: &Fence,
    taken: &[KeyToAdopt],
    numbered: &[String],
) -> Outcome<LegacyCatalogue> {
    // A server is always shared by all nodes.
    let mut catalogue = LegacyCatalogue { others_send: true, ..LegacyCatalogue::default() };
    let numbered = if numbered.is_empty() { search(db, fence).await?.numbered } else { numbered.to_vec() };
    for topic in &numbered {
        let number = get(db, &command(&["GET", &format!("lnr_topic:{topic}:key")])).await?;
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            catalogue.number(unescaped(topic), number);
        }
    }
    let mut sources: Vec<&str> = taken.iter().map(|taken| taken.left.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    for source in sources {
        let key = routes_key(&fence.node, source);
        let routes: Vec<(String, String)> = parsed(db.connection.read(&command(&["HGETALL", &key])).await?)?;
        for (addr, remembered) in routes {
            let (topic, receiver) = match route(&remembered) {
                (topic, Some(receiver)) => (topic, Some(receiver.to_owned())),
                (topic, None) => {
                    (topic, get(db, &command(&["HGET", &format!("lnr_topic:{topic}:addr"), &addr])).await?)
                }
            };
            let topic = topic.to_owned();
            let source = source.to_owned();
            catalogue.remembered.extend(receiver.map(|receiver| RememberedRoute { source, topic, receiver }));
        }
    }
    Ok(catalogue)
}

/// A lane that rows move to, and the rows staged for it.
struct Aim {
    target: AdoptedLane,
    lane: LaneName,
    /// Whether the lane is to be made from the key.
    claims: bool,
    list: String,
    rows: usize,
    bytes: usize,
    last: u64,
    /// Rows that are not staged yet.
    waiting: Vec<Vec<u8>>,
}

struct Adoption<'a> {
    db: &'a Lanes<'a>,
    fence: &'a Fence,
    taken: &'a KeyToAdopt,
    split: QueueSplit<'a>,
    aims: BTreeMap<Topic, Aim>,
}

async fn take(db: &Lanes<'_>, fence: &Fence, catalogue: &LegacyCatalogue, taken: &KeyToAdopt) -> Outcome<Adopted> {
    let mut context = AdoptionContext::new(MAX_MESSAGE)?;
    // Kept until the adoption is done, so that a repeated attempt writes the same dead letters again.
    let adopting = format!("lnr_connection:{}:adopting", taken.left.key);
    db.connection.read(&command(&["SETNX", &adopting, &context.letters.get().to_string()])).await?;
    let letters = get(db, &command(&["GET", &adopting])).await?.and_then(|number| number.parse().ok());
    context.letters = letters.map_or(context.letters, Incarnation::new);
    let split = QueueSplit::new(&fence.node, catalogue, &taken.left, context);
    let mut adoption = Adoption { db, fence, taken, split, aims: BTreeMap::new() };
    for topic in adoption.split.remembered() {
        adoption.aim(&topic).await?;
    }
    adoption.rows().await?;
    adoption.finish().await
}

impl Adoption<'_> {
    /// Returns the lane of a topic. The first lane that does not exist yet is made from the key.
    async fn aim(&mut self, topic: &Topic) -> Outcome<&mut Aim> {
        if !self.aims.contains_key(topic) {
            let lane = self.split.lane(topic.clone());
            let key = LaneKey(self.taken.left.key);
            let there = get(self.db, &command(&["GET", &format!("lnr_lane:{}", naming::with_topic(&lane))])).await?;
            let free = !self.taken.composite.is_empty() && self.aims.values().all(|aim| !aim.claims);
            let claims = free && there.is_none();
            let target = if claims {
                AdoptedLane::coming(key, self.split.acked())
            } else {
                AdoptedLane::new(&self.db.open(self.fence, &lane, ADOPTED).await?)
            };
            let list = format!("lnr_connection:{}:adopting:{}", key.get(), self.aims.len());
            let aim = Aim { target, lane, claims, list, rows: 0, bytes: 0, last: 0, waiting: Vec::new() };
            self.aims.insert(topic.clone(), aim);
        }
        Ok(self.aims.get_mut(topic).expect("it was inserted"))
    }

    async fn rows(&mut self) -> Outcome<()> {
        let queue = format!("lnr_connection:{}:messages", self.taken.left.key);
        let (mut at, mut chunk) = (self.taken.keep, 1);
        while at < self.taken.length {
            let mut range = command(&["LRANGE", &queue]);
            range.arg(at).arg((at + chunk).min(self.taken.length) - 1);
            let rows: Vec<Vec<u8>> = parsed(self.db.connection.read(&range).await?)?;
            if rows.is_empty() {
                return Err(changed());
            }
            at += rows.len();
            let read: usize = rows.iter().map(Vec::len).sum();
            for row in rows {
                self.row(&row).await?;
            }
            chunk = if read < BYTES { (chunk * 2).min(ROWS) } else { (chunk / 2).max(1) };
        }
        Ok(())
    }

    async fn row(&mut self, bytes: &[u8]) -> Outcome<()> {
        match self.split.row(bytes) {
            RowOutcome::Move { topic, number, payload } => self.move_row(&topic, number, payload).await,
            RowOutcome::DeadLetter(letter) => {
                let batch = Batch { writes: vec![Write::DeadLetter(letter)], synced: false };
                self.db.connection.write(&commit::call(self.fence, &[&batch], self.db.known)).await.map(drop)
            }
            RowOutcome::Delete => Ok(()),
        }
    }

    async fn move_row(&mut self, topic: &Topic, number: u64, payload: Payload) -> Outcome<()> {
        let (db, fence, now_ms) = (self.db, self.fence, self.split.now_ms());
        let aim = self.aim(topic).await?;
        let stored = aim.target.take(number, payload, now_ms);
        let mut encoded = Vec::new();
        row::encode_into(&mut encoded, &stored);
        aim.last = stored.seq.get();
        aim.waiting.push(encoded);
        let waiting: usize = aim.waiting.iter().map(Vec::len).sum();
        if aim.waiting.len() >= ROWS || waiting >= BYTES { stage(db, fence, aim).await } else { Ok(()) }
    }

    /// Runs the one script that makes all changes. If it finds the queue changed, liner_broker still writes to the store.
    async fn finish(mut self) -> Outcome<Adopted> {
        for aim in self.aims.values_mut() {
            stage(self.db, self.fence, aim).await?;
        }
        let born = getrandom::u64().map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
        let KeyToAdopt { left, composite, keep, length } = self.taken;
        let call = ADOPT.call().text(self.fence.node.as_str()).number(self.fence.epoch.get());
        let call = call.text(&left.key.to_string()).text(composite).number(*length as u64).number(*keep as u64);
        let mut call = call.number(self.split.acked().get()).number(born).number(ADOPTED.get());
        for aim in self.aims.values() {
            let LaneName { source, receiver, topic, .. } = &aim.lane;
            call.add(aim.target.key.0);
            call.add(u64::from(aim.claims));
            call.add(naming::plain(&aim.lane));
            call.add(naming::with_topic(&aim.lane));
            for name in [source.as_str(), receiver.as_str(), topic.as_str()] {
                call.add(name);
            }
            call.add(aim.list.as_str());
            call.add(aim.rows);
            call.add(aim.bytes);
            call.add(aim.last);
        }
        match self.db.connection.try_write(&call).await? {
            Some(_) => Ok(self.split.adopted),
            None => Err(changed()),
        }
    }
}

fn changed() -> super::error::Failure {
    StoreError::Unavailable("liner_broker still writes to the store".into()).into()
}

async fn stage(db: &Lanes<'_>, fence: &Fence, aim: &mut Aim) -> Outcome<()> {
    let rows = std::mem::take(&mut aim.waiting);
    if rows.is_empty() {
        return Ok(());
    }
    let mut call = STAGE.call().text(fence.node.as_str()).number(fence.epoch.get());
    call.add(aim.list.as_str());
    call.add(aim.rows);
    aim.rows += rows.len();
    for row in rows {
        aim.bytes += row.len() - row::OVERHEAD;
        call.add(row);
    }
    match db.connection.try_write(&call).await? {
        Some(_) => Ok(()),
        None => Err(changed()),
    }
}
