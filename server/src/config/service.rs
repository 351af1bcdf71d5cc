//! What HTTP services have in common in the configuration: URLs, how we show who we are, and which
//! header fields are passed on.

use super::read::{Reader, Scope};
use super::secret::Secret;
use std::net::IpAddr;

/// Longest file with a secret or a key, in bytes.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Looks at a URL as far as that goes without a parser; the rest is found at the start. Whoever
/// puts a password into it is told to use `instead`.
pub(super) fn check_url(
    reader: &mut Reader,
    scope: Scope<'_>,
    name: &str,
    url: &str,
    plain_anywhere: bool,
    instead: &str,
) {
    let (is_plain, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => {
            let message = "the URL does not begin with https:// or http://".to_owned();
            return reader.report(scope, name, message);
        }
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_local = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let message = if host.is_empty() || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        "this is not a URL: expected one such as https://example.com/path".to_owned()
    } else if authority.contains('@') {
        format!("the URL has a user or a password in it; use {instead}")
    } else if is_plain && !is_local && !plain_anywhere {
        "the URL is plain http to another machine: anybody between could answer".to_owned()
    } else {
        return;
    };
    reader.report(scope, name, message);
}

/// The value of the header `authorization`, from the key `name` or the file that `name_file` names.
pub(super) fn authorization(reader: &mut Reader, scope: Scope<'_>, name: &str) -> Option<Secret> {
    let name_of_file = format!("{name}_file");
    let typed = optional(reader, scope, name);
    let file = optional(reader, scope, &name_of_file);
    let (name, text) = match (typed, file) {
        (Some(_), Some(_)) => {
            let message = format!("{} is set too: expected one of the two", scope.shown(name));
            reader.report(scope, &name_of_file, message);
            return None;
        }
        (Some(text), None) => (name, text),
        (None, Some(path)) => {
            let text = read_file(reader, scope, &name_of_file, &path)?;
            (name_of_file.as_str(), text)
        }
        (None, None) => return None,
    };
    if text.is_empty() || text.bytes().any(|byte| byte.is_ascii_control() || !byte.is_ascii()) {
        let message = "this is not the value of a header: expected printable ASCII".to_owned();
        reader.report(scope, name, message);
    }
    Some(Secret::new(text))
}

/// Names of header fields (RFC 9110, 5.1).
pub(super) fn header_names(reader: &mut Reader, scope: Scope<'_>, name: &str) -> Vec<String> {
    let headers = reader.text_list(scope, name);
    for (index, header) in headers.iter().enumerate() {
        let is_token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
        if header.is_empty() || !header.bytes().all(is_token) {
            let message = format!("'{header}' is not the name of a header field");
            reader.report_item(scope, name, index, message);
        }
    }
    headers
}

/// A text of at least one character.
pub(super) fn optional(reader: &mut Reader, scope: Scope<'_>, name: &str) -> Option<String> {
    Some(reader.text(scope, name)).filter(|text| !text.is_empty())
}

/// The text of a file without the line end at its end.
pub(super) fn read_file(
    reader: &mut Reader,
    scope: Scope<'_>,
    name: &str,
    path: &str,
) -> Option<String> {
    let failed = |reader: &mut Reader, why: String| {
        reader.report(scope, name, format!("cannot read {path}: {why}"));
        None
    };
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) if text.len() <= FILE_BYTES_MAX => {
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        Ok(Ok(_)) => failed(reader, format!("it is longer than {FILE_BYTES_MAX} bytes")),
        Ok(Err(_)) => failed(reader, "it is not UTF-8 text".to_owned()),
        Err(error) => failed(reader, error.to_string()),
    }
}
