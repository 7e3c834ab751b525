//! What a command did, for the textfile collector of Prometheus' node exporter: a file that it reads,
//! since nobody can ask a process that has ended.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use clap::Args;
use metrics_exporter_prometheus::PrometheusHandle;

use super::{Exit, Failure, mutex_name::written, printable::printable, say};
use crate::{collected::collected, domain::MutexId};

/// Where to leave the metrics.
#[derive(Debug, Args)]
pub(super) struct MetricsFile {
    /// Write metrics of the command to this file, for Prometheus' textfile collector: FILE.prom [env: PGMUTEX_METRICS_FILE]
    ///
    /// It is written when the command begins, every 15 seconds and at the end, always as a whole. One
    /// file for each job: another command replaces it. `run` writes when it has its turn: one that is
    /// skipped, because another has the mutex, leaves the file as it is.
    #[arg(long, value_name = "FILE", global = true)]
    metrics_file: Option<PathBuf>,
}

/// How often the file is written while a command goes on.
const EVERY: Duration = Duration::from_secs(15);

/// The metrics of a command that goes on.
#[derive(Debug)]
pub(super) struct Recording {
    begun: Instant,
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    file: PathBuf,
    handle: PrometheusHandle,
    /// Whether the last word has been written; locked while the file is.
    has_ended: Mutex<bool>,
}

impl MetricsFile {
    /// Begins to measure, where a file is named, and writes it for the first time.
    ///
    /// All metrics bear the name of the command and of its mutex: two files with the same metrics would
    /// be refused by the collector.
    pub(super) fn begin(
        &self,
        command: &str,
        mutex: Option<&MutexId>,
    ) -> Result<Option<Recording>, Failure> {
        let named = self.metrics_file.clone();
        let named = named.or_else(|| std::env::var_os("PGMUTEX_METRICS_FILE").map(PathBuf::from));
        let Some(file) = named.filter(|file| !file.as_os_str().is_empty()) else {
            return Ok(None);
        };
        let mutex = mutex.map(written);
        let mut labels = vec![("command", command)];
        if let Some(mutex) = &mutex {
            labels.push(("mutex", mutex));
        }
        let handle = collected(&labels).ok_or("the metrics are collected in another way")?;
        describe();
        metrics::gauge!("pgmutex_command_running").set(1.0);
        metrics::gauge!("pgmutex_command_start_timestamp_seconds").set(now());
        let place = Arc::new(Place {
            file,
            handle,
            has_ended: Mutex::new(false),
        });
        let begun = match command {
            // Until it has its turn, the file is about the one before.
            "run" => {
                TURN.store(WAITS, Ordering::Relaxed);
                try_to_write_beside(&place.file)
            }
            _ => place.write(false),
        };
        begun.map_err(|error| {
            let file = printable(&place.file.display().to_string());
            Failure::usage(format!("cannot write metrics to {file}: {error}"))
        })?;
        keep_writing(&place);
        let _ = PLACE.set(Arc::clone(&place));
        Ok(Some(Recording {
            begun: Instant::now(),
            place,
        }))
    }
}

impl Recording {
    /// Writes how the command has ended. It ends so in any case: that the file cannot be written is
    /// only said.
    pub(super) fn end(self, exit: Exit) {
        metrics::gauge!("pgmutex_command_running").set(0.0);
        metrics::gauge!("pgmutex_command_exit_code").set(f64::from(exit.code()));
        metrics::gauge!("pgmutex_command_duration_seconds").set(self.begun.elapsed().as_secs_f64());
        metrics::gauge!("pgmutex_command_end_timestamp_seconds").set(now());
        if let Err(error) = self.place.write(true) {
            let file = self.place.file.display();
            say(&format!("cannot write metrics to {file}: {error}"));
        }
    }
}

/// Of a command that runs only in its turn: what the file says is about the last one that had it.
static TURN: AtomicU8 = AtomicU8::new(HAS_TURN);
const HAS_TURN: u8 = 0;
const WAITS: u8 = 1;
const HAD_NO_TURN: u8 = 2;

/// Where this process writes, if anywhere.
static PLACE: OnceLock<Arc<Place>> = OnceLock::new();

