//! What nobody should read in a message.

/// The text with three stars for every password in a URL.
pub(super) fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((front, behind)) = rest.split_once("://") {
        masked.push_str(front);
        masked.push_str("://");
        let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
        let (url, next) = behind.split_at(end);
        // A password may have an `@`, too: it ends with the last one.
        match url.rsplit_once('@') {
            Some((who, place)) => {
                let user = who.split(':').next().unwrap_or_default();
                masked.push_str(user);
                masked.push_str(if user.len() < who.len() { ":***@" } else { "@" });
                masked.push_str(&without_parameter(place));
            }
            None => masked.push_str(&without_parameter(url)),
        }
        rest = next;
    }
    masked.push_str(rest);
    masked
}

/// It may also stand among the parameters.
fn without_parameter(place: &str) -> String {
    match place.split_once("password=") {
        Some((front, _)) => format!("{front}password=***"),
        None => place.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_password_of_a_url_is_left() {
        for (text, shown) in [
            ("nothing to hide: a/b/c", "nothing to hide: a/b/c"),
            (
                "unexpected 'postgres://me:hidden@host/db' found",
                "unexpected 'postgres://me:***@host/db' found",
            ),
            (
                "postgres://me:hid@den@host/db x://y",
                "postgres://me:***@host/db x://y",
            ),
            ("postgres://me@host/db", "postgres://me@host/db"),
            (
                "postgres://host/db?password=hidden&user=me",
                "postgres://host/db?password=***",
            ),
        ] {
            assert_eq!(super::masked(text), shown);
        }
    }
}
