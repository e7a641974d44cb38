//! Outgoing bytes of one connection, between the engine that encodes and the socket that takes.
//!
//! A [`Ring`] owns encoded bytes in order: buffers of its shard's [`BufferPool`] that small packets are appended to,
//! and shared payloads that are not copied. It knows no packet and no socket. Its invariant: an empty ring holds no
//! buffer, so that an idle connection costs the size of the struct; what is drained goes back to the pool.
//!
//! Drive it with [`Ring::append`] (or [`Ring::tail`] to encode in place), then [`Ring::slices`] into a gathered write,
//! then [`Ring::advance`] by what the socket took. The same pool must be given to every call.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use std::{collections::VecDeque, io::IoSlice};

/// Smallest owned buffer.
const BUFFER_BYTES_MIN: usize = 4 << 10;
/// Largest pooled buffer; past it a new one begins.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Sizes of pooled buffers: 4, 8, 16, 32 and 64 KiB.
const SIZES: usize = 5;
/// Spare chunk lists that a pool keeps, and the longest of them.
const SPARE_LISTS: usize = 64;
const SPARE_LIST_CHUNKS: usize = 64;

/// Spare buffers of one shard, by size.
#[derive(Debug)]
pub struct BufferPool {
    sizes: [Vec<Vec<u8>>; SIZES],
    #[allow(clippy::vec_box, reason = "the boxes are what is reused")]
    lists: Vec<Box<Sealed>>,
    spare_bytes: usize,
    spare_bytes_max: usize,
}

impl BufferPool {
    /// A pool that keeps at most `spare_bytes_max` bytes of buffers that no ring uses.
    pub fn new(spare_bytes_max: usize) -> Self {
        Self { sizes: Default::default(), lists: Vec::new(), spare_bytes: 0, spare_bytes_max }
    }

    /// Bytes of buffers that no ring uses now.
    pub fn spare_bytes(&self) -> usize {
        self.spare_bytes
    }

    /// An empty buffer of at least `bytes` capacity; only what exceeds the largest size is not a pooled one.
    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let size = size_index(bytes);
        if size >= SIZES {
            return Vec::with_capacity(bytes);
        }
        match self.sizes[size].pop() {
            Some(buffer) => {
                self.spare_bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(BUFFER_BYTES_MIN << size),
        }
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if !capacity.is_power_of_two() || !(BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX).contains(&capacity) {
            return;
        }
        if self.spare_bytes + capacity <= self.spare_bytes_max {
            self.spare_bytes += capacity;
            buffer.clear();
            self.sizes[size_index(capacity)].push(buffer);
        }
    }

    fn give_chunk(&mut self, chunk: Chunk) {
        if let Chunk::Owned(buffer) = chunk {
            self.give(buffer);
        }
    }

    fn give_list(&mut self, list: Box<Sealed>) {
        if self.lists.len() < SPARE_LISTS && list.chunks.capacity() <= SPARE_LIST_CHUNKS {
            self.lists.push(list);
        }
    }
}

/// The index of the smallest size that holds `bytes`; `SIZES` or more when none does.
fn size_index(bytes: usize) -> usize {
    let sizes = bytes.div_ceil(BUFFER_BYTES_MIN).max(1);
    sizes.checked_next_power_of_two().map_or(SIZES, |power| power.trailing_zeros() as usize)
}

/// One stretch of bytes; never empty once it is sealed.
enum Chunk {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Owned(buffer) => buffer,
            Chunk::Shared(bytes) => bytes,
        }
    }
}

/// Chunks before the tail, oldest first, and the sum of their lengths.
#[derive(Default)]
struct Sealed {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").field("chunks", &self.chunks.len()).field("bytes", &self.bytes).finish()
    }
}

/// Bytes that wait for one connection's socket.
#[derive(Default)]
pub struct Ring {
    /// Where bytes are appended; the only chunk of most rings.
    tail: Vec<u8>,
    /// Chunks before the tail; present only while there are any.
    sealed: Option<Box<Sealed>>,
    /// Bytes of the first chunk (the tail, when nothing is sealed) that the socket already took.
    sent: usize,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the content: what people say belongs in no log.
        f.debug_struct("Ring").field("len", &self.len()).finish()
    }
}

impl Ring {
    /// An empty ring.
    pub const fn new() -> Self {
        Self { tail: Vec::new(), sealed: None, sent: 0 }
    }

