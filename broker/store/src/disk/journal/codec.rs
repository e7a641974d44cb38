//! How operations are written down in the journal.
//!
//! Knows bytes and operations, and nothing of blocks. An operation is its number and its fields; an amendment also says
//! how long the content was that it replaces, so that a replay, which may find the new content there already, counts
//! right. Invariant: what [`decode_ops`] returns is what was encoded; the numbers are on disk and never reused.

use bytes::Bytes;

use super::damaged;
use crate::block::{Reader, put_bytes, put_varint};
use crate::{Entry, LogId, Op, Seq, Space, StoreError};

const APPEND: u8 = 1;
const TRIM: u8 = 2;
const DROP_LOG: u8 = 3;
const PUT: u8 = 4;
const DELETE: u8 = 5;
const AMEND: u8 = 6;

/// Stands for an entry: two entries may share one.
pub(in crate::disk) type Mark = u32;

/// The entries whose contents are somewhere.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::disk) struct Marks {
    /// A bit for each, so that a look at all blocks of the journal reads little memory.
    filter: u64,
    marks: Box<[Mark]>,
}

impl Marks {
    /// Whether one of them is among `wanted`, which must be sorted; `filter` is that of `wanted`.
    pub(super) fn has_some(&self, wanted: &[Mark], filter: u64) -> bool {
        self.filter & filter != 0 && self.marks.iter().any(|mark| wanted.binary_search(mark).is_ok())
    }
}

impl FromIterator<Mark> for Marks {
    fn from_iter<I: IntoIterator<Item = Mark>>(marks: I) -> Self {
        let marks: Box<[Mark]> = marks.into_iter().collect();
        Self { filter: filter(&marks), marks }
    }
}

/// A bit for each mark.
pub(super) fn filter(marks: &[Mark]) -> u64 {
    marks.iter().fold(0, |filter, mark| filter | 1 << (mark % 64))
}

/// Operations, and how long each content was that one of them amends, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::disk) struct Written {
    pub(in crate::disk) ops: Vec<Op>,
    pub(in crate::disk) replaced: Vec<u64>,
}

impl Written {
    /// What stands for the entries whose contents are in it.
    pub(in crate::disk) fn marks(&self) -> Marks {
        let marks = self.ops.iter().filter_map(|op| match op {
            Op::Append { log, entry } => Some(mark_of(*log, entry.seq)),
            Op::Amend { log, seq, .. } => Some(mark_of(*log, *seq)),
            _ => None,
        });
        marks.collect()
    }

    /// The entries that it amends.
    pub(in crate::disk) fn amended(&self) -> impl Iterator<Item = (LogId, Seq)> {
        self.ops.iter().filter_map(|op| match op {
            Op::Amend { log, seq, .. } => Some((*log, *seq)),
            _ => None,
        })
    }
}

/// What stands for an entry.
pub(super) fn mark_of(log: LogId, seq: Seq) -> Mark {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    ((log.wrapping_mul(ODD).rotate_left(32) ^ seq).wrapping_mul(ODD) >> 32) as Mark
}

/// Writes operations down, one behind the other, and notes where each content is.
pub(in crate::disk) fn encode_ops(written: &Written, out: &mut Vec<u8>, marks: &mut Vec<(usize, Mark)>) {
    let mut replaced = written.replaced.iter();
    for op in &written.ops {
        match op {
            Op::Append { log, entry } => {
                marks.push((out.len(), mark_of(*log, entry.seq)));
                out.push(APPEND);
                out.extend_from_slice(&log.to_le_bytes());
                put_varint(out, entry.seq);
                put_varint(out, entry.time_ms);
                put_bytes(out, &entry.bytes);
            }
            Op::Trim { log, below } => {
                out.push(TRIM);
                out.extend_from_slice(&log.to_le_bytes());
                put_varint(out, *below);
            }
            Op::DropLog { log } => {
                out.push(DROP_LOG);
                out.extend_from_slice(&log.to_le_bytes());
            }
            Op::Amend { log, seq, bytes } => {
                marks.push((out.len(), mark_of(*log, *seq)));
                out.push(AMEND);
                out.extend_from_slice(&log.to_le_bytes());
                put_varint(out, *seq);
                put_varint(out, replaced.next().copied().unwrap_or_default());
                put_bytes(out, bytes);
            }
            Op::Put { space, key, value } => {
                out.push(PUT);
                out.push(space.0);
                put_bytes(out, key);
                put_bytes(out, value);
            }
            Op::Delete { space, key } => {
                out.push(DELETE);
                out.push(space.0);
                put_bytes(out, key);
            }
        }
    }
}

