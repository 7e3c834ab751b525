//! What the program does while the command runs.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{
        Signal::{self, *},
        kill, killpg,
    },
    unistd::Pid,
};

use super::{
    super::{Exit, Failure, mutex_name::written},
    DYING,
    children::{Children, End, changes, pid},
    clock::{Clocks, Moment},
    keeper::Keeper,
    nap_until,
    orders::{Giver, Inherited, Order, pipe},
    reach::Reach,
    say,
    signals::Signals,
    terminal::take_back,
};
use crate::guard::Guard;

/// The grace of a command whose hold has been taken away: another may have the mutex already.
const LATE_GRACE: Duration = Duration::from_secs(1);

/// Runs the command, and ends it if the hold is lost. When this returns, the command is dead with all
/// that belongs to it.
pub(super) async fn supervise(
    guard: &Guard,
    command: &[OsString],
    grace: Duration,
    mut clocks: Clocks,
    signals: Signals,
) -> Result<Exit, Failure> {
    let mut trusted_until = guard.trusted_until();
    // The capture may have taken so long that there is hardly time left: the next heartbeat brings more.
    while moment(&clocks, trusted_until).before(grace).has_come() {
        tokio::select! {
            until = guard.trust_moved(trusted_until) => trusted_until = until,
            () = guard.lost() => return Err(lost(guard, "before the command was started")),
        }
        clocks.read();
    }
    let deadline = moment(&clocks, trusted_until);

    let changes = changes()?;
    let (giver, inherited) = pipe()?;
    let keeper = start_keeper(guard, command, grace, &inherited)?;
    drop(inherited);
    let group = pid(&keeper);
    let supervision = Supervision {
        guard,
        trusted_until,
        clocks,
        signals,
        grace,
        children: Children::new(changes, keeper),
        reach: Reach::of_this_process(group),
        group,
        giver,
        deadline,
        stage: Stage::Running,
    };
    let outcome = supervision.supervise().await;
    let had_terminal = take_back(group);
    if let Ok(exit) = &outcome
        && had_terminal
    {
        // Ctrl-C has reached the command alone, while it had the terminal: those who would have been
        // told with it, such as the script that called this program, are told now.
        for signal in [SIGINT, SIGQUIT] {
            if exit.code() == Exit::Signal(signal as i32).code() {
                let _ = kill(Pid::from_raw(0), signal);
            }
        }
    }
    outcome
}

/// When the time ends that the command may run.
fn moment(clocks: &Clocks, trusted_until: Option<Instant>) -> Moment {
    trusted_until.map_or(Moment::PAST, |until| clocks.moment(until))
}

fn start_keeper(
    guard: &Guard,
    command: &[OsString],
    grace: Duration,
    orders: &Inherited,
) -> io::Result<Child> {
    let (id, owner) = (guard.id(), &guard.mutex().owner);
    Command::new(this_program()?)
        .arg0("pgmutex")
        .args(Keeper::arguments(orders.number(), grace, command))
        .env("PGMUTEX_GROUP", id.group())
        .env("PGMUTEX_MODE", id.mode())
        .env("PGMUTEX_ID", id.id())
        .env("PGMUTEX_OWNER_SESSION", owner.session_id())
        .env("PGMUTEX_FENCING_TOKEN", guard.fencing_token().to_string())
        .process_group(0)
        .spawn()
}

/// This very program, also if another has been put in its place meanwhile.
fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    match running.exists() {
        true => Ok(running.to_owned()),
        false => std::env::current_exe(),
    }
}

fn lost(guard: &Guard, how: &str) -> Failure {
    let message = format!("mutex {} was lost {how}", written(guard.id()));
    Failure::new(Exit::Lost, message)
}

struct Supervision<'a> {
    guard: &'a Guard,
    trusted_until: Option<Instant>,
    clocks: Clocks,
    signals: Signals,
    grace: Duration,
    children: Children,
    reach: Reach,
    /// The keeper leads it.
    group: Pid,
    giver: Giver,
    deadline: Moment,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// The command is being ended, and killed by this moment.
    Ending {
        why: Why,
        kill: Moment,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The hold is gone.
    TakenAway,
    /// The hold ends, because nothing has kept it alive.
    NotKept,
    /// The keeper was killed.
    KeeperKilled(i32),
    /// The command has ended, and left something behind that the keeper did not see.
    Leftovers(Exit),
}

