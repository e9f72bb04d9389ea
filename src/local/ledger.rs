//! What a cluster has acknowledged, and whether all of it is still there.

use crate::api::content::Audit;
use cluster_state::{ConfigKey, ModelId, SegmentId};
use std::collections::{BTreeMap, BTreeSet};

/// What was acknowledged at some moment, and so must never be lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acknowledged {
    pub segments: BTreeSet<SegmentId>,
    pub champions: BTreeMap<(ConfigKey, u64), ModelId>,
}

impl Acknowledged {
    /// Adds what one peer knows to be agreed.
    pub fn add(&mut self, audit: &Audit) {
        self.segments.extend(audit.segments.iter().map(|(hash, _)| *hash));
        let champions = audit.champions.iter().map(|c| ((c.config_key.clone(), c.generation), c.model));
        self.champions.extend(champions);
    }
}

/// Returns the acknowledged segments of which no peer has verified bytes, and the promotions that a peer
/// forgot or remembers differently.
pub fn lost(acknowledged: &Acknowledged, audits: &[(String, Audit)]) -> Vec<String> {
    let mut present = BTreeSet::new();
    for (_, audit) in audits {
        present.extend(audit.segments.iter().filter(|(_, here)| *here).map(|(hash, _)| *hash));
    }
    let mut all = acknowledged.clone();
    audits.iter().for_each(|(_, audit)| all.add(audit));
    let mut found: Vec<String> =
        all.segments.difference(&present).map(|hash| format!("segment {hash}")).collect();
    for (peer, audit) in audits {
        let known: BTreeMap<(ConfigKey, u64), ModelId> =
            audit.champions.iter().map(|c| ((c.config_key.clone(), c.generation), c.model)).collect();
        for ((config, generation), model) in &acknowledged.champions {
            if known.get(&(config.clone(), *generation)) != Some(model) {
                found.push(format!("champion {generation} of {config}, {}, on {peer}", model.short()));
            }
        }
    }
    found
}

/// The `peers` without an audit. Nothing is known about them, so nothing may be promised.
pub fn silent<'a>(peers: impl IntoIterator<Item = &'a str>, audits: &[(String, Audit)]) -> Vec<String> {
    let answered = |peer: &&str| audits.iter().any(|(name, _)| name == peer);
    peers.into_iter().filter(|peer| !answered(peer)).map(|peer| format!("{peer} does not answer")).collect()
}

/// The points at which the peers' histories of champions differ.
pub fn disagreements(audits: &[(String, Audit)]) -> Vec<String> {
    let Some(((first, reference), others)) = audits.split_first() else {
        return vec!["no peer answered".to_owned()];
    };
    let key = |audit: &Audit| -> Vec<(ConfigKey, u64, ModelId)> {
        audit.champions.iter().map(|c| (c.config_key.clone(), c.generation, c.model)).collect()
    };
    let differ = others.iter().filter(|(_, audit)| key(audit) != key(reference));
    let mut found: Vec<String> =
        differ.map(|(peer, _)| format!("{peer} tells another history of champions than {first}")).collect();
    for (peer, audit) in audits {
        let newest = audit.champions.iter().max_by_key(|champion| champion.generation);
        if newest.is_none_or(|champion| !champion.here) {
            found.push(format!("{peer} does not hold the champion"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::content::AuditedModel;
    use wire::Hash;

    fn hash<Id: From<Hash>>(name: &str) -> Id {
        Hash::of(name.as_bytes()).into()
    }

    fn audit(segments: &[(&str, bool)], champions: &[&str]) -> (String, Audit) {
        let champions = (0..).zip(champions).map(|(generation, name)| AuditedModel {
            config_key: "hex8_2p".into(),
            generation,
            model: hash(name),
            here: true,
        });
        let audit = Audit {
            node_id: "node-1".into(),
            applied: 9,
            state: hash("state"),
            segments: segments.iter().map(|(name, here)| (hash(name), *here)).collect(),
            games: 9,
            champions: champions.collect(),
        };
        ("n1".into(), audit)
    }

    #[test]
    fn a_segment_is_lost_when_nobody_has_it() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.add(&audit(&[("a", true), ("b", true)], &["0"]).1);
        let kept =
            [audit(&[("a", true), ("b", false)], &["0"]), audit(&[("a", false), ("b", true)], &["0", "1"])];
        assert_eq!(lost(&acknowledged, &kept), Vec::<String>::new());
        assert_eq!(lost(&acknowledged, &kept[..1]), [format!("segment {}", hash::<Hash>("b"))]);
        assert_eq!(lost(&acknowledged, &[audit(&[("a", true)], &["0"])]).len(), 1);
    }

    #[test]
    fn a_promotion_is_lost_when_anybody_tells_otherwise() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.add(&audit(&[], &["0", "1"]).1);
        assert_eq!(lost(&acknowledged, &[audit(&[], &["0", "1"]), audit(&[], &["0", "1", "2"])]).len(), 0);
        assert_eq!(lost(&acknowledged, &[audit(&[], &["0", "1"]), audit(&[], &["0"])]).len(), 1);
        assert_eq!(lost(&acknowledged, &[audit(&[], &["0", "x"])]).len(), 1);
    }

    #[test]
    fn peers_agree_only_on_equal_histories() {
        let same = [audit(&[], &["0", "1"]), audit(&[], &["0", "1"])];
        assert_eq!(disagreements(&same), Vec::<String>::new());
        assert_eq!(disagreements(&[audit(&[], &["0", "1"]), audit(&[], &["0"])]).len(), 1);
        let mut absent = audit(&[], &["0"]);
        absent.1.champions[0].here = false;
        assert_eq!(disagreements(&[absent]), ["n1 does not hold the champion"]);
        assert_eq!(disagreements(&[]).len(), 1);
        assert_eq!(silent(["n1", "n2"], &[audit(&[], &["0"])]), ["n2 does not answer"]);
    }
}
