//! custom_rules
