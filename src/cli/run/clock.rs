//! Deadlines that two processes share, and that a machine's sleep does not put off.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

/// A clock that runs on while the machine sleeps, where there is one.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

/// A moment on the machine's clock, the same for all its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(Duration);

impl Moment {
    pub(super) fn now() -> Self {
        // Every system has the clock. On one without it all is over at once, never too late.
        Self(clock_gettime(CLOCK).map_or(Duration::MAX, Duration::from))
    }

    /// Before every moment that comes.
    pub(super) const PAST: Self = Self(Duration::ZERO);

    pub(super) fn nanos(self) -> u128 {
        self.0.as_nanos()
    }

    pub(super) fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }

    pub(super) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    pub(super) fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time))
    }

    /// How long it is from now until then.
    pub(super) fn is_in(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    pub(super) fn has_come(self) -> bool {
        Self::now() >= self
    }
}

/// The machine's clock beside the one that a guard reads, which stands still while the machine
/// sleeps: as they were read at several moments, so that the end of a hold is counted from before
/// the question that kept it alive, and what the machine has slept since then counts too.
#[derive(Debug)]
pub(super) struct Clocks {
    timeout: Duration,
    readings: VecDeque<(Instant, Moment)>,
}

/// How many times within a timeout the clocks are read, at most.
const READINGS: u32 = 16;

impl Clocks {
    /// For a hold that ends after this time unless it is kept alive.
    pub(super) fn new(timeout: Duration) -> Self {
        let mut clocks = Self {
            timeout,
            readings: VecDeque::new(),
        };
        clocks.read();
        clocks
    }

    /// How often [`read`](Self::read) is to be called: a sleep before the last reading costs nothing.
    pub(super) fn interval(&self) -> Duration {
        self.timeout / READINGS
    }

    /// Reads both clocks.
    pub(super) fn read(&mut self) {
        // The machine's first: a sleep between the two must not hide in a reading.
        let moment = Moment::now();
        self.add(Instant::now(), moment);
    }

    fn add(&mut self, instant: Instant, moment: Moment) {
        let last = self.readings.back();
        if last.is_some_and(|(last, _)| instant < *last + self.timeout / READINGS) {
            return;
        }
        self.readings.push_back((instant, moment));
        // What is older than a timeout is of use only as the last one that is.
        while let Some((second, _)) = self.readings.get(1)
            && *second + self.timeout < instant
        {
            self.readings.pop_front();
        }
    }

    /// The moment at which a guard's trust ends.
    pub(super) fn moment(&self, trusted_until: Instant) -> Moment {
        // Trust lasts for less than the timeout: then it had not been asked yet.
        let before = trusted_until.checked_sub(self.timeout);
        let earlier =
            |(instant, _): &&(Instant, Moment)| before.is_some_and(|time| *instant <= time);
        let reading = self.readings.iter().rev().find(earlier);
        let Some((instant, moment)) = reading.or(self.readings.front()) else {
            return Moment::PAST;
        };
        moment.after(trusted_until.saturating_duration_since(*instant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_the_machine_has_slept_counts() {
        let mut clocks = Clocks {
            timeout: 10 * SECOND,
            readings: VecDeque::new(),
        };
        let (start, zero) = (Instant::now(), Moment::from_nanos(1_000_000_000_000));
        for second in 0..=60 {
            clocks.add(start + second * SECOND, zero.after(second * SECOND));
        }
        assert!(clocks.readings.len() <= 12, "{clocks:?}");
        // Asked at 60, trusted for 9 seconds.
        let until = start + 69 * SECOND;
        assert_eq!(clocks.moment(until), zero.after(69 * SECOND));
        // It sleeps for an hour, before anyone has read what was answered, or after.
        let hour = 3600 * SECOND;
        clocks.add(start + 61 * SECOND, zero.after(61 * SECOND + hour));
        assert_eq!(clocks.moment(until), zero.after(69 * SECOND));
        // What is asked after that is good for its time.
        for second in 62..=73 {
            clocks.add(start + second * SECOND, zero.after(second * SECOND + hour));
        }
        let until = start + 82 * SECOND;
        assert_eq!(clocks.moment(until), zero.after(82 * SECOND + hour));
    }

    #[test]
    fn moments_are_on_one_clock() {
        let now = Moment::now();
        assert!(now.has_come() && Moment::PAST.has_come());
        let later = now.after(3600 * SECOND);
        assert!(!later.has_come() && later.is_in() <= 3600 * SECOND);
        assert_eq!(later.before(3600 * SECOND), now);
        assert_eq!(Moment::from_nanos(u64::try_from(now.nanos()).unwrap()), now);
    }
}
