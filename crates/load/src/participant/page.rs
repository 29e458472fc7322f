//! What a participant watches, page by page, and what comes of it.

use nonstop_wire::{Allotted, ClientMessage, Watch, Watched};

use super::{Participant, Socket, say};
use crate::clock;

impl Participant {
    /// Watches the page that is due, if it is another than before.
    pub(super) async fn watch(&mut self, socket: &mut Socket) -> anyhow::Result<()> {
        if !self.scene.options.watches(self.summary.index) {
            if self.watched.is_empty() {
                let nothing = Watch {
                    deaf: true,
                    ..Watch::default()
                };
                say(socket, &ClientMessage::Watch(nothing)).await?;
            }
            return Ok(());
        }
        let publishers: Vec<_> = (self.published.values())
            .filter(|published| published.pictures && self.scene.takes(published.participant))
            .map(|published| published.participant)
            .collect();
        let page = self.scene.options.page.min(publishers.len());
        let first = (self.summary.index + self.page) * self.scene.options.page;
        let watched: Vec<_> = (0..page)
            .map(|tile| publishers[(first + tile) % publishers.len()])
            .collect();
        let deaf_to: Vec<_> = (self.published.keys().copied())
            .filter(|who| !self.scene.takes(*who))
            .collect();
        if watched == self.watched && deaf_to == self.deaf_to && !watched.is_empty() {
            return Ok(());
        }
        self.deaf_to = deaf_to;
        let now = clock::now();
        for who in watched.iter().filter(|who| !self.watched.contains(who)) {
            if let (Some(endpoint), Some(published)) = (&mut self.endpoint, self.published.get(who))
            {
                endpoint.pictures(published.pictures_ssrc).watch(now);
            }
        }
        for who in self.watched.iter().filter(|who| !watched.contains(who)) {
            self.layers.remove(who);
            if let (Some(endpoint), Some(published)) = (&mut self.endpoint, self.published.get(who))
            {
                endpoint.pictures(published.pictures_ssrc).rest();
            }
        }
        self.watched = watched;
        let (width, height) = self.scene.options.tile;
        let pictures = (self.watched.iter())
            .map(|who| Watched {
                participant: *who,
                width,
                height,
            })
            .collect();
        let watch = Watch {
            pictures,
            deaf_to: self.deaf_to.clone(),
            ..Watch::default()
        };
        say(socket, &ClientMessage::Watch(watch)).await
    }

    pub(super) async fn turn_page(&mut self, socket: &mut Socket) -> anyhow::Result<()> {
        let now = clock::now();
        let due = (self.scene.options.flip)
            .is_some_and(|flip| now.saturating_duration_since(self.turned) >= flip);
        if !due || self.watched.is_empty() {
            return Ok(());
        }
        self.turned = now;
        self.page += 1;
        self.watch(socket).await
    }

    pub(super) fn allot(&mut self, pictures: &[Allotted]) {
        let now = clock::now();
        for allotted in pictures {
            let before = self.layers.insert(allotted.participant, allotted.layer);
            let (Some(endpoint), Some(published)) = (
                &mut self.endpoint,
                self.published.get(&allotted.participant),
            ) else {
                continue;
            };
            let reception = endpoint.pictures(published.pictures_ssrc);
            match (before.flatten(), allotted.layer) {
                (Some(before), Some(after)) if before != after => {
                    self.summary.changes += 1;
                    reception.switch(now);
                }
                (Some(_), None) => {
                    self.summary.changes += 1;
                    reception.rest();
                }
                (None, Some(_)) if before.is_some() => {
                    self.summary.changes += 1;
                    reception.watch(now);
                }
                _ => {}
            }
        }
    }

    /// Notes the first picture of all, and the first after a loss of the connection.
    pub(super) fn look(&mut self) {
        if self.summary.first_picture.is_some() && self.silent_since.is_none() {
            return;
        }
        let (Some(endpoint), watched) = (&mut self.endpoint, &self.watched) else {
            return;
        };
        let whole = (watched.iter())
            .filter_map(|who| self.published.get(who))
            .any(|published| endpoint.pictures(published.pictures_ssrc).counts.pictures > 0);
        if !whole {
            return;
        }
        let now = clock::now();
        if self.summary.first_picture.is_none() {
            self.summary.first_picture = Some((
                now.saturating_duration_since(self.welcomed),
                now.saturating_duration_since(self.began),
            ));
        }
        if let Some(silent) = self.silent_since.take() {
            self.summary
                .outages
                .push(now.saturating_duration_since(silent));
        }
    }
}
