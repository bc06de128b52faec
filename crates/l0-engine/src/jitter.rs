//! Randomness: one seeded generator per session, named so that an old seed keeps its meaning.

use core::time::Duration;

use rand_core::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

/// The generator's name, written into every session's first record.
pub const GENERATOR: &str = "pcg64mcg/1";

/// How the wait before a retry is spread, so that many clients do not return at the same moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Anywhere between nothing and the full backoff.
    #[default]
    Full,
    /// The upper half of the backoff.
    Equal,
    /// Between the base and three times the wait before.
    Decorrelated,
    /// The backoff itself.
    None,
}

/// The session's generator.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Pcg64Mcg);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// A number in `[0, 1)` made of the upper 53 bits of one draw.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exactly what an f64 holds")]
    fn unit(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        (self.0.next_u64() >> 11) as f64 * SCALE
    }

    /// A wait in `[low, high]`; `low` where the interval is empty.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let unit = self.unit();
        low + high.saturating_sub(low).mul_f64(unit)
    }

    /// The wait before the `n`-th retry (from 0), given the wait before that one.
    pub(crate) fn backoff(
        &mut self,
        jitter: Jitter,
        n: u32,
        base: Duration,
        cap: Duration,
        previous: Duration,
    ) -> Duration {
        let ceiling = base.saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX)).min(cap);
        match jitter {
            Jitter::Full => self.between(Duration::ZERO, ceiling),
            Jitter::Equal => self.between(ceiling / 2, ceiling),
            Jitter::Decorrelated => {
                self.between(base.min(cap), previous.max(base).saturating_mul(3).min(cap))
            }
            Jitter::None => ceiling,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(500);
    const CAP: Duration = Duration::from_secs(20);

    #[test]
    fn an_old_seed_keeps_its_meaning() {
        let mut dice = Dice::new(7);
        let waits: Vec<u128> =
            (0..3).map(|n| dice.backoff(Jitter::Full, n, BASE, CAP, Duration::ZERO).as_micros()).collect();
        assert_eq!(waits, OLD_WAITS, "a changed draw breaks the replay of every old journal");
    }

    const OLD_WAITS: [u128; 3] = [344_948, 476_232, 541_483];

    #[test]
    fn every_kind_stays_inside_its_bounds() {
        let mut dice = Dice::new(1);
        let mut previous = Duration::ZERO;
        for n in 0..200 {
            let ceiling = BASE.saturating_mul(1 << n.min(20)).min(CAP);
            assert!(dice.backoff(Jitter::Full, n, BASE, CAP, previous) <= ceiling);
            let equal = dice.backoff(Jitter::Equal, n, BASE, CAP, previous);
            assert!(equal >= ceiling / 2 && equal <= ceiling);
            let decorrelated = dice.backoff(Jitter::Decorrelated, n, BASE, CAP, previous);
            assert!(decorrelated >= BASE && decorrelated <= (previous.max(BASE) * 3).min(CAP));
            assert_eq!(dice.backoff(Jitter::None, n, BASE, CAP, previous), ceiling);
            previous = decorrelated;
        }
    }
}
