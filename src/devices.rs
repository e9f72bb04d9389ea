//! The devices of a node: what the settings ask for, what there is, and the share of each kind of work.
//!
//! Invariant: a driver or a card that cannot be used costs a message and never the node, because the CPU
//! computes instead. Every thread that plays has its own evaluator, and so its own stream on its card.

use crate::api::devices::{DeviceChoice, DeviceView, DevicesView};
use cluster_state::LeaseKind;
use kernels::{AnyBackend, Backend as _, CudaBackend, DeviceError};
use std::{num::NonZero, time::Duration};

/// Maximum time for the driver to list the cards.
const PROBE: Duration = Duration::from_secs(60);

/// The driver's answer: each card by its number, or why that card cannot be used; an error if there is no
/// driver.
type Found<C> = Result<Vec<(usize, Result<C, DeviceError>)>, DeviceError>;

/// The cards to use (none means the CPU), and why there are none or fewer than expected.
fn choose<C>(wanted: DeviceChoice, found: Found<C>) -> (Vec<C>, Option<String>) {
    let among = match (wanted, found) {
        (DeviceChoice::Cpu, _) => return (Vec::new(), None),
        (DeviceChoice::Auto | DeviceChoice::Cuda | DeviceChoice::Card(_), Err(error)) => {
            return (Vec::new(), Some(error.to_string()));
        }
        (DeviceChoice::Auto | DeviceChoice::Cuda, Ok(among)) => among,
        (DeviceChoice::Card(card), Ok(mut among)) => {
            among.retain(|(number, _)| *number == usize::from(card));
            among
        }
    };
    let mut reasons = Vec::new();
    if among.is_empty() {
        reasons.push(DeviceError::Absent("the driver knows none".to_owned()).to_string());
    }
    let mut cards = Vec::new();
    for (number, card) in among {
        match card {
            Ok(card) => cards.push(card),
            Err(error) => reasons.push(format!("cuda:{number}: {error}")),
        }
    }
    (cards, (!reasons.is_empty()).then(|| reasons.join("; ")))
}

/// Opens and tests the cards that the setting may mean.
fn probe(wanted: DeviceChoice) -> Found<CudaBackend> {
    let numbers = match wanted {
        DeviceChoice::Cpu => return Ok(Vec::new()),
        DeviceChoice::Auto | DeviceChoice::Cuda => 0..CudaBackend::count()?,
        DeviceChoice::Card(card) => {
            CudaBackend::count()?;
            usize::from(card)..usize::from(card) + 1
        }
    };
    let open = |number| {
        let card = CudaBackend::open(number)?;
        card.try_out()?;
        Ok(card)
    };
    Ok(numbers.map(|number| (number, open(number))).collect())
}

/// The devices that a node computes on.
#[derive(Debug)]
pub struct Devices {
    wanted: DeviceChoice,
    cards: Vec<CudaBackend>,
    message: Option<String>,
    /// Number of cores of this machine.
    cores: usize,
}

impl Devices {
    /// Finds the devices that the setting asks for, and logs them. A thread asks the driver at once; the
    /// answer is there within a minute, even if the driver hangs.
    pub fn find(wanted: DeviceChoice) -> impl Future<Output = Self> {
        let probing = tokio::time::timeout(PROBE, tokio::task::spawn_blocking(move || probe(wanted)));
        async move {
            let found = match probing.await {
                Ok(Ok(found)) => found,
                Ok(Err(_)) => Err(DeviceError::Absent("stopped".to_owned())),
                Err(_) => {
                    let late = format!("the driver did not answer within {} s", PROBE.as_secs());
                    Err(DeviceError::Absent(late))
                }
            };
            Self::chosen(wanted, found)
        }
    }

    /// Does the same as [`Self::find`] on the calling thread, for as long as the driver takes.
    #[must_use]
    pub fn find_now(wanted: DeviceChoice) -> Self {
        Self::chosen(wanted, probe(wanted))
    }

    fn chosen(wanted: DeviceChoice, found: Found<CudaBackend>) -> Self {
        let (cards, message) = choose(wanted, found);
        let devices = Self { wanted, cards, message, cores: cores() };
        let on = devices.names().join(", ");
        match (&devices.message, wanted) {
            (None, _) => tracing::info!(%wanted, on, "computing"),
            (Some(why), DeviceChoice::Auto) => tracing::info!(%wanted, on, why, "computing"),
            (Some(why), DeviceChoice::Cpu | DeviceChoice::Cuda | DeviceChoice::Card(_)) => {
                tracing::warn!(%wanted, on, why, "computing, but not on all that was asked for");
            }
        }
        devices
    }

