//! Gathers finished games into segments and closes them.
//!
//! Invariant: a game is in a closed segment within `segment_seconds` of the first game of that segment. A
//! segment that cannot be closed does not affect any other segment.

use super::SelfplayDaemon;
use crate::{
    peer::WorkError,
    store::{GameRecord, Player},
};
use cluster_state::{ConfigKey, ModelId};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Pause between two checks whether a segment is due.
const TICK: Duration = Duration::from_millis(500);

/// Games that are in no closed segment yet, by configuration and model, and the time of the first of them.
type Open = BTreeMap<(ConfigKey, ModelId), (Instant, Vec<GameRecord>)>;

impl SelfplayDaemon {
    /// Gathers games and closes segments until no thread can finish a game any more.
    pub(super) async fn gather(&self, mut finished: mpsc::Receiver<GameRecord>) -> Result<(), WorkError> {
        let (age_max, games_max) = (self.settings.play.segment_age_max(), self.settings.play.segment_games);
        let mut open = Open::new();
        let mut tick = tokio::time::interval(TICK);
        loop {
            let ended = tokio::select! {
                game = finished.recv() => match game {
                    Some(game) => {
                        self.node.activity.games(1, Instant::now());
                        add(&mut open, game);
                        false
                    }
                    None => true,
                },
                _ = tick.tick() => false,
            };
            let due = |began: Instant, games: &[GameRecord]| {
                ended || games.len() >= games_max || began.elapsed() >= age_max
            };
            let close = |key: ConfigKey, model: ModelId, games| {
                let segments = self.segments.clone();
                async move { segments.close_selfplay(&key, model, games).await }
            };
            close_due(&mut open, due, close).await?;
            if ended {
                return Ok(());
            }
        }
    }
}

/// Adds a game to the segment of its model. A game that no model played belongs to no segment.
fn add(open: &mut Open, game: GameRecord) {
    match game.players.first() {
        Some(Player::Model(model)) => {
            let segment = open.entry((game.config.clone(), *model));
            segment.or_insert_with(|| (Instant::now(), Vec::new())).1.push(game);
        }
        Some(Player::Random | Player::Heuristic) | None => {}
    }
}

/// Closes the segments that are due. If one of them cannot be closed, gathering ends: all others are closed
/// as far as possible, and the first error is returned.
async fn close_due<F: Future<Output = Result<(), WorkError>>>(
    open: &mut Open,
    due: impl Fn(Instant, &[GameRecord]) -> bool,
    close: impl Fn(ConfigKey, ModelId, Vec<GameRecord>) -> F,
) -> Result<(), WorkError> {
    let full: Vec<_> =
        open.iter().filter(|(_, (began, games))| due(*began, games)).map(|(key, _)| key.clone()).collect();
    let mut outcome = Ok(());
    for key in full {
        let Some((_, games)) = open.remove(&key) else { continue };
        outcome = outcome.and(close(key.0, key.1, games).await);
    }
    if outcome.is_err() {
        for ((key, model), (_, games)) in std::mem::take(open) {
            outcome = outcome.and(close(key, model, games).await);
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use wire::Hash;

    #[tokio::test]
    async fn a_segment_that_does_not_close_costs_no_other() {
        let (old, new) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let names = ["a", "b", "c", "d"];
        let all = |began: [Instant; 4]| -> Open {
            let key = |name: &str| ("hex8_2p".into(), ModelId(Hash::of(name.as_bytes())));
            names.into_iter().zip(began).map(|(name, began)| (key(name), (began, Vec::new()))).collect()
        };
        for (began, fails, closed, left) in [
            ([old, new, new, new], "", 1, 3),
            ([old, old, new, new], "", 2, 2),
            ([old, new, new, new], "a", 4, 0),
            ([new, old, old, new], "b", 4, 0),
            ([new, new, new, new], "a", 0, 4),
        ] {
            let (mut open, tried) = (all(began), Mutex::new(0));
            let close = |_, model: ModelId, _| {
                *tried.lock() += 1;
                let fails = model == ModelId(Hash::of(fails.as_bytes()));
                std::future::ready(if fails { Err(WorkError::Missing(model.0)) } else { Ok(()) })
            };
            let outcome = close_due(&mut open, |began, _| began == old, close).await;
            assert_eq!((*tried.lock(), open.len()), (closed, left), "{fails:?} {began:?}");
            assert_eq!(outcome.is_err(), left == 0, "{fails:?}");
        }
    }
}
