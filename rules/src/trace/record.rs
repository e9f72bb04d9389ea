//! A game record as JSON: verbose steps are objects, compact steps are arrays.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, de};

/// One line of a trace.
#[derive(Deserialize)]
pub(super) struct Game<'a> {
    pub(super) v: u64,
    #[serde(borrow)]
    pub(super) board: Cow<'a, str>,
    pub(super) players: u8,
    pub(super) swap: bool,
    #[serde(borrow)]
    pub(super) victory: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) init: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) steps: Vec<Step<'a>>,
    #[serde(borrow)]
    pub(super) end: End<'a>,
}

/// How a game ended.
#[derive(Deserialize)]
pub(super) struct End<'a> {
    #[serde(borrow)]
    pub(super) status: Cow<'a, str>,
    pub(super) steps: usize,
    pub(super) winner: Option<u8>,
    #[serde(borrow)]
    pub(super) reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) state: Option<Cow<'a, str>>,
}

/// One step; a compact one has only the last four.
pub(super) struct Step<'a> {
    pub(super) seat: Option<u8>,
    pub(super) phase: Option<Cow<'a, str>>,
    pub(super) legal: Option<Vec<Cow<'a, str>>>,
    pub(super) state: Option<Cow<'a, str>>,
    pub(super) played: Cow<'a, str>,
    pub(super) count: u64,
    pub(super) legal_hash: u64,
    pub(super) state_hash: u64,
}

/// A text that borrows from the input where JSON allows.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// 16 lower-case hexadecimal digits.
struct HexHash(u64);

impl<'de> Deserialize<'de> for HexHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let hash = u64::from_str_radix(&text, 16).ok().filter(|_| digits && text.len() == 16);
        hash.map(Self).ok_or_else(|| D::Error::custom("a hash is 16 lower-case hexadecimal digits"))
    }
}

#[derive(Deserialize)]
struct Verbose<'a> {
    p: u8,
    #[serde(borrow)]
    ph: Text<'a>,
    n: u64,
    #[serde(borrow)]
    legal: Option<Vec<Text<'a>>>,
    lh: HexHash,
    #[serde(borrow)]
    m: Text<'a>,
    #[serde(borrow)]
    state: Text<'a>,
    sh: HexHash,
}

impl<'de: 'a, 'a> Deserialize<'de> for Step<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = Step<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step, [move, count, hash, hash] or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Step<'de>, A::Error> {
        let short = |index| move || de::Error::invalid_length(index, &"4 entries");
        let Text(played) = seq.next_element()?.ok_or_else(short(0))?;
        let count = seq.next_element()?.ok_or_else(short(1))?;
        let HexHash(legal_hash) = seq.next_element()?.ok_or_else(short(2))?;
        let HexHash(state_hash) = seq.next_element()?.ok_or_else(short(3))?;
        let (seat, phase, legal, state) = (None, None, None, None);
        Ok(Step { seat, phase, legal, state, played, count, legal_hash, state_hash })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Step<'de>, A::Error> {
        let step = Verbose::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Step {
            seat: Some(step.p),
            phase: Some(step.ph.0),
            legal: step.legal.map(|legal| legal.into_iter().map(|text| text.0).collect()),
            state: Some(step.state.0),
            played: step.m.0,
            count: step.n,
            legal_hash: step.lh.0,
            state_hash: step.sh.0,
        })
    }
}
