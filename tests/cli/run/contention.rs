//! Twenty programs that want one mutex, time and again, while some of them are killed.

use std::{fs, process::Stdio, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

use super::{Folder, eventually, is_alive, must};
use crate::{program::pgmutex, support::Database};

const PROGRAMS: usize = 20;
const ROUNDS: usize = 200;

/// So long that no hold ends by itself while a round lasts, on however busy a machine: one that stands
/// still for longer than a hold lasts has no way to keep others out.
const TIMEOUT: &str = "12s";

/// Mutexes that are fought for at the same time, each in its share of the rounds.
const LANES: usize = 2;

/// Works alone, until its input ends: proves it by a lock on a file that it and its background processes
/// have open, and nobody else. The kernel takes the lock back when the last of them is dead, so there
/// is no false alarm; and two that work at the same time cannot both have it, so none is missed.
const WORK: &str = r#"
    [ "$3" = stubborn ] && trap '' TERM
    exec 9>>"$1"
    flock --nonblock 9 || echo overlap >>"$2"
    sleep 1000 &
    timeout 1000 sleep 1000 &
    echo "$PPID $$"
    read told
    exit 0"#;

/// Random enough, and the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// Who is killed in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Nobody,
    /// The program whose command runs.
    Program,
    Keeper,
    Script,
    /// One of the twenty, whatever it is doing, as soon as so many have got their answer.
    Anyone {
        number: usize,
        after: usize,
    },
}

struct Contender {
    child: Child,
    number: usize,
}

/// What a contender's script says first; `None`: there was no script.
struct Word {
    number: usize,
    script: Option<(u32, u32)>,
}

struct Lane {
    url: String,
    mutex: String,
    lock: String,
    violations: String,
    dice: Dice,
}

impl Lane {
    fn begin(&self, number: usize, way: &str, words: &mpsc::UnboundedSender<Word>) -> Contender {
        let mut command = pgmutex(&[
            "run",
            "--non-blocking",
            "--timeout",
            TIMEOUT,
            &self.mutex,
            "--",
        ]);
        command
            .args(["sh", "-c", WORK, "sh", &self.lock, &self.violations, way])
            .env("DATABASE_URL", &self.url);
        let mut child = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let words = words.clone();
        tokio::spawn(async move {
            let line = output.next_line().await.unwrap();
            let script = line.map(|line| {
                let (keeper, script) = line.split_once(' ').unwrap();
                (keeper.parse().unwrap(), script.parse().unwrap())
            });
            let _ = words.send(Word { number, script });
            // To its end, or the next line would find nobody.
            while let Ok(Some(_)) = output.next_line().await {}
        });
        Contender { child, number }
    }

    /// Whether anyone has won.
    async fn round(&mut self, victim: Victim, way: &str) -> bool {
        let (sender, mut words) = mpsc::unbounded_channel();
        let mut contenders: Vec<_> = (0..PROGRAMS)
            .map(|number| self.begin(number, way, &sender))
            .collect();
        let (mut heard, mut won) = (0, 0);
        let mut is_killed = [false; PROGRAMS];
        while heard < PROGRAMS {
            if let Victim::Anyone { number, after } = victim
                && after == heard
            {
                is_killed[number] = contenders[number].child.start_kill().is_ok();
            }
            let word = must(words.recv()).await.unwrap();
            heard += 1;
            let Some((keeper, script)) = word.script else {
                continue;
            };
            won += 1;
            match victim {
                Victim::Program => {
                    is_killed[word.number] = contenders[word.number].child.start_kill().is_ok()
                }
                Victim::Keeper => kill(keeper),
                Victim::Script => kill(script),
                Victim::Nobody | Victim::Anyone { .. } => {}
            }
        }
        for contender in &mut contenders {
            drop(contender.child.stdin.take());
        }
        let mut lost = 0;
        for contender in contenders {
            let number = contender.number;
            let (code, said) = contender.ended().await;
            let expected: &[Option<i32>] = match (victim, is_killed[number]) {
                // It may have been faster.
                (_, true) => &[None, Some(0), Some(75), Some(79)],
                (Victim::Keeper | Victim::Script, _) => &[Some(0), Some(75), Some(79), Some(137)],
                _ => &[Some(0), Some(75), Some(79)],
            };
            assert!(expected.contains(&code), "{victim:?}: {code:?} {said:?}");
            // A machine that is busy with other things may be too slow to keep a hold: then another has
            // its turn.
            lost += usize::from(code == Some(79));
        }
        // While the first one works, nobody else can: unless it is killed before all have asked.
        assert!(won <= 1 + lost || victim != Victim::Nobody, "{won} at once");
        won > 0
    }

