//! The requests of RFC 8656, in the order of checks that it gives.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use stun_types::{
    attribute::{
        AttributeStaticType, ErrorCode, MessageIntegrity, Nonce, Realm, Username, XorMappedAddress,
    },
    message::{IntegrityAlgorithm, IntegrityKey, Message},
};
use turn_types::{
    AddressFamily,
    attribute::{
        AdditionalAddressFamily, AddressErrorCode, ChannelNumber, EvenPort, Lifetime,
        RequestedAddressFamily, RequestedTransport, ReservationToken, XorRelayedAddress,
    },
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH},
};

use crate::slab::Key;

use super::{
    allocation::{Allocation, Client, Family, Reach, Relay, Relayed},
    credentials::Claim,
    machine::{Machine, Now, Outlet},
    message::{self, Answer, CHANNELS, Refusal},
};

/// In which name passwords are asked for.
pub(crate) const REALM: &str = "nonstop";
/// How long an allocation lasts unless refreshed (RFC 8656 section 7.2), and at most.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
const LONGEST_LIFETIME: Duration = Duration::from_secs(3600);
/// How long an allocation may outlive the credential that it was made with: two computers' clocks
/// differ.
const GRACE: Duration = Duration::from_secs(60);
/// The number of UDP among the protocols of IP.
const UDP: u8 = 17;

/// Somebody who has proven to be who they say.
struct Known<'a> {
    claim: Claim<'a>,
    key: IntegrityKey,
}

impl Machine {
    /// Answers a request that needs credentials.
    pub(super) fn handle_request(
        &mut self,
        client: &Client,
        message: &Message<'_>,
        now: Now,
        outlet: &mut impl Outlet,
    ) {
        let username = message::optional::<Username>(message).ok().flatten();
        let name = username.as_ref().map_or("", Username::username);
        let known = match self.authenticate(client, message, name, now) {
            Ok(known) => known,
            Err(refusal) => {
                let mut answer = Answer::error(message, &refusal);
                if refusal == Refusal::UNAUTHORIZED || refusal == Refusal::STALE_NONCE {
                    let nonce = self.nonces.make(client.remote, now.unix);
                    let nonce = Nonce::new(&nonce).expect("a nonce is short");
                    let realm = Realm::new(REALM).expect("the realm is short");
                    answer = answer.with(&realm).with(&nonce);
                }
                outlet.answer(client, &answer.finish(None));
                return;
            }
        };
        let answer = match message.method() {
            ALLOCATE => self.allocate(client, message, &known.claim, now, outlet),
            REFRESH => self.refresh(client, message, &known.claim, now, outlet),
            CREATE_PERMISSION => self.create_permission(client, message, &known.claim, now, outlet),
            CHANNEL_BIND => self.bind_channel(client, message, &known.claim, now, outlet),
            _ => Err(Refusal::BAD_REQUEST),
        };
        let answer = answer.unwrap_or_else(|refusal| Answer::error(message, &refusal));
        outlet.answer(client, &answer.finish(Some(&known.key)));
    }