impl Supervision<'_> {
    async fn supervise(mut self) -> Result<Exit, Failure> {
        self.giver.give(Order::RunUntil(self.deadline));
        loop {
            self.clocks.read();
            if self.stage == Stage::Running && self.deadline.before(self.grace).has_come() {
                self.end(Why::NotKept, self.deadline);
            }
            if let Stage::Ending { kill, .. } = self.stage
                && kill.has_come()
            {
                self.reach.send(SIGKILL);
            }
            if let Some(end) = self.children.bury()
                && let Some(outcome) = self.without_keeper(end)
            {
                return outcome;
            }
            // A keeper that stands still neither hears orders nor sees its command end: the mutex would be
            // held for ever.
            self.children.let_go_on();
            let next = match self.stage {
                Stage::Running => self.deadline.before(self.grace),
                Stage::Ending { kill, .. } => kill,
            };
            let is_running = self.stage == Stage::Running;
            tokio::select! {
                () = self.guard.lost(), if is_running => self.taken_away(),
                until = self.guard.trust_moved(self.trusted_until), if is_running => {
                    self.trusted_until = until;
                    self.deadline = self.deadline.max(moment(&self.clocks, until));
                    self.giver.give(Order::RunUntil(self.deadline));
                }
                () = self.children.changed() => {}
                signal = self.signals.next() => self.heed(signal),
                () = nap_until(next) => {}
            }
        }
    }

    fn taken_away(&mut self) {
        // Or its time is up: that is looked at next.
        if !self.deadline.before(self.grace).has_come() {
            let kill = Moment::now().after(self.grace.min(LATE_GRACE));
            self.end(Why::TakenAway, kill);
        }
    }

    fn end(&mut self, why: Why, kill: Moment) {
        let kill = kill.min(self.deadline);
        self.stage = Stage::Ending { why, kill };
        self.giver.give(Order::EndBy(kill));
        // A keeper that somebody has stopped is to read that.
        let _ = killpg(self.group, SIGCONT);
    }

    /// What has come of it, now that the keeper is gone; `None`: somebody of the group is still there.
    fn without_keeper(&mut self, end: End) -> Option<Result<Exit, Failure>> {
        if self.stage == Stage::Running {
            let why = match end {
                End::Code(_) => Why::Leftovers(end.into()),
                End::Signal(number) => Why::KeeperKilled(number),
            };
            let kill = Moment::now().after(self.grace).min(self.deadline);
            self.stage = Stage::Ending { why, kill };
            if self.reach.is_alive() {
                self.reach.ask_to_end();
            }
        }
        let Stage::Ending { why, kill } = self.stage else {
            return None;
        };
        let is_alive = self.reach.is_alive();
        let is_lost = matches!(why, Why::TakenAway | Why::NotKept);
        if is_alive && !(is_lost && kill.after(DYING).has_come()) {
            return None;
        }
        if is_alive {
            say(
                "some of the command's processes do not end: they may be waiting for a disk, or belong to another user",
            );
        }
        Some(match why {
            Why::TakenAway => Err(lost(
                self.guard,
                "while the command was running: it has been ended",
            )),
            Why::NotKept => Err(lost(
                self.guard,
                "because the database could not be reached: the command has been ended",
            )),
            Why::KeeperKilled(number) => Err(Failure::new(
                Exit::Signal(number),
                format!(
                    "signal {number} has ended the process that leads the command's group: the command has been ended"
                ),
            )),
            Why::Leftovers(exit) => Ok(exit),
        })
    }

    fn heed(&self, signal: Signal) {
        match signal {
            // Whoever holds a mutex keeps others waiting: nothing is suspended, and those that the
            // terminal has stopped together with this program go on.
            SIGTSTP => {
                say("not suspended: others may be waiting for the mutex");
                let _ = kill(Pid::from_raw(0), SIGCONT);
            }
            SIGCONT => {
                let _ = killpg(self.group, SIGCONT);
            }
            signal => self.giver.give(Order::Pass(signal as i32)),
        }
    }
}
