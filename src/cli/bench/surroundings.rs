//! What it is measured on, and what of that makes the figures say less.

use std::{fs, thread::available_parallelism};

use super::{
    floors,
    place::removal,
    plan::{Plan, Set},
    report::MeasuredOn,
};
use crate::postgres::Surroundings;

pub(super) fn looked_at(server: &Surroundings, plan: &Plan) -> (MeasuredOn, Vec<String>) {
    let on = MeasuredOn {
        postgres: server.version.clone(),
        fsync: server.fsync.clone(),
        synchronous_commit: server.synchronous_commit.clone(),
        full_page_writes: server.full_page_writes.clone(),
        is_local: server.is_local,
        cores: available_parallelism().map_or(1, usize::from),
        load: load(),
        pgmutex: env!("CARGO_PKG_VERSION"),
        is_optimised: !cfg!(debug_assertions),
    };
    let mut warnings = warnings(&on);
    let (most, free) = (plan.tasks.iter().max().copied(), server.free_connections);
    if floors::most(free) < most.unwrap_or(1).min(floors::most(i64::MAX)) {
        warnings.push(format!(
            "the server would take only {free} more connections: the floors have {}",
            floors::most(free)
        ));
    }
    if !server.publications.is_empty() {
        warnings.push(format!(
            "all tables of this database are published (publication {}), those of this run, too",
            server.publications.join(", ")
        ));
    }
    if !server.others.is_empty() {
        warnings.push(format!(
            "there are schemas of another run; unless it is still going on, remove them: {}",
            removal(&server.others)
        ));
    }
    (on, warnings)
}

fn warnings(on: &MeasuredOn) -> Vec<String> {
    let mut warnings = Vec::new();
    if on.fsync != "on" {
        warnings.push(
            "fsync is off: nothing waits for the disk, and a power cut loses what was written"
                .to_owned(),
        );
    }
    if on.synchronous_commit == "off" {
        warnings.push(
            "synchronous_commit is off: the floors do not wait for the disk, captures do"
                .to_owned(),
        );
    }
    if let Some(load) = on.load
        && load > on.cores as f64 / 2.0
    {
        warnings.push(format!(
            "the machine is busy (load {load:.2} on {} cores): trust the quotients, not the times",
            on.cores
        ));
    }
    if !on.is_optimised {
        warnings
            .push("this program was built without optimisations: cargo build --release".to_owned());
    }
    warnings
}

/// Why no figure of this run says whether a target is met, if none does.
pub(super) fn says_little(on: &MeasuredOn, plan: &Plan) -> Option<&'static str> {
    if on.fsync != "on" {
        return Some("fsync is off");
    }
    if !on.is_optimised {
        return Some("this program was built without optimisations");
    }
    (plan.set == Set::Smoke).then_some("the smallest set says only whether it runs")
}

/// Over the last minute.
fn load() -> Option<f64> {
    let loads = fs::read_to_string("/proc/loadavg").ok()?;
    loads.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_the_figures_say_less_is_said() {
        let quiet = MeasuredOn {
            postgres: "15".to_owned(),
            fsync: "on".to_owned(),
            synchronous_commit: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            is_local: true,
            cores: 2,
            load: Some(0.9),
            pgmutex: "0",
            is_optimised: true,
        };
        assert_eq!(warnings(&quiet), Vec::<String>::new());
        let said = |on: MeasuredOn, word: &str| {
            let warnings = warnings(&on);
            assert!(
                warnings.len() == 1 && warnings[0].contains(word),
                "{warnings:?}"
            );
        };
        let fsync = "off".to_owned();
        said(
            MeasuredOn {
                fsync,
                ..quiet.clone()
            },
            "fsync is off",
        );
        let synchronous_commit = "off".to_owned();
        said(
            MeasuredOn {
                synchronous_commit,
                ..quiet.clone()
            },
            "synchronous_commit",
        );
        let load = Some(1.1);
        said(
            MeasuredOn {
                load,
                ..quiet.clone()
            },
            "busy",
        );
        said(
            MeasuredOn {
                is_optimised: false,
                ..quiet.clone()
            },
            "--release",
        );
        let load = None;
        assert!(warnings(&MeasuredOn { load, ..quiet }).is_empty());
    }
}
