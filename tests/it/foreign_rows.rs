//! foreign_rows
