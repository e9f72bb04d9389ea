//! Logits of moves, the losses and the way back into the heads: against the CPU's heads in f64.

use crate::device::array::{Array, Bf16};
use crate::device::ops::policy::{MoveArrays, POLICY_PARTIAL, policy_blocks};
use crate::device::ops::{ConvShape, HEAD_COLUMNS, Ops};
use crate::device::targets::Targets;
use crate::device::tests::emulated::Emulated;
use crate::device::tests::plain::{narrow, wide};
use crate::device::tests::{Exact, Inside, assert_close, bf16, f32s, numbers, under_schedules};
use crate::encoding::action::{Action, Actions, KINDS, RAYS, reads, used};
use crate::encoding::packed::{ACTION_WORDS, reads_table, words};
use crate::network::architecture::{Architecture, HEAD, KEY, Layout};
use crate::network::heads::{Policy, PolicyGradient, cross_entropy, kinds_of};
use rules::playout::Choices;
use rules::{Board, MoveKind, NONE_CELL, SEATS_MAX};

/// Numbers of legal moves: none, one, around a warp and two, hundreds.
const COUNTS: [usize; 9] = [1, 31, 0, 33, 2, 65, 32, 300, 700];

/// Made-up moves of positions of so many cells, on every kind in turn.
fn moves(boards: usize, cells: usize, choices: &mut Choices) -> Actions {
    let mut actions = Actions::default();
    let mut kinds = MoveKind::ALL.into_iter().cycle();
    for board in 0..boards {
        for _ in 0..COUNTS[board % COUNTS.len()] {
            let kind = kinds.next().unwrap();
            let read = reads(kind);
            let start = actions.cells.len() as u32;
            if used(read.mean).is_some() {
                let len = [1, 2, 31, 32, 33, 65, 130][choices.below(7)].min(cells);
                let first = choices.below(cells);
                actions.cells.extend((0..len).map(|i| ((first + i) % cells) as u16));
            }
            let mut cell = |is_read: bool| if is_read { choices.below(cells) as u16 } else { NONE_CELL };
            let pair = used(read.pair).is_some();
            let [a, b, c] = read.planes.map(|plane| used(plane).is_some());
            let cells_of = [cell(a || pair), cell(b || pair), cell(c)];
            let ray = if pair { choices.below(RAYS) as u16 } else { 0 };
            let many = (start, actions.cells.len() as u32);
            actions.actions.push(Action { kind, cells: cells_of, ray, many });
        }
        actions.ends.push(actions.actions.len());
    }
    actions
}

/// Positions with what the heads computed for them; on the CPU `[cells, HEAD]`.
struct Case {
    layout: Layout,
    weights: Vec<f32>,
    shape: ConvShape,
    actions: Actions,
    head: Vec<f32>,
    kinds: Vec<f32>,
}

fn case(boards: usize, cells: usize, seed: u64) -> Case {
    let layout = Layout::new(Architecture { blocks: 1, ..Architecture::small(Board::Hex8) });
    Case {
        weights: numbers(layout.total, seed),
        layout,
        shape: ConvShape { boards, cells, taps: 1, reach: 0 },
        actions: moves(boards, cells, &mut Choices::new(seed)),
        head: numbers(boards * cells * HEAD, seed + 1),
        kinds: numbers(boards * KINDS, seed + 2),
    }
}

impl Case {
    /// Queries and keys `scale` times as large as they are, everything
    /// else the square: so are all logits then.
    fn scaled(mut self, scale: f32) -> Self {
        let square = scale * scale;
        for row in self.head.chunks_exact_mut(HEAD) {
            let (pairs, planes) = row.split_at_mut(2 * KEY);
            pairs.iter_mut().for_each(|v| *v *= scale);
            planes.iter_mut().for_each(|v| *v *= square);
        }
        let Self { layout, weights, kinds, .. } = &mut self;
        let rays = layout.policy_rays.of_mut(weights).iter_mut();
        rays.chain(kinds).for_each(|v| *v *= square);
        self
    }
}

