//! How the sets of topics of two filters lie to each other.
//!
//! Both ignore chat roots, which access lists don't rule, and keep to the rule that a filter that begins with a wildcard
//! matches no topic that begins with `$` `[MQTT-4.7.2-1]`.

/// Whether some topic matches both filters.
pub(super) fn overlaps(a: &str, b: &str) -> bool {
    if (a.starts_with('$') && begins_wild(b)) || (b.starts_with('$') && begins_wild(a)) {
        return false;
    }
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            // It also matches the level before it, so the other filter may end here.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(x), Some(y)) if x == "+" || y == "+" || x == y => {}
            _ => return false,
        }
    }
}

/// Whether every topic that matches `inner` matches `outer`.
pub(super) fn covers(outer: &str, inner: &str) -> bool {
    if inner.starts_with('$') && begins_wild(outer) {
        return false;
    }
    if inner == "#" {
        // Every topic has a first level.
        return matches!(outer, "#" | "+/#");
    }
    let (mut outer, mut inner) = (outer.split('/'), inner.split('/'));
    loop {
        match (outer.next(), inner.next()) {
            (Some("#"), _) | (None, None) => return true,
            (_, Some("#")) => return false,
            (Some(x), Some(y)) if x == "+" || x == y => {}
            _ => return false,
        }
    }
}

fn begins_wild(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}
