use std::fmt;

use serde::{Deserialize, Serialize};

/// What was found around the locks, and what to do about it: see
/// [`Mutexes::diagnose`](crate::Mutexes::diagnose).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// A finding for each subject that was looked at, good ones too: first what concerns the
    /// connection, then the server, the tokens, vacuum, the locks and the schema.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// A diagnosis of these findings.
    pub fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// The worst verdict of all; [`Verdict::Ok`] if there are none.
    pub fn worst(&self) -> Verdict {
        let verdicts = self.findings.iter().map(|finding| finding.verdict);
        verdicts.max().unwrap_or(Verdict::Ok)
    }

    /// The finding about a subject, if it was looked at.
    pub fn about(&self, subject: &str) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.subject == subject)
    }
}

/// What was found about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at, in a word or two of at most 18 characters.
    pub subject: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// What there is.
    pub found: String,
    /// What to do about it: a setting, a statement; `None` if nothing is to be done.
    pub advice: Option<String>,
}

impl Finding {
    /// A finding with which nothing is to be done.
    pub fn new(subject: impl Into<String>, verdict: Verdict, found: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            verdict,
            found: found.into(),
            advice: None,
        }
    }

    /// The same, with what to do about it.
    pub fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// How bad a finding is; the worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; it may be meant so. Also: the role may not see it.
    Note,
    /// It will hurt some day, or hurts already without breaking a promise.
    Warning,
    /// Something that is promised does not hold, or nothing works.
    Problem,
}

impl Verdict {
    /// The verdict of this word; one of a newer version's is a warning.
    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "ok" => Self::Ok,
            "note" => Self::Note,
            "problem" => Self::Problem,
            _ => Self::Warning,
        }
    }

    /// Its word: `ok`, `note`, `warning` or `problem`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl fmt::Display for Verdict {
    /// The word; width and alignment are those of the format.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Diagnosis, Finding, Verdict};

    #[test]
    fn the_worst_verdict_is_that_of_the_whole() {
        let of = |verdicts: &[Verdict]| {
            let finding = |verdict: &Verdict| Finding::new("x", *verdict, "");
            Diagnosis::new(verdicts.iter().map(finding).collect()).worst()
        };
        assert_eq!(of(&[]), Verdict::Ok);
        assert_eq!(of(&[Verdict::Note, Verdict::Ok]), Verdict::Note);
        let all = [Verdict::Warning, Verdict::Problem, Verdict::Note];
        assert_eq!(of(&all), Verdict::Problem);
    }

    #[test]
    fn a_verdict_is_one_word_everywhere() {
        for verdict in [
            Verdict::Ok,
            Verdict::Note,
            Verdict::Warning,
            Verdict::Problem,
        ] {
            let word = verdict.to_string();
            assert_eq!(Verdict::from_word(&word), verdict);
            let json = serde_json::to_string(&verdict).unwrap();
            assert_eq!(json, format!("\"{word}\""));
        }
        assert_eq!(format!("{:8}|", Verdict::Ok), "ok      |");
        assert_eq!(Verdict::from_word("grave"), Verdict::Warning);
    }
}
