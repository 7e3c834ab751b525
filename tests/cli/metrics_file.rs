//! `--metrics-file`: what the textfile collector reads.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use crate::{
    program::{pgmutex, run},
    support::Database,
};

/// A folder of a test's own.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgmutex-{name}-{}", std::process::id()));
        // The numbers of processes come again, and who was killed has left its folder.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The values of a file, by name and labels.
fn read(file: &str) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(value).collect()
}

#[tokio::test]
async fn a_command_leaves_its_metrics_well_or_not() {
    let database = Database::fresh().await;
    let (url, folder) = (database.url(), Folder::new("metrics"));
    let file = folder.file("job.prom");
    let capture = [
        "capture",
        "deploy/prod/a \"b\"\n",
        "--wait",
        "60",
        "--metrics-file",
        &file,
    ];
    let captured = run(url, &capture);
    assert_eq!(captured.code, Some(0), "{captured:?}");
    let labels = "{command=\"capture\",mutex=\"deploy/prod/a%20\\\"b\\\"%0A\"}";
    let values = read(&file);
    let value = |name: &str| {
        let key = format!("pgmutex_command_{name}{labels}");
        *values
            .get(&key)
            .unwrap_or_else(|| panic!("{key}: {values:#?}"))
    };
    assert_eq!((value("exit_code"), value("running")), (0.0, 0.0));
    assert!(value("duration_seconds") > 0.0);
    assert!(value("waited_seconds") >= 0.0);
    assert!(value("end_timestamp_seconds") >= value("start_timestamp_seconds"));
    // Those of the library are there, told apart from other files' by the same labels.
    let captures = values
        .iter()
        .find(|(name, _)| name.starts_with("pgmutex_captures_total"));
    let (name, count) = captures.unwrap();
    assert!(name.contains("outcome=\"captured\""), "{name}");
    assert!(name.contains("command=\"capture\""), "{name}");
    assert_eq!(*count, 1.0);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);

    // By the environment; and a command that fails leaves its code.
    let mut busy = pgmutex(&["capture", "deploy/prod/a \"b\"\n"]);
    busy.env("DATABASE_URL", url)
        .env("PGMUTEX_METRICS_FILE", &file);
    assert_eq!(busy.output().unwrap().status.code(), Some(75));
    let exit_code = format!("pgmutex_command_exit_code{labels}");
    assert_eq!(read(&file)[&exit_code], 75.0);
    // Nothing is left beside it.
    let left = fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_said_before_anything_is_done() {
    let database = Database::fresh().await;
    let folder = Folder::new("unwritable");
    for file in [&folder.file("nowhere/job.prom"), "/dev/null"] {
        let arguments = ["capture", "deploy/prod/1", "--metrics-file", file];
        let refused = run(database.url(), &arguments);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.said.contains(file), "{refused:?}");
    }
    let held = "select count(*)::text from pgmutex.held";
    assert_eq!(database.session().await.ask(held).await, "0");
}

#[tokio::test]
async fn a_command_that_goes_on_says_so_and_one_that_cannot_write_any_more_ends_as_it_would() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session.capture("busy", "other").await;
    let (folder, elsewhere) = (Folder::new("going-on"), Folder::new("elsewhere"));
    let file = folder.file("job.prom");
    let arguments = [
        "capture",
        "tests/step/busy",
        "--wait",
        "60",
        "--metrics-file",
        &file,
    ];
    let mut command = pgmutex(&arguments);
    let waiting = command
        .env("DATABASE_URL", database.url())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let waiters = "select count(*)::text from pgmutex.waiting";
    session.ask_until(waiters, |count| count == "1").await;
    let running = "pgmutex_command_running{command=\"capture\",mutex=\"tests/step/busy\"}";
    let values = read(&file);
    assert_eq!(values[running], 1.0);
    let ended = values
        .keys()
        .any(|name| name.contains("exit_code") || name.contains("end_timestamp"));
    assert!(!ended, "{values:?}");
    // As a whole: the program may be writing into it.
    fs::rename(&folder.0, elsewhere.file("going-on")).unwrap();
    session.release("busy", "other").await;
    let ended = waiting.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("cannot write metrics"), "{said}");
}
