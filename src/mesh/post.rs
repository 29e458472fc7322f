//! Seals what we say, opens what comes, and decides which ways an envelope takes.
//!
//! ```text
//!            ┌── through the meeting server ───────────────┐
//! message ─▶ seal ── beside the media of our link ─────────┼─▶ open, each envelope once ─▶ message
//!            └── beside the media of two links: a member ──┘
//!                who has links to both passes it on, unread
//! ```
//!
//! The server comes first while it is connected and the other is present there. The other ways are
//! taken as well where the server cannot help, and where it seems not to: a signal (a description or
//! candidate) that went through it alone and had no effect for [`PATIENCE`] goes again, as it is, by
//! every other way. The receiver opens the first that comes and drops the others.
//!
//! Pure: time and nonces are arguments, and what is to be sent comes back as [`Parcel`]s. Invariants:
//! whatever came beside the media earns the server no suspicion; an envelope is passed on once, to a
//! member, by the member who has links to both, and never further.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use nonstop_seal::{MeetingKeys, OpenError, SealedChannel};
use nonstop_wire::{ParticipantId, PeerMessage};

use self::allowance::Allowance;

mod allowance;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod tests;

/// How long a signal that went through the server may be without effect.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How many signals are kept for that long: a description and the candidates of a few interfaces.
/// When there are more, the oldest goes; descriptions are repeated, and list the candidates.
const MOST_KEPT: usize = 24;
/// How many numbers of envelopes that came beside the media are remembered, so that the server may
/// bring them once more: as many as are sent in the time that it takes for being slow.
const MOST_NUMBERS: usize = 128;
/// How many conversations are kept before those that never mattered are forgotten: an evil
/// server can invent participants without end.
const MANY: usize = 512;

/// Which ways lead to somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ways {
    /// The server is connected, and they are present there.
    pub(super) server: bool,
    /// The link to them can carry envelopes, as far as is known.
    pub(super) own: bool,
    /// Media flows through that link.
    pub(super) flowing: bool,
    /// Those who may pass envelopes on to them.
    pub(super) through: Vec<ParticipantId>,
}

impl Ways {
    /// Tells whether there is any.
    pub(super) fn any(&self) -> bool {
        self.server || self.own || !self.through.is_empty()
    }

    /// Returns those beside the media of a link.
    fn beside(&self, to: ParticipantId) -> impl Iterator<Item = Way> {
        let own = self.own.then_some(to);
        own.into_iter()
            .chain(self.through.iter().copied())
            .map(Way::Beside)
    }
}

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Through the meeting server.
    Server,
    /// Beside the media of the link to this participant.
    Beside(ParticipantId),
}

/// An envelope to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    /// How.
    pub(super) way: Way,
    /// To whom in the end.
    pub(super) to: ParticipantId,
    /// Who sealed it.
    pub(super) from: ParticipantId,
    /// What is sealed.
    pub(super) sealed: String,
}

/// What came of an envelope that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It opened.
    Message(PeerMessage),
    /// The server brought what its sender did not seal for us.
    Forged,
    /// The server brought again what it had brought before.
    Replayed,
    /// Nothing new, and nobody is to blame.
    Nothing,
}

/// All conversations.
pub(super) struct Post {
    me: ParticipantId,
    keys: MeetingKeys,
    conversations: HashMap<ParticipantId, Conversation>,
}

/// What passes between us and one other.
struct Conversation {
    channel: SealedChannel,
    /// Signals that went through the server alone and had no effect yet, since when.
    kept: VecDeque<(Instant, String)>,
    /// Whether the server seems not to bring our signals.
    deaf: bool,
    /// The numbers of envelopes that opened first when they came beside the media.
    numbers: VecDeque<Number>,
    /// What we pass on for them.
    allowance: Allowance,
}

/// Version and counter of an envelope, as they stand in it: 9 bytes are 12 characters.
type Number = [u8; 12];

impl Post {
    /// Makes the post of `me`, without conversations.
    pub(super) fn new(me: ParticipantId, keys: MeetingKeys) -> Self {
        Self {
            me,
            keys,
            conversations: HashMap::new(),
        }
    }

    /// Seals a message and returns it once for each way that it is to take; `nonce` must be random.
    /// Where there is no way, the server is to keep it.
    pub(super) fn send(
        &mut self,
        to: ParticipantId,
        message: &PeerMessage,
        nonce: [u8; 24],
        ways: &Ways,
        now: Instant,
    ) -> Vec<Parcel> {
        let conversation = self.conversation(to, now);
        let sealed = conversation.channel.seal(message, nonce);
        let signal = is_signal(message);
        let others = match message {
            // Nothing comes after it that would make up for its loss.
            PeerMessage::Bye => true,
            PeerMessage::State(_) => !(ways.server || (ways.own && ways.flowing)),
            _ => !ways.server || conversation.deaf,
        };
        if signal && ways.server && !others {
            if conversation.kept.len() == MOST_KEPT {
                conversation.kept.pop_front();
            }
            conversation.kept.push_back((now, sealed.clone()));
        }
        let server = (ways.server || !ways.any()).then_some(Way::Server);
        let own = (!others && !ways.server && ways.own).then_some(Way::Beside(to));
        let beside = ways.beside(to).filter(|_| others);
        let ways: Vec<_> = server.into_iter().chain(own).chain(beside).collect();
        self.parcels(to, &sealed, ways)
    }