/// The same on a device.
struct Uploaded {
    weights: Array<Emulated, f32>,
    head: Array<Emulated, f32>,
    kinds: Array<Emulated, f32>,
    reads: Array<Emulated, u8>,
    actions: Array<Emulated, u32>,
    many: Array<Emulated, u16>,
    ends: Array<Emulated, u32>,
}

impl Case {
    fn upload(&self, device: &Emulated) -> Uploaded {
        let words: Vec<u32> = self.actions.actions.iter().flat_map(|action| words(action, 0)).collect();
        assert_eq!(words.len(), self.actions.actions.len() * ACTION_WORDS);
        let ends: Vec<u32> = self.actions.ends.iter().map(|&end| end as u32).collect();
        // What pads a cell's columns is never read.
        let pad = [f32::NAN; HEAD_COLUMNS - HEAD];
        let head: Vec<f32> = self.head.chunks_exact(HEAD).flat_map(|row| [row, &pad].concat()).collect();
        Uploaded {
            weights: Array::from_slice(device, &self.weights).unwrap(),
            head: Array::from_slice(device, &head).unwrap(),
            kinds: Array::from_slice(device, &self.kinds).unwrap(),
            reads: Array::from_slice(device, &reads_table()).unwrap(),
            actions: Array::from_slice(device, &words).unwrap(),
            many: Array::from_slice(device, &self.actions.cells).unwrap(),
            ends: Array::from_slice(device, &ends).unwrap(),
        }
    }

    fn count(&self) -> usize {
        self.actions.actions.len()
    }
}

impl Uploaded {
    fn moves(&self, case: &Case) -> MoveArrays<'_, Emulated> {
        let Self { reads, actions, many, ends, .. } = self;
        MoveArrays { reads, actions, many, ends, count: case.count() }
    }
}

impl Case {
    /// What the definition says.
    fn expected(&self) -> Vec<f32> {
        let (weights, head, kinds) = (wide(&self.weights), wide(&self.head), wide(&self.kinds));
        let of_board = self.shape.cells * HEAD;
        let mut want = Vec::new();
        for board in 0..self.shape.boards {
            let cells = &head[board * of_board..][..of_board];
            let policy =
                Policy { layout: &self.layout, weights: &weights, cells, kinds: &kinds[kinds_of(board)] };
            let actions = &self.actions.actions[self.actions.range(board)];
            want.extend(actions.iter().map(|action| policy.logit(&self.actions, action) as f32));
        }
        want
    }

    fn logits(&self, device: &Emulated) -> Vec<f32> {
        let on = self.upload(device);
        let logits = Exact::<f32>::new(device, self.count());
        let tables = (&on.weights, self.layout.policy_pairs.start, self.layout.policy_rays.start);
        let ops = Ops(device);
        ops.logits(&on.head, &on.kinds, tables, &on.moves(self), &logits.0, self.shape).unwrap();
        logits.read(device)
    }
}

#[test]
fn logits_agree_with_the_definition() {
    for (boards, cells) in [(1, 7), (3, 33), (9, 61)] {
        for scale in [1.0, 2f32.powi(50), 2f32.powi(-50)] {
            let case = case(boards, cells, 3).scaled(scale);
            let want = case.expected();
            under_schedules(|device| {
                assert_close("logits", &case.logits(device), &want, 1e-5 * scale * scale, 1e-5);
            });
        }
    }
}

/// What is no number comes into the logits of the moves that read it, and of no others.
#[test]
fn a_number_of_the_heads_that_is_none_is_not_hidden() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut case = case(9, 61, 3);
        let sound = case.logits(&Emulated::new(1));
        // A query, a key and every plane of one cell each, and a kind.
        for (cell, columns) in [(60, 3..4), (61, 32 + 5..32 + 6), (5 * 61 + 7, 64..HEAD)] {
            case.head[cell * HEAD..][columns].fill(odd);
        }
        case.kinds[8 * KINDS + 2] = odd;
        let want = case.expected();
        let count = want.iter().filter(|logit| !logit.is_finite()).count();
        assert!((20..want.len() / 4).contains(&count), "{count} of {}", want.len());
        under_schedules(|device| {
            for (i, (got, &want)) in case.logits(device).into_iter().zip(&want).enumerate() {
                assert_eq!(got.is_finite(), want.is_finite(), "{i}: {got} but {want}");
                assert!(!want.is_finite() || got == sound[i], "{i}: {got} but {}", sound[i]);
            }
        });
    }
}

