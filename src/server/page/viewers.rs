//! Those who look at the page, and the one poll that they share: the database is asked about once a
//! second however many there are, and not at all when there is nobody.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    picture::{self, Picture},
    pools::Pools,
};
use crate::{
    domain::Error,
    server::{
        app::SharedApp,
        problem::{OVERLOADED, Problem, UNAVAILABLE},
    },
};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// The same, when the last one failed.
const PAUSE_IN_TROUBLE: Duration = Duration::from_secs(2);

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everyone who looks.
#[derive(Debug, Default)]
pub(in crate::server) struct Viewers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    presence: Mutex<Presence>,
    news: watch::Sender<Option<Arc<News>>>,
}

#[derive(Debug, Default)]
struct Presence {
    viewers: usize,
    /// The poller at work.
    poller: Option<u64>,
    /// How many pollers there have been.
    pollers: u64,
    /// How many news there have been.
    news: u64,
    /// What the database's clock said, and when.
    clock: Option<(DateTime<Utc>, Instant)>,
}

/// What a poll found that the one before did not.
#[derive(Debug)]
struct News {
    number: u64,
    /// For those who have not seen the news before.
    whole: Bytes,
    /// For those who have.
    change: Option<Bytes>,
}

impl Viewers {
    /// One more.
    pub(super) fn join(&self, app: &SharedApp) -> Result<Viewer, Problem> {
        let mut presence = self.0.presence();
        if presence.viewers >= app.limits.viewers {
            let detail = "as many people look as the server allows at once: come again later";
            return Err(Problem::new(OVERLOADED, detail).retry_after(10));
        }
        presence.viewers += 1;
        metrics::gauge!("pgmutex_http_viewers").increment(1.0);
        let viewer = Viewer {
            news: self.0.news.subscribe(),
            shared: Arc::clone(&self.0),
            seen: None,
        };
        if presence.poller.is_none() {
            presence.pollers += 1;
            presence.poller = Some(presence.pollers);
            let poller = Poller {
                number: presence.pollers,
                app: Arc::clone(app),
                shared: Arc::clone(&self.0),
            };
            drop(presence);
            tokio::spawn(poller.run());
        }
        Ok(viewer)
    }
}

