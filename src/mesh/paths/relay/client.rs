//! The conversation with one relay: allocate, stay alive, permit, bind (RFC 8656). No socket, no
//! clock.
//!
//! ```text
//! start ─ Allocate ─▶ 401 ─ Allocate, signed ─▶ Allocated ─ Refresh every 20 s ─▶ …  ─▶ Over
//!                                                  │
//!      packet ─ permission? ─ no: CreatePermission, the packet behind it
//!                         └─ yes: channel? ─ no: Send indication; media also asks for one
//!                                        └─ yes: ChannelData
//! ```
//!
//! A packet follows the request for its permission at once, for the relay handles them in their
//! order; it is kept as well, and sent again if the request had to be repeated. So a permission
//! costs no round trip, and no connectivity check is lost.

use std::{
    collections::VecDeque,
    mem,
    net::{IpAddr, SocketAddr},
    ops::Range,
    time::{Duration, Instant},
};

use stun_types::{
    attribute::{ErrorCode, XorMappedAddress},
    message::{BINDING, Message, MessageClass},
};
use turn_types::{
    attribute::{Data, Lifetime, XorPeerAddress, XorRelayedAddress},
    message::DATA,
};

use super::{
    Class, RelayError,
    frame::{write_channel, write_indication},
    permission::{Channels, Leave, Permissions, Waiting},
    request::{Credentials, Families, Overdue, Request, Subject, first_wait},
};

/// How often the relay is asked whether the allocation lives, which keeps it and every NAT on the
/// way alive: UDP mappings may last as little as 30 s.
const ALIVE: Duration = Duration::from_secs(20);
/// The shortest time between two refreshes, whatever lifetime the relay grants.
const SHORTEST: Duration = Duration::from_secs(5);
/// How many peers one request may permit.
const PERMITS_AT_ONCE: usize = 16;
/// How often one request follows a new nonce.
const MOST_CHALLENGES: u8 = 3;
/// How many requests may be on their way. Beyond that nothing new is asked for until answers
/// come; what was to be sent is refused.
const MOST_REQUESTS: usize = 300;

/// What happened to the allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// It is there.
    Allocated {
        relayed: Vec<SocketAddr>,
        mapped: Option<SocketAddr>,
        round_trip: Duration,
    },
    /// It lives until then and is not prolonged, for our credentials are not accepted any more.
    Expires(Instant),
    /// It is not there, or no longer.
    Over(RelayError),
}

/// What became of a packet to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is in the buffer, as it is to be sent.
    Ready,
    /// The relay does not let it through, or there is no allocation.
    Refused,
}

/// A packet that a peer sent us.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Our address there.
    pub(super) relayed: SocketAddr,
    pub(super) from: SocketAddr,
    /// Where the packet is in what was received.
    pub(super) packet: Range<usize>,
}

#[derive(Debug)]
struct Allocation {
    v4: Option<SocketAddr>,
    v6: Option<SocketAddr>,
    until: Instant,
    refresh_at: Instant,
    refused: bool,
}

impl Allocation {
    fn toward(&self, peer: IpAddr) -> Option<SocketAddr> {
        if peer.is_ipv4() { self.v4 } else { self.v6 }
    }
}

#[derive(Debug)]
enum State {
    Allocating,
    Allocated(Allocation),
    Over,
}

/// One relay, seen from us.
pub(super) struct Client {
    credentials: Credentials,
    /// Whether a stream carries it: nothing gets lost there, and frames are padded.
    stream: bool,
    random: fn() -> u128,
    state: State,
    requests: Vec<Request>,
    permissions: Permissions,
    channels: Channels,
    round_trip: Option<Duration>,
    /// Whether an answer was not signed with our password.
    forged: bool,
    outbox: VecDeque<Vec<u8>>,
    kept: VecDeque<Waiting>,
    events: VecDeque<Event>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Starts a conversation at `now`; `random` gives the numbers of requests.
    pub(super) fn start(
        credentials: Credentials,
        stream: bool,
        random: fn() -> u128,
        now: Instant,
    ) -> Self {
        let mut client = Self {
            credentials,
            stream,
            random,
            state: State::Allocating,
            requests: Vec::new(),
            permissions: Permissions::default(),
            channels: Channels::default(),
            round_trip: None,
            forged: false,
            outbox: VecDeque::new(),
            kept: VecDeque::new(),
            events: VecDeque::new(),
        };
        client.ask(Subject::Allocate(Families::Both), now);
        client
    }

    /// Returns what the next conversation with this relay can start from.
    pub(super) fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Returns what is to be sent to the relay next.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// Returns a packet that waited for its permission and is to be sent now.
    pub(super) fn poll_kept(&mut self) -> Option<Waiting> {
        self.kept.pop_front()
    }

