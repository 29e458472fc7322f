//! What is on its way to a client over TCP or TLS: bounded, and never waited for.
//!
//! A datagram that does not fit is dropped, as a full network would: late video is worth nothing,
//! and a client that reads slowly must not hold up others. Answers to requests may fill the queue a
//! little further; a connection that takes nothing at all for a while is ended.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
    time::{Duration, Instant},
};

use rustls::ServerConnection;
use tokio::{net::TcpStream, sync::Notify};

use super::allocation::Client;

/// Most bytes that wait when a datagram is put in: half a second at 4 Mbit/s.
const QUEUE: usize = 256 * 1024;
/// Most bytes that wait when an answer is put in.
const QUEUE_WITH_ANSWERS: usize = QUEUE + 32 * 1024;
/// How long nothing may be taken of what waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How much is sealed at a time: four records of TLS.
const SEAL: usize = 64 * 1024;

/// The TLS of a connection, which reading and writing share.
pub(crate) type Tls = Rc<RefCell<ServerConnection>>;

/// The sending half of a connection.
pub(crate) struct Stream {
    pub(crate) client: Client,
    tcp: Rc<TcpStream>,
    tls: Option<Tls>,
    waiting: Vec<u8>,
    /// How much of it was sent.
    sent: usize,
    /// Since when nothing was taken of what waits.
    stalled: Option<Instant>,
    /// Wakes the connection's task when there is something to wait for.
    pub(crate) wake: Rc<Notify>,
    /// Since when it has had no allocation.
    pub(crate) idle: Option<Instant>,
}

impl Stream {
    pub(crate) fn new(client: Client, tcp: Rc<TcpStream>, tls: Option<Tls>, now: Instant) -> Self {
        Self {
            client,
            tcp,
            tls,
            waiting: Vec::new(),
            sent: 0,
            stalled: None,
            wake: Rc::default(),
            idle: Some(now),
        }
    }

    /// Puts a datagram in, padded to four bytes; false if it was dropped.
    pub(crate) fn push_datagram(&mut self, head: &[u8], payload: &[u8]) -> bool {
        self.push(head, payload, QUEUE)
    }

    /// Puts an answer in; false if not even that fits, and the connection is of no use.
    pub(crate) fn push_answer(&mut self, answer: &[u8]) -> bool {
        self.push(answer, &[], QUEUE_WITH_ANSWERS)
    }

    fn push(&mut self, head: &[u8], payload: &[u8], most: usize) -> bool {
        let length = (head.len() + payload.len()).next_multiple_of(4);
        if self.waiting.len() - self.sent + length > most {
            return false;
        }
        if self.sent > QUEUE {
            self.waiting.drain(..self.sent);
            self.sent = 0;
        }
        let padding = length - head.len() - payload.len();
        self.waiting.extend_from_slice(head);
        self.waiting.extend_from_slice(payload);
        self.waiting.extend_from_slice(&[0; 4][..padding]);
        true
    }

    /// Tells whether something waits.
    pub(crate) fn pending(&self) -> bool {
        let sealed = self
            .tls
            .as_ref()
            .is_some_and(|tls| tls.borrow().wants_write());
        self.sent < self.waiting.len() || sealed
    }

    /// Tells whether nothing was taken for too long.
    pub(crate) fn stuck(&self, now: Instant) -> bool {
        let stalled = |since| now.saturating_duration_since(since) >= PATIENCE;
        self.stalled.is_some_and(stalled)
    }

    /// Sends what can be sent now.
    ///
    /// # Errors
    /// Fails if the connection is broken.
    pub(crate) fn flush(&mut self, now: Instant) -> io::Result<()> {
        let mut progress = false;
        let outcome = loop {
            match self.write_some() {
                Ok(0) => break Ok(()),
                Ok(_) => progress = true,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(cause) => break Err(cause),
            }
        };
        if self.sent == self.waiting.len() {
            self.waiting.clear();
            self.sent = 0;
            // What was a full queue once need not be kept by everybody.
            if self.waiting.capacity() > SEAL {
                self.waiting.shrink_to(SEAL);
            }
        }
        if !self.pending() {
            self.stalled = None;
        } else if progress || self.stalled.is_none() {
            self.stalled = Some(now);
            self.wake.notify_one();
        }
        outcome
    }

    /// Writes or seals once; zero when there is nothing to do.
    fn write_some(&mut self) -> io::Result<usize> {
        let rest = &self.waiting[self.sent..];
        let Some(tls) = &self.tls else {
            if rest.is_empty() {
                return Ok(0);
            }
            let written = self.tcp.try_write(rest)?;
            self.sent += written;
            return Ok(written);
        };
        let mut tls = tls.borrow_mut();
        if tls.wants_write() {
            return tls.write_tls(&mut Now(&self.tcp));
        }
        let sealed = tls.writer().write(&rest[..rest.len().min(SEAL)])?;
        self.sent += sealed;
        Ok(sealed)
    }
}

/// Writes what can be written at once.
struct Now<'a>(&'a TcpStream);

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
