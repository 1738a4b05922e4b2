//! Who may ask.

use std::net::IpAddr;

use base64::Engine as _;
use http::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq as _;

use super::answer::{self, Answer};

/// Refuses a request that does not carry the token, where there is one.
pub(super) fn check_token(headers: &HeaderMap, token: Option<&str>) -> Result<(), Box<Answer>> {
    let Some(token) = token else { return Ok(()) };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(credential);
    if given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(token.as_bytes()))) {
        return Ok(());
    }
    let mut refused = answer::text(
        StatusCode::UNAUTHORIZED,
        "a token is needed: send `Authorization: Bearer TOKEN`, or Basic with any user and the token as password\n",
    );
    refused
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"heapward\", charset=\"UTF-8\""));
    Err(Box::new(refused))
}

/// The token of `Bearer TOKEN`, or the password of `Basic base64(user:password)`.
fn credential(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    Some(decoded.split_once(':')?.1.to_owned())
}

/// Refuses a request whose `Host` or `Origin` is not this machine: on loopback, such a request comes from a web page
/// whose name was pointed here (DNS rebinding), or that posts across origins.
pub(super) fn check_local(headers: &HeaderMap) -> Result<(), Box<Answer>> {
    let refuse = |header: &str, value: &HeaderValue| {
        let value = value.as_bytes().escape_ascii();
        Err(Box::new(answer::text(
            StatusCode::FORBIDDEN,
            format!("{header} `{value}` is not this machine: allowed is localhost or a loopback address\n"),
        )))
    };
    for host in headers.get_all(HOST) {
        if !host.to_str().is_ok_and(is_local_authority) {
            return refuse("Host", host);
        }
    }
    for origin in headers.get_all(ORIGIN) {
        let authority = origin.to_str().ok().and_then(|text| text.split_once("://")).map(|(_, authority)| authority);
        if !authority.is_some_and(is_local_authority) {
            return refuse("Origin", origin);
        }
    }
    Ok(())
}

/// Whether `host[:port]` is localhost or a loopback address.
fn is_local_authority(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if port.is_empty() || is_port(port) => host,
            _ => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) => return false,
            None => authority,
        },
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_token_is_taken_as_bearer_and_as_password() {
        let allowed = |value: &str| check_token(&headers(&[(AUTHORIZATION, value)]), Some("s3cret:x")).is_ok();
        assert!(allowed("Bearer s3cret:x"));
        assert!(allowed("bearer s3cret:x"));
        assert!(allowed("Basic eDpzM2NyZXQ6eA=="), "x:s3cret:x");
        for wrong in
            ["Bearer s3cret", "Bearer ", "Bearer s3cret:xx", "Basic eDp4", "Basic !", "Digest s3cret:x", "s3cret:x", ""]
        {
            assert!(!allowed(wrong), "{wrong}");
        }
        let refused = check_token(&HeaderMap::new(), Some("s3cret:x")).unwrap_err();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert!(refused.headers().contains_key(WWW_AUTHENTICATE));
        assert!(check_token(&HeaderMap::new(), None).is_ok());
    }

    #[test]
    fn only_this_machine_s_names_are_local() {
        for host in [
            "localhost",
            "localhost:6060",
            "127.0.0.1:6060",
            "127.1.2.3",
            "[::1]:6060",
            "[::1]",
            "LOCALHOST",
            "localhost.",
        ] {
            assert!(check_local(&headers(&[(HOST, host)])).is_ok(), "{host}");
        }
        for host in [
            "example.org",
            "example.org:6060",
            "localhost.example.org",
            "10.0.0.1",
            "127.0.0.1.example.org",
            "[::2]",
            "",
            "localhost:x",
        ] {
            let refused = check_local(&headers(&[(HOST, host)])).unwrap_err();
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{host}");
        }
        assert!(check_local(&HeaderMap::new()).is_ok(), "HTTP/1.0 has no Host");
    }

    #[test]
    fn pages_of_other_origins_may_not_post() {
        let origin = |value| check_local(&headers(&[(HOST, "localhost"), (ORIGIN, value)]));
        assert!(origin("http://localhost:6060").is_ok());
        assert!(origin("https://example.org").is_err());
        assert!(origin("null").is_err());
    }
}
