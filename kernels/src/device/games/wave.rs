//! Self-play with the search on a device; see `cuda/wave.cu`. The host launches, and reads finished games.
//!
//! Invariant: a game is played by one network from its first move to its last: a wave has
//! one, and another network is another wave.

use crate::device::ReplayDevice;
use crate::device::array::Array;
use crate::device::forward::{DeviceSpace, DeviceWeights};
use crate::device::games::wave_games::{PlayWaves, RECORD, WaveGame, WaveReport, WaveSettings, games_of};
use crate::device::ops::Ops;
use crate::device::ops::call::COUNT_MAX;
use crate::device::ops::wave::{AnswerArrays, QuestionArrays, SLOT, WaveArrays};
use crate::encoding::game::game_words;
use crate::encoding::packed::header;
use crate::error::DeviceError;
use crate::network::weights::Network;
use rules::{Config, Options, State, Topology};
use std::marker::PhantomData;

/// Words of `Node`, `Step` and `Edge` in `cuda/wave/slot.cuh`.
const NODE: usize = 11;
const STEP: usize = 2;
const EDGE: usize = 8;
/// Where a slot counts the games that were begun in it, and those dropped, and where it says what comes next.
const SLOT_GAMES: usize = 4;
const SLOT_DROPPED: usize = 5;
const SLOT_MODE: usize = 6;
/// The mode of a slot without a game.
const TO_BEGIN: u32 = 0;
/// Legal moves of a position, on average over a tree, that there is room for: on
/// boards of up to 64 cells, and on others.
const MOVES: (usize, usize) = (256, 1536);
/// Steps of a game that there is room for, likewise.
const GAME: (usize, usize) = (2048, 16 << 10);
/// Words of policies of a game that there is room for, likewise.
const POLICY: (usize, usize) = (16 << 10, 256 << 10);
/// Words of finished games that are collected at once.
const OUTBOX: usize = 4 << 20;

/// Memory of a slot, in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rooms {
    pub(crate) nodes: usize,
    pub(crate) edges: usize,
    pub(crate) moves: usize,
    pub(crate) policy: usize,
}

impl Rooms {
    /// Room for searches as long as the longest, and for what they keep of the search before.
    pub(crate) fn new(cells: usize, full: u32) -> Self {
        let of = |(small, large): (usize, usize)| if cells <= 64 { small } else { large };
        let nodes = 3 * full as usize + 2;
        Self { nodes, edges: nodes * of(MOVES), moves: of(GAME), policy: of(POLICY) }
    }

    /// # Panics
    /// If one is larger than kernels count.
    fn check(&self) {
        let Self { nodes, edges, moves, policy } = *self;
        for (what, room) in [("nodes", nodes), ("edges", edges), ("moves", moves), ("policies", policy)] {
            assert!(room <= COUNT_MAX, "room for {room} {what} is more than kernels count");
        }
    }

    fn record(&self) -> usize {
        RECORD + self.moves + self.policy
    }

    /// Words of the arrays of so many slots: positions, nodes, paths, edges and records.
    fn lengths<T: Topology>(&self, slots: usize) -> [usize; 5] {
        let Self { nodes, edges, .. } = *self;
        [nodes * game_words::<T>(), nodes * NODE, nodes * STEP, edges * EDGE, 2 * self.record()]
            .map(|words| words.saturating_mul(slots))
    }
}

/// How a device goes from one evaluation to the next.
enum Course<R> {
    /// It has launched nothing yet, and cannot record while it loads a kernel for the first time.
    New,
    /// It replays this recording.
    Replayed(R),
    /// It launches kernel by kernel, because it would not record.
    Launched,
}

/// Games of one network on a device.
pub(crate) struct Wave<D: ReplayDevice, T: Topology> {
    course: Course<D::Recording>,
    /// Evaluations that have been launched for the next call.
    ahead: u32,
    /// Why no more of them could be launched: games of which only a part went on are lost.
    failed: Option<DeviceError>,
    device: D,
    config: Config,
    settings: WaveSettings,
    rooms: Rooms,
    weights: DeviceWeights<D>,
    pub(crate) space: DeviceSpace<D>,
    uploaded: Array<D, u32>,
    slots: Array<D, u32>,
    positions: Array<D, u32>,
    nodes: Array<D, u32>,
    paths: Array<D, u32>,
    edges: Array<D, u32>,
    records: Array<D, u32>,
    ready: Array<D, u32>,
    outbox: Array<D, u32>,
    board: PhantomData<fn() -> T>,
}

