//! What a link tells, and what follows from it for the member whom it leads to.

use std::time::Instant;

use nonstop_wire::ParticipantId;

use super::{Effect, LinkNumber, Room, carriage::Side, person::LinkState};
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
                member.link_path = Some(path);
                member.failures = 0;
                None
            }
            LinkEvent::BesideOpened => {
                member.beside = true;
                None
            }
            // Not for the room: what is in it comes as a message.
            LinkEvent::Envelope { .. } => None,
            LinkEvent::PathChanged(path) => {
                member.link_path = member.link_path.and(Some(path));
                None
            }
            LinkEvent::Carried(carried) => {
                member.takes_relayed = carried;
                None
            }
            LinkEvent::Sound => {
                member.carriage.handle_sound(Side::Link);
                None
            }
            LinkEvent::Picture => {
                member.carriage.handle_picture(Side::Link);
                None
            }
            LinkEvent::Interrupted => {
                member.link_path = None;
                if !at_server {
                    // Others may tell them that we are still here.
                    person.describe_at = now;
                }
                None
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
            LinkEvent::PicturesPaused(reason) => {
                (!member.carriage.by_relay()).then_some(LinkNews::PicturesPaused(reason))
            }
            LinkEvent::PicturesResumed => {
                (!member.carriage.by_relay()).then_some(LinkNews::PicturesResumed)
            }
            LinkEvent::Strain(strain) => Some(LinkNews::Strain(strain)),
            LinkEvent::Ways(ways) => Some(LinkNews::Ways(ways)),
            // Of somebody who comes through the relay, the relay's figures are the ones that count.
            LinkEvent::Stats(stats) => {
                (!member.carriage.by_relay()).then_some(LinkNews::Stats(stats))
            }
            LinkEvent::Failed(error) => {
                member.link_path = None;
                member.takes_relayed = false;
                member.beside = false;
                let retry_at = now + member.back_off();
                member.link = LinkState::Waiting { retry_at };
                person.end_session();
                tracing::debug!(%id, %error, ?server, "a link failed");
                self.effects.push_back(Effect::StopLink { id });
                if error == LinkError::WrongParty {
                    self.suspect(Suspicion::WrongParty(id));
                }
                None
            }
        };
        self.tell_path(id, now);
        if let Some(news) = news {
            self.effects.push_back(Effect::News { id, news });
        }
        self.settle(now);
    }
}
