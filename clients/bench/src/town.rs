//! Many rooms and memberships as an export of Katydid's, which `katydid import` takes in.
//!
//! Owns: the lines. Never knows a broker that runs. Invariant: the lines are those that the README describes, and the
//! last one counts them. Driven by `main`.

use crate::options::Town;
use std::io::{self, BufWriter, Write};

/// A time for everything: 2026-01-01.
const TIME_MS: u64 = 1_767_225_600_000;

/// Writes a town.
///
/// # Errors
/// When the output takes no more.
pub(crate) fn write(town: &Town, out: &mut dyn Write) -> io::Result<()> {
    let &Town { rooms, memberships, users } = town;
    let mut out = BufWriter::new(out);
    writeln!(out, r#"{{"type":"export","format":"katydid-export","version":1,"scope":"all"}}"#)?;
    for user in 0..users {
        let number = user + 1;
        writeln!(
            out,
            r#"{{"type":"account","v":1,"name":"citizen{user}","number":{number},"created_ms":{TIME_MS}}}"#
        )?;
    }
    for room in 0..rooms {
        let (number, owner) = (room + 1, room % users);
        writeln!(
            out,
            r#"{{"type":"room","v":1,"name":"town{room}","number":{number},"owner":"citizen{owner}","created_ms":{TIME_MS},"visibility":"public"}}"#
        )?;
    }
    // Each room has the next few users in turn, so that nobody is in one twice.
    let mut written = 0;
    for nth in 0..memberships.div_ceil(rooms).min(users) {
        for room in 0..rooms {
            if written < memberships {
                let user = (room + nth) % users;
                writeln!(
                    out,
                    r#"{{"type":"member","place":"room/town{room}","user":"citizen{user}","v":1,"since_ms":{TIME_MS},"joined":true}}"#
                )?;
                written += 1;
            }
        }
    }
    writeln!(out, r#"{{"type":"end","lines":{}}}"#, 2 + users + rooms + written)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_town_has_what_was_asked_for_and_its_end_counts_the_lines() {
        let mut text = Vec::new();
        write(&Town { rooms: 7, memberships: 20, users: 4 }, &mut text).expect("memory takes it");
        let text = String::from_utf8(text).expect("UTF-8");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
        assert_eq!((of("account"), of("room"), of("member")), (4, 7, 20));
        assert_eq!(lines.last().expect("an end")["lines"], lines.len());
        let members: std::collections::BTreeSet<&str> =
            text.lines().filter(|line| line.contains("member")).collect();
        assert_eq!(members.len(), 20, "nobody is in a room twice");
    }
}
