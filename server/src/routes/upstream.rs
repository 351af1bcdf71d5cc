//! Routes that an HTTP service answers.
//!
//! Every call is one POST of JSON:
//!
//! ```text
//! {"method":"users.get","params":["7"],
//!  "connection":{"id":"...","ip":"...","path":"...","user_id":"ada","claims":{...},
//!                "headers":[["name","value"],...]}}
//! ```
//!
//! An answer with a status of 2xx is the result, none without content. Any other is an error: its
//! `message`, its `code` and its `data` where its content is a JSON object that has them, else
//! those of the status. Without a `data` that is an object, all its other members are the data.

use crate::auth::answer::Answer;
use crate::config::route;
use crate::json::{Object, Quoted, is_json, list};
use crate::log::{Field, Level, Logger};
use fulmar::dialect::{Outcome, Payload};
use fulmar::{CallError, Connection, Value};
use fulmar_auth::{HttpAnswer, Pool, PoolOptions, Service, SetupError, Unanswered};
use std::borrow::Cow;
use std::sync::Arc;

/// The threads that ask the services of an endpoint.
pub(super) struct Services {
    pool: Pool,
    headers: Vec<String>,
    authorization: Option<String>,
    logger: Arc<Logger>,
}

impl Services {
    /// Starts the threads.
    ///
    /// # Errors
    /// None to be had.
    pub(super) fn start(from: &route::Upstream, logger: &Arc<Logger>) -> Result<Self, SetupError> {
        let mut options = PoolOptions::default();
        options.timeout = from.timeout;
        options.concurrency_max = from.concurrency_max;
        options.queue_max = from.queue_max;
        options.answer_bytes_max = from.answer_bytes_max;
        Ok(Self {
            pool: Pool::start(options)?,
            headers: from.headers.clone(),
            authorization: from.authorization.as_ref().map(|secret| secret.reveal().to_owned()),
            logger: logger.clone(),
        })
    }

    /// The service at a URL.
    ///
    /// # Errors
    /// A URL that is none.
    pub(super) fn service(self: &Arc<Self>, url: &str) -> Result<Upstream, SetupError> {
        let service = Arc::new(Service::new(url, self.authorization.as_deref())?);
        Ok(Upstream { services: self.clone(), service, method: String::new() })
    }
}

/// A service that answers a route.
pub(super) struct Upstream {
    services: Arc<Services>,
    service: Arc<Service>,
    method: String,
}

impl Upstream {
    /// The same for this route.
    pub(super) fn named(self, method: &str) -> Self {
        Self { method: method.to_owned(), ..self }
    }

    /// Has it answer a call; holds no thread of ours while that takes.
    pub(super) fn ask(&self, connection: &Connection, params: &str) -> Outcome {
        let (settler, answer) = Answer::pair();
        let question = self.question(connection, params);
        let is_wanted = settler.is_awaited();
        let done = |answer| settler.settle(answer);
        self.services.pool.post(&self.service, question, is_wanted, done);
        let (logger, method) = (self.services.logger.clone(), self.method.clone());
        Outcome::Later(Box::pin(async move {
            let result = match answer.await {
                Ok(answer) => result_of(answer),
                Err(why) => Err(unanswered(why)),
            };
            if let Err(error) = &result {
                let fields = [
                    ("method", Field::Text(&method)),
                    ("code", Field::Number(error.code.unwrap_or(500).unsigned_abs().into())),
                ];
                logger.event(Level::Debug, "upstream", &error.message, &fields);
            }
            Outcome::Ready(result)
        }))
    }

