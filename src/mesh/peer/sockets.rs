//! The socket that webrtc-rs is given: one that leads into the link's paths, whatever they are.
//!
//! ```text
//! webrtc-rs ─ poll_send ─┬─ a check of its ICE ─▶ StandIn ─ answers ─┐
//!                        └─ DTLS, SRTP ─▶ Wire ─▶ the selected path  │
//! webrtc-rs ◀─ poll_recv ─── Wire ◀─ any path of the link ◀──────────┴─
//! ```
//!
//! webrtc-rs insists on an ICE of its own. It is told of one other side, at [`OTHER_SIDE`], which
//! answers it from within this process at once; the true checks are the paths' own. So nothing that
//! happens to the paths ever reaches DTLS or SRTP.

use std::{
    cell::Cell,
    collections::VecDeque,
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use nonstop_ice::{Credentials, StandIn, is_stun};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use super::{
    PeerEvent, codecs,
    flight::{Flight, is_handshake},
};
use crate::{
    clock,
    mesh::paths::{Class, Wire},
};

/// Where webrtc-rs believes the other side to be. No packet goes there.
pub(super) const OTHER_SIDE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));

/// An address that is not the other side's, for one check.
const ELSEWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10));

/// How often is looked whether DTLS has to be helped, until its handshake is over.
const HELP: Duration = Duration::from_millis(50);

/// The connection's way out, and the stand-in that keeps webrtc-rs's ICE content.
pub(super) struct Gate {
    pub(super) wire: Wire,
    events: mpsc::Sender<PeerEvent>,
    stand_in: Mutex<Answers>,
    flight: Mutex<Flight>,
    /// Whether it is looked after: media need not ask once it is over.
    helped: AtomicBool,
    /// What repeats it.
    helper: Mutex<JoinSet<()>>,
    itself: Weak<Self>,
}

thread_local! {
    /// When the packet arrived that webrtc-rs has just taken on this thread.
    ///
    /// webrtc-rs asks its runtime for the time of each packet right after it took it, in the same
    /// turn of its task; so it is told the true time of arrival then, and the present otherwise.
    static ARRIVED: Cell<Option<Instant>> = const { Cell::new(None) };
}

#[derive(Default)]
struct Answers {
    stand_in: Option<StandIn>,
    /// What the stand-in says, and from where, until webrtc-rs takes it.
    said: VecDeque<(Vec<u8>, SocketAddr)>,
}

impl Answers {
    fn say(&mut self, packets: Vec<Vec<u8>>, from: SocketAddr) {
        let packets = packets.into_iter().map(|packet| (packet, from));
        self.said.extend(packets);
    }
}

impl Gate {
    pub(super) fn new(wire: Wire, events: mpsc::Sender<PeerEvent>) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            wire,
            events,
            stand_in: Mutex::default(),
            flight: Mutex::default(),
            helped: AtomicBool::new(false),
            helper: Mutex::default(),
            itself: Weak::clone(itself),
        })
    }

    /// Lets a stand-in with the credentials `own` answer webrtc-rs, whose own are `theirs`.
    pub(super) fn let_in(&self, own: Credentials, theirs: Credentials, offers: bool) {
        let random = || {
            let mut bytes = [0; 16];
            let _ = getrandom::fill(&mut bytes);
            u128::from_be_bytes(bytes)
        };
        let mut stand_in = StandIn::new(own, theirs, offers, Box::new(random));
        let mut answers = self.answers();
        answers.say(stand_in.open(), OTHER_SIDE);
        answers.stand_in = Some(stand_in);
        drop(answers);
        self.wire.wake();
    }

    /// webrtc-rs's ICE is content: lets it take packets from now on, since it would have dropped
    /// those that came before.
    ///
    /// What its DTLS has written by then would wait for the next of its timers, up to 200 ms: nothing
    /// but a timer, or a packet of DTLS, carries it out. A check that seems to come from elsewhere
    /// makes a timer due at once.
    pub(super) fn open(&self) {
        let mut answers = self.answers();
        let check = answers.stand_in.as_mut().map(StandIn::open);
        answers.say(check.unwrap_or_default(), ELSEWHERE);
        drop(answers);
        self.wire.open();
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.stand_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, packet: &[u8]) {
        if is_handshake(packet) && self.flight().handle_sent(packet, clock::now()) {
            self.helped.store(true, Ordering::Relaxed);
            let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
            helper.spawn(help(Weak::clone(&self.itself)));
        }
        self.wire.send(packet, class(packet));
    }

    fn handle_check(&self, packet: &[u8], from: SocketAddr) {
        let mut answers = self.answers();
        let Some(stand_in) = &mut answers.stand_in else {
            return;
        };
        let said = stand_in.answer(packet, from);
        answers.say(said, OTHER_SIDE);
        drop(answers);
        self.wire.wake();
    }
}

