use serde::Serialize;

/// What became of the rows of an old table of m3-mutex. See
/// [`Mutexes::adopt_m3_mutex`](crate::Mutexes::adopt_m3_mutex).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct M3MutexImport {
    /// Each row of the table, those captured last first.
    pub rows: Vec<M3MutexRow>,
}

impl M3MutexImport {
    /// How many rows had this outcome.
    pub fn count(&self, outcome: M3MutexOutcome) -> usize {
        let rows = self.rows.iter();
        rows.filter(|row| row.outcome == outcome).count()
    }

    /// The rows that made no sense, or not quite: refused, or taken for something that their
    /// [`problem`](M3MutexRow::problem) tells.
    pub fn problems(&self) -> impl Iterator<Item = &M3MutexRow> {
        self.rows.iter().filter(|row| row.problem.is_some())
    }
}

/// A row of an old table of m3-mutex, as it was found: a mutex may have had no name at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct M3MutexRow {
    /// Its number in that table.
    pub id: Option<String>,
    /// First part of the mutex id.
    pub mutex_group: Option<String>,
    /// Second part of the mutex id.
    pub mutex_mode: Option<String>,
    /// Third part of the mutex id.
    pub mutex_id: Option<String>,
    /// What became of it.
    pub outcome: M3MutexOutcome,
    /// Why it was refused, or what was odd about it.
    pub problem: Option<String>,
}

/// What became of a row of an old table of m3-mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum M3MutexOutcome {
    /// What it held is a hold now, of the same owner, under the same rule, with as much time left.
    Imported,
    /// Its rule had ended it.
    Over,
    /// It could not be imported; the row's problem says why.
    Refused,
}
