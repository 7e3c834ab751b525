//! Mutexes kept in the process, for as long as a request lasts: the same decisions as the SQL
//! functions make.

mod backend;
mod capturing;
mod circle;
mod keeping;
mod line;
mod looking;
mod operating;
mod place;
mod several;
mod store;
mod tree;

pub use backend::SessionBackend;