    /// Returns what happened.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let requests = self.requests.iter().map(|request| request.next).min();
        let State::Allocated(allocation) = &self.state else {
            return requests;
        };
        let own = allocation.refresh_at.min(allocation.until);
        let renewals = [self.permissions.next(), self.channels.next()];
        let rest = requests.into_iter().chain(renewals.into_iter().flatten());
        rest.chain([own]).min()
    }

    /// Asks for a permission, if it is not there or asked for.
    pub(super) fn permit(&mut self, peer: IpAddr, now: Instant) {
        let State::Allocated(allocation) = &self.state else {
            return;
        };
        if allocation.toward(peer).is_some()
            && self.requests.len() < MOST_REQUESTS
            && self.permissions.look(peer, now) == Leave::Missing
        {
            self.permissions.asked(peer, now);
            self.ask(Subject::Permit(vec![peer]), now);
        }
    }

    /// Writes into `out` what is to be sent to the relay so that `packet` reaches `to`.
    pub(super) fn send(
        &mut self,
        to: SocketAddr,
        packet: &[u8],
        class: Class,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Sent {
        if packet.len() > usize::from(u16::MAX) - 64 {
            return Sent::Refused;
        }
        self.permit(to.ip(), now);
        let State::Allocated(allocation) = &self.state else {
            return Sent::Refused;
        };
        if allocation.toward(to.ip()).is_none() {
            return Sent::Refused;
        }
        match self.permissions.look(to.ip(), now) {
            Leave::Given => {}
            Leave::Asked => self.permissions.keep(Waiting {
                since: now,
                to,
                class,
                packet: packet.to_vec(),
            }),
            Leave::Missing | Leave::Refused => return Sent::Refused,
        }
        out.clear();
        match self.channels.number(to, now) {
            Some(number) => write_channel(number, packet, self.stream, out),
            None => {
                if class != Class::Control {
                    self.bind(to, now);
                }
                write_indication(to, packet, (self.random)(), out);
            }
        }
        Sent::Ready
    }

    fn bind(&mut self, peer: SocketAddr, now: Instant) {
        if self.requests.len() < MOST_REQUESTS
            && let Some(number) = self.channels.ask(peer, now)
        {
            self.ask(Subject::Bind(number, peer), now);
        }
    }

    /// Asks the relay whether the allocation lives.
    pub(super) fn check(&mut self, now: Instant) {
        if let State::Allocated(allocation) = &mut self.state {
            allocation.refresh_at = now;
            self.handle_timeout(now);
        }
    }

    /// Returns the message that gives the allocation back.
    pub(super) fn farewell(&mut self, now: Instant) -> Option<Vec<u8>> {
        if !matches!(self.state, State::Allocated(_)) {
            return None;
        }
        let end = Subject::Refresh { end: true };
        let request = Request::new(end, (self.random)(), &self.credentials, None, now);
        self.state = State::Over;
        Some(request.bytes)
    }

    fn ask(&mut self, subject: Subject, now: Instant) {
        let wait = (!self.stream).then(|| first_wait(self.round_trip));
        let request = Request::new(subject, (self.random)(), &self.credentials, wait, now);
        self.outbox.push_back(request.bytes.clone());
        self.requests.push(request);
    }

    /// Does what is due at `now`.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let mut given_up = Vec::new();
        let outbox = &mut self.outbox;
        self.requests.retain_mut(|request| {
            if request.next > now {
                return true;
            }
            match request.overdue(now) {
                Overdue::Again => {
                    outbox.push_back(request.bytes.clone());
                    true
                }
                Overdue::GivenUp => {
                    given_up.push(mem::replace(
                        &mut request.subject,
                        Subject::Refresh { end: true },
                    ));
                    false
                }
            }
        });
        for subject in given_up {
            self.unanswered(subject, now);
        }
        let State::Allocated(allocation) = &mut self.state else {
            return;
        };
        if now >= allocation.until {
            let error = match allocation.refused {
                true => RelayError::Credentials,
                false => RelayError::NoAnswer,
            };
            return self.over(error);
        }
        if now >= allocation.refresh_at {
            allocation.refresh_at = now + ALIVE;
            let subject = Subject::Refresh { end: false };
            let under_way = self.requests.iter().any(|other| other.subject == subject);
            if !under_way {
                self.ask(subject, now);
            }
        }
        let renew = self.permissions.renew(now, PERMITS_AT_ONCE);
        let (v4, v6): (Vec<_>, Vec<_>) = renew.into_iter().partition(IpAddr::is_ipv4);
        for peers in [v4, v6] {
            if !peers.is_empty() {
                self.ask(Subject::Permit(peers), now);
            }
        }
        for (number, peer) in self.channels.renew(now) {
            self.ask(Subject::Bind(number, peer), now);
        }
    }

    fn unanswered(&mut self, subject: Subject, now: Instant) {
        match subject {
            Subject::Allocate(_) if self.forged => self.over(RelayError::NotARelay(
                "its answers are not signed with our password",
            )),
            Subject::Allocate(_) => self.over(RelayError::NoAnswer),
            // Over datagrams, the network may be back before the allocation has ended.
            Subject::Refresh { .. } if self.stream => self.over(RelayError::NoAnswer),
            Subject::Refresh { .. } => {
                if let State::Allocated(allocation) = &mut self.state {
                    allocation.refresh_at = now;
                }
            }
            Subject::Permit(peers) => {
                for peer in peers {
                    match self.permissions.look(peer, now) {
                        Leave::Asked => self.permissions.refused(peer, now),
                        _ => self.permissions.not_renewed(peer),
                    }
                }
            }
            Subject::Bind(_, peer) => self.channels.refused(peer, now),
        }
    }

    fn over(&mut self, error: RelayError) {
        self.state = State::Over;
        self.requests.clear();
        self.events.push_back(Event::Over(error));
    }

    /// Takes in what the relay sent: a datagram, or one frame of a stream. Returns the packet in
    /// it, if it carries one.
    pub(super) fn handle_input(&mut self, input: &[u8], now: Instant) -> Option<Delivery> {
        match input.first()? {
            0x40..=0x4f => self.channel_data(input),
            0x00..=0x03 => self.message(input, now),
            _ => None,
        }
    }

    fn channel_data(&self, input: &[u8]) -> Option<Delivery> {
        let (header, rest) = input.split_first_chunk::<4>()?;
        let number = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let from = self.channels.peer(number)?;
        let State::Allocated(allocation) = &self.state else {
            return None;
        };
        let relayed = allocation.toward(from.ip())?;
        let packet = 4..4 + length;
        (length <= rest.len()).then_some(Delivery {
            relayed,
            from,
            packet,
        })
    }

    fn message(&mut self, input: &[u8], now: Instant) -> Option<Delivery> {
        let message = Message::from_bytes(input).ok()?;
        match message.class() {
            MessageClass::Indication if message.method() == DATA => self.indication(&message, now),
            MessageClass::Success | MessageClass::Error if message.method() != BINDING => {
                self.answer(&message, now);
                None
            }
            _ => None,
        }
    }

    fn indication(&mut self, message: &Message<'_>, now: Instant) -> Option<Delivery> {
        let peer = message.attribute::<XorPeerAddress>().ok()?;
        let from = peer.addr(message.transaction_id());
        let (at, data) = message.attribute_and_offset::<Data<'_>>().ok()?;
        let packet = at + 4..at + 4 + data.data().len();
        let State::Allocated(allocation) = &self.state else {
            return None;
        };
        let relayed = allocation.toward(from.ip())?;
        // RTP and RTCP (RFC 7983, section 7): there is more to come.
        if matches!(data.data().first(), Some(128..=191)) {
            self.bind(from, now);
        }
        Some(Delivery {
            relayed,
            from,
            packet,
        })
    }

    fn answer(&mut self, message: &Message<'_>, now: Instant) {
        let transaction = message.transaction_id();
        let asked = |request: &Request| request.transaction == transaction;
        let Some(place) = self.requests.iter().position(asked) else {
            return;
        };
        if message.has_class(MessageClass::Success) {
            if !self.credentials.signed(message) {
                self.forged = true;
                return;
            }
            let request = self.requests.swap_remove(place);
            self.measure(&request, now);
            self.granted(request, message, now);
        } else if let Ok(error) = message.attribute::<ErrorCode>() {
            let request = self.requests.swap_remove(place);
            self.measure(&request, now);
            self.refused(request, error.code(), message, now);
        }
    }

    fn measure(&mut self, request: &Request, now: Instant) {
        if !request.repeated {
            self.round_trip = Some(now.saturating_duration_since(request.first_sent));
        }
    }

    fn granted(&mut self, request: Request, message: &Message<'_>, now: Instant) {
        match request.subject {
            Subject::Allocate(_) => self.allocated(message, now),
            Subject::Refresh { .. } => {
                let lifetime = lifetime(message);
                if let State::Allocated(allocation) = &mut self.state {
                    allocation.until = now + lifetime;
                    allocation.refresh_at = now + refresh_after(lifetime);
                    allocation.refused = false;
                }
            }
            Subject::Permit(peers) => {
                for peer in peers {
                    let kept = self.permissions.granted(peer, now);
                    // Otherwise they went right behind the request and were let through.
                    if request.repeated || request.challenged > 0 {
                        self.kept.extend(kept);
                    }
                }
            }
            Subject::Bind(_, peer) => {
                self.channels.bound(peer, now);
                // A channel is also a permission.
                let kept = self.permissions.granted(peer.ip(), now);
                self.kept.extend(kept);
            }
        }
    }

    fn allocated(&mut self, message: &Message<'_>, now: Instant) {
        let transaction = message.transaction_id();
        let (mut v4, mut v6) = (None, None);
        for place in 0..2 {
            if let Ok(address) = message.nth_attribute::<XorRelayedAddress>(place) {
                let address = address.addr(transaction);
                if address.port() != 0 && !address.ip().is_unspecified() {
                    let family = if address.is_ipv4() { &mut v4 } else { &mut v6 };
                    family.get_or_insert(address);
                }
            }
        }
        let relayed: Vec<_> = v4.into_iter().chain(v6).collect();
        if relayed.is_empty() {
            return self.over(RelayError::NotARelay("it gives no address"));
        }
        let mapped = message.attribute::<XorMappedAddress>().ok();
        let mapped = mapped.map(|address| address.addr(transaction));
        let lifetime = lifetime(message);
        self.state = State::Allocated(Allocation {
            v4,
            v6,
            until: now + lifetime,
            refresh_at: now + refresh_after(lifetime),
            refused: false,
        });
        self.events.push_back(Event::Allocated {
            relayed,
            mapped,
            round_trip: self.round_trip.unwrap_or_default(),
        });
    }

    fn refused(&mut self, request: Request, code: u16, message: &Message<'_>, now: Instant) {
        let unauthorised = matches!(code, ErrorCode::UNAUTHORIZED | ErrorCode::STALE_NONCE);
        if unauthorised
            && request.challenged < MOST_CHALLENGES
            && self.credentials.challenge(message)
        {
            let challenged = request.challenged + 1;
            self.ask(request.subject, now);
            if let Some(again) = self.requests.last_mut() {
                again.challenged = challenged;
            }
            return;
        }
        let error = refusal(code);
        match request.subject {
            Subject::Allocate(families) => match next_families(families, code) {
                Some(families) => self.ask(Subject::Allocate(families), now),
                None => self.over(error),
            },
            Subject::Refresh { .. } if code == ErrorCode::ALLOCATION_MISMATCH => {
                self.over(RelayError::Forgotten);
            }
            Subject::Refresh { .. } => {
                if let State::Allocated(allocation) = &mut self.state
                    && !mem::replace(&mut allocation.refused, true)
                {
                    self.events.push_back(Event::Expires(allocation.until));
                }
            }
            _ if code == ErrorCode::ALLOCATION_MISMATCH => self.over(RelayError::Forgotten),
            Subject::Permit(peers) if peers.len() > 1 => {
                // One of them is not allowed: each is asked for on its own.
                for peer in peers {
                    self.ask(Subject::Permit(vec![peer]), now);
                }
            }
            Subject::Permit(peers) => {
                for peer in peers {
                    self.permissions.refused(peer, now);
                }
            }
            Subject::Bind(_, peer) => self.channels.refused(peer, now),
        }
    }
}

