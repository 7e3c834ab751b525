use std::{error::Error as StdError, fmt};

/// An error that says everything its sources say: the driver's own words are only "db error".
#[derive(Debug)]
pub(super) struct InWords {
    text: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl InWords {
    pub(super) fn boxed(error: impl StdError + Send + Sync + 'static) -> Box<Self> {
        Box::new(Self {
            text: in_words(&error),
            source: error.into(),
        })
    }
}

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for InWords {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

/// The words of an error and of all that are behind it, each once.
pub(super) fn in_words(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if cause_text != "db error" && !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