    /// Long-term credentials (RFC 8489 section 9.2.4).
    fn authenticate<'a>(
        &self,
        client: &Client,
        message: &Message<'_>,
        name: &'a str,
        now: Now,
    ) -> Result<Known<'a>, Refusal> {
        if !message.has_attribute(MessageIntegrity::TYPE) {
            return Err(Refusal::UNAUTHORIZED);
        }
        let realm = message::required::<Realm>(message)?;
        let nonce = message::required::<Nonce>(message)?;
        if name.is_empty() {
            return Err(Refusal::BAD_REQUEST);
        }
        if !self.nonces.good(nonce.nonce(), client.remote, now.unix) {
            return Err(Refusal::STALE_NONCE);
        }
        let claim = Claim::read(name).ok_or(Refusal::UNAUTHORIZED)?;
        if realm.realm() != REALM {
            return Err(Refusal::UNAUTHORIZED);
        }
        let credentials = claim.credentials(&self.secret, REALM);
        let key = credentials.make_key(IntegrityAlgorithm::Sha1);
        match message.validate_integrity_with_key(&key) {
            Ok(IntegrityAlgorithm::Sha1) => Ok(Known { claim, key }),
            _ => Err(Refusal::UNAUTHORIZED),
        }
    }

    fn allocate(
        &mut self,
        client: &Client,
        message: &Message<'_>,
        claim: &Claim<'_>,
        now: Now,
        outlet: &mut impl Outlet,
    ) -> Result<Answer, Refusal> {
        unexpired(claim, now)?;
        let transaction = u128::from(message.transaction_id());
        if let Some(key) = self.by_client.get(client).copied() {
            let allocation = self.allocations.get_mut(key).ok_or(Refusal::MISMATCH)?;
            if allocation.transaction != transaction || *allocation.username != *claim.username {
                return Err(Refusal::MISMATCH);
            }
            return Ok(allocated(message, allocation, now));
        }
        let transport = message::required::<RequestedTransport>(message)?;
        if transport.protocol() != UDP {
            return Err(Refusal::TRANSPORT);
        }
        message::understood(message)?;
        let even = message::optional::<EvenPort>(message)?;
        let (first, additional) = families(message, even.is_some())?;
        // Pairs of ports are of the time before RTCP shared RTP's port.
        if even.as_ref().is_some_and(EvenPort::requested)
            || message.has_attribute(ReservationToken::TYPE)
        {
            return Err(Refusal::CAPACITY);
        }
        let address = self.relay_address(client, first).ok_or(Refusal::FAMILY)?;
        if self.allocations.len() >= self.config.limits.allocations {
            return Err(Refusal::CAPACITY);
        }
        let (participant, from) = (claim.participant, client.remote.ip());
        let account = self.accounts.open(participant, from, now.instant);
        let account = account.ok_or(Refusal::QUOTA)?;

        let deadline = now.instant + lifetime(message, claim, now)?;
        let key = self.allocations.next_key();
        let relayed = self.open_relay(key, address, even.is_some(), outlet);
        let Some(relayed) = relayed else {
            self.accounts.close(account, from);
            return Err(Refusal::CAPACITY);
        };
        let mut allocation =
            Allocation::new(*client, account, claim.username, transaction, deadline);
        allocation.relayed[first as usize] = Some(relayed);
        if additional {
            let address = self.relay_address(client, Family::V6);
            let relayed = address.and_then(|address| self.open_relay(key, address, false, outlet));
            allocation.relayed[Family::V6 as usize] = relayed;
        }
        let answer = allocated(message, &allocation, now);
        self.allocations.insert(allocation);
        self.by_client.insert(*client, key);
        self.deadlines.insert((deadline, key));
        Ok(answer)
    }

    fn open_relay(
        &mut self,
        allocation: Key,
        address: IpAddr,
        even: bool,
        outlet: &mut impl Outlet,
    ) -> Option<Relayed> {
        let family = Family::of(address);
        let relay = Relay { allocation, family };
        let port = outlet.open(relay, address, even).ok()?;
        let relayed = Relayed {
            local: SocketAddr::new(address, port),
            public: SocketAddr::new(self.public(address), port),
        };
        self.by_relayed.insert(relayed.local, relay);
        self.by_relayed.insert(relayed.public, relay);
        Some(relayed)
    }

    /// Returns where a client's relay socket is opened.
    fn relay_address(&self, client: &Client, family: Family) -> Option<IpAddr> {
        let configured = self.config.relay_addresses.iter().copied();
        let mut configured = configured.filter(|address| Family::of(*address) == family);
        let reached = (Family::of(client.local) == family).then_some(client.local);
        configured
            .next()
            .or(reached)
            .or(self.outward[family as usize])
    }

    /// Returns how an address of this computer is reached from outside.
    fn public(&self, address: IpAddr) -> IpAddr {
        let external = self.config.external.iter();
        let fitting = |private: Option<IpAddr>| match private {
            Some(private) => private == address,
            None => true,
        };
        let mut fitting = external.filter(|external| {
            external.public.is_ipv4() == address.is_ipv4() && fitting(external.private)
        });
        fitting.next().map_or(address, |external| external.public)
    }

    fn refresh(
        &mut self,
        client: &Client,
        message: &Message<'_>,
        claim: &Claim<'_>,
        now: Now,
        outlet: &mut impl Outlet,
    ) -> Result<Answer, Refusal> {
        let key = self.allocation_of(client, claim)?;
        message::understood(message)?;
        let asked = message::optional::<Lifetime>(message)?;
        // Whoever's credential expired may still end what it began.
        if asked.as_ref().is_some_and(|asked| asked.seconds() == 0) {
            self.remove(key, outlet);
            return Ok(Answer::success(message).with(&Lifetime::new(0)));
        }
        unexpired(claim, now)?;
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::MISMATCH)?;
        if let Some(family) = requested_family(message)?
            && allocation.relayed(family).is_none()
        {
            return Err(Refusal::PEER_FAMILY);
        }
        let lifetime = lifetime(message, claim, now)?;
        self.deadlines.remove(&(allocation.deadline, key));
        allocation.deadline = now.instant + lifetime;
        self.deadlines.insert((allocation.deadline, key));
        Ok(Answer::success(message).with(&Lifetime::new(seconds(lifetime))))
    }

    fn create_permission(
        &mut self,
        client: &Client,
        message: &Message<'_>,
        claim: &Claim<'_>,
        now: Now,
        outlet: &mut impl Outlet,
    ) -> Result<Answer, Refusal> {
        let key = self.allocation_of(client, claim)?;
        message::understood(message)?;
        let peers = message::peers(message)?;
        if peers.is_empty() {
            return Err(Refusal::BAD_REQUEST);
        }
        let mut reached = Vec::with_capacity(peers.len());
        for peer in &peers {
            reached.push((peer.ip(), self.reach(key, *peer, outlet)?));
        }
        // All or none (RFC 8656 section 10.2), but for those that exceed the limit.
        let most = self.config.limits.permissions;
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::MISMATCH)?;
        for (address, reach) in reached {
            if !allocation.permit(address, reach, most, now.instant) {
                return Err(Refusal::CAPACITY);
            }
        }
        Ok(Answer::success(message))
    }

    fn bind_channel(
        &mut self,
        client: &Client,
        message: &Message<'_>,
        claim: &Claim<'_>,
        now: Now,
        outlet: &mut impl Outlet,
    ) -> Result<Answer, Refusal> {
        let key = self.allocation_of(client, claim)?;
        message::understood(message)?;
        let number = message::required::<ChannelNumber>(message)?.channel();
        let peer = *message::peers(message)?
            .first()
            .ok_or(Refusal::BAD_REQUEST)?;
        if !CHANNELS.contains(&number) || peer.port() == 0 {
            return Err(Refusal::BAD_REQUEST);
        }
        let reach = self.reach(key, peer, outlet)?;
        let limits = &self.config.limits;
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::MISMATCH)?;
        if !allocation.bindable(number, peer, now.instant) {
            return Err(Refusal::BAD_REQUEST);
        }
        if !allocation.bind(number, peer, reach, limits.channels, now.instant)
            || !allocation.permit(peer.ip(), reach, limits.permissions, now.instant)
        {
            return Err(Refusal::CAPACITY);
        }
        Ok(Answer::success(message))
    }

    /// Returns the allocation of a client, if it is that of the same user.
    fn allocation_of(&mut self, client: &Client, claim: &Claim<'_>) -> Result<Key, Refusal> {
        let key = self
            .by_client
            .get(client)
            .copied()
            .ok_or(Refusal::MISMATCH)?;
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::MISMATCH)?;
        match *allocation.username == *claim.username {
            true => Ok(key),
            false => Err(Refusal::WRONG_CREDENTIALS),
        }
    }

    /// Tells what a peer's address means, or why it may not be reached.
    fn reach(
        &mut self,
        key: Key,
        peer: SocketAddr,
        outlet: &mut impl Outlet,
    ) -> Result<Reach, Refusal> {
        let address = peer.ip();
        // What the server offers itself may be reached wherever the server is.
        let offered = self.config.own_ports.contains(&peer.port()) && outlet.own(address);
        if !offered && !self.policy.permits(address) {
            return Err(Refusal::FORBIDDEN);
        }
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::MISMATCH)?;
        if allocation.relayed(Family::of(address)).is_none() {
            return Err(Refusal::PEER_FAMILY);
        }
        let mut public = self.config.external.iter();
        let own = public.any(|external| external.public == address) || outlet.own(address);
        if !own {
            return Ok(Reach::Outside);
        }
        if self.policy.singles_out(address) {
            return Ok(Reach::OwnAll);
        }
        let relays = self.by_relayed.contains_key(&peer);
        // A permission is for an address; clients that name no port mean every one.
        let any = peer.port() == 0;
        match any || relays || self.config.own_ports.contains(&peer.port()) {
            true => Ok(Reach::Own),
            false => Err(Refusal::FORBIDDEN),
        }
    }
}