/// Returns the granted lifetime, or the usual one where the relay names none.
fn lifetime(message: &Message<'_>) -> Duration {
    let granted = message.attribute::<Lifetime>();
    let seconds = granted.map_or(600, |lifetime| lifetime.seconds());
    Duration::from_secs(u64::from(seconds).clamp(10, 3600))
}

fn refresh_after(lifetime: Duration) -> Duration {
    (lifetime / 2).clamp(SHORTEST, ALIVE)
}

/// Returns which addresses to ask for instead, where the relay cannot give all of them.
fn next_families(asked: Families, code: u16) -> Option<Families> {
    match (asked, code) {
        // 420 comes from relays that do not know the wish for a second address.
        (Families::Both, 420 | 440 | 442 | 508) => Some(Families::V4),
        (Families::V4, 440) => Some(Families::V6),
        _ => None,
    }
}

fn refusal(code: u16) -> RelayError {
    match code {
        ErrorCode::UNAUTHORIZED | ErrorCode::STALE_NONCE | ErrorCode::WRONG_CREDENTIALS => {
            RelayError::Credentials
        }
        ErrorCode::ALLOCATION_MISMATCH => RelayError::Forgotten,
        ErrorCode::ALLOCATION_QUOTA_REACHED | ErrorCode::INSUFFICIENT_CAPACITY => {
            RelayError::Full(code)
        }
        code => RelayError::Refused { code },
    }
}
