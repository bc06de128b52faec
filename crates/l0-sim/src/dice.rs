//! The world's own generator: PCG-XSH-RR 64/32, so that a seed means the same world on every machine.

/// A small generator with a stream of its own for every purpose.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
    increment: u64,
}

impl Dice {
    /// The generator of a seed and a purpose: two purposes of one seed are independent of each other.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut dice = Self { state: 0, increment: (purpose << 1) | 1 };
        dice.step();
        dice.state = dice.state.wrapping_add(seed);
        dice.step();
        dice
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(self.increment);
    }

    /// The next 32 bits.
    #[expect(clippy::cast_possible_truncation, reason = "the generator's output is its upper half")]
    pub fn bits(&mut self) -> u32 {
        let old = self.state;
        self.step();
        let mixed = (((old >> 18) ^ old) >> 27) as u32;
        mixed.rotate_right((old >> 59) as u32)
    }

    /// A number below `end`; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let wide = u64::from(self.bits()) << 32 | u64::from(self.bits());
        let end = end as u64;
        // The bias of a remainder of 64 bits is far below what a simulation could see.
        usize::try_from(wide % end.max(1)).unwrap_or(0)
    }

    /// A number in `low..=high`.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.bits() % 100 < percent
    }

    /// One of some.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.below(some.len())]
    }

    /// A duration in nanoseconds in `low..=high` milliseconds, any nanosecond as likely as another.
    pub fn millis(&mut self, low: u64, high: u64) -> u64 {
        let span = usize::try_from((high - low) * 1_000_000).unwrap_or(usize::MAX - 1);
        low * 1_000_000 + self.below(span + 1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_keeps_its_meaning() {
        // The published vector of the reference implementation: seed 42, stream 54.
        let mut dice = Dice::new(42, 54);
        let bits: Vec<u32> = (0..6).map(|_| dice.bits()).collect();
        assert_eq!(bits, [0xa15c_02b7, 0x7b47_f409, 0xba1d_3330, 0x83d2_f293, 0xbfa4_784b, 0xcbed_606e]);
    }
}
