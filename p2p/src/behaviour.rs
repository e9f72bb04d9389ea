//! The protocols of one swarm and their limits.
//!
//! Invariant: every buffer, queue and number of connections has a limit here or in [`Class`]. Of a peer's
//! subscriptions only those to our own topics are kept.

use crate::{
    class::Class,
    codec::RawCodec,
    error::P2pError,
    gossip::{GOSSIP_BYTES_MAX, PEERS_TOPIC},
    hello::HELLO_BYTES_MAX,
};
use libp2p::{
    PeerId, StreamProtocol,
    connection_limits::{self, ConnectionLimits},
    gossipsub::{
        self, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter, TopicHash, TopicScoreParams,
        WhitelistSubscriptionFilter,
    },
    identify,
    identity::Keypair,
    ping,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
};
use std::{collections::HashMap, time::Duration};

const GOSSIP_OVERHEAD: usize = 16 * 1024;
const DIRECT_PROTOCOL: &str = "/ringrift/direct";
const HELLO_PROTOCOL: &str = "/ringrift/hello/1";
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections beside those of the members: of guests, and second ones that are about to be closed.
const BESIDE: u32 = 64;
/// The score of a peer that is no member. Gossip is neither sent nor offered to it, and it is in no mesh. It
/// is not low enough for its subscriptions and its wishes to be ignored: so it hears gossip once it is
/// admitted.
const NO_MEMBER: f64 = -500.0;
/// How long a peer that was pruned from a mesh waits before it wants in again. One that joins may have been
/// pruned because it was no member a moment before.
const PRUNE_BACKOFF: Duration = Duration::from_secs(2);

/// Gossip over a fixed set of topics. Without the filter each connected peer could have us keep any number of
/// names.
pub(crate) type Gossip = gossipsub::Behaviour<IdentityTransform, OwnTopics>;

type OwnTopics = MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>;

/// All protocols of a connection. The order matters: the part that refuses connections comes first.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) gossip: Gossip,
    /// Messages that go only from their author to each connected peer. They are not signed, because the
    /// connection proves the author.
    pub(crate) direct: Gossip,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) hello: request_response::Behaviour<RawCodec>,
    raft: request_response::Behaviour<RawCodec>,
    control: request_response::Behaviour<RawCodec>,
    blob: request_response::Behaviour<RawCodec>,
}

impl Behaviour {
    /// `pending_max` bounds the lobby. The limit here is above it, because a connection that had to make room
    /// counts until its task has ended. `members_max` is how many peers may have to be connected.
    pub(crate) fn new(
        key: &Keypair,
        topics: &[String],
        direct_topics: &[String],
        (pending_max, members_max): (u32, usize),
    ) -> Result<Self, P2pError> {
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(pending_max.saturating_mul(4).saturating_add(64)))
            .with_max_pending_outgoing(Some(128))
            .with_max_established(Some(u32::try_from(members_max).unwrap_or(u32::MAX).saturating_add(BESIDE)))
            // A limit of 1 would keep the connection to a dead process and refuse the one to its successor.
            .with_max_established_per_peer(Some(4));
        let identify = identify::Config::new("ringrift/1".into(), key.public())
            .with_agent_version(concat!("ringrift/", env!("CARGO_PKG_VERSION")).into())
            .with_cache_size(0);
        let ping = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_INTERVAL);
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            gossip: gossip(key, topics)?,
            direct: direct(key, direct_topics)?,
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping),
            hello: requests(RawCodec::new(HELLO_BYTES_MAX), HELLO_PROTOCOL, HELLO_TIMEOUT, 8),
            raft: class(Class::Raft),
            control: class(Class::Control),
            blob: class(Class::Blob),
        })
    }

    /// Says whether a peer that is connected may hear gossip.
    pub(crate) fn set_member(&mut self, peer: &PeerId, is_member: bool) {
        let score = if is_member { 0.0 } else { NO_MEMBER };
        for gossip in [&mut self.gossip, &mut self.direct] {
            gossip.set_application_score(peer, score);
        }
    }

    pub(crate) fn class(&mut self, class: Class) -> &mut request_response::Behaviour<RawCodec> {
        match class {
            Class::Raft => &mut self.raft,
            Class::Control => &mut self.control,
            Class::Blob => &mut self.blob,
        }
    }
}

/// The pause between two pings, and the longest time that one may take.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(5);

fn class(class: Class) -> request_response::Behaviour<RawCodec> {
    // The requests of both directions share the streams of a connection.
    let streams = 2 * class.per_peer_max() + 4;
    requests(RawCodec::of(class), class.protocol(), class.stream_timeout(), streams)
}

