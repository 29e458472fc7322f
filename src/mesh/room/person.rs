//! One other participant, as the room sees them.
//!
//! Two things are known of everybody: the seat, which the server tells, and the standing, which
//! only a sealed message gives. Whoever never proved to hold the secret has no link, by type.
//!
//! ```text
//! seat      Present ⇄ Away      Unlisted (the server forgot)      Untold (the server never said)
//!                               Denied (the server says that they left, media that they did not)
//! standing  Unproven ── first message that opens ─▶ Member { link: Running ⇄ Waiting }
//! ```

use std::time::{Duration, Instant};

use nonstop_wire::ParticipantState;

use super::{LinkNumber, ServerView, carriage::Carriage};
use crate::mesh::Path;

/// How long somebody whose connection to the server broke may also be without media.
///
/// A link notices silence after 1.5 s; together that is 4 s from a crash to its notice.
const AWAY_GRACE: Duration = Duration::from_millis(2_500);
/// How long somebody may be without media while we cannot ask the server about them.
const SILENT_GRACE: Duration = Duration::from_secs(15);
/// The first wait before a failed link is set up anew; doubles up to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait before a failed link is set up anew.
const RETRY_MOST: Duration = Duration::from_secs(30);
/// How many earlier sessions of somebody are remembered, so that late messages of theirs are
/// not taken for new ones.
const PAST_SESSIONS: usize = 16;

/// What the server says of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    /// Connected to the server.
    Present,
    /// Their connection to the server broke.
    Away {
        /// When we were told.
        since: Instant,
    },
    /// The server no longer lists them; they may come back until then.
    Unlisted {
        /// The end of the time they have.
        until: Instant,
    },
    /// The server says that they left on purpose, and nobody else does.
    Denied {
        /// When we were told.
        since: Instant,
    },
    /// The server passes their messages on, but never told us of them.
    Untold {
        /// When their first message came.
        since: Instant,
    },
}

/// Whether somebody holds the meeting's secret.
#[derive(Debug)]
pub(super) enum Standing {
    /// Not shown yet (or not since they were lost).
    Unproven {
        /// When they count as a stranger; none while they cannot be heard.
        deadline: Option<Instant>,
    },
    /// Shown: a participant of the call.
    Member(Box<Member>),
}

/// A participant of the call.
#[derive(Debug)]
pub(super) struct Member {
    /// Since when both of us have been in the room.
    pub(super) since: Instant,
    /// How they described themselves last.
    pub(super) state: Option<ParticipantState>,
    /// The link to them.
    pub(super) link: LinkState,
    /// Whether envelopes can be passed beside the media of the link.
    pub(super) beside: bool,
    /// Which way media passes through the link; none while it does not.
    pub(super) link_path: Option<Path>,
    /// Which way their media is taken in.
    pub(super) carriage: Carriage,
    /// Whether they take ours in through the relay, and want nothing straight from us.
    pub(super) takes_relayed: bool,
    /// Since when nobody needs the link.
    pub(super) needless_since: Option<Instant>,
    /// The way that those above know.
    pub(super) path: Option<Path>,
    /// Since when no media passes on any way; none while it does.
    pub(super) down_since: Option<Instant>,
    /// When something of theirs came beside the media of others' links while none passed on ours.
    pub(super) last_word: Option<Instant>,
    /// Links that failed since the last that connected.
    pub(super) failures: u32,
    /// The session (of their peer connection) that our link talks to.
    pub(super) session: Option<String>,
    /// Whether a picture was ever received.
    pub(super) seen: bool,
    /// Whether a sound was ever received.
    pub(super) heard: bool,
}

/// The link to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    /// There is one.
    Running(LinkNumber),
    /// The last one failed; the next starts then.
    Waiting {
        /// When.
        retry_at: Instant,
    },
    /// There is none, and none is needed: the relay carries both ways.
    Unneeded,
}

/// One other participant.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) seat: Seat,
    pub(super) standing: Standing,
    /// Whether we make the first offer: to those who were here before us.
    pub(super) initiator: bool,
    /// When we describe ourselves to them next.
    pub(super) describe_at: Instant,
    /// Since when both of us have been in the room.
    pub(super) since: Instant,
    /// Sessions of theirs that are over.
    pub(super) past_sessions: Vec<String>,
}

impl Person {
    /// Makes somebody of whom nothing is known yet; they are told about us at once.
    pub(super) fn new(
        seat: Seat,
        initiator: bool,
        past_sessions: Vec<String>,
        now: Instant,
    ) -> Self {
        Self {
            seat,
            standing: Standing::Unproven { deadline: None },
            initiator,
            describe_at: now,
            since: now,
            past_sessions,
        }
    }