    /// Opens an envelope said to be from `from`, that came on the way `came`.
    pub(super) fn open(
        &mut self,
        from: ParticipantId,
        sealed: &str,
        came: Way,
        now: Instant,
    ) -> Opened {
        let by_server = came == Way::Server;
        let number = number(sealed);
        let new = !self.conversations.contains_key(&from);
        let conversation = self.conversation(from, now);
        match conversation.channel.open(sealed) {
            Ok(message) => {
                if let (false, Some(number)) = (by_server, number) {
                    if conversation.numbers.len() == MOST_NUMBERS {
                        conversation.numbers.pop_front();
                    }
                    conversation.numbers.push_back(number);
                }
                if is_signal(&message) {
                    conversation.kept.clear();
                    conversation.deaf &= !by_server;
                }
                Opened::Message(message)
            }
            Err(OpenError::Replayed) if by_server => {
                let numbers = &mut conversation.numbers;
                let place = numbers.iter().position(|seen| Some(*seen) == number);
                match place.and_then(|place| numbers.remove(place)) {
                    Some(_) => Opened::Nothing,
                    None => Opened::Replayed,
                }
            }
            Err(error) => {
                tracing::debug!(%from, %error, "a message did not open");
                if new {
                    self.conversations.remove(&from);
                }
                // Whether garbage or a good envelope in the wrong place: not sealed by them for us.
                match by_server {
                    true => Opened::Forged,
                    false => Opened::Nothing,
                }
            }
        }
    }

    /// Takes an envelope that `from`, who is the other side of the link on which it came, wants
    /// passed on; `ways` are those to its receiver. Returns it if it may be passed on.
    pub(super) fn pass_on(
        &mut self,
        link: ParticipantId,
        (to, from): (ParticipantId, ParticipantId),
        sealed: String,
        ways: &Ways,
        now: Instant,
    ) -> Option<Parcel> {
        // One hop only: whoever passes on does so for the other side of its own link.
        if from != link || to == from || to == self.me || !ways.own {
            return None;
        }
        let allowed = self.conversation(from, now).allowance.take(&sealed, now);
        if !allowed {
            tracing::debug!(%from, "too much to pass on");
            return None;
        }
        let way = Way::Beside(to);
        Some(Parcel {
            way,
            to,
            from,
            sealed,
        })
    }

    /// The link to somebody carries media: every signal has had its effect.
    pub(super) fn handle_connected(&mut self, id: ParticipantId) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.kept.clear();
            conversation.deaf = false;
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let kept = |conversation: &Conversation| Some(conversation.kept.front()?.0 + PATIENCE);
        self.conversations.values().filter_map(kept).min()
    }

    /// Returns signals that the server did not bring in time, for every other way of `ways`.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        ways: impl Fn(ParticipantId) -> Ways,
    ) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        let overdue = |conversation: &Conversation| {
            let first = conversation.kept.front();
            first.is_some_and(|(sent, _)| *sent + PATIENCE <= now)
        };
        let late = self.conversations.iter_mut();
        let late: Vec<_> = late
            .filter(|(_, conversation)| overdue(conversation))
            .map(|(to, conversation)| {
                conversation.deaf = true;
                (*to, std::mem::take(&mut conversation.kept))
            })
            .collect();
        for (to, kept) in late {
            let ways: Vec<_> = ways(to).beside(to).collect();
            for (_, sealed) in kept {
                parcels.extend(self.parcels(to, &sealed, ways.clone()));
            }
        }
        parcels
    }

    /// Forgets conversations that never mattered, where there are many.
    pub(super) fn tidy(&mut self, remembered: impl Fn(ParticipantId) -> bool) {
        if self.conversations.len() >= MANY {
            self.conversations.retain(|id, _| remembered(*id));
        }
    }

    fn parcels(&self, to: ParticipantId, sealed: &str, ways: Vec<Way>) -> Vec<Parcel> {
        let parcel = |way| Parcel {
            way,
            to,
            from: self.me,
            sealed: sealed.to_owned(),
        };
        ways.into_iter().map(parcel).collect()
    }

    fn conversation(&mut self, peer: ParticipantId, now: Instant) -> &mut Conversation {
        let (keys, me) = (&self.keys, self.me);
        self.conversations
            .entry(peer)
            .or_insert_with(|| Conversation {
                channel: SealedChannel::new(keys, me, peer),
                kept: VecDeque::new(),
                deaf: false,
                numbers: VecDeque::new(),
                allowance: Allowance::new(now),
            })
    }
}

/// Tells whether a link cannot do without it.
fn is_signal(message: &PeerMessage) -> bool {
    matches!(
        message,
        PeerMessage::Description { .. } | PeerMessage::Candidate { .. }
    )
}

fn number(sealed: &str) -> Option<Number> {
    sealed.as_bytes().first_chunk().copied()
}