impl Shared {
    fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who looks, for as long as it is there.
#[derive(Debug)]
pub(super) struct Viewer {
    shared: Arc<Shared>,
    news: watch::Receiver<Option<Arc<News>>>,
    seen: Option<u64>,
}

impl Viewer {
    /// The next event that this viewer needs to see what there is. Cancel safe.
    pub(super) async fn next(&mut self) -> Bytes {
        loop {
            let news = self.news.borrow_and_update().clone();
            if let Some(news) = news
                && self.seen != Some(news.number)
            {
                let earlier = self.seen.replace(news.number);
                let has_seen_the_one_before = earlier.is_some_and(|seen| seen + 1 == news.number);
                return match &news.change {
                    Some(change) if has_seen_the_one_before => change.clone(),
                    _ => news.whole.clone(),
                };
            }
            if self.news.changed().await.is_err() {
                // The sender is here, in `shared`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The event that says what time it is by the database's clock, once that is known.
    pub(super) fn clock(&self) -> Option<Bytes> {
        let (time, known_since) = self.shared.presence().clock?;
        let passed = TimeDelta::from_std(known_since.elapsed()).ok()?;
        let now = time.checked_add_signed(passed)?;
        Some(picture::event("clock", &json!(now).to_string()))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.shared.presence().viewers -= 1;
        metrics::gauge!("pgmutex_http_viewers").decrement(1.0);
    }
}

struct Poller {
    number: u64,
    app: SharedApp,
    shared: Arc<Shared>,
}

impl Drop for Poller {
    /// Whoever comes next begins anew, also if this one ended with its runtime.
    fn drop(&mut self) {
        let mut presence = self.shared.presence();
        if presence.poller == Some(self.number) {
            presence.poller = None;
        }
    }
}

impl Poller {
    async fn run(self) {
        let mut last: Option<Picture> = None;
        let mut pools = Pools::default();
        let mut is_in_trouble = false;
        loop {
            match self.look(&mut pools).await {
                Ok(picture) if last.as_ref() == Some(&picture) => {}
                Ok(picture) => {
                    let change = last.as_ref().map(|last| picture.change_from(last));
                    self.tell(picture.whole(), change);
                    last = Some(picture);
                    is_in_trouble = false;
                }
                Err(_) if is_in_trouble => {}
                Err(trouble) => {
                    self.tell(in_words(trouble), None);
                    last = None;
                    is_in_trouble = true;
                }
            }
            let pause = match is_in_trouble {
                true => PAUSE_IN_TROUBLE,
                false => PAUSE,
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.app.stopping() => return,
            }
            let mut presence = self.shared.presence();
            if presence.viewers == 0 {
                // Decided together: whoever joins after this starts another poller. What was seen
                // would be old by then.
                presence.poller = None;
                presence.clock = None;
                self.shared.news.send_replace(None);
                return;
            }
        }
    }

    async fn look(&self, pools: &mut Pools) -> Result<Picture, Trouble> {
        let mutexes = &self.app.mutexes;
        let looked = async {
            let now = mutexes.now().await?;
            let known_since = Instant::now();
            let most = self.app.limits.page;
            let pools = pools.rows(mutexes, most).await;
            let picture = Picture::taken_of(mutexes, most, pools).await?;
            self.shared.presence().clock = Some((now, known_since));
            Ok(picture)
        };
        match timeout(PATIENCE, looked).await {
            Ok(looked) => looked.map_err(Trouble::Error),
            Err(_) => Err(Trouble::Silence),
        }
    }

    fn tell(&self, whole: Bytes, change: Option<Bytes>) {
        let mut presence = self.shared.presence();
        presence.news += 1;
        let number = presence.news;
        drop(presence);
        let news = News {
            number,
            whole,
            change,
        };
        self.shared.news.send_replace(Some(Arc::new(news)));
    }
}

/// Why the database could not be looked at.
enum Trouble {
    Error(Error),
    Silence,
}

/// The event that tells it.
fn in_words(trouble: Trouble) -> Bytes {
    let problem = match trouble {
        Trouble::Error(error) => Problem::from(error),
        Trouble::Silence => Problem::new(UNAVAILABLE, "it does not answer"),
    };
    let told = json!({ "title": problem.title, "detail": problem.detail });
    picture::event("trouble", &told.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{MutexId, MutexOwner},
        mutexes::Mutexes,
        server::{Limits, Server},
        session::SessionBackend,
    };

    fn app(viewers: usize) -> (Mutexes, SharedApp) {
        let mutexes = Mutexes::builder().backend(SessionBackend::new());
        let limits = Limits {
            viewers,
            ..Limits::default()
        };
        let app = Server::new(mutexes.clone()).limits(limits).app();
        (mutexes, app)
    }

    fn pollers(app: &SharedApp) -> (Option<u64>, u64) {
        let presence = app.viewers.0.presence();
        (presence.poller, presence.pollers)
    }

    #[tokio::test]
    async fn all_viewers_share_one_poller_and_without_viewers_there_is_none() {
        let (_mutexes, app) = app(2);
        assert_eq!(pollers(&app), (None, 0));
        let mut first = app.viewers.join(&app).unwrap();
        let mut second = app.viewers.join(&app).unwrap();
        assert!(app.viewers.join(&app).is_err(), "there are too many");
        assert_eq!(first.next().await, second.next().await);
        assert_eq!(pollers(&app), (Some(1), 1));

        drop((first, second));
        let mut news = app.viewers.0.news.subscribe();
        news.wait_for(Option::is_none).await.unwrap();
        assert_eq!(pollers(&app), (None, 1));

        let mut later = app.viewers.join(&app).unwrap();
        assert!(later.next().await.starts_with(b"event: picture\n"));
        assert_eq!(pollers(&app), (Some(2), 2));
    }

    #[tokio::test]
    async fn who_has_seen_the_picture_is_told_what_changed_and_who_has_not_sees_it_all() {
        let (mutexes, app) = app(2);
        let id = |id| MutexId::new("orders", "edit", id).unwrap();
        let ada = MutexOwner::new("ada").unwrap();
        mutexes.capture(id("41")).owner(ada.clone()).await.unwrap();
        let mut first = app.viewers.join(&app).unwrap();
        let whole = first.next().await;
        assert!(whole.starts_with(b"event: picture\n"));

        mutexes.capture(id("42")).owner(ada).await.unwrap();
        let change = String::from_utf8(first.next().await.to_vec()).unwrap();
        assert!(change.starts_with("event: change\n"), "{change}");
        assert!(change.contains(r#""id":"42""#) && !change.contains(r#""id":"41""#));

        let mut second = app.viewers.join(&app).unwrap();
        let whole = String::from_utf8(second.next().await.to_vec()).unwrap();
        assert!(whole.starts_with("event: picture\n"), "{whole}");
        assert!(whole.contains(r#""id":"42""#) && whole.contains(r#""id":"41""#));
    }
}
