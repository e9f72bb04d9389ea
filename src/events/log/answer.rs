//! What this node can tell a peer that lacks events.
//!
//! Invariant: an answer is of bounded size. What is parked here is served as well, because its origin signed
//! it.

use super::EventLog;
use crate::events::{
    LogError,
    envelope::Signed,
    repair::{ANSWER_BYTES_MAX, ANSWER_EVENTS_MAX, Floor, RepairAnswer, RepairQuestion, Sample},
    vector::{self, Source, VersionVector},
    writer,
};
use rusqlite::{Connection, params};
use std::ops::RangeInclusive;

impl EventLog {
    /// The question for what this node lacks.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn question(&self) -> Result<RepairQuestion, LogError> {
        let shunned = self.shunned.borrow().keys().cloned().collect();
        Ok(RepairQuestion { vector: self.vector()?, shunned, samples: self.samples()? })
    }

    /// What the asking node lacks, as far as it fits into one answer. Of those who are shunned here, that is
    /// the proof.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn answer(&self, question: &RepairQuestion) -> Result<RepairAnswer, LogError> {
        let RepairQuestion { vector: theirs, shunned, samples } = question;
        let connection = self.reader.lock();
        let mut ours = writer::vector(&connection)?;
        self.without_untold(&mut ours);
        ours.retain(|(origin, epoch), _| !self.is_shunned(origin) && !self.is_pardoned(origin, *epoch));
        let proofs = self.proofs(&connection, shunned)?;
        let mut answer = RepairAnswer { now_ms: (self.clock)(), proofs, ..RepairAnswer::default() };
        let unknown = |sample: &&Sample| !shunned.contains(&sample.id.origin);
        answer.events = self.contradictions(&connection, samples.iter().filter(unknown))?;
        let mut bytes = answer.events.iter().map(size).sum();
        let watermark = |vector: &VersionVector, source| vector.get(source).map_or(0, |it| it.watermark);
        // A moment's choice of the source to begin with, so that none is always last.
        let missing = vector::missing(&ours, theirs);
        let first = usize::try_from(answer.now_ms).unwrap_or(0) % missing.len().max(1);
        for (source, ranges) in missing.iter().cycle().skip(first).take(missing.len()) {
            let lost_to =
                lost_to(&connection, source, watermark(&ours, source), watermark(theirs, source), ranges)?;
            if lost_to > 0 {
                let (origin, epoch) = source.clone();
                answer.floors.push(Floor { origin, epoch, lost_to });
            }
            for range in ranges {
                if !serve(&connection, source, range, &mut answer, &mut bytes)? {
                    answer.more = true;
                    return Ok(answer);
                }
            }
        }
        Ok(answer)
    }
}

/// What an event takes of an answer, in bytes.
fn size(signed: &Signed) -> usize {
    signed.envelope.len() + signed.signature.len() + 16
}

/// Up to which number of a source a peer lacks events that are gone here too; 0: none. Below the first event
/// that is here all are gone, and so are those between the first that is lacking there and the next that is
/// here. A later hole is told of once there is nothing to serve before it.
fn lost_to(
    connection: &Connection,
    source: &Source,
    ours: i64,
    theirs: i64,
    ranges: &[RangeInclusive<i64>],
) -> Result<i64, LogError> {
    let lowest = first_in(connection, source, &(i64::MIN..=i64::MAX))?;
    let kept_from = lowest.map_or(ours + 1, |lowest| lowest.min(ours + 1));
    let lost_to = if kept_from > theirs + 1 { kept_from - 1 } else { 0 };
    let Some(range) = ranges.first() else { return Ok(lost_to) };
    let next = first_in(connection, source, range)?;
    if next == Some(*range.start()) {
        return Ok(lost_to);
    }
    Ok(lost_to.max(next.map_or(*range.end(), |next| next - 1)))
}

/// Adds the events of a range. False: there is no room for more.
fn serve(
    connection: &Connection,
    (origin, epoch): &Source,
    range: &RangeInclusive<i64>,
    answer: &mut RepairAnswer,
    bytes: &mut usize,
) -> Result<bool, LogError> {
    let sql = "SELECT envelope, signature, sequence FROM event_log WHERE origin = ?1 AND epoch = ?2 AND sequence \
               BETWEEN ?3 AND ?4 UNION ALL SELECT envelope, signature, sequence FROM event_parked WHERE \
               origin = ?1 AND epoch = ?2 AND sequence BETWEEN ?3 AND ?4 ORDER BY sequence";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![origin, epoch, range.start(), range.end()])?;
    while let Some(row) = rows.next()? {
        let signed = Signed { envelope: row.get(0)?, signature: row.get(1)? };
        *bytes += size(&signed);
        if answer.events.len() == ANSWER_EVENTS_MAX || *bytes > ANSWER_BYTES_MAX {
            return Ok(false);
        }
        answer.events.push(signed);
    }
    Ok(true)
}

/// The first event of a range that is here and can be served.
fn first_in(
    connection: &Connection,
    (origin, epoch): &Source,
    range: &RangeInclusive<i64>,
) -> Result<Option<i64>, LogError> {
    let sql = "SELECT MIN(sequence) FROM (SELECT MIN(sequence) AS sequence FROM event_log WHERE origin = ?1 AND \
               epoch = ?2 AND sequence BETWEEN ?3 AND ?4 UNION ALL SELECT MIN(sequence) FROM event_parked WHERE \
               origin = ?1 AND epoch = ?2 AND sequence BETWEEN ?3 AND ?4)";
    let key = params![origin, epoch, range.start(), range.end()];
    Ok(connection.prepare_cached(sql)?.query_row(key, |row| row.get(0))?)
}