impl<D: ReplayDevice, T: Topology> Wave<D, T> {
    /// Games that have not begun.
    ///
    /// # Errors
    /// [`DeviceError::Architecture`] if there are no kernels for the network, [`DeviceError::Memory`] if so
    /// many games do not fit, or are more than kernels count.
    ///
    /// # Panics
    /// If the network does not play on the board, or a setting is outside of its limits.
    pub(crate) fn new(
        device: D,
        config: Config,
        network: &Network,
        settings: WaveSettings,
    ) -> Result<Self, DeviceError> {
        let rooms = Rooms::new(T::CELLS, settings.full);
        Self::with_rooms(device, config, network, settings, rooms)
    }

    pub(crate) fn with_rooms(
        device: D,
        config: Config,
        network: &Network,
        settings: WaveSettings,
        rooms: Rooms,
    ) -> Result<Self, DeviceError> {
        assert!(network.architecture().fits(T::BOARD) && config.board == T::BOARD, "a network for {config}");
        settings.check();
        rooms.check();
        let slots = settings.slots;
        let lengths = rooms.lengths::<T>(slots);
        let longest = lengths.into_iter().fold(0, usize::max);
        if longest > COUNT_MAX {
            return Err(DeviceError::Memory { bytes: longest.saturating_mul(size_of::<u32>()) });
        }
        let [positions, nodes, paths, edges, records] = lengths;
        let weights = DeviceWeights::new(&device, network.architecture(), network.weights())?;
        let space = DeviceSpace::new(&device, network.architecture(), T::BOARD, slots, false)?;
        // A slot without a question is evaluated all the same: as the empty board.
        let start = State::<T>::new(config.seats, Options { swap: settings.swap, ..Options::default() });
        space.stacks.write(&device, &vec![0; slots * T::CELLS])?;
        space.ground.write(&device, &vec![0; slots * T::CELLS])?;
        space.headers.write(&device, &header(&start).repeat(slots))?;
        let outbox = OUTBOX.min(2 * slots * rooms.record()).max(rooms.record()) + 1;
        let wave = Self {
            course: Course::New,
            ahead: 0,
            failed: None,
            config,
            settings,
            rooms,
            weights,
            space,
            uploaded: Array::from_slice(&device, &words_of(config, &settings, rooms, true))?,
            slots: Array::from_slice(&device, &vec![0; slots * SLOT])?,
            positions: Array::new(&device, positions)?,
            nodes: Array::new(&device, nodes)?,
            paths: Array::new(&device, paths)?,
            edges: Array::new(&device, edges)?,
            records: Array::new(&device, records)?,
            ready: Array::from_slice(&device, &vec![0; 2 * slots])?,
            outbox: Array::new(&device, outbox)?,
            board: PhantomData,
            device,
        };
        Ok(wave)
    }

    /// Bytes that the games take, without what the network takes to evaluate them.
    pub(crate) fn bytes(settings: &WaveSettings) -> usize {
        let lengths = Rooms::new(T::CELLS, settings.full).lengths::<T>(settings.slots);
        lengths.into_iter().fold(0, usize::saturating_add).saturating_mul(size_of::<u32>())
    }

    /// Every game goes on to its next question, which the network answers.
    fn step(&mut self) -> Result<(), DeviceError> {
        if let Course::Replayed(recording) = &self.course {
            // SAFETY: it was recorded with the arrays of `self`, none of which is ever replaced.
            #[allow(unsafe_code, reason = "the arrays are known to be there")]
            return unsafe { self.device.replay(recording) };
        }
        self.search()?;
        self.evaluate()?;
        if let Course::New = self.course {
            let recorded = self.device.record(|| {
                self.search()?;
                self.evaluate()
            });
            self.course = match recorded {
                Ok(recording) => Course::Replayed(recording),
                Err(error) => {
                    tracing::warn!(%error, "launches are not replayed as one");
                    Course::Launched
                }
            };
        }
        Ok(())
    }

    /// The network computes what it has to say of every question.
    pub(crate) fn evaluate(&self) -> Result<(), DeviceError> {
        self.space.expand(&self.device, self.settings.slots)?;
        self.space.judge(&self.device, &self.weights, self.settings.slots, true)
    }

