//! The diagnosis: good where everything is as it should be, and each bad state is found.

mod bad_states;
mod bounded;
mod connections;
mod old_transactions;
mod rights;
mod servers;

use pgmutex::{Diagnosis, Verdict};

use crate::support::Session;

/// What the function says about a subject.
async fn judged(session: &Session, subject: &str) -> (String, String) {
    judged_with(session, "", subject).await
}

/// What it says with these arguments: the verdict, and all the words.
async fn judged_with(session: &Session, arguments: &str, subject: &str) -> (String, String) {
    let look = format!(
        "select verdict || ' ' || found || ' | ' || coalesce(advice, '') from pgmutex.doctor({arguments}) where subject = '{subject}'"
    );
    let said = session.ask(&look).await;
    let (verdict, words) = said.split_once(' ').unwrap();
    (verdict.to_owned(), words.to_owned())
}

/// The findings that are not good, as `subject: verdict`.
fn not_ok(diagnosis: &Diagnosis) -> Vec<String> {
    let bad = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.verdict > Verdict::Ok);
    bad.map(|finding| format!("{}: {}", finding.subject, finding.verdict))
        .collect()
}

/// The verdict and all the words about a subject.
fn about(diagnosis: &Diagnosis, subject: &str) -> (Verdict, String) {
    let finding = diagnosis
        .about(subject)
        .unwrap_or_else(|| panic!("nothing about {subject}: {diagnosis:?}"));
    let advice = finding.advice.as_deref().unwrap_or_default();
    (finding.verdict, format!("{} | {advice}", finding.found))
}
