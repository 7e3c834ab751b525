//! What is held and who waits, at one moment; and what became different since another.

use std::collections::BTreeMap;

use axum::body::Bytes;
use serde::Serialize;

use crate::{
    domain::{Mutex, MutexQuery, Result, Waiter, WaiterQuery},
    json::{Hold, InLine},
    mutexes::Mutexes,
};

/// Most characters of a status text that are shown: a text may have 64 KiB, and a picture is kept
/// more than once.
const LONGEST_STATUS: usize = 500;

/// Rows in JSON, by their keys.
pub(super) type Rows = BTreeMap<String, String>;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Picture {
    holds: Rows,
    waiters: Rows,
    pools: Rows,
    /// At most so many of each are in it.
    most: u32,
    are_more_holds: bool,
    are_more_waiters: bool,
}

#[derive(Serialize)]
struct HoldRow<'a> {
    key: &'a str,
    /// As a text: a browser's numbers are not exact for all tokens.
    token: String,
    #[serde(flatten)]
    hold: Hold,
}

#[derive(Serialize)]
struct WaiterRow<'a> {
    key: &'a str,
    #[serde(flatten)]
    waiter: InLine,
}

impl Picture {
    /// Looks.
    pub(super) async fn taken_of(mutexes: &Mutexes, most: u32, pools: Rows) -> Result<Self> {
        // One more tells whether there are more.
        let page_size = most.saturating_add(1);
        let page = mutexes
            .list(&MutexQuery::all().page_size(page_size))
            .await?;
        let waiters = mutexes
            .waiters(&WaiterQuery::all().page_size(page_size))
            .await?;
        let shown = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(Self {
            holds: page.mutexes.iter().take(shown).filter_map(hold).collect(),
            waiters: waiters.iter().take(shown).filter_map(waiter).collect(),
            pools,
            most,
            are_more_holds: page.mutexes.len() > shown,
            are_more_waiters: waiters.len() > shown,
        })
    }

    /// The event that shows all of it.
    pub(super) fn whole(&self) -> Bytes {
        self.event("picture", &Self::default())
    }

    /// The event that makes it of an earlier one.
    pub(super) fn change_from(&self, earlier: &Self) -> Bytes {
        self.event("change", earlier)
    }

    fn event(&self, name: &str, earlier: &Self) -> Bytes {
        let holds = difference(&earlier.holds, &self.holds);
        let waiters = difference(&earlier.waiters, &self.waiters);
        let pools = difference(&earlier.pools, &self.pools);
        let Self {
            most,
            are_more_holds,
            are_more_waiters,
            ..
        } = self;
        let data = format!(
            r#"{{"holds":{holds},"waiters":{waiters},"pools":{pools},"most":{most},"more_holds":{are_more_holds},"more_waiters":{are_more_waiters}}}"#
        );
        event(name, &data)
    }
}

/// One server-sent event. JSON has no line breaks of its own.
pub(super) fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

fn hold(mutex: &Mutex) -> Option<(String, String)> {
    let id = &mutex.id;
    let key = serde_json::to_string(&(id.group(), id.mode(), id.id(), mutex.permit)).ok()?;
    let row = serde_json::to_string(&HoldRow {
        key: &key,
        token: mutex.fencing_token.get().to_string(),
        hold: Hold::from(mutex).with_short_status(LONGEST_STATUS),
    });
    Some((key, row.ok()?))
}

fn waiter(waiter: &Waiter) -> Option<(String, String)> {
    let id = &waiter.id;
    let key = serde_json::to_string(&(id.group(), id.mode(), id.id(), waiter.ticket)).ok()?;
    let row = serde_json::to_string(&WaiterRow {
        key: &key,
        waiter: InLine::from(waiter),
    });
    Some((key, row.ok()?))
}

/// Keys of rows that are gone, and rows that are new or different.
fn difference(earlier: &Rows, later: &Rows) -> String {
    let gone = earlier.keys().filter(|key| !later.contains_key(*key));
    // A key is a text that contains JSON.
    let gone = gone.filter_map(|key| serde_json::to_string(key).ok());
    let here = later
        .iter()
        .filter(|(key, row)| earlier.get(*key) != Some(*row));
    format!(
        r#"{{"gone":[{}],"here":[{}]}}"#,
        gone.collect::<Vec<_>>().join(","),
        here.map(|(_, row)| row.as_str())
            .collect::<Vec<_>>()
            .join(",")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rows(rows: &[(&str, i32)]) -> Rows {
        let row = |(key, value): &(&str, i32)| ((*key).to_owned(), json!([value]).to_string());
        rows.iter().map(row).collect()
    }

    #[tokio::test]
    async fn a_long_status_text_is_cut() {
        let mutexes = Mutexes::builder().backend(crate::session::SessionBackend::new());
        for (id, length) in [("1", LONGEST_STATUS), ("2", LONGEST_STATUS + 1)] {
            let id = crate::domain::MutexId::new("orders", "edit", id).unwrap();
            let capture = mutexes.capture(id).status_data("é".repeat(length));
            capture.await.unwrap();
        }
        let picture = Picture::taken_of(&mutexes, 10, Rows::new()).await.unwrap();
        let rows = picture.holds.values();
        let rows = rows.map(|row| serde_json::from_str::<Value>(row).unwrap());
        let shown: Vec<Value> = rows.map(|row| row["status_data"].clone()).collect();
        let longest = "é".repeat(LONGEST_STATUS);
        assert_eq!(shown, [json!(longest), json!(format!("{longest}…"))]);
    }

    #[test]
    fn a_difference_has_what_is_gone_new_and_changed_and_nothing_else() {
        let earlier = rows(&[("[\"same\"]", 1), ("[\"gone\"]", 2), ("[\"other\"]", 3)]);
        let later = rows(&[("[\"same\"]", 1), ("[\"new\"]", 4), ("[\"other\"]", 5)]);
        let found: Value = serde_json::from_str(&difference(&earlier, &later)).unwrap();
        assert_eq!(found, json!({"gone": ["[\"gone\"]"], "here": [[4], [5]]}));
    }
}
