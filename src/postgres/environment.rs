//! What libpq's environment variables say of the database, for programs of which people expect that
//! they read them as `psql` does.

use std::{env, fs, path::PathBuf, str::FromStr};

use tokio_postgres::{Config, config::Host};

use super::connection_string::split_off_tls;
use crate::domain::Error;

/// The variables, and the parameters that they stand for.
const VARIABLES: [(&str, &str); 16] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
];

/// Those that say which database is meant; without any of them none is.
const PLACES: [&str; 4] = ["PGHOST", "PGHOSTADDR", "PGDATABASE", "PGSERVICE"];

/// Those that ask for security of a kind that the driver does not know.
const NOT_HEEDED: [&str; 5] = [
    "PGREQUIREAUTH",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLMINPROTOCOLVERSION",
    "PGREQUIRESSL",
];

/// Where servers on this machine have their sockets: Debian's folder, and PostgreSQL's own.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// A connection string of the one that was named, if one was, completed by the environment: by the
/// `PG*` variables of libpq, the password file, and the place of a local server.
///
/// `None` if nothing says which database is meant.
///
/// # Errors
/// [`Error::InvalidUrl`] if what was named cannot be read, or if the environment asks for what is
/// not understood here.
pub(crate) fn connection_string(named: Option<&str>) -> Result<Option<String>, Error> {
    complete(named, &|name| env::var(name).ok())
}

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

fn complete(named: Option<&str>, variable: Variable<'_>) -> Result<Option<String>, Error> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if named.is_none() && PLACES.iter().all(|name| set(name).is_none()) {
        return Ok(None);
    }
    if set("PGSERVICE").is_some() {
        return Err(Error::InvalidUrl {
            reason: "PGSERVICE is set, and service files are not read here: set PGHOST and PGDATABASE, or name a URL"
                .to_owned(),
        });
    }
    if let Some(name) = NOT_HEEDED.iter().find(|name| set(name).is_some()) {
        return Err(Error::InvalidUrl {
            reason: format!(
                "{name} is set, and would not be heeded here: unset it, and see to it by sslmode and sslrootcert"
            ),
        });
    }
    let mut text = named.unwrap_or("").to_owned();
    let said = Said::by(&text)?;
    for (name, parameter) in VARIABLES {
        if let Some(value) = set(name)
            && !said.has(parameter)
        {
            add(&mut text, parameter, &value);
        }
    }
    let now = Said::by(&text)?;
    if !now.has("host") && !now.has("hostaddr") {
        add(&mut text, "host", &local_server(&now.port()));
    }
    let now = Said::by(&text)?;
    if !now.has("password")
        && let Some(password) = now.password_from_file(&set)
    {
        add(&mut text, "password", &password);
    }
    Ok(Some(text))
}

/// What a connection string says already.
struct Said {
    config: Config,
    text: String,
}

impl Said {
    fn by(text: &str) -> Result<Self, Error> {
        let (rest, _) = split_off_tls(text)?;
        let config = Config::from_str(&rest).map_err(|error| Error::InvalidUrl {
            reason: std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string),
        })?;
        Ok(Self {
            config,
            text: text.to_owned(),
        })
    }

    fn has(&self, parameter: &str) -> bool {
        match parameter {
            "host" => !self.config.get_hosts().is_empty(),
            "hostaddr" => !self.config.get_hostaddrs().is_empty(),
            "port" => !self.config.get_ports().is_empty(),
            "dbname" => self.config.get_dbname().is_some(),
            "user" => self.config.get_user().is_some(),
            "password" => self.config.get_password().is_some(),
            "options" => self.config.get_options().is_some(),
            "application_name" => self.config.get_application_name().is_some(),
            "connect_timeout" => self.config.get_connect_timeout().is_some(),
            // The driver does not tell these from its defaults.
            other => self.text.contains(&format!("{other}=")),
        }
    }

    fn port(&self) -> String {
        let port = self.config.get_ports().first().copied();
        port.unwrap_or(5432).to_string()
    }

    /// The password that the password file has for this place, as libpq looks it up.
    fn password_from_file(&self, set: Variable<'_>) -> Option<String> {
        let file = set("PGPASSFILE").map(PathBuf::from).or_else(|| {
            let home = set("HOME")?;
            Some(PathBuf::from(home).join(".pgpass"))
        })?;
        if !is_private(&file) {
            if file.exists() {
                tracing::warn!(file = %file.display(), "the password file is not used: others can read it (chmod 0600)");
            }
            return None;
        }
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(folder))
                if SOCKET_FOLDERS
                    .iter()
                    .any(|usual| folder.as_os_str() == *usual) =>
            {
                "localhost".to_owned()
            }
            #[cfg(unix)]
            Some(Host::Unix(folder)) => folder.to_string_lossy().into_owned(),
            None => self.config.get_hostaddrs().first()?.to_string(),
        };
        let user = self
            .config
            .get_user()
            .map(ToOwned::to_owned)
            // As the driver finds the user where none is named.
            .or_else(|| ["USER", "LOGNAME"].iter().find_map(|name| set(name)))
            .or_else(user_of_this_process)?;
        let database = self.config.get_dbname().unwrap_or(&user).to_owned();
        password_in(
            &fs::read_to_string(file).ok()?,
            [&host, &self.port(), &database, &user],
        )
    }
}

