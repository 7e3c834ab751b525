use std::{error::Error as StdError, sync::Arc};

use crate::domain::{Error, Result};

/// What the failure of a call that many had made together means for each of them.
pub(super) enum SharedFailure {
    /// Nothing was changed, and a backend answers that it cannot be reached after all the time that
    /// it may take: that is the answer to each, who need not take that time again.
    Unavailable(Arc<dyn StdError + Send + Sync>),
    /// Nothing was changed. It may be about one of them, or about their being together: each asks on
    /// its own.
    Definite,
    /// Perhaps something was changed. Each who is still there asks on its own, which settles it: a
    /// capture that is repeated with the same owner gives the same hold and token, a repeated release
    /// finds nothing any more, a repeated refresh makes the time start once more. See
    /// [`as_after_an_unknown_outcome`].
    OutcomeUnknown,
}

impl SharedFailure {
    pub(super) fn of(error: Error) -> Self {
        match error {
            // An answer that makes no sense may be about something that was done.
            Error::OutcomeUnknown { .. } | Error::Protocol { .. } => Self::OutcomeUnknown,
            Error::Unavailable { source } => Self::Unavailable(source.into()),
            _ => Self::Definite,
        }
    }

    /// The error for one of them, if that is the answer.
    pub(super) fn error(&self) -> Option<Error> {
        match self {
            Self::Unavailable(source) => Some(Error::Unavailable {
                source: Box::new(Arc::clone(source)),
            }),
            Self::Definite | Self::OutcomeUnknown => None,
        }
    }
}

/// What the answer to a repetition says about a call that was made before it and had no answer.
/// Only some settle it; any other may be about the repetition alone, refused while the first one is
/// still under way, say.
pub(super) fn as_after_an_unknown_outcome<T>(
    operation: &'static str,
    answer: Result<T>,
) -> Result<T> {
    match answer {
        settled @ (Ok(_)
        | Err(Error::Busy { .. } | Error::Lost { .. } | Error::OutcomeUnknown { .. })) => settled,
        Err(error) => Err(Error::OutcomeUnknown {
            operation,
            source: Box::new(error),
        }),
    }
}