    fn question(&self, connection: &Connection, params: &str) -> String {
        let is_wanted = |(name, _): &(&str, &str)| {
            self.services.headers.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let headers = connection.headers().filter(is_wanted);
        let headers = headers.map(|(name, value)| list([Quoted(name), Quoted(value)]));
        let identity = connection.identity().unwrap_or_default();
        let mut about = Object::new();
        about.string("id", &connection.id()).string("ip", &connection.ip().to_string());
        about.string("path", connection.path());
        match &identity.user {
            Some(user) => about.string("user_id", user),
            None => about.raw("user_id", &"null"),
        };
        let claims = if identity.claims.is_empty() { "null" } else { &*identity.claims };
        about.raw("claims", &claims).raw("headers", &list(headers));
        let mut question = Object::new();
        question.string("method", &self.method).raw("params", &params);
        question.raw("connection", &about.finish());
        question.finish()
    }
}

fn result_of(answer: HttpAnswer) -> Result<Payload<'static>, CallError> {
    let HttpAnswer { status, reason, body } = answer;
    if !(200..300).contains(&status) {
        return Err(error_of(status, reason, &body.unwrap_or_default()));
    }
    let text = String::from_utf8(body.map_err(unanswered)?).unwrap_or_default();
    // A 204 has no content (RFC 9110, 15.3.5).
    if status == 204 || text.is_empty() {
        return Ok(Payload::Undefined);
    }
    if !is_json(&text) {
        return Err(CallError::with_code(502, "Upstream answered with something else than JSON"));
    }
    Ok(Payload::Json(Cow::Owned(text)))
}

/// As alien-rpc has it of responses that are thrown.
fn error_of(status: u16, reason: &'static str, body: &[u8]) -> CallError {
    let by_status = CallError::with_code(i32::from(status), reason);
    let body = str::from_utf8(body).ok().map(Payload::json);
    let Some(Ok(Value::Map(members))) = body.map(Payload::into_value) else { return by_status };
    let mut error = by_status;
    let mut rest = Vec::new();
    for (name, value) in members {
        match (&*name, value) {
            ("message", Value::String(text)) => error.message = Cow::Owned(text.into()),
            ("code", Value::Int(code)) if i32::try_from(code).is_ok() => {
                error.code = i32::try_from(code).ok();
            }
            ("data", Value::Map(fields)) => error.fields = fields,
            (_, value) => rest.push((name, value)),
        }
    }
    if error.fields.is_empty() {
        error.fields = rest;
    }
    error
}

/// Says what went wrong, and nothing of where the service is.
fn unanswered(why: Unanswered) -> CallError {
    let (code, message) = match why {
        Unanswered::Busy => (503, "Upstream is busy"),
        Unanswered::TimedOut => (504, "Upstream timed out"),
        Unanswered::Unreachable => (502, "Upstream cannot be reached"),
        Unanswered::TooLong => (502, "Upstream's answer is too long"),
        Unanswered::Broken => (502, "Upstream broke off"),
        Unanswered::Unwanted | Unanswered::Closing => (503, "Server is stopping"),
    };
    CallError::with_code(code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Result<String, (i32, String, usize)> {
        let body = Ok(body.as_bytes().to_vec());
        let result = result_of(HttpAnswer { status, reason: "Reason", body });
        let text = result.map(|payload| match payload {
            Payload::Undefined => "nothing".to_owned(),
            Payload::Json(text) => text.into_owned(),
            other => panic!("{other:?}"),
        });
        text.map_err(|error| (error.code.unwrap(), error.message.into(), error.fields.len()))
    }

    #[test]
    fn content_is_the_result_and_must_be_json() {
        assert_eq!(answered(200, "{\"a\": 1.50}"), Ok("{\"a\": 1.50}".to_owned()));
        assert_eq!(answered(201, ""), Ok("nothing".to_owned()));
        assert_eq!(answered(204, "x"), Ok("nothing".to_owned()));
        assert_eq!(answered(200, "<html>").unwrap_err().0, 502);
        assert_eq!(answered(200, &"[".repeat(100_000)).unwrap_err().0, 502);
    }

    #[test]
    fn other_statuses_are_errors_with_the_services_own_words() {
        let error = |status, body| answered(status, body).unwrap_err();
        assert_eq!(error(418, ""), (418, "Reason".to_owned(), 0));
        assert_eq!(error(500, "<html>secret</html>"), (500, "Reason".to_owned(), 0));
        let body = r#"{"message":"bad","code":4711,"data":{"a":1,"b":2},"more":1}"#;
        assert_eq!(error(400, body), (4711, "bad".to_owned(), 2));
        assert_eq!(error(400, r#"{"message":"bad","hint":1}"#), (400, "bad".to_owned(), 1));
        assert_eq!(error(302, r#"{"message":5,"code":"x"}"#), (302, "Reason".to_owned(), 2));
        assert_eq!(error(500, &"[".repeat(100_000)), (500, "Reason".to_owned(), 0));
    }
}
