use super::*;
use crate::request::{Page, read_answer};

const NOBODY: &[&str] = &[];

fn window(side: Side, count: u32) -> Window {
    Window { after_seq: 0, before_seq: u64::MAX, from_ms: 0, until_ms: u64::MAX, count, side }
}

fn logged(seq: u64, payload: Option<&[u8]>) -> Logged<'_> {
    let topic = if seq.is_multiple_of(2) { "room/x/msg/ann" } else { "room/x/msg/bob" };
    Logged { seq, time_ms: seq, topic, payload, id: None }
}

fn page(entries: &[Logged<'_>], side: Side, without: &[&str], bytes_max: usize) -> Page {
    let reading = Reading { place: "room/x", window: window(side, 200), entries, is_end: true };
    let text = answer(&reading, without, Some("7"), bytes_max);
    assert!(text.len() <= bytes_max, "{} of {bytes_max}", text.len());
    read_answer::<Page>(text.as_bytes()).unwrap().unwrap()
}

#[test]
fn every_kind_of_payload_is_said() {
    let entries = [logged(1, Some(b"hi \"you\"")), logged(2, Some(b"\xff")), logged(3, None)];
    let page = page(&entries, Side::Newest, NOBODY, 10_000);
    assert!(page.end);
    assert_eq!(page.entries[0].text.as_deref(), Some("hi \"you\""));
    assert_eq!(page.entries[1].base64.as_deref(), Some("/w=="));
    assert!(page.entries[2].deleted && page.entries[2].text.is_none());
    assert_eq!(page.entries[2].time, "1970-01-01T00:00:00.003Z");
    assert_eq!(page.entries[2].from, "bob");
}

#[test]
fn a_page_that_does_not_fit_keeps_the_side_that_was_asked_for() {
    let payload = [b'x'; 100];
    let entries: Vec<Logged<'_>> = (1..=50).map(|seq| logged(seq, Some(&payload))).collect();
    for (side, kept) in [(Side::Oldest, 1), (Side::Newest, 50), (Side::Around(25), 25)] {
        let page = page(&entries, side, NOBODY, 2000);
        let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
        assert!(!page.end && seqs.contains(&kept) && seqs.len() < 50, "{side:?} {seqs:?}");
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{side:?} {seqs:?}");
    }
}

#[test]
fn an_entry_that_never_fits_is_named() {
    let payload = [b'x'; 5000];
    let entries = [logged(1, Some(b"a")), logged(2, Some(&payload)), logged(3, Some(b"b"))];
    let page = page(&entries, Side::Oldest, NOBODY, 1000);
    assert!(page.end && page.entries[1].too_long && page.entries[1].text.is_none());
    assert_eq!(page.entries[2].text.as_deref(), Some("b"));
}

#[test]
fn ignored_senders_are_left_out_and_the_page_says_where_to_go_on() {
    let entries = [logged(1, Some(b"a")), logged(2, Some(b"b"))];
    let kept = page(&entries, Side::Oldest, &["bob"], 1000);
    assert_eq!(kept.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [2]);
    let reading =
        Reading { place: "room/x", window: window(Side::Oldest, 2), entries: &entries, is_end: false };
    let text = answer(&reading, &["ann", "bob"], None, 1000);
    let page = read_answer::<Page>(text.as_bytes()).unwrap().unwrap();
    assert!(page.entries.is_empty() && !page.end && page.next == Some(2));
}
