//! The server that the environment names, or else a private one.

use std::env;

use super::{PrivatePostgres, PrivateServerError};

/// The connection URL in `DATABASE_URL`, or, where that is not set, one of a private server started
/// for it, which lives as long as the second value.
///
/// ```no_run
/// # fn main() -> Result<(), pgmutex::private_server::PrivateServerError> {
/// let (url, _server) = pgmutex::private_server::database_url_or_private()?;
/// println!("{url}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`PrivatePostgres::start`], where one is started.
pub fn database_url_or_private() -> Result<(String, Option<PrivatePostgres>), PrivateServerError> {
    if let Ok(url) = env::var("DATABASE_URL") {
        return Ok((url, None));
    }
    let server = PrivatePostgres::start()?;
    Ok((server.url("postgres"), Some(server)))
}
