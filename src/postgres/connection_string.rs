//! The TLS parameters of a connection string, which the driver does not know.

use crate::domain::Error;

/// How much TLS is asked for, weakest first. `allow` counts as `prefer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsDemand {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The TLS parameters of a connection string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsParameters {
    pub(super) demand: TlsDemand,
    pub(super) root_certificates: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

/// Takes the TLS parameters out of a connection string; what is left is for the driver.
pub(super) fn split_off_tls(text: &str) -> Result<(String, TlsParameters), Error> {
    let mut tls = TlsParameters::default();
    let rest = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        split_url(text, &mut tls)?
    } else {
        split_pairs(text, &mut tls)?
    };
    // As libpq: certificates to trust that nobody looks at would be a trap.
    if tls.demand == TlsDemand::Require && tls.root_certificates.is_some() {
        tls.demand = TlsDemand::VerifyCa;
    }
    if tls.root_certificates.as_deref() == Some("system") && tls.demand != TlsDemand::VerifyFull {
        return Err(invalid(
            "sslrootcert=system goes with sslmode=verify-full only",
        ));
    }
    if tls.certificate.is_some() != tls.key.is_some() {
        return Err(invalid("sslcert and sslkey go together"));
    }
    Ok((rest, tls))
}

impl TlsParameters {
    /// Whether the parameter was one of these; then it has been taken.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, Error> {
        let filled = || Some(value.to_owned()).filter(|value| !value.is_empty());
        match key {
            "sslmode" => {
                self.demand = match value {
                    "disable" => TlsDemand::Disable,
                    "allow" | "prefer" => TlsDemand::Prefer,
                    "require" => TlsDemand::Require,
                    "verify-ca" => TlsDemand::VerifyCa,
                    "verify-full" => TlsDemand::VerifyFull,
                    _ => {
                        return Err(invalid(
                            "sslmode must be disable, allow, prefer, require, verify-ca or verify-full",
                        ));
                    }
                }
            }
            "sslrootcert" => self.root_certificates = filled(),
            "sslcert" => self.certificate = filled(),
            "sslkey" => self.key = filled(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn split_url(url: &str, tls: &mut TlsParameters) -> Result<String, Error> {
    let Some((front, query)) = url.split_once('?') else {
        return Ok(url.to_owned());
    };
    let mut rest = Vec::new();
    for parameter in query.split('&') {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !tls.take(&percent_decoded(key)?, &percent_decoded(value)?)? {
            rest.push(parameter);
        }
    }
    if rest.is_empty() {
        return Ok(front.to_owned());
    }
    Ok(format!("{front}?{}", rest.join("&")))
}

fn percent_decoded(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.extend(u8::try_from(high * 16 + low)),
            _ => {
                return Err(invalid(
                    "it has a % that two hexadecimal digits do not follow",
                ));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid("a parameter is not UTF-8 once decoded"))
}

/// Pairs are set apart by white space; values may be quoted by `'`, and `\` takes the next
/// character as it is.
fn split_pairs(text: &str, tls: &mut TlsParameters) -> Result<String, Error> {
    let mut rest = String::new();
    let mut characters = text.char_indices().peekable();
    loop {
        while characters.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some(&(start, _)) = characters.peek() else {
            return Ok(rest);
        };
        let mut key = String::new();
        while let Some((_, c)) = characters.next_if(|(_, c)| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while characters.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        if characters.next_if(|(_, c)| *c == '=').is_none() {
            return Err(invalid(
                "it is neither a postgres:// URL nor key=value pairs",
            ));
        }
        while characters.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let quoted = characters.next_if(|(_, c)| *c == '\'').is_some();
        let mut value = String::new();
        loop {
            match characters.next_if(|(_, c)| quoted || !c.is_whitespace()) {
                Some((_, '\'')) if quoted => break,
                Some((_, '\\')) => value.extend(characters.next().map(|(_, c)| c)),
                Some((_, c)) => value.push(c),
                None if quoted => return Err(invalid("a quoted value does not end")),
                None => break,
            }
        }
        if !tls.take(&key, &value)? {
            let end = characters.peek().map_or(text.len(), |(end, _)| *end);
            rest.push_str(&text[start..end]);
            rest.push(' ');
        }
    }
}

fn invalid(reason: &str) -> Error {
    Error::InvalidUrl {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{TlsDemand, TlsParameters, split_off_tls};

    fn split(text: &str) -> (String, TlsParameters) {
        split_off_tls(text).unwrap()
    }

    #[test]
    fn a_url_keeps_what_is_not_about_tls() {
        let (rest, tls) = split(
            "postgres://u:p%3F@h/db?sslmode=verify-full&application_name=a%20b&sslrootcert=%2Fca.pem",
        );
        assert_eq!(rest, "postgres://u:p%3F@h/db?application_name=a%20b");
        assert_eq!(tls.demand, TlsDemand::VerifyFull);
        assert_eq!(tls.root_certificates.as_deref(), Some("/ca.pem"));
    }

    #[test]
    fn pairs_keep_what_is_not_about_tls() {
        let (rest, tls) = split(r"host=h  sslmode = 'require' password='a b\'c' user=u");
        assert_eq!(rest, r"host=h password='a b\'c' user=u ");
        assert_eq!(tls.demand, TlsDemand::Require);
    }

    #[test]
    fn without_parameters_tls_is_preferred() {
        let (rest, tls) = split("postgresql://h");
        assert_eq!(rest, "postgresql://h");
        assert_eq!(tls, TlsParameters::default());
        assert_eq!(tls.demand, TlsDemand::Prefer);
    }

    #[test]
    fn root_certificates_turn_require_into_verify_ca() {
        let (_, tls) = split("host=h sslmode=require sslrootcert=/ca.pem");
        assert_eq!(tls.demand, TlsDemand::VerifyCa);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "host=h sslmode=yes",
            "host=h sslcert=/c.pem",
            "host=h sslrootcert=system",
            "host=h password='open",
            "postgres://h?sslmode=%2",
            "nonsense",
        ] {
            assert!(split_off_tls(text).is_err(), "{text}");
        }
    }
}
