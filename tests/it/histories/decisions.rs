//! What a contender does next, as a seed says.

use std::{env, time::SystemTime};

/// In the environment: the seed to use, as a failed run has printed it.
const SEED: &str = "PGMUTEX_TEST_SEED";

/// A stream of numbers that look like random ones (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Decisions(u64);

impl Decisions {
    /// Prints the seed: it is shown if the test fails.
    pub(crate) fn announced() -> Self {
        let seed = env::var(SEED)
            .ok()
            .map(|seed| seed.parse().expect("the seed is a number"))
            .unwrap_or_else(|| {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                u64::try_from(now.unwrap().as_nanos() & u128::from(u64::MAX)).unwrap()
            });
        println!("the contenders' decisions: {SEED}={seed}");
        Self(seed)
    }

    /// Another stream, for another contender.
    pub(crate) fn branch(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than this one.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).unwrap()].clone()
    }
}