fn requests(
    codec: RawCodec,
    protocol: &'static str,
    timeout: Duration,
    streams: usize,
) -> request_response::Behaviour<RawCodec> {
    let config = request_response::Config::default()
        .with_request_timeout(timeout)
        .with_max_concurrent_streams(streams);
    let protocols = [(StreamProtocol::new(protocol), ProtocolSupport::Full)];
    request_response::Behaviour::with_codec(codec, protocols, config)
}

fn setup(error: &dyn std::fmt::Display) -> P2pError {
    P2pError::Setup(error.to_string())
}

/// Gossip over these topics and no others, to all of which this node subscribes. `scored` says what a peer
/// loses by messages that are rejected.
fn over(
    topics: &[String],
    author: gossipsub::MessageAuthenticity,
    config: gossipsub::Config,
    scored: Option<&TopicScoreParams>,
) -> Result<Gossip, P2pError> {
    let topics: Vec<IdentTopic> = topics.iter().map(IdentTopic::new).collect();
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(topics.iter().map(IdentTopic::hash).collect()),
        max_subscribed_topics: topics.len(),
        // A peer of ours names each topic once, all in one message.
        max_subscriptions_per_request: topics.len(),
    };
    let mut gossip = Gossip::new_with_subscription_filter(author, config, filter).map_err(|e| setup(&e))?;
    let scored =
        scored.into_iter().flat_map(|params| topics.iter().map(|name| (name.hash(), params.clone())));
    let (params, thresholds) = scores(scored.collect());
    gossip.with_peer_score(params, thresholds).map_err(|e| setup(&e))?;
    for topic in &topics {
        gossip.subscribe(topic).map_err(|e| setup(&e))?;
    }
    Ok(gossip)
}

/// What a peer loses by gossip that is malformed or forged: by the square of their number, which falls to a
/// third in ten seconds. At ten, gossip of others is not asked of it; at thirty, nothing of it is heard.
fn invalid() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    }
}

/// The score of a peer. Besides what it says on `topics`, it counts only whether it is a member: peers share
/// addresses, some are slow, and most have nothing to say.
fn scores(
    topics: HashMap<TopicHash, TopicScoreParams>,
) -> (gossipsub::PeerScoreParams, gossipsub::PeerScoreThresholds) {
    let params = gossipsub::PeerScoreParams {
        topics,
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        slow_peer_weight: 0.0,
        // A score recovers in that time, so a peer that waits for it to be forgotten gains nothing. Each peer
        // that was ever connected takes memory until then.
        retain_score: Duration::from_secs(60),
        ..gossipsub::PeerScoreParams::default()
    };
    let thresholds = gossipsub::PeerScoreThresholds {
        gossip_threshold: -100.0,
        publish_threshold: -400.0,
        graylist_threshold: -900.0,
        ..gossipsub::PeerScoreThresholds::default()
    };
    (params, thresholds)
}

fn gossip(key: &Keypair, topics: &[String]) -> Result<Gossip, P2pError> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(GOSSIP_BYTES_MAX + GOSSIP_OVERHEAD)
        .heartbeat_interval(Duration::from_millis(500))
        .heartbeat_initial_delay(Duration::from_millis(200))
        .prune_backoff(PRUNE_BACKOFF)
        .duplicate_cache_time(Duration::from_secs(120))
        .connection_handler_queue_len(2000)
        .flood_publish(true)
        .build()
        .map_err(|e| setup(&e))?;
    let topics = [topics, &[PEERS_TOPIC.to_owned()]].concat();
    over(&topics, gossipsub::MessageAuthenticity::Signed(key.clone()), config, Some(&invalid()))
}

fn direct(key: &Keypair, topics: &[String]) -> Result<Gossip, P2pError> {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(DIRECT_PROTOCOL)
        .validation_mode(gossipsub::ValidationMode::Permissive)
        .validate_messages()
        .max_transmit_size(GOSSIP_BYTES_MAX + GOSSIP_OVERHEAD)
        // No message is offered again and no mesh is used, so the heartbeat has little to do.
        .gossip_lazy(0)
        .gossip_factor(0.0)
        .heartbeat_interval(Duration::from_secs(5))
        .duplicate_cache_time(Duration::from_secs(10))
        .connection_handler_queue_len(2000)
        .flood_publish(true)
        .build()
        .map_err(|e| setup(&e))?;
    // Its author alone answers for a message: `rates` counts those that are wrong. What gossipsub itself
    // refuses costs nothing more than its decoding.
    over(topics, gossipsub::MessageAuthenticity::Author(key.public().to_peer_id()), config, None)
}

#[cfg(test)]
mod tests;
