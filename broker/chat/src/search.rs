//! Looking for words in what was said: what a word is, what a query means, and what a search gives.
//!
//! It knows neither an index nor a log. A text fits a query by [`Query::fits`] alone: whatever finds candidates faster
//! has to agree with it. [`Quest`] is what the directory asks for, [`Findings`] what comes back, and [`answer`] the JSON
//! of it. Invariants: any text and any query is taken apart without a panic; a page of hits is in the order of [`Spot`],
//! and its continuation neither leaves out a hit nor gives one twice.

mod page;
mod query;
mod words;

pub use page::{Findings, Hit, Quest, Spot, answer};
pub use query::{Query, Term};
pub use words::{Words, fold};

/// Bytes of a query at most.
pub const QUERY_BYTES: usize = 256;
/// Words of a query at most.
pub const QUERY_WORDS: usize = 16;

#[cfg(test)]
mod tests;
