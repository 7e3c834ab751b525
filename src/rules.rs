//! The auto-release rules of the application's own.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    backend::MutexBackend,
    domain::{
        AutoRelease, AutoReleaseRule, CaptureOutcome, Captured, Error, Evicted, Mutex, MutexId,
        MutexQuery, Result,
    },
};

/// How many holds are judged at a time.
const PAGE_SIZE: u32 = 1000;

/// How often holds are evicted for one request before busy is taken for an answer: others may
/// capture in between.
const MOST_EVICTIONS: usize = 3;

/// What has made way for one request.
#[derive(Debug, Default)]
pub(crate) struct MadeWay {
    times: usize,
    evicted: Vec<(MutexId, Evicted)>,
}

impl MadeWay {
    /// The one who asked waits again: what is over later makes way anew.
    pub(crate) fn begin_again(&mut self) {
        self.times = 0;
    }

    /// Says in a capture what has made way for it: if it is the only one of the request, all that
    /// has, wherever in a tree that was.
    pub(crate) fn is_told_in(&self, captured: &mut Captured, is_only_one: bool) {
        let mut latest_first = self.evicted.iter().rev();
        let of_this = latest_first.find(|(id, _)| is_only_one || *id == captured.mutex.id);
        if captured.outcome == CaptureOutcome::Captured
            && let Some((_, evicted)) = of_this
        {
            captured.outcome = CaptureOutcome::Evicted(evicted.clone());
        }
    }
}

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

    /// Whether a custom rule known here may end a hold that this one stands for, at some time that
    /// only the rule knows.
    pub(crate) fn may_end(&self, in_the_way: &Mutex) -> bool {
        match &in_the_way.auto_release {
            AutoRelease::Custom { code, .. } if self.by_code.contains_key(code) => true,
            _ => self.may_be_behind(in_the_way),
        }
    }

    /// Whether others, whose rules may be known here, may share the mutex with this hold.
    fn may_be_behind(&self, in_the_way: &Mutex) -> bool {
        in_the_way.permit > 0 && !self.by_code.is_empty()
    }

    /// Evicts what custom rules have ended of a mutex in which this hold is in the way: that one, or
    /// those who share the mutex with it. Says whether it is worth asking again.
    pub(crate) async fn make_way(
        &self,
        backend: &dyn MutexBackend,
        in_the_way: &Mutex,
        now: DateTime<Utc>,
        made_way: &mut MadeWay,
    ) -> Result<bool> {
        if made_way.times == MOST_EVICTIONS {
            return Ok(false);
        }
        let id = &in_the_way.id;
        let evicted = if self.may_be_behind(in_the_way) {
            let query = MutexQuery::all().group(id.group()).mode(id.mode());
            self.evict_ended(backend, query.mutex_id(id.id())).await?
        } else if self.have_ended(in_the_way, now) {
            evict(backend, in_the_way).await?.into_iter().collect()
        } else {
            return Ok(false);
        };
        made_way.times += 1;
        let is_worth_it = in_the_way.permit == 0 || !evicted.is_empty();
        let evicted = evicted.into_iter().map(|evicted| (id.clone(), evicted));
        made_way.evicted.extend(evicted);
        Ok(is_worth_it)
    }

    /// The same for what a request was refused for.
    pub(crate) async fn make_way_for(
        &self,
        backend: &dyn MutexBackend,
        refused: &Error,
        made_way: &mut MadeWay,
    ) -> Result<bool> {
        match refused {
            Error::Busy {
                holder,
                observed_at,
                ..
            } => self.make_way(backend, holder, *observed_at, made_way).await,
            _ => Ok(false),
        }
    }

    /// Evicts the holds that custom rules have ended, and says how many.
    pub(crate) async fn sweep(&self, backend: &dyn MutexBackend) -> Result<u64> {
        let mut swept = 0;
        for code in self.by_code.keys() {
            let those = MutexQuery::all().auto_release_rule(code);
            swept += self.evict_ended(backend, those).await?.len();
        }
        Ok(u64::try_from(swept).unwrap_or(u64::MAX))
    }

    async fn evict_ended(
        &self,
        backend: &dyn MutexBackend,
        those: MutexQuery,
    ) -> Result<Vec<Evicted>> {
        let mut evicted = Vec::new();
        let mut query = those.page_size(PAGE_SIZE);
        loop {
            let now = backend.now().await?;
            let page = backend.list(&query).await?;
            let ended = page.mutexes.iter();
            for mutex in ended.filter(|mutex| self.have_ended(mutex, now)) {
                evicted.extend(evict(backend, mutex).await?);
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(evicted),
            }
        }
    }
}

async fn evict(backend: &dyn MutexBackend, mutex: &Mutex) -> Result<Option<Evicted>> {
    let is_gone = backend.evict(&mutex.id, mutex.fencing_token).await?;
    Ok(is_gone.then(|| {
        Evicted::new(
            mutex.owner.session_id().to_owned(),
            mutex.owner.name().to_owned(),
            mutex.fencing_token,
        )
    }))
}