    /// Number of devices: the cards, or 1 for the CPU.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cards.len().max(1)
    }

    /// The device for this number; the numbers wrap around.
    #[must_use]
    pub fn get(&self, number: usize) -> AnyBackend {
        match self.cards.get(number % self.count()) {
            Some(card) => AnyBackend::Cuda(card.clone()),
            None => AnyBackend::Cpu,
        }
    }

    /// The device for a training run or an evaluation.
    #[must_use]
    pub fn of(&self, kind: LeaseKind) -> AnyBackend {
        self.get(number_of(kind, self.count()))
    }

    /// Number of threads that play; `set` is the setting, where 0 means the number that suits the devices.
    #[must_use]
    pub fn selfplay_threads(&self, set: usize) -> usize {
        threads(set, self.cores, self.has_cards())
    }

    /// Number of games that each of these threads plays at the same time; `set` is the setting, where 0 means
    /// the number that suits the devices.
    #[must_use]
    pub fn parallel_games(&self, set: usize) -> usize {
        parallel_games(set, self.has_cards())
    }

    /// Whether the cards also search.
    #[must_use]
    pub fn card_search(&self, set: bool) -> bool {
        self.has_cards() && set
    }

    fn has_cards(&self) -> bool {
        !self.cards.is_empty()
    }

    /// The name of each device, for people.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        (0..self.count()).map(|number| self.get(number).describe()).collect()
    }

    /// One line for people: the devices, and why no others are used.
    #[must_use]
    pub fn summary(&self) -> String {
        let names = self.names().join(", ");
        match &self.message {
            Some(why) => format!("{names} ({why})"),
            None => names,
        }
    }

    /// The devices as the status report shows them.
    #[must_use]
    pub fn view(&self, (threads, parallel_games): (usize, usize)) -> DevicesView {
        let view = |number| {
            let backend = self.get(number);
            let failures = backend.failures();
            DeviceView {
                name: backend.describe(),
                driver: self.cards.get(number).map(|card| card.driver().to_owned()),
                failures: failures.count,
                last_failure: failures.last.map(|error| error.to_string()),
            }
        };
        DevicesView {
            wanted: self.wanted,
            in_use: (0..self.count()).map(view).collect(),
            message: self.message.clone(),
            selfplay_threads: self.selfplay_threads(threads),
            parallel_games: self.parallel_games(parallel_games),
        }
    }
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// The index of the device for a kind of work: the first device trains, the last evaluates.
#[must_use]
pub fn number_of(kind: LeaseKind, devices: usize) -> usize {
    match kind {
        LeaseKind::Training => 0,
        LeaseKind::Evaluation => devices.saturating_sub(1),
    }
}

/// Number of threads that play: `set`, unless it is 0. Then it is one fewer than there are cores on the CPU,
/// and with a card two for each core, of which one searches while the other waits for the card. This is
/// reasoned, not measured.
pub(crate) fn threads(set: usize, cores: usize, card: bool) -> usize {
    match (set, card) {
        (0, false) => cores.saturating_sub(1).max(1),
        (0, true) => 2 * cores,
        (set, _) => set,
    }
}

/// Games at the same time: `set`, unless it is 0. Then it is 32 on the CPU, and 128 with a card, because a
/// launch of a small network takes as long for a few positions as for hundreds. More games would also mean
/// that more of them are still in play when a new champion arrives, so that they would learn from an old one.
/// This is reasoned, not measured.
pub(crate) fn parallel_games(set: usize, card: bool) -> usize {
    match (set, card) {
        (0, false) => 32,
        (0, true) => 128,
        (set, _) => set,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice() {
        let no_driver = || Err(DeviceError::Absent("no driver".into()));
        let too_old = || Err(DeviceError::Unsupported("a driver for CUDA 12.4, 13.0 is needed".into()));
        let full = || Err(DeviceError::Memory { bytes: 512 });
        let check = |wanted: &str, found: Found<&'static str>, cards: &[&str], message: Option<&str>| {
            let (chosen, why) = choose(wanted.parse().unwrap(), found);
            assert_eq!((chosen.as_slice(), why.as_deref()), (cards, message), "{wanted}");
        };
        let two = || Ok(vec![(0, Ok("a")), (1, Ok("b"))]);
        let one_of_two = || Ok(vec![(0, full()), (1, Ok("b"))]);
        let full_message = "cuda:0: no 512 bytes of device memory";
        for all in ["auto", "cuda"] {
            check(all, two(), &["a", "b"], None);
            check(all, one_of_two(), &["b"], Some(full_message));
            check(all, Ok(vec![(0, full())]), &[], Some(full_message));
            check(all, Ok(vec![]), &[], Some("no CUDA device: the driver knows none"));
            check(all, no_driver(), &[], Some("no CUDA device: no driver"));
            let message = "unsupported CUDA device: a driver for CUDA 12.4, 13.0 is needed";
            check(all, too_old(), &[], Some(message));
        }
        check("cuda:1", two(), &["b"], None);
        check("cuda:1", one_of_two(), &["b"], None);
        check("cuda:0", one_of_two(), &[], Some(full_message));
        check("cuda:7", two(), &[], Some("no CUDA device: the driver knows none"));
        check("cuda:0", no_driver(), &[], Some("no CUDA device: no driver"));
        check("cpu", two(), &[], None);
        check("cpu", no_driver(), &[], None);
    }

    #[test]
    fn a_setting_wins_over_what_suits_the_device() {
        let check = |set, cores, card, expected| assert_eq!(threads(set, cores, card), expected);
        check(0, 8, false, 7);
        check(0, 1, false, 1);
        check(0, 8, true, 16);
        check(3, 8, true, 3);
        check(3, 8, false, 3);
        let games = |set| [parallel_games(set, false), parallel_games(set, true)];
        assert_eq!((games(0), games(32), games(7)), ([32, 128], [32, 32], [7, 7]));
    }

    #[test]
    fn training_and_evaluation_share_a_device_only_if_there_is_one() {
        let check = |devices, expected| {
            let numbers = [LeaseKind::Training, LeaseKind::Evaluation].map(|kind| number_of(kind, devices));
            assert_eq!(numbers, expected, "{devices}");
        };
        check(1, [0, 0]);
        check(2, [0, 1]);
        check(8, [0, 7]);
    }

    #[test]
    fn the_cpu_needs_no_driver() {
        let devices = Devices::find_now(DeviceChoice::Cpu);
        assert_eq!((devices.count(), devices.names()), (1, vec!["CPU".to_owned()]));
        assert!(!devices.get(3).is_card() && !devices.of(LeaseKind::Evaluation).is_card());
        let view = devices.view((3, 0));
        assert_eq!((view.message, view.selfplay_threads, view.parallel_games), (None, 3, 32));
        assert_eq!(view.in_use, [DeviceView { name: "CPU".into(), ..DeviceView::default() }]);
    }
}
