use std::time::Duration;

use crate::{
    backend::{Attachment, CaptureRequest, MutexBackend},
    current_owner::current_owner,
    domain::{AutoRelease, Error, FencingToken, MutexOwner, Result, Wish, check_status_data},
    random,
};

/// How long a hold lasts that nobody keeps alive any more, where nothing else is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked of a guard, beside which mutex.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) owner: Option<MutexOwner>,
    pub(super) rule: Option<AutoRelease>,
    pub(super) timeout: Option<Duration>,
    pub(super) attached: bool,
    pub(super) max_hold: Option<Duration>,
    pub(super) status_data: Option<String>,
    pub(super) while_holding: Vec<FencingToken>,
}

impl Settings {
    /// Refuses what cannot be had.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(timeout) = self.timeout {
            AutoRelease::Timeout(timeout).check()?;
        }
        if let Some(rule) = &self.rule {
            rule.check()?;
            if matches!(rule, AutoRelease::Connection { .. }) {
                return Err(Error::InvalidRule {
                    reason: "a guard is attached to this process's session: say attached()"
                        .to_owned(),
                });
            }
            if self.attached || self.timeout.is_some() {
                return Err(Error::InvalidRule {
                    reason: format!("either {rule}, or a timeout or an attachment: not both"),
                });
            }
        }
        if let Some(most) = self.max_hold
            && (most < Duration::from_secs(1)
                || AutoRelease::Timeout(whole_seconds(most)).check().is_err())
        {
            return Err(Error::InvalidInput {
                field: "max_hold",
                reason: "must be from 1 s to 100 years".to_owned(),
            });
        }
        check_status_data(self.status_data.as_deref())
    }

    /// An owner that nobody else is: two guards exclude each other, whoever they are for. What people
    /// read (user, name, login, host) stays, and so does the session, as the beginning of this one.
    pub(super) fn holder(&self) -> MutexOwner {
        let owner = self.owner.clone().unwrap_or_else(current_owner);
        let number = u128::from_ne_bytes(random::bytes());
        owner.set_apart(&format!("{number:032x}"))
    }

    /// The capture that this asks for. The session of an attachment may be another each time it is
    /// asked for.
    pub(super) async fn capture(
        &self,
        backend: &dyn MutexBackend,
        wish: &Wish,
        owner: &MutexOwner,
    ) -> Result<(CaptureRequest, Option<Attachment>)> {
        let mut attachment = None;
        let rule = match (&self.rule, self.attached) {
            (Some(rule), _) => rule.clone(),
            (None, true) => {
                let attached = backend.attach().await?;
                let session = attached.session();
                attachment = Some(attached);
                // Without heartbeats the database can bound the hold by itself.
                let timeout = self.timeout.or(self.max_hold.map(whole_seconds));
                AutoRelease::Connection { session, timeout }
            }
            (None, false) => AutoRelease::Timeout(self.timeout.unwrap_or(DEFAULT_TIMEOUT)),
        };
        let request = CaptureRequest {
            id: wish.id.clone(),
            owner: owner.clone(),
            access: wish.access,
            reach: wish.reach,
            auto_release: Some(rule),
            status_data: self.status_data.clone(),
        };
        Ok((request, attachment))
    }

    /// How long a hold lasts without heartbeats, if it needs them.
    pub(super) fn beat(&self) -> Option<Duration> {
        match (&self.rule, self.attached) {
            (Some(AutoRelease::Timeout(timeout)), _) => Some(*timeout),
            (Some(_), _) => None,
            (None, true) => self.timeout,
            (None, false) => Some(self.timeout.unwrap_or(DEFAULT_TIMEOUT)),
        }
    }
}

/// Rounded up, as rules of time are counted.
fn whole_seconds(duration: Duration) -> Duration {
    let part = u64::from(duration.subsec_nanos() > 0);
    let seconds = duration.as_secs().saturating_add(part);
    Duration::from_secs(seconds.max(1))
}
