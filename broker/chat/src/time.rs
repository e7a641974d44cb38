//! Times as they stand in JSON: RFC 3339 in UTC with milliseconds. Inside they are milliseconds since the Unix epoch.

use std::time::{Duration, UNIX_EPOCH};

/// The last millisecond that RFC 3339 can say: the end of the year 9999.
const LAST_MS: u64 = 253_402_300_799_999;

/// As it stands in JSON.
pub fn format(time_ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(time_ms.min(LAST_MS))).to_string()
}

/// From JSON: RFC 3339, also with less than milliseconds.
pub fn parse(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since_epoch.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        assert_eq!(format(1_767_323_045_678), "2026-01-02T03:04:05.678Z");
        assert_eq!(parse("2026-01-02T03:04:05.678Z"), Some(1_767_323_045_678));
        assert_eq!(parse("1969-01-01T00:00:00Z"), None);
        assert_eq!(parse("soon"), None);
        assert_eq!(format(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