/// Targets of the positions in turn: none, one move, all moves, some.
fn targets(actions: &Actions, choices: &mut Choices) -> Vec<Vec<(usize, f32)>> {
    let of = |board: usize| {
        let count = actions.range(board).len();
        match (board % 4, count) {
            (_, 0) | (2, _) => Vec::new(),
            (0, _) => vec![(choices.below(count), 1.0)],
            (1, _) => (0..count).map(|i| (i, 1.0 / count as f32)).collect(),
            (_, _) => {
                let some: Vec<usize> = (0..count).step_by(3).collect();
                let total: usize = some.iter().map(|i| i + 1).sum();
                some.into_iter().map(|i| (i, (i + 1) as f32 / total as f32)).collect()
            }
        }
    };
    (0..actions.ends.len()).map(of).collect()
}

/// MoveArrays of which only the numbers are known.
struct Counted {
    reads: Array<Emulated, u8>,
    actions: Array<Emulated, u32>,
    many: Array<Emulated, u16>,
    ends: Array<Emulated, u32>,
    count: usize,
}

impl Counted {
    fn new(device: &Emulated, ends: &[u32]) -> Self {
        Self {
            reads: Array::new(device, 0).unwrap(),
            actions: Array::new(device, 0).unwrap(),
            many: Array::new(device, 0).unwrap(),
            ends: Array::from_slice(device, ends).unwrap(),
            count: ends.last().map_or(0, |&end| end as usize),
        }
    }

    fn moves(&self) -> MoveArrays<'_, Emulated> {
        let Self { reads, actions, many, ends, count } = self;
        MoveArrays { reads, actions, many, ends, count: *count }
    }
}