    /// Every game goes on to its next question, with what was computed of the last one.
    pub(crate) fn search(&self) -> Result<(), DeviceError> {
        let Self { space, weights, .. } = self;
        let (slots, layout) = (self.settings.slots, &weights.layout);
        let questions =
            QuestionArrays { stacks: &space.stacks, ground: &space.ground, headers: &space.headers };
        let answers = AnswerArrays {
            head: &space.head,
            kinds: &space.kinds,
            value: &space.value,
            pairs: (&weights.all32, layout.policy_pairs.start),
            rays: (&weights.all32, layout.policy_rays.start),
            reads: &space.reads,
        };
        let lengths = self.rooms.lengths::<T>(slots);
        Ops(&self.device).wave::<T>(&self.arrays(), &questions, &answers, slots, lengths)
    }

    fn arrays(&self) -> WaveArrays<'_, D> {
        WaveArrays {
            settings: &self.uploaded,
            slots: &self.slots,
            positions: &self.positions,
            nodes: &self.nodes,
            paths: &self.paths,
            edges: &self.edges,
            records: &self.records,
            ready: &self.ready,
        }
    }

    /// What the games have come to.
    pub(crate) fn report(&self) -> Result<WaveReport, DeviceError> {
        let words = self.slots.read(&self.device, self.slots.len())?;
        let slots = words.chunks_exact(SLOT);
        let sum = |at: usize| slots.clone().map(|slot| u64::from(slot[at])).sum();
        let (begun, dropped) = (sum(SLOT_GAMES), sum(SLOT_DROPPED));
        let playing = slots.filter(|slot| slot[SLOT_MODE] != TO_BEGIN).count() as u64;
        Ok(WaveReport { games: self.finished()?, begun, dropped, playing })
    }

    /// Finished games move from the records to the outbox.
    pub(crate) fn collect(&self) -> Result<(), DeviceError> {
        let (rooms, slots) = (self.rooms, self.settings.slots);
        let of_record = (rooms.moves, rooms.policy);
        Ops(&self.device).wave_collect(&self.arrays(), &self.outbox, slots, of_record, rooms.record())
    }

    /// The games that have ended since the last call.
    fn finished(&self) -> Result<Vec<WaveGame>, DeviceError> {
        self.collect()?;
        let used = self.outbox.read(&self.device, 1)?[0] as usize;
        let broken = || DeviceError::Kernel {
            kernel: "wave_collect",
            reason: format!("{used} words of {} are no games", self.outbox.len()),
        };
        if !(1..=self.outbox.len()).contains(&used) {
            return Err(broken());
        }
        let words = self.outbox.read(&self.device, used)?;
        games_of(&words[1..]).ok_or_else(broken)
    }
}

impl<D: ReplayDevice + Send, T: Topology> PlayWaves for Wave<D, T>
where
    D::Memory: Send,
    D::Recording: Send,
{
    fn play(&mut self, evaluations: u32) -> Result<WaveReport, DeviceError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        for _ in self.ahead..evaluations {
            self.step()?;
        }
        self.ahead = 0;
        let report = self.report()?;
        // A report that was read is given: what fails behind it is for the next call.
        while report.playing > 0 && self.ahead < evaluations && self.failed.is_none() {
            match self.step() {
                Ok(()) => self.ahead += 1,
                Err(error) => self.failed = Some(error),
            }
        }
        Ok(report)
    }

    fn retire(&mut self) -> Result<(), DeviceError> {
        self.uploaded.write(&self.device, &words_of(self.config, &self.settings, self.rooms, false))
    }
}

/// `Settings` in `cuda/wave/slot.cuh`.
fn words_of(config: Config, settings: &WaveSettings, rooms: Rooms, begins: bool) -> Vec<u32> {
    let mut words = vec![settings.seed as u32, (settings.seed >> 32) as u32, u32::from(begins)];
    words.extend([u32::from(config.seats), u32::from(settings.swap), settings.full, settings.quick]);
    words.extend([settings.full_share.to_bits(), settings.sampled, settings.sampled_spread]);
    words.extend([settings.opening_share.to_bits(), settings.opening_max, settings.exploration.to_bits()]);
    words.extend([settings.considered, settings.visit_offset.to_bits(), settings.value_scale.to_bits()]);
    words.extend([rooms.nodes, rooms.edges, rooms.moves, rooms.policy].map(|room| room as u32));
    words
}