/// Reads what [`encode_ops`] wrote.
pub(super) fn decode_ops(bytes: Bytes) -> Result<Written, StoreError> {
    let mut reader = Reader::new(bytes);
    let mut written = Written::default();
    while !reader.is_empty() {
        written.ops.push(match reader.byte()? {
            APPEND => {
                let log = u64::from_le_bytes(reader.fixed()?);
                let (seq, time_ms) = (reader.varint()?, reader.varint()?);
                Op::Append { log, entry: Entry { seq, time_ms, bytes: reader.bytes()? } }
            }
            TRIM => Op::Trim { log: u64::from_le_bytes(reader.fixed()?), below: reader.varint()? },
            DROP_LOG => Op::DropLog { log: u64::from_le_bytes(reader.fixed()?) },
            AMEND => {
                let (log, seq) = (u64::from_le_bytes(reader.fixed()?), reader.varint()?);
                written.replaced.push(reader.varint()?);
                Op::Amend { log, seq, bytes: reader.bytes()? }
            }
            PUT => Op::Put { space: Space(reader.byte()?), key: reader.bytes()?, value: reader.bytes()? },
            DELETE => Op::Delete { space: Space(reader.byte()?), key: reader.bytes()? },
            other => return Err(damaged(&format!("operation {other}"))),
        });
    }
    Ok(written)
}

/// Puts zeros where the contents of entries are that `is_wanted` names.
pub(super) fn erase(ops: &mut [u8], is_wanted: impl Fn(LogId, Seq) -> bool) -> Result<(), StoreError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(ops));
    while !reader.is_empty() {
        match reader.byte()? {
            APPEND | AMEND => {
                let (log, seq) = (u64::from_le_bytes(reader.fixed()?), reader.varint()?);
                // The time, or the length that is replaced.
                reader.varint()?;
                let length = reader.varint()?;
                let range = reader.skip(length)?;
                if is_wanted(log, seq) {
                    ops[range].fill(0);
                }
            }
            TRIM => {
                reader.fixed::<8>()?;
                reader.varint()?;
            }
            DROP_LOG => drop(reader.fixed::<8>()?),
            PUT => {
                reader.byte()?;
                reader.bytes()?;
                reader.bytes()?;
            }
            DELETE => {
                reader.byte()?;
                reader.bytes()?;
            }
            other => return Err(damaged(&format!("operation {other}"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_of_each() -> Written {
        let key = Bytes::from_static(b"key");
        let ops = vec![
            Op::Append {
                log: u64::MAX,
                entry: Entry { seq: 7, time_ms: 1_763_692_800_000, bytes: key.clone() },
            },
            Op::Trim { log: 1, below: u64::MAX },
            Op::DropLog { log: 2 },
            Op::Amend { log: 3, seq: 300, bytes: Bytes::from_static(b"amended") },
            Op::Put { space: Space(9), key: key.clone(), value: Bytes::new() },
            Op::Delete { space: Space(0), key: key.clone() },
            Op::Amend { log: 3, seq: 301, bytes: key },
        ];
        Written { ops, replaced: vec![12_345, 0] }
    }

    #[test]
    fn operations_come_back_and_no_prefix_panics() {
        let written = some_of_each();
        let (mut out, mut marks) = (Vec::new(), Vec::new());
        encode_ops(&written, &mut out, &mut marks);
        assert_eq!(decode_ops(out.clone().into()).expect("as written"), written);
        assert_eq!(marks.iter().map(|(_, mark)| *mark).collect::<Marks>(), written.marks());
        let of_second = mark_of(3, 301);
        assert!(written.marks().has_some(&[of_second], filter(&[of_second])));
        let of_none = mark_of(3, 302);
        assert!(!written.marks().has_some(&[of_none], filter(&[of_none])));
        for end in 0..out.len() {
            if let Ok(found) = decode_ops(Bytes::copy_from_slice(&out[..end])) {
                assert!(written.ops.starts_with(&found.ops), "prefix of {end} bytes");
            }
            let erased = erase(&mut out.clone()[..end], |_, _| true);
            assert!(erased.is_err() || decode_ops(Bytes::copy_from_slice(&out[..end])).is_ok());
        }
    }

    #[test]
    fn an_erased_content_is_zeros_and_the_others_stay() {
        let mut written = some_of_each();
        let mut out = Vec::new();
        encode_ops(&written, &mut out, &mut Vec::new());
        erase(&mut out, |log, seq| (log, seq) == (3, 300)).expect("as written");
        let Op::Amend { bytes, .. } = &mut written.ops[3] else { panic!("the first amendment") };
        *bytes = Bytes::from_static(&[0; 7]);
        assert_eq!(decode_ops(out.into()).expect("as written"), written);
    }
}