/// Logits between -1 and 1 times `scale`, or all the same.
fn check_losses(boards: usize, scale: f32, same: bool) {
    let mut choices = Choices::new(boards as u64);
    let actions = moves(boards, 19, &mut choices);
    let targets = targets(&actions, &mut choices);
    let made = |len: usize, seed: u64| -> Vec<f32> {
        numbers(len, seed).iter().map(|v| if same { scale } else { v * scale }).collect()
    };
    let logits = made(actions.actions.len(), 8);
    let mut values = made(boards * SEATS_MAX, 9);
    let seats: Vec<u8> = (0..boards).map(|board| 2 + (board % 3) as u8).collect();
    let winners: Vec<u8> = seats.iter().map(|&seats| choices.below(usize::from(seats)) as u8).collect();
    for (values, &seats) in values.chunks_exact_mut(SEATS_MAX).zip(&seats) {
        values[usize::from(seats)..].fill(f32::NAN); // nobody sits there
    }
    let (per_policy, per_value) = (0.125, 0.3);

    let (mut dlogits, mut dvalues, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for board in 0..boards {
        let mut of_board = wide(&logits[actions.range(board)]);
        let target = targets[board].iter().map(|&(i, weight)| (i, f64::from(weight)));
        losses.push(if targets[board].is_empty() {
            of_board.fill(0.0);
            0.0
        } else {
            cross_entropy(&mut of_board, target, f64::from(per_policy))
        });
        dlogits.extend(of_board);
        let seated = usize::from(seats[board]);
        let mut value = wide(&values[board * SEATS_MAX..][..seated]);
        let won = [(usize::from(winners[board]), 1.0)].into_iter();
        losses.push(cross_entropy(&mut value, won, f64::from(per_value)));
        value.resize(SEATS_MAX, 0.0);
        dvalues.extend(value);
    }

    let mut target_ends = Vec::new();
    targets.iter().fold(0, |end, target| {
        target_ends.push((end + target.len()) as u32);
        end + target.len()
    });
    let index: Vec<u32> = targets.iter().flatten().map(|&(i, _)| i as u32).collect();
    let weight: Vec<f32> = targets.iter().flatten().map(|&(_, weight)| weight).collect();
    let ends: Vec<u32> = actions.ends.iter().map(|&end| end as u32).collect();
    under_schedules(|device| {
        let logits = Exact::of(device, &logits);
        let values = Exact::of(device, &values);
        let out = Exact::<f32>::new(device, 2 * boards);
        let moves = Counted::new(device, &ends);
        let targets = Targets {
            index: Array::from_slice(device, &index).unwrap(),
            weight: Array::from_slice(device, &weight).unwrap(),
            ends: Array::from_slice(device, &target_ends).unwrap(),
            seats: Array::from_slice(device, &seats).unwrap(),
            winners: Array::from_slice(device, &winners).unwrap(),
        };
        let ops = Ops(device);
        let per = (per_policy, per_value);
        ops.losses(&logits.0, &moves.moves(), &targets, &values.0, &out.0, boards, per).unwrap();
        let what = |what: &str| format!("{what} of {boards}, scale {scale}, seed {}", device.seed());
        assert_close(&what("dlogits"), &logits.read(device), &narrow(&dlogits), 1e-7, 1e-5);
        assert_close(&what("dvalues"), &values.read(device), &narrow(&dvalues), 1e-7, 1e-5);
        assert_close(&what("losses"), &out.read(device), &narrow(&losses), 4e-6 * scale.abs().max(1.0), 1e-5);
    });
}

#[test]
fn losses_agree_with_the_cpu() {
    for boards in [1, 3, 4, 31, 33, 65] {
        check_losses(boards, 4.0, false);
    }
}

#[test]
fn losses_of_huge_and_of_equal_logits() {
    for scale in [1e4, 1e30, -1e38] {
        check_losses(9, scale, false);
    }
    for scale in [0.0, 3.5, -1e30] {
        check_losses(9, scale, true);
    }
}

/// One logit that is none, or infinite, makes a derivative that the optimiser refuses.
#[test]
fn a_logit_that_is_no_number_is_not_hidden() {
    for odd in [f32::NAN, f32::INFINITY] {
        under_schedules(|device| {
            let logits: Vec<f32> = (0..40).map(|i| if i == 37 { odd } else { 0.5 }).collect();
            let logits = Array::from_slice(device, &logits).unwrap();
            let moves = Counted::new(device, &[40]);
            let targets = Targets {
                index: Array::from_slice(device, &[3]).unwrap(),
                weight: Array::from_slice(device, &[1.0]).unwrap(),
                ends: Array::from_slice(device, &[1]).unwrap(),
                seats: Array::from_slice(device, &[2]).unwrap(),
                winners: Array::from_slice(device, &[1]).unwrap(),
            };
            let values = Array::from_slice(device, &[odd, 0.0, 0.0, 0.0]).unwrap();
            let losses = Array::<_, f32>::new(device, 2).unwrap();
            Ops(device).losses(&logits, &moves.moves(), &targets, &values, &losses, 1, (1.0, 1.0)).unwrap();
            assert!(logits.read(device, 40).unwrap().iter().any(|d| d.is_nan()));
            assert!(values.read(device, 2).unwrap().iter().any(|d| d.is_nan()));
            assert!(losses.read(device, 2).unwrap().iter().all(|loss| !loss.is_finite()));
        });
    }
}

#[test]
fn the_way_back_agrees_with_the_cpu() {
    // Of more than 512 positions a block takes two, of more than 1024 three; the last takes what is left.
    for (boards, cells, scale, of_logits) in [
        (1, 7, 1.0, 1.0),
        (9, 61, 1.0, 1.0),
        (16, 33, 1.0, 1.0),
        (33, 5, 1.0, 1.0),
        (513, 2, 1.0, 1.0),
        (1025, 2, 1.0, 1.0),
        (9, 61, 2f32.powi(50), 2f32.powi(-20)),
        (17, 7, 2f32.powi(-50), 2f32.powi(20)),
        (9, 61, 1.0, 2f32.powi(110)),
        (17, 7, 1.0, 2f32.powi(-100)),
    ] {
        let case = case(boards, cells, 5).scaled(scale);
        let dlogits: Vec<f32> = numbers(case.count(), 6).iter().map(|d| d * of_logits).collect();
        let (weights, head, kinds) = (wide(&case.weights), wide(&case.head), wide(&case.kinds));
        let mut of_weights = vec![0.0; case.layout.total];
        let (mut dhead, mut dkinds) = (vec![0.0; head.len()], vec![0.0; kinds.len()]);
        for board in 0..boards {
            let span = board * cells * HEAD..(board + 1) * cells * HEAD;
            let policy = Policy {
                layout: &case.layout,
                weights: &weights,
                cells: &head[span.clone()],
                kinds: &kinds[kinds_of(board)],
            };
            let mut out = PolicyGradient {
                weights: &mut of_weights,
                cells: &mut dhead[span],
                kinds: &mut dkinds[kinds_of(board)],
            };
            for i in case.actions.range(board) {
                policy.backward(&case.actions, &case.actions.actions[i], f64::from(dlogits[i]), &mut out);
            }
        }
        let padded: Vec<f64> =
            dhead.chunks_exact(HEAD).flat_map(|row| [row, &[0.0; HEAD_COLUMNS - HEAD]].concat()).collect();
        let mut tables = case.layout.policy_pairs.of(&of_weights).to_vec();
        tables.extend_from_slice(case.layout.policy_rays.of(&of_weights));
        assert_eq!(tables.len(), POLICY_PARTIAL);

        under_schedules(|device| {
            let (on, ops) = (case.upload(device), Ops(device));
            let cells16 = boards * cells * HEAD_COLUMNS;
            let sums = Exact::<f32>::new(device, cells16);
            let dhead = Exact::<Bf16>::new(device, cells16);
            let dkinds_out = Exact::<f32>::new(device, boards * KINDS);
            let partial = Exact::<f32>::new(device, policy_blocks(boards) * POLICY_PARTIAL);
            let pairs = (&on.weights, case.layout.policy_pairs.start);
            let given = Array::from_slice(device, &dlogits).unwrap();
            let out = (&sums.0, &dhead.0);
            let moves = on.moves(&case);
            ops.policy_back(&on.head, pairs, &moves, &given, out, &dkinds_out.0, &partial.0, case.shape)
                .unwrap();
            let of_tables = Inside::new(device, POLICY_PARTIAL);
            let sizes = (POLICY_PARTIAL, POLICY_PARTIAL, POLICY_PARTIAL);
            ops.sum_partials(&partial.0, of_tables.part(), policy_blocks(boards), sizes).unwrap();

            let what = |what: &str| format!("{what} of {boards}, scale {scale}, seed {}", device.seed());
            let got = sums.read(device);
            // Of a query or key, and of a plane.
            for (columns, each) in [(0..2 * KEY, scale), (2 * KEY..HEAD_COLUMNS, 1.0)] {
                let of = |values: &[f32]| -> Vec<f32> {
                    values.chunks_exact(HEAD_COLUMNS).flat_map(|row| &row[columns.clone()]).copied().collect()
                };
                let absolute = 1e-4 * of_logits * each;
                assert_close(&what("dhead"), &of(&got), &of(&narrow(&padded)), absolute, 1e-5);
            }
            assert_eq!(f32s(&dhead.read(device)), f32s(&bf16(&got)), "rounded");
            let dkinds_got = dkinds_out.read(device);
            assert_close(&what("dkinds"), &dkinds_got, &narrow(&dkinds), 1e-4 * of_logits, 1e-5);
            let (got, want) = (of_tables.read(device), narrow(&tables));
            let pairs = case.layout.policy_pairs.len;
            let absolute = 1e-4 * of_logits * scale * scale;
            assert_close(&what("pairs"), &got[..pairs], &want[..pairs], absolute, 1e-5);
            assert_close(&what("rays"), &got[pairs..], &want[pairs..], 1e-4 * of_logits, 1e-5);
        });
    }
}
