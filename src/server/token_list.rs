use std::fmt;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::{
    principal::{Principal, Role},
    secret::{self, Secret},
};

/// Who may use the server: a name and a role for each bearer token. Only hashes of the tokens are
/// kept.
///
/// It is written as lines of three words, a role, a name and the SHA-256 of the token in 64
/// hexadecimal digits; what follows a `#` is a remark.
///
/// ```
/// use pgmutex::server::{Role, TokenList};
///
/// # fn main() -> Result<(), pgmutex::server::TokenListError> {
/// let (token, line) = TokenList::new_token("build-farm", Role::Application)?;
/// let list = TokenList::parse(&format!("# who may do what\n{line}\n"))?;
/// assert_eq!(list.holder_of(token.reveal()).map(|holder| holder.role()), Some(Role::Application));
/// assert_eq!(list.holder_of("a guess"), None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct TokenList {
    entries: Vec<(Principal, [u8; 32])>,
}

/// Why a token list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenListError {
    /// A line that is none.
    #[error(
        "line {line} of the token list: {reason}; a line reads `ROLE NAME SHA256`, as `pgmutex token ROLE NAME` makes it"
    )]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it; never what stands there, which could be a token.
        reason: &'static str,
    },
    /// There is no token in it: nobody could use the server.
    #[error(
        "the token list is empty, so nobody could use the server: make a line with `pgmutex token admin NAME`"
    )]
    Empty,
    /// A name that does not fit into a line.
    #[error("the name of a token is one word of at most 100 bytes, without `#`")]
    Name,
}

impl TokenList {
    /// Reads a list.
    ///
    /// # Errors
    /// [`TokenListError`], with the number of the line.
    pub fn parse(text: &str) -> Result<Self, TokenListError> {
        let mut list = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let wrong = |reason| TokenListError::Line {
                line: number + 1,
                reason,
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            let (role, name, digits) = match words.as_slice() {
                [] => continue,
                [role, name, digits] => (*role, *name, *digits),
                _ => return Err(wrong("it has not three words")),
            };
            let role: Role = role
                .parse()
                .map_err(|_| wrong("its first word is no role (reader, application, admin)"))?;
            check_name(name).map_err(|_| wrong("its second word is too long for a name"))?;
            let hash = secret::bytes_of_hex(digits)
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                .ok_or_else(|| wrong("its third word is not 64 hexadecimal digits"))?;
            if list.entries.iter().any(|(_, known)| *known == hash) {
                return Err(wrong("its token has a line already"));
            }
            list.entries.push((Principal::new(name, role), hash));
        }
        if list.entries.is_empty() {
            return Err(TokenListError::Empty);
        }
        Ok(list)
    }

    /// Makes a token, and the line that belongs into the list for it.
    ///
    /// # Errors
    /// [`TokenListError::Name`] if the name does not fit into a line.
    pub fn new_token(name: &str, role: Role) -> Result<(Secret, String), TokenListError> {
        check_name(name)?;
        let token = Secret::random();
        let hash = secret::hex(&secret::hash(&[token.reveal()]));
        Ok((token, format!("{role} {name} {hash}")))
    }

    /// Whose token this is. It takes the same time whether and whose it is.
    pub fn holder_of(&self, token: &str) -> Option<&Principal> {
        let hash = secret::hash(&[token]);
        let mut found = u64::MAX;
        for (number, (_, known)) in (0_u64..).zip(&self.entries) {
            let fits: Choice = known.ct_eq(&hash);
            found.conditional_assign(&number, fits);
        }
        let (principal, _) = self.entries.get(usize::try_from(found).ok()?)?;
        Some(principal)
    }
}

fn check_name(name: &str) -> Result<(), TokenListError> {
    let is_word = !name.is_empty()
        && name.len() <= 100
        && !name.contains(|c: char| c == '#' || c.is_whitespace() || c.is_control());
    is_word.then_some(()).ok_or(TokenListError::Name)
}

/// Names and roles, without the hashes.
impl fmt::Debug for TokenList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let principals = self.entries.iter().map(|(principal, _)| principal);
        f.debug_list().entries(principals).finish()
    }
}
