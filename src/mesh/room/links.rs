//! What a link tells, and what follows from it for the member whom it leads to.

use std::time::Instant;

use nonstop_wire::ParticipantId;

use super::{Effect, LinkNumber, Room, person::LinkState};
use crate::mesh::{
    LinkNews, Suspicion,
    link::{LinkError, LinkEvent},
};

impl Room {
    /// Takes in what a link has to tell. What an earlier link to the same participant tells is
    /// ignored.
    pub(in crate::mesh) fn handle_link(
        &mut self,
        id: ParticipantId,
        number: LinkNumber,
        event: LinkEvent,
        now: Instant,
    ) {
        let server = self.server;
        let Some(person) = self.people.get_mut(&id) else {
            return;
        };
        let at_server = person.at_server(server);
        let Some(member) = person.member_mut() else {
            return;
        };
        if member.link != LinkState::Running(number) {
            return;
        }
        let after = now.saturating_duration_since(member.since);
        let news = match event {
            LinkEvent::Signal(message) => {
                self.effects.push_back(Effect::Send { to: id, message });
                None
            }
            LinkEvent::Connected(path) => {
                member.down_since = None;
                member.last_word = None;
                member.failures = 0;
                Some(LinkNews::Connected { path, after })
            }
            LinkEvent::BesideOpened => {
                member.beside = true;
                None
            }
            // Not for the room: what is in it comes as a message.
            LinkEvent::Envelope { .. } => None,
            LinkEvent::PathChanged(path) => Some(LinkNews::PathChanged(path)),
            LinkEvent::Interrupted => {
                let news = member.flows().then_some(LinkNews::Interrupted);
                member.down_since.get_or_insert(now);
                if !at_server {
                    // Others may tell them that we are still here.
                    person.describe_at = now;
                }
                news
            }
            LinkEvent::FirstVideoFrame => {
                let first = !std::mem::replace(&mut member.seen, true);
                first.then_some(LinkNews::FirstVideoFrame { after })
            }
            LinkEvent::FirstAudio => {
                let first = !std::mem::replace(&mut member.heard, true);
                first.then_some(LinkNews::FirstAudio { after })
            }
            LinkEvent::VideoPaused => Some(LinkNews::VideoPaused),
            LinkEvent::VideoResumed => Some(LinkNews::VideoResumed),
            LinkEvent::PicturesPaused(reason) => Some(LinkNews::PicturesPaused(reason)),
            LinkEvent::PicturesResumed => Some(LinkNews::PicturesResumed),
            LinkEvent::Strain(strain) => Some(LinkNews::Strain(strain)),
            LinkEvent::Ways(ways) => Some(LinkNews::Ways(ways)),
            LinkEvent::Stats(stats) => Some(LinkNews::Stats(stats)),
            LinkEvent::Failed(error) => {
                let news = member.flows().then_some(LinkNews::Interrupted);
                member.down_since.get_or_insert(now);
                member.beside = false;
                let retry_at = now + member.back_off();
                member.link = LinkState::Waiting { retry_at };
                person.end_session();
                tracing::debug!(%id, %error, ?server, "a link failed");
                self.effects.push_back(Effect::StopLink { id });
                if error == LinkError::WrongParty {
                    self.suspect(Suspicion::WrongParty(id));
                }
                news
            }
        };
        if let Some(news) = news {
            self.effects.push_back(Effect::News { id, news });
        }
        self.settle(now);
    }
}
