//! The tasks of one link: one reads a piece when it is told to, one writes what is queued, a line a write.

use super::{Brought, Busy, door::Arrival};
use crate::machine::Link;
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::timeout,
};

/// Longest piece that is read at once.
const PIECE: usize = 4096;

/// How long one write may take, before the peer is taken for dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Queued bytes beyond which the broker is not heard.
const HOLD_BACK_BYTES: usize = 64 * 1024;

/// How much waits to be written to a link.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    queued: AtomicUsize,
    written: Notify,
}

impl Gate {
    /// Counts bytes that are queued, and says how many there are.
    pub(crate) fn queue(&self, bytes: usize) -> usize {
        self.queued.fetch_add(bytes, Ordering::AcqRel) + bytes
    }

    fn write(&self, bytes: usize) {
        let before = self.queued.fetch_sub(bytes, Ordering::AcqRel);
        if before > HOLD_BACK_BYTES && before - bytes <= HOLD_BACK_BYTES {
            self.written.notify_waiters();
        }
    }

    /// Waits until the queue is short.
    pub(crate) async fn pass(&self) {
        loop {
            let written = self.written.notified();
            tokio::pin!(written);
            // From here on no notification is missed.
            written.as_mut().enable();
            if self.queued.load(Ordering::Acquire) <= HOLD_BACK_BYTES {
                return;
            }
            written.await;
        }
    }
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) bytes: Vec<u8>,
    /// The link that is told when it is written.
    pub(crate) passed_from: Option<Link>,
}

/// The tasks of a link, from the outside.
pub(crate) struct Wires {
    pub(crate) writer: mpsc::UnboundedSender<Queued>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) go_on: Arc<Notify>,
    pub(crate) reader: AbortHandle,
}

impl Wires {
    pub(crate) fn start(link: Link, arrival: Arrival, brought: mpsc::Sender<Brought>, busy: Busy) -> Self {
        let Arrival { stream, seat, idle, .. } = arrival;
        let (reader, writer) = tokio::io::split(stream);
        let gate = Arc::new(Gate::default());
        let go_on = Arc::new(Notify::new());
        let (lines, queue) = mpsc::unbounded_channel();
        let writing = write(writer, queue, gate.clone(), brought.clone());
        tokio::spawn(async move {
            writing.await;
            drop((seat, busy));
        });
        let reader = tokio::spawn(read(link, reader, go_on.clone(), idle, brought)).abort_handle();
        Self { writer: lines, gate, go_on, reader }
    }
}

type Stream = super::door::Stream;

async fn read(
    link: Link,
    mut stream: ReadHalf<Stream>,
    go_on: Arc<Notify>,
    idle: Option<Duration>,
    brought: mpsc::Sender<Brought>,
) {
    loop {
        go_on.notified().await;
        let mut bytes = Vec::with_capacity(PIECE);
        let silence = async {
            match idle {
                Some(idle) => tokio::time::sleep(idle).await,
                None => pending().await,
            }
        };
        let read = tokio::select! {
            read = stream.read_buf(&mut bytes) => read.unwrap_or(0),
            () = silence => 0,
        };
        if read == 0 {
            let _ = brought.send(Brought::Closed { link }).await;
            return;
        }
        if brought.send(Brought::Bytes { link, bytes }).await.is_err() {
            return;
        }
    }
}

/// Ends when the queue is closed and written, or the peer takes nothing.
async fn write(
    mut stream: WriteHalf<Stream>,
    mut queue: mpsc::UnboundedReceiver<Queued>,
    gate: Arc<Gate>,
    brought: mpsc::Sender<Brought>,
) {
    while let Some(Queued { bytes: line, passed_from }) = queue.recv().await {
        let written = timeout(WRITE_TIMEOUT, async {
            stream.write_all(&line).await?;
            stream.flush().await
        });
        let is_written = matches!(written.await, Ok(Ok(())));
        gate.write(line.len());
        if !is_written {
            break;
        }
        if let Some(link) = passed_from
            && brought.send(Brought::Passed { link }).await.is_err()
        {
            break;
        }
    }
    let _ = timeout(WRITE_TIMEOUT, stream.shutdown()).await;
    // Whoever waits for a queue that nobody writes any more waits no longer.
    queue.close();
    while let Ok(line) = queue.try_recv() {
        gate.write(line.bytes.len());
    }
}