/// From now on the file is about this command.
pub(super) fn has_its_turn() {
    TURN.store(HAS_TURN, Ordering::Relaxed);
    if let Some(place) = PLACE.get()
        && let Err(error) = place.write(false)
    {
        tracing::warn!(%error, "cannot write metrics");
    }
}

/// Nothing was run: what is in the file stays.
pub(super) fn was_not_its_turn() {
    TURN.store(HAD_NO_TURN, Ordering::Relaxed);
}

/// Notes for how long a command has waited for its mutex, in vain or not.
pub(super) fn waited(time: Duration) {
    metrics::gauge!("pgmutex_command_waited_seconds").set(time.as_secs_f64());
}

impl Place {
    fn write(&self, is_the_end: bool) -> io::Result<()> {
        let mut has_ended = self
            .has_ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *has_ended {
            return Ok(());
        }
        *has_ended = is_the_end;
        let turn = TURN.load(Ordering::Relaxed);
        if turn == HAD_NO_TURN || turn == WAITS && !is_the_end {
            return Ok(());
        }
        replace(&self.file, self.handle.render().as_bytes())
    }
}

/// Writes now and then as long as the command goes on.
fn keep_writing(place: &Arc<Place>) {
    let weak = Arc::downgrade(place);
    let writing = move || {
        loop {
            thread::sleep(EVERY);
            let Some(place) = weak.upgrade() else { return };
            if let Err(error) = place.write(false) {
                tracing::warn!(%error, "cannot write metrics");
            }
        }
    };
    let thread = thread::Builder::new().name("pgmutex-metrics-file".to_owned());
    if let Err(error) = thread.spawn(writing) {
        tracing::warn!(%error, "metrics are written only at the end");
    }
}

/// The file that is written before it takes the place of the other.
fn beside(file: &Path) -> io::Result<PathBuf> {
    // A device or a link would be replaced, too.
    if let Ok(there) = fs::symlink_metadata(file)
        && !there.is_file()
    {
        return Err(io::Error::other("it is there, and no regular file"));
    }
    let name = file
        .file_name()
        .ok_or_else(|| io::Error::other("it names no file"))?;
    // The collector does not look at it: it does not end with .prom.
    let mut beside = name.to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = file.with_file_name(beside);
    let _ = fs::remove_file(&beside);
    Ok(beside)
}

fn try_to_write_beside(file: &Path) -> io::Result<()> {
    let beside = beside(file)?;
    File::create_new(&beside)?;
    fs::remove_file(beside)
}

/// Puts a new file in the place of the old one: whoever reads finds one of them, as a whole.
fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let beside = beside(file)?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&beside)
        .and_then(|mut new| {
            new.write_all(text)?;
            let_others_read(&new)?;
            fs::rename(&beside, file)
        });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// The collector is another user's.
fn let_others_read(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(fs::Permissions::from_mode(0o644))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(())
    }
}

/// By the clock of this machine, as Prometheus' `time()` is: the database's is another matter.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn describe() {
    for (name, help) in [
        ("pgmutex_command_running", "1 while the command goes on."),
        (
            "pgmutex_command_start_timestamp_seconds",
            "When the command began.",
        ),
        (
            "pgmutex_command_end_timestamp_seconds",
            "When the command ended.",
        ),
        (
            "pgmutex_command_duration_seconds",
            "How long the command took.",
        ),
        (
            "pgmutex_command_exit_code",
            "With which code the command ended.",
        ),
        (
            "pgmutex_command_waited_seconds",
            "How long the command waited for its mutex.",
        ),
    ] {
        metrics::describe_gauge!(name, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_only_a_file() {
        let folder = std::env::temp_dir().join(format!("pgmutex-replace-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("job.prom");
        for text in ["one", "another"] {
            replace(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644);
            let link = folder.join("link.prom");
            std::os::unix::fs::symlink(&file, &link).unwrap();
            assert!(replace(&link, b"three").is_err());
            assert_eq!(fs::read_to_string(&file).unwrap(), "another");
        }
        assert!(replace(&folder, b"four").is_err());
        assert!(replace(&folder.join("nowhere/job.prom"), b"five").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