    /// Bytes that wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.tail.len() + self.sealed.as_ref().map_or(0, |sealed| sealed.bytes) - self.sent
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // Whatever is drained is released at once, so a sealed chunk is never empty.
        self.sealed.is_none() && self.tail.len() == self.sent
    }

    /// A buffer with room for `reserve` more bytes at least, to append encoded packets to.
    ///
    /// It may hold bytes that wait already: the caller appends (something, or the buffer stays until the next
    /// [`Ring::advance`]) and does nothing else to it.
    #[inline]
    pub fn tail(&mut self, pool: &mut BufferPool, reserve: usize) -> &mut Vec<u8> {
        if self.tail.capacity() - self.tail.len() < reserve || self.tail.capacity() == 0 {
            self.make_room(pool, reserve);
        }
        &mut self.tail
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn append(&mut self, pool: &mut BufferPool, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.tail(pool, bytes.len()).extend_from_slice(bytes);
        }
    }

    /// Appends what `encode` pushes; `reserve` is the most it will push.
    pub fn append_with(&mut self, pool: &mut BufferPool, reserve: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(self.tail(pool, reserve));
        self.release_if_empty(pool);
    }

    /// Appends bytes without copying them; worth it for payloads of a few KiB and more.
    pub fn append_shared(&mut self, pool: &mut BufferPool, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail(pool);
        self.push_sealed(pool, Chunk::Shared(bytes));
    }

    /// What waits, where it is in one piece.
    pub fn whole(&self) -> Option<&[u8]> {
        if self.sealed.is_none() { self.tail.get(self.sent..) } else { None }
    }

    /// Fills `out` with what waits, oldest first, and returns how many slices it filled.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let sealed = self.sealed.iter().flat_map(|sealed| sealed.chunks.iter().map(Chunk::bytes));
        let mut filled = 0;
        for bytes in sealed.chain(std::iter::once(self.tail.as_slice())) {
            let skip = if filled == 0 { self.sent } else { 0 };
            let Some(slot) = out.get_mut(filled).filter(|_| bytes.len() > skip) else { break };
            *slot = IoSlice::new(&bytes[skip..]);
            filled += 1;
        }
        filled
    }

    /// Forgets the first `n` bytes, which the socket took; at most all that wait.
    pub fn advance(&mut self, pool: &mut BufferPool, n: usize) {
        self.sent += n.min(self.len());
        if let Some(sealed) = &mut self.sealed {
            while let Some(chunk) = sealed.chunks.front()
                && chunk.bytes().len() <= self.sent
            {
                self.sent -= chunk.bytes().len();
                sealed.bytes -= chunk.bytes().len();
                if let Some(chunk) = sealed.chunks.pop_front() {
                    pool.give_chunk(chunk);
                }
            }
            if sealed.chunks.is_empty()
                && let Some(list) = self.sealed.take()
            {
                pool.give_list(list);
            }
        }
        self.release_if_empty(pool);
    }

    /// Drops everything that waits and returns the buffers.
    pub fn clear(&mut self, pool: &mut BufferPool) {
        self.advance(pool, usize::MAX);
    }

    fn release_if_empty(&mut self, pool: &mut BufferPool) {
        if self.is_empty() && self.tail.capacity() > 0 {
            pool.give(std::mem::take(&mut self.tail));
            self.sent = 0;
        }
    }

    /// Makes room in the tail: in place, in a larger buffer, or in a new one.
    #[cold]
    fn make_room(&mut self, pool: &mut BufferPool, reserve: usize) {
        let unsent_from = if self.sealed.is_none() { self.sent } else { 0 };
        let waiting = self.tail.len() - unsent_from;
        // Moving no more than was already sent keeps the cost of an append constant on average.
        if waiting + reserve <= self.tail.capacity() && waiting <= unsent_from {
            self.tail.drain(..unsent_from);
            self.sent -= unsent_from;
        } else if waiting + reserve <= BUFFER_BYTES_MAX || waiting == 0 {
            let wanted = (waiting + reserve).max((2 * waiting).min(BUFFER_BYTES_MAX));
            let mut larger = pool.take(wanted);
            larger.extend_from_slice(&self.tail[unsent_from..]);
            pool.give(std::mem::replace(&mut self.tail, larger));
            self.sent -= unsent_from;
        } else {
            let full = std::mem::replace(&mut self.tail, pool.take(reserve));
            self.push_sealed(pool, Chunk::Owned(full));
        }
    }

    /// Ends the tail's chunk, so that another chunk can follow it.
    fn seal_tail(&mut self, pool: &mut BufferPool) {
        let unsent_from = if self.sealed.is_none() { self.sent } else { 0 };
        let waiting = self.tail.len() - unsent_from;
        if waiting > 0 && waiting < self.tail.capacity() / 4 {
            // A packet's header before a shared payload: a copy of its size, so that it doesn't hold a whole buffer.
            let header = self.tail[unsent_from..].to_vec();
            self.tail.clear();
            self.sent -= unsent_from;
            self.push_sealed(pool, Chunk::Owned(header));
        } else if waiting > 0 {
            let full = std::mem::take(&mut self.tail);
            self.push_sealed(pool, Chunk::Owned(full));
        } else {
            self.tail.clear();
            self.sent -= unsent_from;
        }
    }

    fn push_sealed(&mut self, pool: &mut BufferPool, chunk: Chunk) {
        let sealed = self.sealed.get_or_insert_with(|| pool.lists.pop().unwrap_or_default());
        sealed.bytes += chunk.bytes().len();
        sealed.chunks.push_back(chunk);
    }
}