/// Refuses a credential that is over.
fn unexpired(claim: &Claim<'_>, now: Now) -> Result<(), Refusal> {
    match claim.expiry > now.unix {
        true => Ok(()),
        false => Err(Refusal::UNAUTHORIZED),
    }
}

/// Returns how long an allocation is to last from now on.
fn lifetime(message: &Message<'_>, claim: &Claim<'_>, now: Now) -> Result<Duration, Refusal> {
    let asked = message::optional::<Lifetime>(message)?;
    let asked = asked.map_or(0, |asked| asked.seconds());
    let lifetime = Duration::from_secs(asked.into()).clamp(DEFAULT_LIFETIME, LONGEST_LIFETIME);
    Ok(lifetime.min(claim.expiry.saturating_sub(now.unix) + GRACE))
}

/// Returns the family of the first relay socket, and whether there is to be one of IPv6 as well
/// (RFC 8656 section 7.2).
fn families(message: &Message<'_>, even: bool) -> Result<(Family, bool), Refusal> {
    let requested = requested_family(message)?;
    let token = message.has_attribute(ReservationToken::TYPE);
    let additional = message::optional::<AdditionalAddressFamily>(message)?;
    let Some(additional) = additional else {
        if token && (requested.is_some() || even) {
            return Err(Refusal::BAD_REQUEST);
        }
        return Ok((requested.unwrap_or(Family::V4), false));
    };
    let second = additional.family() == AddressFamily::IPV6;
    if !second || requested.is_some() || token || even {
        return Err(Refusal::BAD_REQUEST);
    }
    Ok((Family::V4, true))
}

