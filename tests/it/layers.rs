//! Who may import whom (DESIGN: domain, backend, postgres beside session, mutexes), and where SQL
//! and the driver may be named.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The layers, lowest first. A file imports from its own layer and from those named with it, from
/// no other.
const LAYERS: [(&str, &[&str]); 20] = [
    ("domain", &[]),
    ("background", &[]),
    ("collected", &[]),
    ("observe", &["domain"]),
    ("random", &[]),
    ("current_owner", &["domain"]),
    ("backend", &["domain"]),
    ("coalescing", &["domain", "backend", "observe"]),
    ("rules", &["domain", "backend"]),
    ("session", &["domain", "backend"]),
    (
        "postgres",
        &["domain", "backend", "background", "observe", "random"],
    ),
    // It reaches into postgres for one thing: fencing a transaction.
    (
        "guard",
        &[
            "domain",
            "current_owner",
            "backend",
            "background",
            "observe",
            "random",
            "rules",
            "postgres",
        ],
    ),
    (
        "mutexes",
        &[
            "domain",
            "current_owner",
            "backend",
            "background",
            "coalescing",
            "observe",
            "rules",
            "postgres",
            "guard",
        ],
    ),
    (
        "semaphore_service",
        &["domain", "guard", "mutexes", "random"],
    ),
    (
        "pool",
        &["domain", "backend", "guard", "mutexes", "observe", "random"],
    ),
    ("private_server", &[]),
    ("json", &["domain"]),
    (
        "server",
        &[
            "domain",
            "backend",
            "collected",
            "current_owner",
            "json",
            "mutexes",
            "pool",
            "random",
        ],
    ),
    // It reaches into postgres for two things: the name of a schema, and what the environment says of
    // the database.
    (
        "cli",
        &[
            "domain",
            "collected",
            "guard",
            "json",
            "mutexes",
            "pool",
            "postgres",
            "private_server",
            "random",
            "server",
        ],
    ),
    ("main", &["cli"]),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    visit(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap().to_owned();
            let layer = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap()
                .trim_end_matches(".rs")
                .to_owned();
            let text = fs::read_to_string(&path).unwrap();
            (layer, inside, text)
        })
        .collect()
}

/// The text without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The first names of all paths that begin with `crate::`, those in braces too.
fn imported(code: &str) -> Vec<String> {
    let first_name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut at_name = true;
            for (position, c) in list.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => at_name = true,
                    c if at_name && !c.is_whitespace() => {
                        names.push(first_name(&list[position..]));
                        at_name = false;
                    }
                    _ => {}
                }
            }
        } else {
            names.push(first_name(rest));
        }
    }
    names
}

#[test]
fn the_reader_of_imports_finds_nested_ones() {
    let code =
        "use crate::{\n    backend::{A, B},\n    domain::C,\n};\nlet x = crate::postgres::D;";
    assert_eq!(imported(code), ["backend", "domain", "postgres"]);
}

#[test]
fn every_file_imports_only_from_the_layers_below_it() {
    for (layer, path, text) in sources() {
        if layer == "lib" {
            continue;
        }
        let (_, below) = LAYERS
            .iter()
            .find(|(name, _)| *name == layer)
            .unwrap_or_else(|| panic!("{path:?} belongs to no layer: add it to LAYERS"));
        for name in imported(&code(&text)) {
            assert!(
                name == layer || below.contains(&name.as_str()),
                "{path:?} imports crate::{name}, which is not below {layer}"
            );
        }
    }
}

#[test]
fn only_the_postgres_layer_names_the_driver() {
    for (layer, path, text) in sources() {
        let code = code(&text);
        for driver in ["tokio_postgres", "deadpool_postgres"] {
            let re_exported = layer == "lib" && code.matches(driver).count() == 1;
            assert!(
                layer == "postgres" || re_exported || !code.contains(driver),
                "{path:?} names {driver}"
            );
        }
    }
}

#[test]
fn the_domain_does_no_input_or_output() {
    for (layer, path, text) in sources() {
        let code = code(&text);
        for outside in [
            "tokio", "std::fs", "std::net", "std::env", "Utc::now", "async fn",
        ] {
            assert!(
                layer != "domain" || !code.contains(outside),
                "{path:?} uses {outside}"
            );
        }
    }
}

#[test]
fn sql_is_written_in_the_repository_and_the_migrator_only() {
    for (_, path, text) in sources() {
        let allowed = ["postgres/repository", "postgres/history.rs"];
        if allowed.iter().any(|allowed| path.starts_with(allowed)) {
            continue;
        }
        let lower = code(&text).to_lowercase();
        for statement in [
            "\"select ",
            "\"insert ",
            "\"update ",
            "\"delete ",
            "\"create ",
            "\"set ",
        ] {
            assert!(!lower.contains(statement), "{path:?} has SQL: {statement}");
        }
    }
}
