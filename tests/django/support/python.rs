use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// The Python that has the packages, in an environment that is kept between runs.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let environment = root.join("target/ci/django");
        let python = environment.join("bin/python");
        let installed = environment.join("installed");
        if fs::read_to_string(&installed).is_ok_and(|installed| installed == REQUIREMENTS) {
            return python;
        }
        run(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&environment),
            "apt-get install python3-venv",
        );
        run(
            Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                ])
                .args(["--no-deps", "--requirement"])
                .arg(root.join("tests/django/requirements.txt")),
            "pip install --no-deps --requirement tests/django/requirements.txt",
        );
        fs::write(installed, REQUIREMENTS).unwrap();
        python
    })
}

fn run(command: &mut Command, advice: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; needed: {advice}"));
    assert!(
        output.status.success(),
        "{command:?} failed; needed: {advice}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
