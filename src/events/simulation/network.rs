//! Messages under way, and what happens when: a queue in virtual time.

use crate::events::envelope::Signed;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use std::collections::BTreeMap;

/// How bad things are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Share of messages, and of questions, that are lost.
    pub(super) lost: f64,
    /// Share of messages that arrive twice.
    pub(super) repeated: f64,
    /// The longest that a message is under way, milliseconds: others overtake it.
    pub(super) slow_ms: i64,
    /// Nodes and handlers are killed.
    pub(super) kills: bool,
}

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A node says something.
    Emit(usize),
    /// The leader's log grows.
    Decide,
    /// A node applies what it has of that log.
    Apply(usize),
    /// A message arrives.
    Arrive { to: usize, from: usize, signed: Signed },
    /// A node asks another what it lacks; whether it is the periodic question.
    Repair(usize, bool),
    /// A node's upkeep.
    Upkeep(usize),
    /// A node's handlers run.
    Handle(usize),
    /// Somebody is killed.
    Kill,
    /// A node starts.
    Start(usize),
}

/// What is to come, in order.
#[derive(Default)]
pub(super) struct Future {
    all: BTreeMap<(i64, u64), Happening>,
    count: u64,
}

impl Future {
    pub(super) fn add(&mut self, at_ms: i64, happening: Happening) {
        self.count += 1;
        self.all.insert((at_ms, self.count), happening);
    }

    /// The next one, if it happens before `end_ms`.
    pub(super) fn next(&mut self, end_ms: i64) -> Option<(i64, Happening)> {
        let entry = self.all.first_entry()?;
        (entry.key().0 < end_ms).then(|| (entry.key().0, entry.remove()))
    }

    /// Nothing happens for a while; what was under way is lost.
    pub(super) fn shift(&mut self, by_ms: i64) {
        let all = std::mem::take(&mut self.all).into_iter();
        let stays = all.filter(|(_, happening)| !matches!(happening, Happening::Arrive { .. }));
        self.all = stays.map(|((at, count), happening)| ((at + by_ms, count), happening)).collect();
    }
}

/// When the copies of a message arrive, if any do.
pub(super) fn copies(weather: &Weather, random: &mut Pcg64Mcg, now_ms: i64) -> Vec<i64> {
    if random.random_bool(weather.lost) {
        return Vec::new();
    }
    let count = if random.random_bool(weather.repeated) { 2 } else { 1 };
    (0..count).map(|_| now_ms + random.random_range(1..=weather.slow_ms)).collect()
}
