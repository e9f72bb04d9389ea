//! Whole networks, fused and layer by layer, against the CPU.

use super::{assert_close, assert_similar, f32s, network, samples, under_schedules};
use crate::architecture::Architecture;
use crate::device::forward::{Space, Weights};
use crate::device::positions::Positions;
use crate::device::tests::emulated::Emulated;
use crate::tower::Workspace;
use rules::{Board, SEATS_MAX, with_board};

/// A network and positions, with what the CPU makes of them.
struct Case {
    architecture: Architecture,
    board: Board,
    weights: Vec<f32>,
    positions: Positions,
    x: Vec<f32>,
    logits: Vec<f32>,
    value: Vec<f32>,
}

fn case(board: Board, (blocks, channels): (u32, u32), seats: u8, count: usize) -> Case {
    let architecture = Architecture { blocks, channels, ..Architecture::small(board) };
    let (batch, packed) = with_board!(board, T => samples::<T>(seats, count));
    let positions = packed.packed.unwrap();
    let weights = network(architecture, 1).weights().to_vec();
    let mut space = Workspace::<f32>::new(architecture, board);
    let (mut x, mut logits, mut value) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in space.chunks(batch.len()) {
        space.forward(&weights, &batch, chunk.clone());
        let rows = chunk.len() * board.cells();
        x.extend_from_slice(&space.x[blocks as usize][..rows * channels as usize]);
        value.extend_from_slice(&space.value[..chunk.len() * SEATS_MAX]);
        for i in 0..chunk.len() {
            logits.extend(space.logits(&weights, &batch, &chunk, i));
        }
    }
    Case { architecture, board, weights, positions, x, logits, value }
}

impl Case {
    fn check(&self, device: &Emulated, fused: bool) {
        let weights = Weights::new(device, self.architecture, &self.weights).unwrap();
        let n = self.positions.len();
        let mut space = Space::new(device, self.architecture, self.board, n, false).unwrap();
        space.load(device, &self.positions).unwrap();
        space.forward(device, &weights, &self.positions, fused).unwrap();
        let last = self.architecture.blocks as usize;
        let what = |what: &str| {
            let Self { architecture, board, .. } = self;
            format!("{what}, {architecture} on {board}, fused {fused}, seed {}", device.seed())
        };
        let x = f32s(&space.x(last).read(device, self.x.len()).unwrap());
        // Each layer rounds the trunk to eight bits once more.
        assert_close(&what("trunk"), &x, &self.x, 0.06, 0.03);
        assert_similar(&what("trunk"), &x, &self.x, 0.01);
        let logits = space.logits.read(device, self.logits.len()).unwrap();
        assert_close(&what("logits"), &logits, &self.logits, 0.03, 0.03);
        assert_similar(&what("logits"), &logits, &self.logits, 0.02);
        let value = space.value.read(device, self.value.len()).unwrap();
        assert_close(&what("value"), &value, &self.value, 0.02, 0.02);
    }
}

#[test]
fn the_small_network_on_small_boards() {
    for (board, seats, count) in [(Board::Hex8, 2, 5), (Board::Square8, 3, 3)] {
        let case = case(board, (3, 32), seats, count);
        under_schedules(|device| case.check(device, true));
        under_schedules(|device| case.check(device, false));
    }
}

#[test]
fn large_boards_go_layer_by_layer() {
    for (board, seats) in [(Board::Hexagonal, 4), (Board::Square19, 2)] {
        let case = case(board, (3, 32), seats, 1);
        case.check(&Emulated::new(1), true);
    }
}

#[test]
fn every_size() {
    for (board, size) in
        [(Board::Hex8, (4, 32)), (Board::Hex8, (4, 64)), (Board::Square8, (6, 96)), (Board::Hex8, (10, 128))]
    {
        let case = case(board, size, 2, 1);
        case.check(&Emulated::new(2), true);
        case.check(&Emulated::new(3), false);
    }
}
