//! Losses, doubles and disorder are counted exactly; the window neither leaks nor overfills.

use super::*;

fn seen(sequences: &[u32]) -> (Vec<Seen>, Streams) {
    let mut streams = Streams::new(3);
    let seen = sequences.iter().map(|&sequence| streams.see(1, sequence)).collect();
    (seen, streams)
}

#[test]
fn in_order_is_neither_doubled_nor_reordered() {
    let (seen, streams) = seen(&[0, 1, 2, 3]);
    assert_eq!(seen, [Seen::Next; 4]);
    assert_eq!((streams.received, streams.doubled, streams.reordered), (4, 0, 0));
}

#[test]
fn a_gap_is_lost_until_it_arrives_late() {
    let (seen, streams) = seen(&[0, 5, 2, 2, 1, 6, 4, 3, 3]);
    use Seen::{Again, Ahead, Late, Next};
    assert_eq!(seen, [Next, Ahead(4), Late, Again, Late, Next, Late, Late, Again]);
    assert_eq!((streams.received, streams.doubled, streams.reordered), (7, 2, 4));
    assert!(streams.missing.is_empty());
}

#[test]
fn what_never_arrives_is_the_difference() {
    let (_, streams) = seen(&[3, 4, 9]);
    assert_eq!(10 - streams.received, 7);
    assert_eq!(streams.missing.len(), 2);
}

#[test]
fn streams_do_not_mix() {
    let mut streams = Streams::new(2);
    assert_eq!(streams.see(0, 4), Seen::Ahead(4));
    assert_eq!(streams.see(1, 4), Seen::Ahead(4));
    assert_eq!(streams.see(1, 2), Seen::Late);
    assert_eq!(streams.see(1, 2), Seen::Again);
    assert_eq!(streams.see(0, 2), Seen::Late);
}

#[test]
fn any_order_with_doubles_gives_the_same_sums() {
    // A permutation of 0..101 by a step that is coprime to it, each third number twice.
    let (mut received, mut again) = (0, 0);
    let mut streams = Streams::new(1);
    for index in 0..101u32 {
        let sequence = index * 37 % 101;
        received += u64::from(streams.see(0, sequence) != Seen::Again);
        if index % 3 == 0 {
            again += u64::from(streams.see(0, sequence) == Seen::Again);
        }
    }
    assert_eq!((received, again), (101, 34));
    assert_eq!((streams.received, streams.doubled), (101, 34));
}

#[test]
fn a_window_frees_a_message_when_its_last_receiver_has_it() {
    let mut window = Window::new(2, 2);
    window.publish(0, 2);
    window.publish(1, 1);
    assert_eq!(window.free(), 0);
    window.settle(0, 0);
    assert_eq!(window.free(), 0);
    window.settle(1, 0);
    window.settle(0, 0);
    assert_eq!(window.free(), 2);
}

#[test]
fn a_window_that_gave_up_ignores_what_comes_after_all() {
    let mut window = Window::new(3, 1);
    window.publish(0, 1);
    window.publish(0, 1);
    assert_eq!(window.give_up(), 2);
    window.publish(0, 1);
    window.settle(0, 0);
    window.settle(0, 1);
    assert_eq!(window.free(), 2);
    window.settle(0, 2);
    window.settle(0, 2);
    assert_eq!(window.free(), 3);
}

#[test]
fn a_later_message_may_settle_first() {
    let mut window = Window::new(2, 1);
    window.publish(0, 1);
    window.publish(0, 1);
    window.settle(0, 1);
    assert_eq!(window.free(), 1);
    window.settle(0, 0);
    assert_eq!(window.free(), 2);
}

#[test]
fn quantiles_are_in_microseconds() {
    let mut latency = Latency::new();
    for micros in 1..=1_000u64 {
        latency.record(micros * 1_000);
    }
    assert!((latency.quantile_us(0.5) - 500.0).abs() < 1.0);
    assert!((latency.quantile_us(0.99) - 990.0).abs() < 1.0);
    assert!((latency.max_us() - 1_000.0).abs() < 1.0);
}
