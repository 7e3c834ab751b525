//! Lending the terminal to a command that wants it, and taking it back.

use std::fs::File;

use nix::{
    errno::Errno,
    sys::signal::{SigSet, SigmaskHow, Signal, killpg},
    unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp},
};

/// What became of the wish for the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lent {
    /// The group has it.
    Yes,
    /// It is not the program's to lend: the program is not in the foreground.
    Elsewhere,
    /// There is none.
    None,
}

/// Gives the terminal to this process's group, if the group of the program has it.
///
/// Only when the command asks: until then Ctrl-C reaches the program and its companions (the other
/// parts of a pipeline, the script that it is called from) as if there were no lock, and it passes it
/// on.
pub(super) fn take_from(program: Pid) -> Lent {
    let Ok(terminal) = File::open("/dev/tty") else {
        return Lent::None;
    };
    match tcgetpgrp(&terminal) {
        Ok(group) if group == getpgrp() => Lent::Yes,
        Ok(group) if group == program && give(&terminal, getpgrp()).is_ok() => Lent::Yes,
        Ok(_) => Lent::Elsewhere,
        Err(_) => Lent::None,
    }
}

/// Takes the terminal back from a command's group, or from one that is no more; whether it was there.
pub(super) fn take_back(group: Pid) -> bool {
    let Ok(terminal) = File::open("/dev/tty") else {
        return false;
    };
    let Ok(holder) = tcgetpgrp(&terminal) else {
        return false;
    };
    let is_nobodys = holder != getpgrp() && killpg(holder, None) == Err(Errno::ESRCH);
    (holder == group || is_nobodys) && give(&terminal, getpgrp()).is_ok()
}

/// A background process that does this is stopped by the system, unless it blocks that signal.
fn give(terminal: &File, group: Pid) -> nix::Result<()> {
    let mut stops = SigSet::empty();
    stops.add(Signal::SIGTTOU);
    let before = stops.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let given = tcsetpgrp(terminal, group);
    before.thread_set_mask()?;
    given
}
