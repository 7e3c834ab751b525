//! unknown_outcomes
