//! `pgmutex run`: a command that runs while a mutex is held, and not a moment longer.
//!
//! Three processes: this program, which talks to the database; the [`keeper`], which leads a process
//! group; and the command in that group. The program tells the keeper until when the command may run
//! ([`orders`], on a [`clock`] that no sleep of the machine stops), each time that the hold has been
//! kept alive. Both end the group in time, so that it is dead before the hold can pass to another,
//! whichever of the two is killed or stopped.

mod children;
mod clock;
mod keeper;
mod lock;
mod orders;
mod reach;
mod signals;
mod supervise;
mod terminal;

use std::time::Duration;

use tokio::time::sleep;

use super::say;
use clock::Moment;

pub(super) use keeper::{KEEPER, Keeper};
pub(super) use lock::Run;
pub(super) use signals::is_ignored;

/// How often both processes look at the clock whatever happens: timers may stand still while the
/// machine sleeps.
const TICK: Duration = Duration::from_millis(250);

/// How long the system is given to end what was killed, before anyone is told of it.
const DYING: Duration = Duration::from_secs(5);

/// Returns when a moment has come, or sooner; a little later, if it has come long since.
async fn nap_until(moment: Moment) {
    let left = match moment.is_in() {
        Duration::ZERO => TICK / 16,
        left => left.min(TICK),
    };
    sleep(left).await;
}
