//! The auto-release rules of the application's own.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    backend::MutexBackend,
    domain::{AutoRelease, AutoReleaseRule, Mutex, MutexQuery, Result},
};

/// How many holds are judged at a time.
const PAGE_SIZE: u32 = 1000;

/// The custom rules that this program knows, by their codes.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    by_code: BTreeMap<String, Arc<dyn AutoReleaseRule>>,
}

impl Rules {
    pub(crate) fn add(&mut self, rule: Arc<dyn AutoReleaseRule>) {
        self.by_code.insert(rule.code().to_owned(), rule);
    }

    /// Whether a custom rule known here has ended this hold.
    pub(crate) fn have_ended(&self, mutex: &Mutex, now: DateTime<Utc>) -> bool {
        match &mutex.auto_release {
            AutoRelease::Custom { code, .. } => self
                .by_code
                .get(code)
                .is_some_and(|rule| rule.is_over(mutex, now)),
            _ => false,
        }
    }

    /// Evicts the holds that custom rules have ended, and says how many.
    pub(crate) async fn sweep(&self, backend: &dyn MutexBackend) -> Result<u64> {
        let mut swept = 0;
        for code in self.by_code.keys() {
            let mut query = MutexQuery::all()
                .auto_release_rule(code)
                .page_size(PAGE_SIZE);
            loop {
                let now = backend.now().await?;
                let page = backend.list(&query).await?;
                for mutex in page
                    .mutexes
                    .iter()
                    .filter(|mutex| self.have_ended(mutex, now))
                {
                    if backend.evict(&mutex.id, mutex.fencing_token).await? {
                        swept += 1;
                    }
                }
                match page.next {
                    Some(next) => query = query.after(next),
                    None => break,
                }
            }
        }
        Ok(swept)
    }
}
