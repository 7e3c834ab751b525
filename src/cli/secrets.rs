//! What nobody should read in a message.

/// The text with three stars for every password: in a URL, in its parameters, and in a list of
/// `key=value` pairs.
pub(super) fn masked(text: &str) -> String {
    without_parameters(&without_userinfo(text))
}

fn without_userinfo(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((front, behind)) = rest.split_once("://") {
        masked.push_str(front);
        masked.push_str("://");
        // A password may have any character, also a space or an `@`: clap puts what it was given between
        // quotes, on one line.
        let end = behind.find(['\'', '\n']).unwrap_or(behind.len());
        let (url, next) = behind.split_at(end);
        match url.rsplit_once('@') {
            Some((who, place)) => {
                let user = who.split(':').next().unwrap_or_default();
                masked.push_str(user);
                masked.push_str(if user.len() < who.len() { ":***@" } else { "@" });
                masked.push_str(place);
            }
            None => masked.push_str(url),
        }
        rest = next;
    }
    masked.push_str(rest);
    masked
}

fn without_parameters(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find("password") {
        let behind = &rest[place + "password".len()..];
        let value = behind.trim_start();
        masked.push_str(&rest[..place]);
        masked.push_str("password");
        let Some(value) = value.strip_prefix('=') else {
            rest = behind;
            continue;
        };
        masked.push_str("=***");
        let value = value.trim_start_matches([' ', '\'']);
        // To the end of the line: where a quoted value ends depends on more than can be seen here.
        rest = value.find('\n').map_or("", |end| &value[end..]);
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_password_is_left() {
        for (text, shown) in [
            ("nothing to hide: a/b/c", "nothing to hide: a/b/c"),
            (
                "say the password by PGPASSWORD",
                "say the password by PGPASSWORD",
            ),
            (
                "unexpected 'postgres://me:hidden@host/db' found",
                "unexpected 'postgres://me:***@host/db' found",
            ),
            (
                "unexpected 'postgres://me:hid den@host/db' found",
                "unexpected 'postgres://me:***@host/db' found",
            ),
            (
                "postgres://me:hid@den@host/db\nx://y",
                "postgres://me:***@host/db\nx://y",
            ),
            ("postgres://me@host/db", "postgres://me@host/db"),
            (
                "'postgres://host/db?password=hidden&user=me'",
                "'postgres://host/db?password=***",
            ),
            (
                "unexpected 'host=x password = 'hid den' user=y'\nso",
                "unexpected 'host=x password=***\nso",
            ),
        ] {
            assert_eq!(super::masked(text), shown);
        }
    }
}
