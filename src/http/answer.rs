//! Answers, and errors as answers.

use std::io::{self, Write};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::format::Capped;

pub(super) type Answer = Response<Bytes>;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// Sent with every answer: a browser must not guess that a profile is a page.
const NOSNIFF: (HeaderName, HeaderValue) = (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// pprof shows the text of an error to its user only where this header is set.
const GO_PPROF: HeaderName = HeaderName::from_static("x-go-pprof");

pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(NOSNIFF.0, NOSNIFF.1);
    // Each answer is about this moment.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_body(status, TEXT, body)
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec_pretty(body) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            with_body(status, "application/json", bytes)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("writing JSON: {error}\n")),
    }
}

/// The same, but for the status, of what may be large: never more than an answer may be.
///
/// # Errors
///
/// When it is more, with `advice`.
pub(super) fn capped_json(body: &impl Serialize, advice: &'static str) -> Result<Answer> {
    written("application/json", advice, |out| {
        serde_json::to_writer_pretty(&mut *out, body)?;
        out.write_all(b"\n")
    })
}

/// What `write` writes, and never more than an answer may be.
///
/// # Errors
///
/// When it is more, with `advice`.
pub(super) fn written(
    content_type: &'static str,
    advice: &'static str,
    write: impl FnOnce(&mut Capped) -> io::Result<()>,
) -> Result<Answer> {
    let mut body = Capped::new(advice);
    let written = write(&mut body).map_err(|error| Error::io("writing an answer", error));
    Ok(with_body(StatusCode::OK, content_type, body.finish(written)?))
}

/// A gzipped profile, to be saved under `name`, a `Content-Disposition`.
pub(super) fn profile(name: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = with_body(StatusCode::OK, "application/octet-stream", body);
    answer.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
    answer
}

pub(super) fn body_too_long(most: usize) -> Answer {
    let message =
        format!("the body is too long, did not come, or does not say how long it is: allowed are {most} bytes\n");
    text(StatusCode::PAYLOAD_TOO_LARGE, message)
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// How an error reads to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorStyle {
    /// For programs: `{"error": "…"}`.
    Json,
    /// For `go tool pprof`.
    Pprof,
}

impl ErrorStyle {
    /// The style for whoever asks for `path`.
    pub(super) fn of(path: &str) -> Self {
        if path.trim_start_matches('/').starts_with("debug/") { Self::Pprof } else { Self::Json }
    }

    /// The answer as it is sent: every error that pprof gets is marked, wherever it was made.
    pub(super) fn finish(self, mut answer: Answer) -> Answer {
        let status = answer.status();
        if self == Self::Pprof && (status.is_client_error() || status.is_server_error()) {
            answer.headers_mut().insert(GO_PPROF, HeaderValue::from_static("1"));
        }
        answer
    }
}

pub(super) fn error(error: &Error, style: ErrorStyle) -> Answer {
    let status = match error.kind() {
        ErrorKind::Config | ErrorKind::Malformed | ErrorKind::NewerFormat => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyRunning => StatusCode::CONFLICT,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::NotRunning | ErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut answer = match style {
        ErrorStyle::Json => {
            #[derive(Serialize)]
            struct Body {
                error: String,
            }
            json(status, &Body { error: error.to_string() })
        }
        ErrorStyle::Pprof => text(status, format!("{error}\n")),
    };
    let wait = error.retry_after().or((error.kind() == ErrorKind::Busy).then_some(std::time::Duration::from_secs(1)));
    if let Some(wait) = wait {
        // Whole seconds, rounded up: a client that obeys is not refused again.
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_an_answer_may_be_is_refused_with_advice() {
        let part = "x".repeat(1 << 20);
        let json = |parts: usize| capped_json(&vec![&part; parts], "ask for less").map(|answer| answer.body().len());
        assert!(json(31).is_ok_and(|size| size > 31 << 20));
        let text = written(TEXT, "ask for less", |out| (0..33).try_for_each(|_| out.write_all(part.as_bytes())));
        for refused in [json(32).unwrap_err(), text.unwrap_err()] {
            assert_eq!(refused.to_string(), "the answer is larger than 32 MiB: ask for less");
            assert_eq!(super::error(&refused, ErrorStyle::Json).status(), StatusCode::BAD_REQUEST);
        }
    }
}