fn user_of_this_process() -> Option<String> {
    #[cfg(unix)]
    {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok()??;
        Some(user.name)
    }
    #[cfg(not(unix))]
    None
}

/// As libpq, a password file that others can read is not used.
fn is_private(file: &std::path::Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 == 0)
    }
    #[cfg(not(unix))]
    {
        file.exists()
    }
}

/// Lines `host:port:database:user:password`; the first that fits counts. `*` fits everything, and
/// `\` takes the next character as it is.
fn password_in(lines: &str, place: [&str; 4]) -> Option<String> {
    lines.lines().find_map(|line| {
        if line.starts_with('#') {
            return None;
        }
        let mut fields = vec![String::new()];
        let mut characters = line.chars();
        while let Some(c) = characters.next() {
            let last = fields.len() - 1;
            match c {
                '\\' => fields[last].extend(characters.next()),
                ':' if last < 4 => fields.push(String::new()),
                c => fields[last].push(c),
            }
        }
        let (password, pattern) = fields.split_last()?;
        let fits = pattern.len() == 4
            && pattern
                .iter()
                .zip(place)
                .all(|(field, part)| field == "*" || field == part);
        fits.then(|| password.clone())
    })
}

fn local_server(port: &str) -> String {
    let has_socket = |folder: &&str| {
        let socket = format!("{folder}/.s.PGSQL.{port}");
        std::path::Path::new(&socket).exists()
    };
    let folder = SOCKET_FOLDERS.iter().copied().find(has_socket);
    folder.unwrap_or("localhost").to_owned()
}

/// Adds a parameter to a URL or to a list of pairs.
fn add(text: &mut String, parameter: &str, value: &str) {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(parameter);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    text.push(char::from(byte));
                }
                byte => text.push_str(&format!("%{byte:02X}")),
            }
        }
    } else {
        let quoted = value.replace('\\', r"\\").replace('\'', r"\'");
        text.push_str(&format!(" {parameter}='{quoted}'"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(named: Option<&str>, set: &[(&str, &str)]) -> Option<Config> {
        let variable = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let text = complete(named, &variable).unwrap()?;
        Some(Said::by(&text).unwrap().config)
    }

    #[test]
    fn nothing_that_names_a_place_is_no_database() {
        assert!(completed(None, &[("PGUSER", "me"), ("PGHOST", "")]).is_none());
        assert!(completed(None, &[("PGDATABASE", "mine")]).is_some());
    }

    #[test]
    fn variables_complete_what_a_url_leaves_open_and_nothing_else() {
        let set = [
            ("PGHOST", "elsewhere"),
            ("PGPASSWORD", "it's & \\ 100%"),
            ("PGUSER", "me"),
        ];
        for named in ["postgres://you@there/db", "host=there user=you dbname=db"] {
            let config = completed(Some(named), &set).unwrap();
            assert_eq!(config.get_hosts(), [Host::Tcp("there".to_owned())]);
            assert_eq!(config.get_user(), Some("you"));
            assert_eq!(config.get_password(), Some("it's & \\ 100%".as_bytes()));
        }
        let config = completed(None, &set).unwrap();
        assert_eq!(config.get_hosts(), [Host::Tcp("elsewhere".to_owned())]);
        assert_eq!(config.get_user(), Some("me"));
    }

    #[test]
    fn a_service_is_refused_rather_than_ignored() {
        let error = complete(None, &|name| (name == "PGSERVICE").then(|| "x".to_owned()));
        assert!(error.unwrap_err().to_string().contains("PGSERVICE"));
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let lines =
            "# h:1:d:u:comment\nother:*:*:*:no\nh:5432:d:u\nh:*:d\\:b:u:a:b\\\\c\n*:*:*:*:any\n";
        let password = |place| password_in(lines, place);
        assert_eq!(
            password(["h", "5432", "d:b", "u"]).as_deref(),
            Some("a:b\\c")
        );
        assert_eq!(password(["h", "5432", "d", "u"]).as_deref(), Some("any"));
        assert_eq!(password_in("h:1:d:u:x", ["h", "2", "d", "u"]), None);
    }
}