    /// Returns the member, if they are one.
    pub(super) fn member(&self) -> Option<&Member> {
        match &self.standing {
            Standing::Member(member) => Some(member),
            Standing::Unproven { .. } => None,
        }
    }

    /// Returns the member to change, if they are one.
    pub(super) fn member_mut(&mut self) -> Option<&mut Member> {
        match &mut self.standing {
            Standing::Member(member) => Some(member),
            Standing::Unproven { .. } => None,
        }
    }

    /// Tells whether what we send to them through the server can arrive.
    pub(super) fn at_server(&self, server: ServerView) -> bool {
        matches!(server, ServerView::Connected)
            && matches!(self.seat, Seat::Present | Seat::Untold { .. })
    }

    /// Returns when they count as lost if nothing changes: when neither the server nor media
    /// has a trace of them any more.
    pub(super) fn lost_at(&self, server: ServerView) -> Option<Instant> {
        let member = self.member()?;
        let down = member.down_since?;
        let lost_at = match (self.seat, server) {
            (Seat::Denied { .. }, _) => down,
            (Seat::Away { since }, _) => since.max(down) + AWAY_GRACE,
            (Seat::Unlisted { until }, _) => until.max(down + AWAY_GRACE),
            (_, ServerView::Unreachable { since }) => since.max(down) + SILENT_GRACE,
            (Seat::Untold { since }, _) => since.max(down) + SILENT_GRACE,
            (Seat::Present, _) => return None,
        };
        let word = member.last_word.map(|word| word + SILENT_GRACE);
        Some(word.map_or(lost_at, |word| word.max(lost_at)))
    }

    /// Returns when the next link is set up after one that failed, if they can be reached.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self.member()?.link {
            LinkState::Waiting { retry_at } => Some(retry_at),
            LinkState::Running(_) | LinkState::Unneeded => None,
        }
    }

    /// Returns when they count as a stranger.
    pub(super) fn stranger_at(&self) -> Option<Instant> {
        match self.standing {
            Standing::Unproven { deadline } => deadline,
            Standing::Member(_) => None,
        }
    }

    /// Ends the session that the link talked to: what still comes from it is too late.
    pub(super) fn end_session(&mut self) {
        let Some(session) = self.member_mut().and_then(|member| member.session.take()) else {
            return;
        };
        if self.past_sessions.len() == PAST_SESSIONS {
            self.past_sessions.remove(0);
        }
        self.past_sessions.push(session);
    }
}

impl Member {
    /// Makes a member with this first link.
    pub(super) fn new(link: LinkState, since: Instant, now: Instant) -> Self {
        Self {
            since,
            state: None,
            link,
            beside: false,
            link_path: None,
            carriage: Carriage::new(now),
            takes_relayed: false,
            needless_since: None,
            path: None,
            down_since: Some(now),
            last_word: None,
            failures: 0,
            session: None,
            seen: false,
            heard: false,
        }
    }

    /// Returns how long to wait before the next link, and counts the failure.
    pub(super) fn back_off(&mut self) -> Duration {
        let wait = RETRY_FIRST * 2u32.pow(self.failures.min(5));
        self.failures += 1;
        wait.min(RETRY_MOST)
    }

    /// Tells whether media flows through the link.
    pub(super) fn flows(&self) -> bool {
        self.link_path.is_some()
    }

    /// Does not wait any longer for a new link: something changed that may help.
    pub(super) fn retry_now(&mut self, now: Instant) {
        if let LinkState::Waiting { retry_at } = &mut self.link {
            *retry_at = (*retry_at).min(now);
        }
    }
}

/// Returns the session of a description: the `sess-id` of its `o=` line (RFC 8866, section 5.2),
/// which a peer connection keeps as long as it lives (RFC 8829, section 5.2.2).
pub(super) fn session_of(sdp: &str) -> Option<&str> {
    let origin = sdp.lines().find_map(|line| line.strip_prefix("o="))?;
    origin
        .split_ascii_whitespace()
        .nth(1)
        .filter(|id| id.len() <= 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_from_the_origin_line() {
        let sdp = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\n";
        assert_eq!(session_of(sdp), Some("4611731400430051336"));
        assert_eq!(session_of("v=0\r\no=\r\n"), None);
        assert_eq!(session_of(""), None);
    }

    #[test]
    fn failed_links_wait_longer_and_longer_up_to_half_a_minute() {
        let now = crate::clock::now();
        let mut member = Member::new(LinkState::Unneeded, now, now);
        let waits: Vec<u64> = (0..7).map(|_| member.back_off().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }
}
