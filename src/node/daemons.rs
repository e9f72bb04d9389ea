//! Builds the daemons, starts them, and hands each the handles of others that it needs.
//!
//! Invariant: a daemon gets its own settings and the handles of other daemons, never those daemons
//! themselves. So the order here is the order in which they know each other, and there is no circle.

use crate::{
    api::autoscaler::Recommendation,
    config::Settings,
    daemons::{
        audit::AuditDaemon,
        autoscaler::AutoscalerDaemon,
        cache::LoadedNetworks,
        consolidation::ConsolidationDaemon,
        distribution::DistributionDaemon,
        gauntlet::GauntletDaemon,
        handlers::DaemonHandles,
        health::{HealthDaemon, HealthHandle, Sources},
        idle_shutdown::{IdleSettings, IdleShutdownDaemon, LastBusy},
        leader::{LeaderDaemon, LeaderDaemonSettings},
        selfplay::{SelfplayDaemon, SelfplaySettings},
        supervisor::Supervisor,
        trainer::TrainerDaemon,
        verifier::VerifierDaemon,
        watchdog::Limits,
    },
    devices::Devices,
    events::deliveries::Deliveries,
    leader::{node_monitor::LeaseAges, turn::LeaderSettings},
    peer::{Context, Daemon},
    segments::Segments,
};
use cluster_state::LeaseKind;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet};

/// What the daemons are built from.
pub(super) struct Parts {
    pub(super) node: Context,
    pub(super) devices: Arc<Devices>,
    pub(super) segments: Segments,
    pub(super) supervisor: Supervisor,
    pub(super) deliveries: Deliveries,
}

/// The handles of running daemons.
pub(super) struct Daemons {
    pub(super) handles: DaemonHandles,
    pub(super) recommendation: watch::Receiver<Option<Recommendation>>,
}

/// Starts every daemon in `tasks`. Each ends with the shutdown.
pub(super) fn start(parts: &Parts, config: &Settings, tasks: &mut JoinSet<()>) -> Daemons {
    let mut starting = Starting { parts, config, tasks };
    let last_busy = LastBusy::default();
    let health = starting.health(&last_busy);
    let networks = LoadedNetworks::new(Arc::clone(&parts.node));
    let leader = starting.leader(&health);
    let recommendation = starting.hosts(&health, &last_busy);
    starting.compute(&health, &networks);
    starting.segments();
    let (daemon, consolidation) = ConsolidationDaemon::new(Arc::clone(&parts.node));
    starting.keep(daemon);
    let (daemon, distribution) = DistributionDaemon::new(Arc::clone(&parts.node));
    starting.keep(daemon);
    let handles = DaemonHandles {
        node: Arc::clone(&parts.node),
        leader,
        health,
        last_busy,
        networks,
        consolidation,
        distribution,
        supervisor: parts.supervisor.clone(),
        segments: parts.segments.clone(),
    };
    Daemons { handles, recommendation }
}

struct Starting<'a> {
    parts: &'a Parts,
    config: &'a Settings,
    tasks: &'a mut JoinSet<()>,
}

impl Starting<'_> {
    fn keep<D: Daemon>(&mut self, daemon: D) {
        let shutdown = self.parts.node.shutdown.clone();
        self.tasks.spawn(self.parts.supervisor.clone().keep(daemon, shutdown));
    }

    fn node(&self) -> Context {
        Arc::clone(&self.parts.node)
    }

    fn health(&mut self, last_busy: &LastBusy) -> HealthHandle {
        let sources = Sources {
            supervisor: self.parts.supervisor.clone(),
            last_busy: last_busy.clone(),
            deliveries: self.parts.deliveries.clone(),
            limits: Limits::new(Duration::from_secs(self.config.training.seconds_max)),
        };
        let (daemon, health) = HealthDaemon::new(self.node(), sources);
        self.keep(daemon);
        health
    }

    fn leader(&mut self, health: &HealthHandle) -> crate::peer::Wake {
        let settings = LeaderDaemonSettings {
            turn: LeaderSettings {
                evaluation: self.config.evaluation.clone(),
                simulations: self.config.selfplay.simulations,
                ages: LeaseAges::of(&self.config.training, &self.config.evaluation),
            },
            games: self.config.games(),
            threshold_games: self.config.training.threshold_games,
        };
        let (daemon, wake) = LeaderDaemon::new(self.node(), settings, health.clone());
        self.keep(daemon);
        wake
    }

    /// Builds the daemons that watch how many hosts there are, and how many there should be.
    fn hosts(
        &mut self,
        health: &HealthHandle,
        last_busy: &LastBusy,
    ) -> watch::Receiver<Option<Recommendation>> {
        let settings = self.config.autoscaler.clone();
        let (daemon, recommendation) =
            AutoscalerDaemon::new(self.node(), settings, health.clone(), last_busy.clone());
        self.keep(daemon);
        self.keep(IdleShutdownDaemon {
            node: self.node(),
            settings: IdleSettings {
                idle: self.config.idle_shutdown.clone(),
                copies: self.config.segment_copies,
                segment_age_max: self.config.selfplay.segment_age_max(),
            },
            health: health.clone(),
            last_busy: last_busy.clone(),
        });
        recommendation
    }

    /// Builds the daemons that use the devices.
    fn compute(&mut self, health: &HealthHandle, networks: &LoadedNetworks) {
        let Parts { devices, segments, .. } = self.parts;
        let config = self.config;
        self.keep(SelfplayDaemon {
            node: self.node(),
            settings: SelfplaySettings {
                play: config.selfplay.clone(),
                threads: config.selfplay_threads,
                seed: config.seed,
            },
            devices: Arc::clone(devices),
            networks: networks.clone(),
            segments: segments.clone(),
            health: health.clone(),
        });
        self.keep(AuditDaemon {
            node: self.node(),
            settings: config.audit.clone(),
            networks: networks.clone(),
            threads: devices.selfplay_threads(config.selfplay_threads),
        });
        self.keep(TrainerDaemon {
            node: self.node(),
            settings: config.training.clone(),
            seed: config.seed,
            backend: devices.of(LeaseKind::Training),
            health: health.clone(),
        });
        self.keep(VerifierDaemon { node: self.node(), networks: networks.clone() });
        self.keep(GauntletDaemon {
            node: self.node(),
            settings: config.evaluation.clone(),
            backend: devices.of(LeaseKind::Evaluation),
            networks: networks.clone(),
            segments: segments.clone(),
            health: health.clone(),
        });
    }

    fn segments(&mut self) {
        let (acknowledge, copy, collect) = self.parts.segments.daemons(self.config.segment_copies);
        self.keep(acknowledge);
        self.keep(copy);
        self.keep(collect);
    }
}
