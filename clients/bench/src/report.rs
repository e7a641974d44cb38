//! Results, as a table for people and as JSON for programs.
//!
//! Owns: the order and the form of figures. Never knows how they came about. Invariant: the table and the
//! JSON show the same figures under the same names, units in the names. Driven by a load, which adds
//! figures in the order to be shown.

use crate::meter::Latency;
use crate::process::CpuReading;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

/// The figures of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(String, Value)>,
    troubles: BTreeMap<String, u64>,
    partial: Vec<String>,
}

impl Report {
    /// Adds a figure.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.push((name.to_owned(), value.into()));
    }

    /// Adds a figure with decimals; nothing when it can't be known (a division by 0).
    pub(crate) fn add_decimal(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.add(name, (value * 1e3).round() / 1e3);
        }
    }

    /// Adds `count` and how many that are per second.
    pub(crate) fn add_rate(&mut self, name: &str, count: u64, secs: f64) {
        self.add(name, count);
        self.add_decimal(&format!("{name}_per_s"), (count as f64 / secs * 10.0).round() / 10.0);
    }

    /// Adds the quantiles of a histogram, in microseconds; nothing when it is empty.
    pub(crate) fn add_latency(&mut self, name: &str, latency: &Latency) {
        if !latency.is_empty() {
            let round = |micros: f64| (micros * 10.0).round() / 10.0;
            let figures = json!({
                "p50": round(latency.quantile_us(0.5)),
                "p90": round(latency.quantile_us(0.9)),
                "p99": round(latency.quantile_us(0.99)),
                "p99_9": round(latency.quantile_us(0.999)),
                "max": round(latency.max_us()),
                "mean": round(latency.mean_us()),
            });
            self.add(name, figures);
        }
    }

    /// Adds processor time between two readings: in all, and per unit of what was done.
    pub(crate) fn add_cpu(&mut self, before: CpuReading, after: CpuReading, unit: &str, units: u64) {
        let own_us = after.own_ns.saturating_sub(before.own_ns) as f64 / 1e3;
        if let (Some(from), Some(to)) = (before.broker_ns, after.broker_ns) {
            let broker_us = to.saturating_sub(from) as f64 / 1e3;
            self.add_decimal(&format!("broker_cpu_us_per_{unit}"), broker_us / units as f64);
        }
        self.add_decimal(&format!("own_cpu_us_per_{unit}"), own_us / units as f64);
    }

    /// Counts something that went wrong, by its text.
    pub(crate) fn trouble(&mut self, what: impl Display) {
        *self.troubles.entry(what.to_string()).or_default() += 1;
    }

    /// Adds counts of what went wrong, by its text.
    pub(crate) fn add_troubles(&mut self, troubles: BTreeMap<String, u64>) {
        for (what, count) in troubles {
            *self.troubles.entry(what).or_default() += count;
        }
    }

    /// Says that the load didn't run as asked, and why.
    pub(crate) fn mark_partial(&mut self, why: impl Into<String>) {
        self.partial.push(why.into());
    }

    /// Whether the load didn't run as asked.
    pub(crate) fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// One line of JSON.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("keys are strings and values are JSON")
    }

    fn rows(&self) -> Vec<(String, Value)> {
        let mut rows = self.figures.clone();
        rows.push(("troubles".into(), json!(self.troubles)));
        rows.push(("partial".into(), json!(self.partial)));
        rows
    }
}

impl Serialize for Report {
    /// As a map in the order in which figures were added.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.rows())
    }
}

impl Display for Report {
    /// As a table: a name, then a figure with its thousands apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in rows {
            match value {
                Value::Object(parts) if parts.is_empty() => {}
                Value::Array(parts) if parts.is_empty() => {}
                Value::Object(parts) => {
                    let mut line = String::new();
                    for (part, value) in &parts {
                        write!(line, "{part} {}   ", text(value))?;
                    }
                    writeln!(f, "{name:width$}  {}", line.trim_end())?;
                }
                Value::Array(parts) => {
                    let parts: Vec<String> = parts.iter().map(text).collect();
                    writeln!(f, "{name:width$}  {}", parts.join("; "))?;
                }
                value => writeln!(f, "{name:width$}  {}", text(&value))?,
            }
        }
        Ok(())
    }
}

/// A value as people read it: `1234567.8` as `1,234,567.8`.
fn text(value: &Value) -> String {
    let Value::Number(number) = value else {
        return value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    };
    let plain = number.to_string();
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut out = String::new();
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_order_in_json() {
        let mut report = Report::default();
        report.add("load", "fanout");
        report.add_rate("delivered", 3_000, 2.0);
        report.add_decimal("never", f64::NAN);
        report.trouble("lost");
        report.trouble("lost");
        let wanted = r#"{"load":"fanout","delivered":3000,"delivered_per_s":1500.0,"troubles":{"lost":2},"partial":[]}"#;
        assert_eq!(report.to_json(), wanted);
        assert!(!report.is_partial());
    }

    #[test]
    fn the_table_sets_thousands_apart() {
        let mut report = Report::default();
        report.add("published", 1_234_567);
        report.add("change", -123.5);
        let table = report.to_string();
        assert!(table.contains("published  1,234,567\n"), "{table}");
        assert!(table.contains("change     -123.5\n"), "{table}");
    }
}
