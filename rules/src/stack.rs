//! A stack of rings in one word: two bits for each ring, the bottom ring lowest, and the height above them.
//!
//! Invariant: a cell without a stack is 0, and the bits of rings above the height are 0.

/// The most rings that a stack can hold. In a game from the empty board no stack grows above 25, because a
/// stack of height H moves at least H cells and no ray has more than 24; only constructed positions can be
/// higher.
pub const HEIGHT_MAX: u32 = 29;

const HEIGHT_SHIFT: u32 = 2 * HEIGHT_MAX;
const RINGS: u64 = (1 << HEIGHT_SHIFT) - 1;
/// The low bit of every pair.
const PAIRS: u64 = 0x5555_5555_5555_5555 & RINGS;

/// The rings on one cell, possibly none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Stack(u64);

impl Stack {
    /// A cell without rings.
    pub const EMPTY: Self = Self(0);

    /// Number of rings.
    #[inline]
    pub fn height(self) -> u32 {
        (self.0 >> HEIGHT_SHIFT) as u32
    }

    /// Whether there is no ring.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The seat of the top ring, which controls the stack.
    #[inline]
    pub fn top(self) -> Option<u8> {
        let height = self.height();
        (height > 0).then(|| self.pair(height - 1))
    }

    /// The seat of the i-th ring from the bottom.
    ///
    /// # Panics
    /// If there is no such ring.
    pub fn ring(self, i: u32) -> u8 {
        assert!(i < self.height(), "ring {i} of {}", self.height());
        self.pair(i)
    }

    #[inline]
    fn pair(self, i: u32) -> u8 {
        (self.0 >> (2 * i) & 3) as u8
    }

    /// The number of rings of one colour from the top down; 0 if there is no stack.
    #[inline]
    pub fn cap(self) -> u32 {
        let height = self.height();
        if height < 2 {
            return height;
        }
        let pattern = PAIRS * u64::from(self.pair(height - 1));
        let differing = (self.0 ^ pattern) & ((1 << (2 * height)) - 1);
        if differing == 0 { height } else { height - 1 - differing.ilog2() / 2 }
    }

    /// A 1 in the low bit of each pair that is a ring of `seat`.
    #[inline]
    fn rings_of(self, seat: u8) -> u64 {
        let differing = self.0 ^ (PAIRS * u64::from(seat));
        !(differing | differing >> 1) & PAIRS & ((1 << (2 * self.height())) - 1)
    }

    /// Number of rings of a seat.
    #[inline]
    pub fn count(self, seat: u8) -> u32 {
        self.rings_of(seat).count_ones()
    }

    /// Whether a ring of the seat lies below the top.
    #[inline]
    pub fn buries(self, seat: u8) -> bool {
        let height = self.height();
        height > 1 && self.rings_of(seat) & ((1 << (2 * (height - 1))) - 1) != 0
    }

    /// This stack with one more ring on top.
    #[inline]
    pub(crate) fn pushed(self, seat: u8) -> Self {
        let height = self.height();
        debug_assert!(height < HEIGHT_MAX && seat < 4);
        Self((self.0 | u64::from(seat) << (2 * height)) + (1 << HEIGHT_SHIFT))
    }

    /// This stack with one more ring below all others.
    #[inline]
    pub(crate) fn with_bottom(self, seat: u8) -> Self {
        let height = self.height();
        debug_assert!(height < HEIGHT_MAX && seat < 4);
        Self((self.0 & RINGS) << 2 | u64::from(seat) | u64::from(height + 1) << HEIGHT_SHIFT)
    }

    /// This stack without its `count` top rings.
    #[inline]
    pub(crate) fn popped(self, count: u32) -> Self {
        let height = self.height() - count;
        Self(self.0 & ((1 << (2 * height)) - 1) | u64::from(height) << HEIGHT_SHIFT)
    }

    /// This stack without the lowest ring of the seat, if it has one.
    #[inline]
    pub(crate) fn without_lowest(self, seat: u8) -> Self {
        let rings = self.rings_of(seat);
        if rings == 0 {
            return self;
        }
        let below = (1 << rings.trailing_zeros()) - 1;
        let bits = self.0 & RINGS;
        Self(bits & below | bits >> 2 & !below | u64::from(self.height() - 1) << HEIGHT_SHIFT)
    }

    /// The seats of the rings, bottom to top.
    pub fn rings(self) -> impl ExactSizeIterator<Item = u8> {
        (0..self.height()).map(move |i| self.pair(i))
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stack(")?;
        for seat in self.rings() {
            write!(f, "{}", seat + 1)?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(rings: &[u8]) -> Stack {
        rings.iter().fold(Stack::EMPTY, |stack, &seat| stack.pushed(seat))
    }

    fn check(stack: Stack, rings: &[u8]) {
        assert_eq!(stack.rings().collect::<Vec<_>>(), rings);
        assert_eq!(stack.height() as usize, rings.len());
        assert_eq!(stack.top(), rings.last().copied());
        let cap = rings.iter().rev().take_while(|&&seat| Some(seat) == stack.top()).count();
        assert_eq!(stack.cap() as usize, cap);
        for seat in 0..4 {
            assert_eq!(stack.count(seat) as usize, rings.iter().filter(|&&r| r == seat).count());
            let buried = rings.split_last().is_some_and(|(_, below)| below.contains(&seat));
            assert_eq!(stack.buries(seat), buried, "{rings:?} {seat}");
        }
    }

    #[test]
    fn agrees_with_a_vector_of_rings() {
        let mut seed = 7u64;
        for round in 0..5_000u32 {
            let mut rings = Vec::new();
            for _ in 0..=round % (HEIGHT_MAX - 1) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let colours = 1 + u64::from(round) % 4;
                rings.push((seed >> 33) as u8 % colours as u8);
            }
            let stack = packed(&rings);
            check(stack, &rings);
            check(stack.popped(1), &rings[..rings.len() - 1]);
            check(stack.popped(stack.cap()), &rings[..rings.len() - stack.cap() as usize]);
            for seat in 0..4 {
                let mut other = rings.clone();
                other.insert(0, seat);
                check(stack.with_bottom(seat), &other);
                let mut other = rings.clone();
                if let Some(at) = rings.iter().position(|&r| r == seat) {
                    other.remove(at);
                }
                check(stack.without_lowest(seat), &other);
            }
        }
        check(Stack::EMPTY, &[]);
    }
}
