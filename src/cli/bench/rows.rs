//! Captures beside few and many holds.

use super::{
    Failure,
    floors::{Floors, Kind},
    ours::Captures,
    part::Part,
    plan::Scenario,
    run::Run,
};
use crate::mutexes::Mutexes;

pub(super) async fn measure(run: &mut Run<'_>) -> Result<Vec<Part>, Failure> {
    let floors = Floors::connect(run, 1).await?;
    let least = run.plan.least_in_a_slice();
    let mut entrants = vec![
        floors
            .entrant(Kind::Raw, 1, least)
            .called("an insert and a delete"),
    ];
    for (rows, mutexes) in filled(run).await? {
        let entrant = Captures::entrant(&name(rows), &mutexes, least)?;
        entrants.push(match entrants.len() {
            1 => entrant.base(),
            _ => entrant,
        });
    }
    let setting = "captures".to_owned();
    let part = Part::raced(run, Scenario::Rows, setting, run.plan.rounds, entrants).await?;
    Ok(vec![part])
}

/// Mutexes of which so many are held, fewest first.
pub(super) async fn filled(run: &mut Run<'_>) -> Result<Vec<(u64, Mutexes)>, Failure> {
    let mut filled = Vec::new();
    for &rows in &run.plan.rows {
        let is_watched = run.is_watched;
        let tell = |done: u64| {
            if is_watched && done.is_multiple_of(1_000_000) {
                super::say(&format!("filling: {done} of {rows} holds"));
            }
        };
        filled.push((rows, run.place.filled(rows, tell).await?));
    }
    Ok(filled)
}

/// The contender beside which so many are held.
pub(super) fn name(rows: u64) -> String {
    match rows {
        rows if rows > 0 && rows.is_multiple_of(1_000_000) => {
            format!("{} M held", rows / 1_000_000)
        }
        rows => format!("{rows} held"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn so_many_are_held() {
        let names = [0, 1000, 1_000_000, 1_500_000, 10_000_000].map(super::name);
        assert_eq!(
            names,
            [
                "0 held",
                "1000 held",
                "1 M held",
                "1500000 held",
                "10 M held"
            ]
        );
    }
}
