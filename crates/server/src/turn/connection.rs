//! What comes from a client over TCP or TLS: frames are cut out of the stream and handled.

use std::{
    cell::RefCell,
    io::{self, Read as _},
    rc::Rc,
    sync::Arc,
};

use rustls::ServerConnection;
use tokio::{net::TcpStream, sync::Notify};
use tracing::debug;

use super::{
    allocation::{Client, Way},
    frames::{self, LONGEST, LONGEST_OF_STRANGER},
    stream::{Stream, Tls},
    thread::{Shared, World},
};
use crate::{clock, datagrams::SLOT, doors::Pass};

/// A connection on which TURN is spoken.
pub(crate) struct Arrival {
    pub(crate) tcp: std::net::TcpStream,
    pub(crate) tls: Option<ServerConnection>,
    pub(crate) pass: Arc<Pass>,
}

/// The receiving half of a connection.
pub(super) struct Connection {
    number: u64,
    client: Client,
    tcp: Rc<TcpStream>,
    tls: Option<Tls>,
    /// The beginning of a frame whose rest is to come.
    begun: Vec<u8>,
    wake: Rc<Notify>,
    world: Shared,
    _pass: Arc<Pass>,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client closed it")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Frame(#[from] frames::NotAFrame),
}

/// Makes a connection one of this thread's.
///
/// # Errors
/// Fails if it ended on the way here.
pub(super) fn take_over(arrival: Arrival, number: u64, world: &Shared) -> io::Result<Connection> {
    let Arrival { tcp, tls, pass } = arrival;
    let tcp = Rc::new(TcpStream::from_std(tcp)?);
    let tls = tls.map(|tls| Rc::new(RefCell::new(tls)));
    let client = Client {
        way: Way::Stream(number),
        remote: tcp.peer_addr()?,
        local: tcp.local_addr()?.ip(),
    };
    let stream = Stream::new(client, Rc::clone(&tcp), tls.clone(), clock::now());
    let wake = Rc::clone(&stream.wake);
    world.borrow_mut().wires.streams.insert(number, stream);
    Ok(Connection {
        number,
        client,
        tcp,
        tls,
        begun: Vec::new(),
        wake,
        world: Rc::clone(world),
        _pass: pass,
    })
}

impl Connection {
    /// Serves it until it ends, and its allocation with it.
    pub(super) async fn serve(mut self) {
        let end = self.converse().await;
        debug!(%end, "a connection ends");
        let world = &mut *self.world.borrow_mut();
        world.wires.end_stream(self.number);
        world.machine.handle_gone(&self.client, &mut world.wires);
        world.finish();
    }

    async fn converse(&mut self) -> End {
        // Behind the handshake of TLS the first message may have come already.
        if let Err(end) = self.handle(0) {
            return end;
        }
        loop {
            let pending = match self.world.borrow().wires.streams.get(&self.number) {
                Some(stream) => stream.pending(),
                None => return End::Closed,
            };
            let tcp = Rc::clone(&self.tcp);
            let read = tokio::select! {
                readable = tcp.readable() => readable.map_err(End::Io).and_then(|()| self.read()),
                writable = tcp.writable(), if pending => {
                    self.world.borrow_mut().wires.flush_stream(self.number);
                    writable.map_err(End::Io)
                }
                () = self.wake.notified() => Ok(()),
            };
            if let Err(end) = read {
                return end;
            }
        }
    }

    /// Reads what there is.
    fn read(&mut self) -> Result<(), End> {
        let begun = self.begun.len();
        let read = {
            let world = &mut *self.world.borrow_mut();
            let room = match self.tls {
                // Plain frames go on where the last one was cut.
                None => &mut world.scratch[begun..],
                Some(_) => &mut world.scratch[..],
            };
            match self.tcp.try_read(&mut room[..SLOT]) {
                Ok(0) => return Err(End::Closed),
                Ok(read) => read,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(cause) => return Err(cause.into()),
            }
        };
        self.handle(read)
    }

    /// Handles `read` new bytes in the scratch space.
    fn handle(&mut self, read: usize) -> Result<(), End> {
        let world = Rc::clone(&self.world);
        let world = &mut *world.borrow_mut();
        match self.tls.clone() {
            None => self.take_frames(world, read)?,
            Some(tls) => {
                let sealed = world.scratch[..read].to_vec();
                let mut sealed = &sealed[..];
                loop {
                    let mut tls = tls.borrow_mut();
                    tls.read_tls(&mut sealed)?;
                    let state = tls.process_new_packets()?;
                    let mut left = state.plaintext_bytes_to_read();
                    while left > 0 {
                        let begun = self.begun.len();
                        let room = &mut world.scratch[begun..begun + left.min(SLOT)];
                        let opened = tls.reader().read(room)?;
                        left -= opened;
                        // Answers are sealed by the same connection only afterwards.
                        self.take_frames(world, opened)?;
                    }
                    if state.peer_has_closed() {
                        return Err(End::Closed);
                    }
                    if sealed.is_empty() {
                        break;
                    }
                }
            }
        }
        world.finish();
        Ok(())
    }

    /// Handles the frames in the scratch space: what was begun before, and `read` bytes more.
    fn take_frames(&mut self, world: &mut World, read: usize) -> Result<(), End> {
        let begun = self.begun.len();
        world.scratch[..begun].copy_from_slice(&self.begun);
        self.begun.clear();
        let now = world.set_now();
        let World {
            machine,
            wires,
            scratch,
            naps,
            ..
        } = world;
        let mut rest = &scratch[..begun + read];
        loop {
            let longest = match machine.serves(&self.client) {
                true => LONGEST,
                false => LONGEST_OF_STRANGER,
            };
            match frames::take(&mut rest, longest)? {
                Some(frame) => {
                    naps.count(1);
                    machine.handle_client(&self.client, frame, now, wires);
                }
                None => break,
            }
        }
        self.begun.extend_from_slice(rest);
        Ok(())
    }
}
