use super::Error;

/// Most bytes of UTF-8 that each text of a hold may have: the limits in the function
/// `hold_is_within_limits`, mirrored.
pub(crate) const MUTEX_GROUP: usize = 400;
pub(crate) const MUTEX_MODE: usize = 400;
pub(crate) const MUTEX_ID: usize = 1600;
pub(crate) const OWNER_SESSION: usize = 400;
pub(crate) const OWNER_HOST: usize = 1600;
pub(crate) const OWNER_TEXT: usize = 400;
pub(crate) const AUTO_RELEASE_RULE: usize = 400;
pub(crate) const AUTO_RELEASE_CONFIG: usize = 1600;
pub(crate) const STATUS_DATA: usize = 65_536;
/// Of the reason for a forced release, as the function takes it.
pub(crate) const REASON: usize = 1600;

/// Refuses a text that its column could not take, in the words that the SQL functions use.
pub(crate) fn check(field: &'static str, value: &str, most_bytes: usize) -> Result<(), Error> {
    let reason = if value.len() > most_bytes {
        format!(
            "is {} bytes long, at most {most_bytes} are allowed",
            value.len()
        )
    } else if value.contains('\0') {
        "contains the character NUL, which PostgreSQL cannot store".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::InvalidInput { field, reason })
}

/// Refuses a status text that its column could not take.
pub(crate) fn check_status_data(status_data: Option<&str>) -> Result<(), Error> {
    check("status_data", status_data.unwrap_or_default(), STATUS_DATA)
}

/// Refuses a reason that the audit could not keep.
pub(crate) fn check_reason(reason: &str) -> Result<(), Error> {
    check("reason", reason, REASON)
}
