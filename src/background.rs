//! Where work goes on that must not depend on what the application's tasks are doing: on a thread
//! with a runtime of its own.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long work that is left over may take when nobody needs the thread any more.
const DRAIN: Duration = Duration::from_secs(5);

/// How often it is looked whether connections that were opened on the thread are still open.
const LOOK: Duration = Duration::from_secs(1);

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The thread, started when it is first needed. It ends when all clones are gone and their last work
/// is done.
#[derive(Clone, Debug)]
pub(crate) struct Background {
    jobs: Arc<Mutex<Option<mpsc::UnboundedSender<Job>>>>,
    own_thread: bool,
    /// How many pieces of work there are that end by themselves, and that someone may want to wait
    /// for.
    errands: Arc<watch::Sender<usize>>,
    /// How many threads there are.
    threads: Arc<watch::Sender<usize>>,
}

/// Counts as long as it is there.
struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn among(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The work was not done: the thread could not be started, or the work panicked.
#[derive(Debug, thiserror::Error)]
#[error("the background thread did not do its work: it could not be started, or has panicked")]
pub(crate) struct NotDone;

impl Background {
    /// With a thread of its own; or, where `own_thread` is false, on the runtime of whoever needs it
    /// first.
    pub(crate) fn new(own_thread: bool) -> Self {
        Self {
            jobs: Arc::default(),
            own_thread,
            errands: Arc::new(watch::Sender::new(0)),
            threads: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Has work done, whatever becomes of the caller.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut job: Job = Box::pin(work);
        if let Some(running) = &*jobs {
            match running.send(job) {
                Ok(()) => return,
                // The runtime that it ran on is gone; the work may go on on another.
                Err(mpsc::error::SendError(unsent)) => job = unsent,
            }
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let has_begun = start(receiver, self.own_thread, Counted::among(&self.threads));
        *jobs = has_begun.then(|| sender.clone());
        // Whatever the work holds may have work done itself when it is dropped.
        drop(jobs);
        if !has_begun || sender.send(job).is_err() {
            tracing::error!("there is nothing that background work could run on; it is not done");
        }
    }

    /// Has work done that ends by itself: [`done`](Self::done) waits for it.
    pub(crate) fn send_off(&self, work: impl Future<Output = ()> + Send + 'static) {
        let errand = Counted::among(&self.errands);
        // A block that awaits what it has captured has room for it twice.
        let work = Box::pin(work);
        self.spawn(async move {
            work.await;
            drop(errand);
        });
    }

    /// Returns when all that was sent off is done.
    pub(crate) async fn done(&self) {
        let mut errands = self.errands.subscribe();
        // The sender is here: there is no error.
        let _ = errands.wait_for(|count| *count == 0).await;
    }

    /// Returns when the thread has ended, and with it the connections that it drives. It ends a moment
    /// after the last clone is gone; what this returns is none.
    #[cfg(all(unix, feature = "cli", feature = "server", feature = "private-server"))]
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut threads = self.threads.subscribe();
        async move {
            // An error: nobody is there who counts, nor a thread.
            let _ = threads.wait_for(|count| *count == 0).await;
        }
    }

    /// Has work done and gives its result. If the caller does not wait for it, it is done all the
    /// same.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NotDone> {
        let (sender, receiver) = oneshot::channel();
        self.send_off(async move {
            let _ = sender.send(work.await);
        });
        receiver.await.map_err(|_| NotDone)
    }
}

impl Default for Background {
    fn default() -> Self {
        Self::new(true)
    }
}

/// Whether there is something to run on.
fn start(receiver: mpsc::UnboundedReceiver<Job>, own_thread: bool, thread: Counted) -> bool {
    if !own_thread {
        return match Handle::try_current() {
            Ok(runtime) => {
                drop(runtime.spawn(async move {
                    serve(receiver).await;
                    drop(thread);
                }));
                true
            }
            Err(error) => {
                tracing::error!(%error, "no runtime for background work");
                false
            }
        };
    }
    let started = std::thread::Builder::new()
        .name("pgmutex".to_owned())
        .spawn(move || {
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(async {
                    serve(receiver).await;
                    // A connection that was opened here, into a pool of the application's, is
                    // driven from here for as long as it is open.
                    while runtime.metrics().num_alive_tasks() > 0 {
                        sleep(LOOK).await;
                    }
                }),
                Err(error) => tracing::error!(%error, "no runtime for background work"),
            }
            drop(thread);
        });
    if let Err(error) = &started {
        tracing::error!(%error, "no thread for background work");
    }
    started.is_ok()
}

async fn serve(mut receiver: mpsc::UnboundedReceiver<Job>) {
    let mut jobs = JoinSet::new();
    loop {
        tokio::select! {
            job = receiver.recv() => match job {
                Some(job) => drop(jobs.spawn(job)),
                None => break,
            },
            Some(_) = jobs.join_next(), if !jobs.is_empty() => {}
        }
    }
    let _ = timeout(DRAIN, async { while jobs.join_next().await.is_some() {} }).await;
}