fn requested_family(message: &Message<'_>) -> Result<Option<Family>, Refusal> {
    let Some(raw) = message.raw_attribute(RequestedAddressFamily::TYPE) else {
        return Ok(None);
    };
    match *raw.value {
        [1, ..] => Ok(Some(Family::V4)),
        [2, ..] => Ok(Some(Family::V6)),
        [_, ..] => Err(Refusal::FAMILY),
        [] => Err(Refusal::BAD_REQUEST),
    }
}

/// Writes the answer to a granted Allocate.
fn allocated(message: &Message<'_>, allocation: &Allocation, now: Now) -> Answer {
    let transaction = message.transaction_id();
    let mut answer = Answer::success(message);
    for relayed in allocation.relayed.iter().flatten() {
        answer = answer.with(&XorRelayedAddress::new(relayed.public, transaction));
    }
    if message.has_attribute(AdditionalAddressFamily::TYPE)
        && allocation.relayed(Family::V6).is_none()
    {
        let code = ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED;
        let reason = ErrorCode::default_reason_for_code(code);
        let error = ErrorCode::new(code, reason).expect("the code is of the standard");
        answer = answer.with(&AddressErrorCode::new(AddressFamily::IPV6, error));
    }
    let lifetime = allocation.deadline.saturating_duration_since(now.instant);
    let mapped = XorMappedAddress::new(allocation.client.remote, transaction);
    answer.with(&Lifetime::new(seconds(lifetime))).with(&mapped)
}

fn seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}
