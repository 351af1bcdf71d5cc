//! Properties that hold for any input: run by fuzzers, and over seeded inputs by ordinary tests.
//! Not part of the public interface.

pub use crate::ws::fuzzing::*;

use crate::http::{
    self, Body, BodyLength, Fed, HeadLimits, HeadScanner, HttpError, choose_subprotocol,
};

/// A request head is found and read alike however it is split, and only in one way.
///
/// The first byte of `data` says where the rest is split.
///
/// # Panics
/// If a property does not hold.
pub fn fuzz_upgrade_request(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let limits = HeadLimits { head_bytes_max: 1024, headers_max: 16, target_bytes_max: 256 };
    let found = HeadScanner::default().scan(bytes, &limits);
    assert_eq!(found, scan_in_steps(bytes, usize::from(step) + 1, &limits));
    let Ok(Some(end)) = found else {
        assert!(http::parse(bytes, &limits).is_err(), "a head without an end was read");
        return;
    };
    assert!(end <= bytes.len().min(limits.head_bytes_max));
    assert!(bytes[..end].ends_with(b"\r\n\r\n"));
    let request = match http::parse(&bytes[..end], &limits) {
        Ok(request) => request,
        Err(error) => return check_refusal(&error),
    };
    assert!(request.headers().count() <= limits.headers_max);
    assert!(request.target.len() <= limits.target_bytes_max);
    for (name, value) in request.headers() {
        assert!(!value.contains(&b'\r') && !value.contains(&b'\n') && !value.contains(&0));
        assert!(request.header(name).is_some());
    }
    assert!(!(request.is_chunked() && request.content_length().is_some()));
    match http::upgrade(&request) {
        Ok(upgrade) => {
            assert_eq!(request.body_length(), BodyLength::Known(0));
            let chosen = choose_subprotocol(upgrade.subprotocols(), &["json"]);
            let mut answer = Vec::new();
            let extensions = upgrade.extensions();
            http::write_switching_protocols(
                &mut answer,
                upgrade.key(),
                chosen,
                extensions.as_deref(),
            );
            check_answer(&answer, 101);
        }
        Err(error) => check_refusal(&error),
    }
}

/// A body is collected alike however it is split, and never beyond its limit.
///
/// The first three bytes of `data` say how long it may be, how its length is known, and where the
/// rest is split.
///
/// # Panics
/// If a property does not hold.
pub fn fuzz_body(data: &[u8]) {
    let Some((&[max, known, step], input)) = data.split_first_chunk::<3>() else { return };
    let length = match known {
        0..128 => BodyLength::Chunked,
        known => BodyLength::Known(u64::from(known - 128)),
    };
    let bytes_max = usize::from(max);
    let at_once = feed_in_steps(length, bytes_max, input, input.len().max(1));
    assert_eq!(at_once, feed_in_steps(length, bytes_max, input, usize::from(step) + 1));
    if let Ok((bytes, fed)) = at_once {
        assert!(bytes.len() <= bytes_max);
        assert!(fed.consumed <= input.len());
        assert!(fed.done || fed.consumed == input.len());
    }
}

fn scan_in_steps(
    bytes: &[u8],
    step: usize,
    limits: &HeadLimits,
) -> Result<Option<usize>, HttpError> {
    let mut scanner = HeadScanner::default();
    for end in (0..bytes.len()).step_by(step) {
        if let Some(end) = scanner.scan(&bytes[..end], limits)? {
            return Ok(Some(end));
        }
    }
    scanner.scan(bytes, limits)
}

fn feed_in_steps(
    length: BodyLength,
    bytes_max: usize,
    input: &[u8],
    step: usize,
) -> Result<(Vec<u8>, Fed), HttpError> {
    let mut body = Body::new(length, bytes_max)?;
    let mut consumed = 0;
    for piece in input.chunks(step) {
        consumed += body.feed(piece)?.consumed;
    }
    let done = body.is_done();
    Ok((body.into_bytes(), Fed { consumed, done }))
}

fn check_refusal(error: &HttpError) {
    let mut answer = Vec::new();
    http::write_refusal(&mut answer, error);
    check_answer(&answer, error.status);
}

fn check_answer(answer: &[u8], status: u16) {
    match http::parse_response(answer) {
        Ok(Some((response, _))) => assert_eq!(response.status, status),
        other => panic!("an answer that cannot be read: {other:?}"),
    }
}
