//! A peer for another ICE implementation on the same computer, which it connects to at once.
//!
//! An implementation that cannot be told to leave ICE alone is given one remote candidate that
//! stands for the whole link, and this peer there. Every check is answered, and a check of its own
//! follows each answer: by then the other agent holds the pair for valid, and so a controlling one
//! nominates on it and a controlled one takes its USE-CANDIDATE.
//!
//! ```text
//! other agent   request ─▶            ◀─ success, request (USE-CANDIDATE if it is controlled)
//!               success ─▶  nothing      request with USE-CANDIDATE ─▶  ◀─ success, request
//! ```

use std::{fmt, net::SocketAddr};

use stun_types::message::IntegrityKey;

use crate::{
    Credentials,
    stun::{self, Class, Message, Role, Writer},
};

/// A host candidate's priority (RFC 8445 section 5.1.2.1) as a peer-reflexive one: 110, 65535, 255.
const PRIORITY: u32 = (110 << 24) | 0x00ff_ffff;

/// A peer that answers every check and checks back at once.
pub struct StandIn {
    local: Credentials,
    local_key: IntegrityKey,
    other: Credentials,
    other_key: IntegrityKey,
    other_controls: bool,
    tie_breaker: u64,
    random: Box<dyn FnMut() -> u128 + Send>,
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIn")
            .field("other_controls", &self.other_controls)
            .finish_non_exhaustive()
    }
}

impl StandIn {
    /// Makes one with its own credentials and those of the agent that it is to satisfy;
    /// `other_controls` says whether that agent is the controlling one.
    pub fn new(
        local: Credentials,
        other: Credentials,
        other_controls: bool,
        mut random: Box<dyn FnMut() -> u128 + Send>,
    ) -> Self {
        Self {
            local_key: stun::key_of(&local.password),
            other_key: stun::key_of(&other.password),
            local,
            other,
            other_controls,
            tie_breaker: random() as u64,
            random,
        }
    }

    /// Returns the packets that answer this one, which seemed to the other agent to come from
    /// `from`; they are sent in order.
    pub fn answer(&mut self, packet: &[u8], from: SocketAddr) -> Vec<Vec<u8>> {
        let Some(message) = Message::read(packet) else {
            return Vec::new();
        };
        let ours = message
            .username
            .and_then(|name| name.split_once(':'))
            .is_some_and(|(ours, _)| ours == self.local.ufrag);
        if message.class != Class::Request || !ours || !message.is_authentic(&self.local_key) {
            return Vec::new();
        }
        // Whatever role was told beforehand, the one that the other agent shows is the true one.
        match message.role {
            Some(Role::Controlling(_)) => self.other_controls = true,
            Some(Role::Controlled(_)) => self.other_controls = false,
            None => {}
        }
        let success = Writer::new(Class::Success, message.transaction)
            .mapped(from)
            .signed(&self.local_key)
            .finish();
        vec![success, self.request()]
    }

    /// Returns what opens the talk, before any packet came.
    pub fn open(&mut self) -> Vec<Vec<u8>> {
        vec![self.request()]
    }

    fn request(&mut self) -> Vec<u8> {
        let request = Writer::new(Class::Request, stun::transaction((self.random)()))
            .username(&self.local.ufrag, &self.other.ufrag)
            .priority(PRIORITY);
        let request = if self.other_controls {
            request.role(Role::Controlled(self.tie_breaker))
        } else {
            request
                .role(Role::Controlling(self.tie_breaker))
                .use_candidate()
        };
        request.signed(&self.other_key).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str) -> Credentials {
        Credentials {
            ufrag: name.to_owned(),
            password: format!("{name}0123456789012345678901"),
        }
    }

    fn stand_in(other_controls: bool) -> StandIn {
        let mut number = 0;
        StandIn::new(
            credentials("standin"),
            credentials("other"),
            other_controls,
            Box::new(move || {
                number += 1;
                number
            }),
        )
    }

    fn check_of_other(role: Role) -> Vec<u8> {
        Writer::new(Class::Request, [9; 12])
            .username("other", "standin")
            .priority(1)
            .role(role)
            .signed(&stun::key_of(&credentials("standin").password))
            .finish()
    }

    #[test]
    fn a_check_is_answered_and_one_that_nominates_follows() {
        let from = "127.0.0.1:5000".parse().unwrap();
        let mut peer = stand_in(false);
        let answer = peer.answer(&check_of_other(Role::Controlled(1)), from);
        let success = Message::read(&answer[0]).unwrap();
        assert_eq!(success.transaction, [9; 12]);
        assert_eq!(success.mapped, Some(from));
        assert!(success.is_authentic(&stun::key_of(&credentials("standin").password)));
        let request = Message::read(&answer[1]).unwrap();
        assert_eq!(request.username, Some("other:standin"));
        assert!(request.use_candidate);
        assert!(matches!(request.role, Some(Role::Controlling(_))));
        assert!(request.is_authentic(&stun::key_of(&credentials("other").password)));
    }

    #[test]
    fn one_that_controls_nominates_itself() {
        let from = "127.0.0.1:5000".parse().unwrap();
        let mut peer = stand_in(true);
        let opening = peer.open();
        let request = Message::read(&opening[0]).unwrap();
        assert!(!request.use_candidate);
        assert!(matches!(request.role, Some(Role::Controlled(_))));
        assert_eq!(
            peer.answer(&check_of_other(Role::Controlling(1)), from)
                .len(),
            2
        );
    }

    #[test]
    fn answers_and_strangers_get_nothing() {
        let from = "127.0.0.1:5000".parse().unwrap();
        let mut peer = stand_in(false);
        let success = Writer::new(Class::Success, [1; 12])
            .mapped(from)
            .signed(&stun::key_of(&credentials("standin").password))
            .finish();
        assert!(peer.answer(&success, from).is_empty());
        let mut forged = check_of_other(Role::Controlled(1));
        *forged.last_mut().unwrap() ^= 1;
        assert!(peer.answer(&forged, from).is_empty());
        assert!(peer.answer(b"hello", from).is_empty());
    }
}