/// Sends again what DTLS sent, until its handshake is over.
async fn help(gate: Weak<Gate>) {
    loop {
        sleep(HELP).await;
        let Some(gate) = gate.upgrade() else {
            return;
        };
        let Some(again) = gate.flight().poll(clock::now()) else {
            gate.helped.store(false, Ordering::Relaxed);
            return;
        };
        for datagram in again {
            gate.wire.send(&datagram, Class::Control);
        }
    }
}

/// tokio, with our sockets.
pub(super) struct OurRuntime {
    pub(super) gate: Arc<Gate>,
}

impl fmt::Debug for OurRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OurRuntime")
    }
}

impl Runtime for OurRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(WireSocket {
            local: socket.local_addr()?,
            gate: Arc::clone(&self.gate),
        }))
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        TokioRuntime.resolve_host(host)
    }

    fn now(&self) -> Instant {
        ARRIVED.take().unwrap_or_else(clock::now)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }
}

/// What webrtc-rs takes for a UDP socket on loopback.
struct WireSocket {
    local: SocketAddr,
    gate: Arc<Gate>,
}

impl fmt::Debug for WireSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireSocket")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for WireSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn poll_send(&self, _cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let packet = transmit.contents;
        if is_stun(packet) {
            self.gate.handle_check(packet, self.local);
        } else {
            if refuses_certificate(packet) {
                // Full means that the link has worse to hear of already.
                let _ = self.gate.events.try_send(PeerEvent::CertificateRefused);
            }
            self.gate.send(packet);
        }
        Poll::Ready(Ok(packet.len()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut from = OTHER_SIDE;
        let said = || {
            let (packet, source) = self.gate.answers().said.pop_front()?;
            from = source;
            Some(packet)
        };
        let Poll::Ready((packet, arrived)) = self.gate.wire.poll_receive(cx, said) else {
            return Poll::Pending;
        };
        if self.gate.helped.load(Ordering::Relaxed) {
            self.gate.flight().handle_received(&packet);
        }
        ARRIVED.set(Some(arrived));
        let length = packet.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), packet.get(..length)) {
            to.copy_from_slice(from);
        }
        *meta = RecvMeta::default();
        meta.addr = from;
        meta.len = length;
        meta.stride = length.max(1);
        Poll::Ready(Ok(1))
    }

    fn max_gso_segments(&self) -> usize {
        1
    }

    fn max_gro_segments(&self) -> usize {
        1
    }
}

/// Tells what a packet carries: by its first byte (RFC 7983), and sound by its payload type.
fn class(packet: &[u8]) -> Class {
    match packet {
        // RTP; 64 to 95 in place of a payload type mean RTCP (RFC 5761 section 4).
        [128..=191, second, ..] => match second & 0x7f {
            64..=95 => Class::Control,
            codecs::AUDIO_PAYLOAD_TYPE | codecs::REDUNDANT_PAYLOAD_TYPE => Class::Audio,
            _ => Class::Video,
        },
        _ => Class::Control,
    }
}

/// Tells whether a datagram we send is the DTLS alert "bad certificate" (RFC 5246 section 7.2).
///
/// webrtc-rs checks the certificate against the fingerprint of the description, refuses it with
/// this alert and tells nobody. What we send ourselves cannot be forged by others.
fn refuses_certificate(datagram: &[u8]) -> bool {
    // Type alert, any version, epoch 0 (not encrypted yet), then level fatal, bad_certificate.
    matches!(
        datagram,
        [21, 254, _, 0, 0, _, _, _, _, _, _, 0, 2, 2, 42, ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_of_a_certificate_is_recognised_and_nothing_else() {
        let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 2, 42];
        assert!(refuses_certificate(&alert));
        let mut close = alert;
        close[13] = 1;
        close[14] = 0;
        assert!(!refuses_certificate(&close));
        let mut encrypted = alert;
        encrypted[4] = 1;
        assert!(!refuses_certificate(&encrypted));
        assert!(!refuses_certificate(&[]));
        assert!(!refuses_certificate(&[21, 254]));
    }

    #[test]
    fn sound_is_told_from_pictures_and_from_everything_else() {
        for audio in [codecs::AUDIO_PAYLOAD_TYPE, codecs::REDUNDANT_PAYLOAD_TYPE] {
            assert_eq!(class(&[0x80, audio]), Class::Audio);
            assert_eq!(class(&[0x90, 0x80 | audio]), Class::Audio);
        }
        assert_eq!(class(&[0x90, 0x80 | 102]), Class::Video);
        assert_eq!(class(&[0x81, 201]), Class::Control);
        assert_eq!(class(&[22, 254]), Class::Control);
        assert_eq!(class(&[]), Class::Control);
    }
}
