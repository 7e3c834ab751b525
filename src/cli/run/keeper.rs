//! The keeper: the process between the program and its command. It leads the group that the command
//! runs in, and ends it in time, also when the program cannot: that is killed, stopped or cut off.

use std::{
    ffi::OsString,
    io,
    os::fd::RawFd,
    process::{Child, Command},
    time::Duration,
};

use super::{
    super::{Exit, Failure},
    DYING, TICK,
    children::{Children, changes},
    clock::Moment,
    nap_until,
    orders::{Order, Taker},
    reach::Reach,
    say,
    signals::{PASSED_ON, Signals, asks_to_end},
    terminal::{Lent, take_from},
};
use clap::Args;
use nix::{
    sys::signal::{
        Signal::{self, *},
        killpg,
    },
    unistd::{Pid, getpgid, getpgrp, getppid},
};

/// Leads the process group of a command for `pgmutex run`
#[derive(Debug, Args)]
pub(in crate::cli) struct Keeper {
    /// The number of the pipe that orders come from
    #[arg(long)]
    orders: RawFd,

    /// How long the command is given to end, in milliseconds
    #[arg(long)]
    grace: u64,

    /// What to run
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Keeper {
    /// The arguments that a keeper is started with.
    pub(super) fn arguments(orders: RawFd, grace: Duration, command: &[OsString]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            KEEPER.into(),
            "--orders".into(),
            orders.to_string().into(),
            "--grace".into(),
            grace.as_millis().to_string().into(),
            "--".into(),
        ];
        arguments.extend_from_slice(command);
        arguments
    }

    /// To be called in a runtime.
    pub(in crate::cli) async fn run(self) -> Result<Exit, Failure> {
        // It was started under another name, and is to be found by this one.
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_name(c"pgmutex");
        let mut orders = Taker::open(self.orders)?;
        let program = getpgid(Some(getppid())).unwrap_or(Pid::from_raw(0));
        let reach = Reach::of_this_process(getpgrp());
        // What is sent to the group is meant for the command.
        let stops = [SIGTSTP, SIGTTIN, SIGTTOU];
        let signals = Signals::listen(PASSED_ON.into_iter().chain(stops))?;
        let changes = changes()?;
        let deadline = match first_deadline(&mut orders).await {
            Ok(deadline) => deadline,
            Err(signal) => return Ok(Exit::Signal(signal as i32)),
        };
        let keeping = Keeping {
            children: Children::new(changes, start(&self.command)?),
            orders,
            signals,
            reach,
            program,
            grace: Duration::from_millis(self.grace),
            deadline,
            stage: Stage::Running,
            has_named_survivors: false,
        };
        keeping.keep().await
    }
}

/// Waits until the program says that the command may run; or the signal that is to end it first.
async fn first_deadline(orders: &mut Taker) -> Result<Moment, Signal> {
    loop {
        let mut deadline = None;
        for order in orders.take() {
            match order {
                Order::RunUntil(moment) => deadline = Some(moment),
                Order::EndBy(_) => return Err(SIGTERM),
                Order::Pass(number) => match Signal::try_from(number) {
                    Ok(signal) if asks_to_end(signal) => return Err(signal),
                    _ => {}
                },
            }
        }
        if orders.is_closed() {
            return Err(SIGTERM);
        }
        match deadline {
            // It was stopped meanwhile: another may have the mutex.
            Some(deadline) if deadline.has_come() => return Err(SIGTERM),
            Some(deadline) => return Ok(deadline),
            None => {}
        }
        orders.ready().await;
    }
}

/// What the keeper is called on its command line.
pub(in crate::cli) const KEEPER: &str = "run-keeper";

fn start(command: &[OsString]) -> Result<Child, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("no command"));
    };
    Command::new(program)
        .args(arguments)
        .spawn()
        .map_err(|error| {
            let exit = match error.kind() {
                io::ErrorKind::NotFound => Exit::NotFound,
                _ => Exit::NotExecutable,
            };
            let program = program.to_string_lossy();
            Failure::new(exit, format!("cannot run {program}: {error}"))
        })
}

