//! Where alerts are sent.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use http::Uri;
use http::header::HeaderValue;

use crate::error::{Error, Result};

/// An address of HTTP: `http://[user:password@]host[:port][/path]`.
///
/// Shown are scheme, host and port alone: passwords stand in front of them, and keys of webhooks behind.
#[derive(Clone, PartialEq)]
pub(crate) struct Target {
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// For `Host`.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
    /// For `Authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

impl Target {
    /// The same with a path below it, unless it leads there already. A query stays behind it.
    pub(super) fn below(&self, path: &str) -> Self {
        let (own, query) = self.path.split_at(self.path.find('?').unwrap_or(self.path.len()));
        if own.ends_with(path) {
            return self.clone();
        }
        Self { path: format!("{}{path}{query}", own.trim_end_matches('/')), ..self.clone() }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let refuse = |why: &str| {
            // What is no address at all holds no secret.
            let shown = if text.contains(['/', '@', '?', '#', ':']) { "it".to_owned() } else { format!("`{text}`") };
            Error::config(format!(
                "{shown} is not an address to send alerts to{why}: allowed is http://host:port/path, with \
                 user:password@ before the host if need be"
            ))
        };
        let uri: Uri = text.parse().map_err(|_| refuse(""))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(refuse(", as heapward speaks no TLS (let a proxy on this machine do that)"));
            }
            _ => return Err(refuse("")),
        }
        let authority = uri.authority().ok_or_else(|| refuse(""))?;
        let (user, plain) = match authority.as_str().rsplit_once('@') {
            Some((user, plain)) => (Some(user), plain),
            None => (None, authority.as_str()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // A port that is no number is none to the parser.
        let port = match plain.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((_, port)) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| refuse(""))?,
            None => 80,
        };
        if host.is_empty() {
            return Err(refuse(""));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            host,
            port,
            authority: plain.to_owned(),
            path: path.to_owned(),
            authorization: user.map(basic).transpose().map_err(|()| refuse(""))?,
        })
    }
}

/// `Authorization` for `user:password`.
fn basic(user: &str) -> std::result::Result<HeaderValue, ()> {
    let decoded = percent_decoded(user.as_bytes()).ok_or(())?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(decoded);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        decoded.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    Some(decoded)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, port: u16, path: &str, basic: Option<&str>) {
        let target: Target = text.parse().unwrap();
        assert_eq!((&*target.host, target.port, &*target.path), (host, port, path), "{text}");
        let given = target.authorization.as_ref().map(|value| value.to_str().unwrap().to_owned());
        let basic = basic.map(|plain| base64::engine::general_purpose::STANDARD.encode(plain));
        assert_eq!(given, basic.map(|encoded| format!("Basic {encoded}")), "{text}");
    }

    #[test]
    fn addresses_are_taken_apart() {
        check("http://localhost", "localhost", 80, "/", None);
        check(" http://localhost:9093/\n", "localhost", 9093, "/", None);
        check("http://127.0.0.1:1/hook?key=5", "127.0.0.1", 1, "/hook?key=5", None);
        check("http://[::1]:8080/a", "::1", 8080, "/a", None);
        check("http://[::1]", "::1", 80, "/", None);
        check("http://me:pass@host/x", "host", 80, "/x", Some("me:pass"));
        check("http://me:p%40ss%3A@host:5/x", "host", 5, "/x", Some("me:p@ss:"));
    }

    #[test]
    fn what_is_refused_is_told_without_its_secrets() {
        for text in [
            "",
            "banana",
            "http://",
            "http:///hook",
            "ftp://secret@host",
            "https://secret@host/secret",
            "http://secret%4@host",
            "http://secret:x@host:99999",
            "http://secret@host:0/",
            "http://secret@host:/",
            "host:9093",
            "http://secret host/",
            "/secret",
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("allowed is http://"), "{text}: {error}");
            assert!(!error.contains("secret"), "{text}: {error}");
        }
        assert!("banana".parse::<Target>().unwrap_err().to_string().starts_with("`banana` is not an address"));
        assert!("https://host".parse::<Target>().unwrap_err().to_string().contains("TLS"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let target: Target = "http://me:secret@host:81/secret?secret".parse().unwrap();
        assert_eq!(target.to_string(), "http://host:81");
        assert!(!format!("{target:?}").contains("secret"));
        assert!(!format!("{:?}", target.authorization).contains("secret"));
    }

    #[test]
    fn paths_go_below_a_prefix() {
        let below = |text: &str| text.parse::<Target>().unwrap().below("/api/v2/alerts").path;
        assert_eq!(below("http://host:9093"), "/api/v2/alerts");
        assert_eq!(below("http://host/prefix/"), "/prefix/api/v2/alerts");
        assert_eq!(below("http://host/prefix/api/v2/alerts"), "/prefix/api/v2/alerts");
        assert_eq!(below("http://host/prefix/?key=5"), "/prefix/api/v2/alerts?key=5");
        assert_eq!(below("http://host?key=/api/v2/alerts"), "/api/v2/alerts?key=/api/v2/alerts");
    }
}