    /// Returns when nobody is at work any more, nor about to begin: the command line of a program, of
    /// its keeper and of its script names the file, and the rest has it open.
    async fn nobody_is_left(&self) {
        eventually(|| {
            let names_it = |process: &fs::DirEntry| {
                let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                let mut words = line.split(|byte| *byte == 0);
                words.any(|word| word == self.lock.as_bytes())
            };
            let mut processes = fs::read_dir("/proc").unwrap().flatten();
            if processes.any(|process| names_it(&process)) {
                return false;
            }
            let locked = std::process::Command::new("flock")
                .args(["--nonblock", &self.lock, "true"])
                .status();
            locked.unwrap().success()
        })
        .await;
    }

    async fn fight(mut self, database: Arc<Database>) -> usize {
        let session = database.session().await;
        let an_hour_passes = format!(
            "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour' where concat_ws('/', mutex_group, mutex_mode, mutex_id) = '{}'",
            self.mutex
        );
        let mut won = 0;
        for round in 0..ROUNDS / LANES {
            let victim = match self.dice.below(6) {
                0 => Victim::Nobody,
                1 => Victim::Program,
                2 => Victim::Keeper,
                3 => Victim::Script,
                _ => Victim::Anyone {
                    number: self.dice.below(PROGRAMS),
                    after: self.dice.below(PROGRAMS),
                },
            };
            let way = ["ready to end", "stubborn"][self.dice.below(2)];
            // What belongs to one that was killed ends long before its hold does; when that is over, too,
            // somebody wins.
            let mut has_won = self.round(victim, way).await;
            won += usize::from(has_won);
            while round % 2 == 0 && !has_won {
                self.nobody_is_left().await;
                session.run(&an_hour_passes).await;
                has_won = self.round(Victim::Nobody, way).await;
            }
        }
        won
    }
}

impl Contender {
    async fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let mut errors = self.child.stderr.take().unwrap();
        let status = must(self.child.wait()).await.unwrap();
        // Of one that was killed, its keeper may have more to say.
        if status.code().is_some() {
            must(errors.read_to_string(&mut said)).await.unwrap();
        }
        (status.code(), said)
    }
}

/// It may be dead already: then there is nothing to kill.
fn kill(process: u32) {
    let kill = format!("kill -KILL {process} 2>/dev/null || true");
    let status = std::process::Command::new("sh")
        .args(["-c", &kill])
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_script_runs_at_a_time_whoever_is_killed() {
    let (database, folder) = (Arc::new(Database::fresh().await), Folder::new("contention"));
    let violations = folder.file("violations");
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let lane = Lane {
            url: database.url().to_owned(),
            mutex: format!("nightly/job/{lane}"),
            lock: folder.file(&format!("lock-{lane}")),
            violations: violations.clone(),
            dice: Dice(0x9e37_79b9_7f4a_7c15 ^ u64::try_from(lane).unwrap()),
        };
        lanes.push(tokio::spawn(lane.fight(Arc::clone(&database))));
    }
    let mut won = 0;
    for lane in lanes {
        won += lane.await.unwrap();
    }
    assert!(!fs::exists(&violations).unwrap(), "two at a time");
    // That it was fought at all: the others found a hold whose holder had been killed.
    assert!(
        won > ROUNDS / 2,
        "only {won} of {ROUNDS} rounds had a winner"
    );
}

#[tokio::test]
async fn the_proof_of_working_alone_fails_without_a_lock() {
    let folder = Folder::new("proof");
    let (lock, violations) = (folder.file("lock"), folder.file("violations"));
    let work = || {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", WORK, "sh", &lock, &violations, ""])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Command::from(command).kill_on_drop(true).spawn().unwrap()
    };
    let mut first = work();
    let mut begun = String::new();
    let mut output = BufReader::new(first.stdout.take().unwrap());
    must(output.read_line(&mut begun)).await.unwrap();
    assert!(!fs::exists(&violations).unwrap());
    // A second one; and a third, of whose companion only a background process is left.
    let mut second = work();
    drop(second.stdin.take());
    must(second.wait()).await.unwrap();
    assert_eq!(fs::read_to_string(&violations).unwrap(), "overlap\n");
    let script: u32 = begun.split_whitespace().nth(1).unwrap().parse().unwrap();
    first.start_kill().unwrap();
    eventually(|| !is_alive(script)).await;
    let mut third = work();
    drop(third.stdin.take());
    must(third.wait()).await.unwrap();
    assert_eq!(
        fs::read_to_string(&violations).unwrap(),
        "overlap\noverlap\n"
    );
}
