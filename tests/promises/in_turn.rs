//! What one client did before another one counts before it, also where the broker was too slow to see them apart: a client
//! that subscribes, and then has another one publish, gets the message, whichever shards the two are on.

use crate::harness::{Broker, Publish, V5, packet};

/// Enough for the clients of a pair, and the home of their topic, to be on each combination of two shards.
const PAIRS: usize = 24;

#[test]
fn a_subscription_counts_for_what_is_published_after_it() {
    let broker = Broker::start();
    for pair in 0..PAIRS {
        let topic = format!("turn/{pair}");
        let mut listener = broker.client(V5, &format!("listener-{pair}"));
        let mut speaker = broker.client(V5, &format!("speaker-{pair}"));
        let id = listener.fresh_id();
        broker.pause_while(|| {
            listener.send(&packet::subscribe(V5, id, &[(&topic, 0)], &[]));
            speaker.send_publish(&Publish::new(&topic, "after"));
        });
        assert_eq!(listener.expect_suback(id), [0]);
        assert_eq!(listener.expect_publish().text(), "after", "pair {pair}");
    }
}
