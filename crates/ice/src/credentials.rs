//! What a side proves itself with in checks: a user name fragment and a password.

use std::fmt;

/// The credentials of one side and one generation (RFC 8839 section 5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name fragment: 4 to 256 characters of letters, digits, `+` and `/`.
    pub ufrag: String,
    /// The password: 22 to 256 of the same characters.
    pub password: String,
}

impl Credentials {
    /// Returns whether both parts have the length and the characters that RFC 8839 wants.
    pub fn is_valid(&self) -> bool {
        let fits = |text: &str, least: usize| {
            (least..=256).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        };
        fits(&self.ufrag, 4) && fits(&self.password, 22)
    }
}

/// Without the password, which belongs in no log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_long_and_strange_ones_are_refused() {
        let credentials = |ufrag: &str, password: &str| Credentials {
            ufrag: ufrag.to_owned(),
            password: password.to_owned(),
        };
        let password = "0123456789abcdefABC+/x";
        assert!(credentials("ab+/", password).is_valid());
        assert!(!credentials("abc", password).is_valid());
        assert!(!credentials("ab:d", password).is_valid());
        assert!(!credentials(&"a".repeat(257), password).is_valid());
        assert!(!credentials("abcd", &password[1..]).is_valid());
        assert!(!format!("{:?}", credentials("abcd", password)).contains(password));
    }
}
