use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::{Mutex, MutexOwner};

/// A hold: who holds what, since when, until when. All times are the database's.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct Hold {
    /// The application or area; for a path of a tree, the tree's name.
    group: String,
    /// The type of the object that is locked; `tree` for a path of a tree.
    mode: String,
    /// Which object; for a path of a tree, the path, with `/` and `%` inside a segment as `%2F` and `%25`.
    id: String,
    owner: Owner,
    /// `exclusive` or `shared`.
    access: &'static str,
    /// The number of the permit of a shared hold.
    permit: Option<u32>,
    /// How many may share it while this hold lasts; null: any number, or the hold is exclusive.
    permits: Option<u32>,
    /// Whether the paths above this one are locked with it.
    lock_parents: bool,
    /// Whether the paths below this one are locked with it.
    lock_children: bool,
    auto_release: Rule,
    /// Free text of the holder's.
    status_data: Option<String>,
    /// Larger for each later capture.
    fencing_token: i64,
    /// When the hold began.
    held_since: DateTime<Utc>,
    /// When it was captured or last refreshed.
    captured_since: DateTime<Utc>,
    /// When its rule ends it; null if the rule is not one of time.
    expires_at: Option<DateTime<Utc>>,
}

/// Who holds, or waits.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct Owner {
    /// The identity that the database knows. Holds captured over HTTP have one that nobody can
    /// use who has not captured them.
    session: String,
    user_id: String,
    /// For people.
    name: String,
    login: String,
    host: String,
}

/// The rule that ends a hold by itself, as the two texts of the table.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct Rule {
    /// Empty (never), `timeout`, `deadline`, `connection`, or a custom rule's code.
    rule: String,
    /// The rule's setting: of a timeout, the seconds.
    config: String,
}

impl Hold {
    /// With no more of the status text than so many characters.
    #[cfg(feature = "server")]
    pub(crate) fn with_short_status(mut self, most: usize) -> Self {
        if let Some(status) = &mut self.status_data
            && let Some((end, _)) = status.char_indices().nth(most)
        {
            status.truncate(end);
            status.push('…');
        }
        self
    }
}

impl From<&Mutex> for Hold {
    fn from(mutex: &Mutex) -> Self {
        let (rule, config) = mutex.auto_release.dump();
        Self {
            group: mutex.id.group().to_owned(),
            mode: mutex.id.mode().to_owned(),
            id: mutex.id.id().to_owned(),
            owner: Owner::from(&mutex.owner),
            access: match mutex.permit {
                0 => "exclusive",
                _ => "shared",
            },
            permit: (mutex.permit > 0).then_some(mutex.permit),
            permits: mutex.permits,
            lock_parents: mutex.reach.parents,
            lock_children: mutex.reach.children,
            auto_release: Rule { rule, config },
            status_data: mutex.status_data.clone(),
            fencing_token: mutex.fencing_token.get(),
            held_since: mutex.held_since,
            captured_since: mutex.captured_since,
            expires_at: mutex.expires_at,
        }
    }
}

impl From<&MutexOwner> for Owner {
    fn from(owner: &MutexOwner) -> Self {
        Self {
            session: owner.session_id().to_owned(),
            user_id: owner.user_id().to_owned(),
            name: owner.name().to_owned(),
            login: owner.login().to_owned(),
            host: owner.host().to_owned(),
        }
    }
}
