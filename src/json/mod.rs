//! Holds and places in line as JSON: over HTTP and from the program they look the same.

mod hold;
mod in_line;

pub(crate) use hold::{Hold, Owner};
pub(crate) use in_line::InLine;