struct Keeping {
    children: Children,
    orders: Taker,
    signals: Signals,
    reach: Reach,
    /// The process group of the program.
    program: Pid,
    grace: Duration,
    deadline: Moment,
    stage: Stage,
    has_named_survivors: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The command runs, and nothing is wrong.
    Running,
    /// The command has been told to end, with all that belongs to it.
    Ending,
    /// The command has ended so; what it has left behind is ended, by this moment the hard way.
    Leftovers { exit: Exit, kill: Moment },
}

impl Keeping {
    async fn keep(mut self) -> Result<Exit, Failure> {
        loop {
            self.obey();
            if self.deadline.has_come() {
                // This process is in the group, too: nothing comes after it.
                self.reach.send(SIGKILL);
            }
            if self.stage == Stage::Running && self.alone().has_come() {
                self.end();
            }
            if let Some(exit) = self.see_to_the_dead() {
                return Ok(exit);
            }
            let next = match self.stage {
                Stage::Running => self.alone(),
                Stage::Ending => self.deadline,
                // Who does not die from one signal is not asked sixty times a second.
                Stage::Leftovers { kill, .. } if kill.after(TICK).has_come() => {
                    self.deadline.min(Moment::now().after(TICK))
                }
                Stage::Leftovers { kill, .. } => kill.min(self.deadline),
            };
            tokio::select! {
                () = self.orders.ready() => {}
                () = self.children.changed() => {}
                signal = self.signals.next() => self.heed(signal),
                () = nap_until(next) => {}
            }
        }
    }

    /// When the command is told to end although nobody has given the order: a little after the program
    /// would have given it, so that the two never disagree.
    fn alone(&self) -> Moment {
        let grace = self.grace - (self.grace / 4).min(TICK);
        self.deadline.before(grace)
    }

    fn obey(&mut self) {
        for order in self.orders.take() {
            match order {
                // What has been told to end ends.
                Order::RunUntil(_) if self.stage == Stage::Ending => {}
                Order::RunUntil(moment) => self.deadline = self.deadline.max(moment),
                Order::EndBy(moment) => {
                    self.deadline = self.deadline.min(moment);
                    self.end();
                }
                Order::Pass(number) => {
                    if let Ok(signal) = Signal::try_from(number) {
                        let _ = killpg(getpgrp(), signal);
                    }
                }
            }
        }
        if self.orders.is_closed() && self.stage == Stage::Running {
            say("killed: the command is ended, and the mutex is free when its timeout is over");
            self.end();
        }
    }

    fn end(&mut self) {
        if self.stage == Stage::Running {
            self.stage = Stage::Ending;
            self.reach.ask_to_end();
        }
    }

    /// The exit, once the command and all that it has left behind have ended.
    fn see_to_the_dead(&mut self) -> Option<Exit> {
        let end = self.children.bury()?;
        let living = self.reach.living();
        let is_alone = living.as_ref().is_some_and(Vec::is_empty);
        let (exit, kill) = match self.stage {
            Stage::Leftovers { exit, kill } => (exit, kill),
            Stage::Running | Stage::Ending => {
                let (exit, kill) = (Exit::from(end), Moment::now().after(self.grace));
                if !is_alone {
                    self.reach.ask_to_end();
                }
                self.stage = Stage::Leftovers { exit, kill };
                (exit, kill)
            }
        };
        // Where nobody says who is left, the program looks for the group when this process is gone.
        if is_alone || living.is_none() {
            return Some(exit);
        }
        if kill.has_come() {
            self.reach.kill_others();
        }
        if !self.has_named_survivors && kill.after(DYING).has_come() {
            self.has_named_survivors = true;
            let names = living.iter().flatten().map(ToString::to_string);
            say(&format!(
                "the mutex stays held until these processes end, which cannot be killed from here (they may be another user's): {}",
                names.collect::<Vec<_>>().join(" ")
            ));
        }
        None
    }

    fn heed(&self, signal: Signal) {
        match signal {
            // Whoever holds a mutex keeps others waiting: the command goes on.
            SIGTSTP => {
                say("not suspended: others may be waiting for the mutex");
                let _ = killpg(getpgrp(), SIGCONT);
            }
            SIGTTIN | SIGTTOU => match take_from(self.program) {
                Lent::Yes => {
                    let _ = killpg(getpgrp(), SIGCONT);
                }
                Lent::Elsewhere => {
                    say("the command waits for the terminal: bring it to the foreground")
                }
                Lent::None => {}
            },
            _ => {}
        }
    }
}
