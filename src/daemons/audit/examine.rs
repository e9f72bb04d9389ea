//! Looks at one segment of another node, on a thread of its own.
//!
//! Invariant: what is found here everybody finds who has the segment and the model, and whose backend has the
//! name of the player's; where it has not, up to the chance of [`crate::learner::audit::ALARM`]. What a
//! program of another version may have written is not forged because this one cannot read it: nothing is
//! said.

use crate::{
    learner::{
        again::Unjudged,
        audit::{Auditor, Examined, Forged},
        backend,
    },
    search::AnyEvaluator,
    store::{GameRecord, Segment, segment::SegmentHeader},
};
use cluster_state::RegisteredSegment;
use rules::{Config, playout::Choices};

/// What to look at.
pub(super) enum Look {
    /// Each game with this chance, and one decision of it.
    Share(f64),
    /// One game, and one decision of it.
    At { game: u32, ply: u32 },
}

/// What is found of a segment that cannot be what it is registered as, whatever its games are.
pub(super) fn impossible(look: &Look) -> Examined {
    let game = match look {
        Look::Share(_) => 0,
        Look::At { game, .. } => *game,
    };
    forged(game)
}

fn forged(game: u32) -> Examined {
    Examined { games: 1, forged: Some(Forged { game, ply: 0 }), ..Examined::default() }
}

/// What is found of content that only a program of another version can read.
pub(super) fn unjudged() -> Examined {
    Examined { unjudged: 1, ..Examined::default() }
}

/// Looks at a segment. `evaluator` is that of the model that is registered for it, and `seed` draws what is
/// looked at: the player must not know it.
pub(super) fn examine(
    bytes: &[u8],
    registered: &RegisteredSegment,
    config: Config,
    evaluator: &mut dyn AnyEvaluator,
    look: &Look,
    seed: u64,
) -> Result<Examined, Unjudged> {
    let games = match Segment::read(bytes) {
        Ok((header, games)) if is_as_registered(&header, registered) => games,
        Err(error) if error.is_foreign() => return Ok(unjudged()),
        Ok(_) | Err(_) => return Ok(impossible(look)),
    };
    let mut foreign = 0;
    let (model, mut choices) = (registered.model, Choices::new(seed));
    let mut auditor = Auditor { config, model, evaluator, backend: backend::cpu() };
    let mut chosen: Vec<(u32, &GameRecord)> = Vec::new();
    for (index, record) in (0..).zip(&games) {
        let wanted = match look {
            Look::Share(share) => {
                let drawn = (choices.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                drawn < auditor.share(record, *share)
            }
            Look::At { game, .. } => *game == index,
        };
        if !wanted {
            continue;
        }
        let is_of_segment = record.config == registered.config_key && record.node == registered.origin;
        match record.validate() {
            Ok(_) if is_of_segment => {}
            Err(error) if is_of_segment && error.is_foreign() => {
                foreign += 1;
                continue;
            }
            Ok(_) | Err(_) => return Ok(forged(index)),
        }
        chosen.push((index, record));
    }
    let examined = match (look, chosen.first()) {
        (Look::Share(_), _) => auditor.sample(&chosen, &mut choices)?,
        (Look::At { ply, .. }, Some((game, record))) => auditor.confirm(*game, record, *ply)?,
        (Look::At { .. }, None) => Examined::default(),
    };
    Ok(Examined { unjudged: foreign, ..examined })
}

/// Whether a segment says of itself what its player registered.
fn is_as_registered(header: &SegmentHeader, registered: &RegisteredSegment) -> bool {
    let RegisteredSegment { config_key, games, samples, source, model, origin, .. } = registered;
    header.config_key == *config_key
        && u64::from(header.games) == *games
        && header.samples == *samples
        && header.source == *source
        && header.model == *model
        && header.node == *origin
}

#[cfg(test)]
mod tests;
