//! What came of one scenario in one setting.

use serde::Serialize;

use super::{
    Failure,
    measured::{Measured, compared},
    plan::Scenario,
    race::{Entrant, race},
    run::Run,
};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Part {
    pub(super) scenario: Scenario,
    /// How many tasks, or how many holds.
    pub(super) setting: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tasks: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) contenders: Vec<Measured>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) figures: Vec<Figure>,
}

/// A number that nobody is compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// Null where it cannot be known.
    pub(super) value: Option<f64>,
}

impl Part {
    /// Of contenders who take turns.
    pub(super) async fn raced(
        run: &mut Run<'_>,
        scenario: Scenario,
        setting: String,
        rounds: usize,
        mut entrants: Vec<Entrant>,
    ) -> Result<Self, Failure> {
        let what = format!("{}, {setting}", scenario.name());
        let sums = race(run, &what, rounds, &mut entrants).await?;
        Ok(Self {
            scenario,
            setting,
            tasks: None,
            contenders: compared(sums, &entrants),
            figures: Vec::new(),
        })
    }

    pub(super) fn of_figures(scenario: Scenario, setting: String, figures: Vec<Figure>) -> Self {
        Self {
            scenario,
            setting,
            tasks: None,
            contenders: Vec::new(),
            figures,
        }
    }

    pub(super) fn with_tasks(self, tasks: usize) -> Self {
        Self {
            tasks: Some(tasks),
            ..self
        }
    }

    pub(super) fn contender(&self, name: &str) -> Option<&Measured> {
        self.contenders.iter().find(|one| one.contender == name)
    }

    pub(super) fn figure(&self, name: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.name == name);
        figure.and_then(|figure| figure.value)
    }
}

/// So many, for people.
pub(super) fn tasks_in_words(count: usize) -> String {
    match count {
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    }
}
