//! What a route is called with: a list of JSON values, looked into only as far as a route asks.

use crate::config::schema::{Misfit, Schema};
use fulmar::CallError;
use fulmar::dialect::payload::is_deep;
use fulmar::dialect::{Args, EventArgs, Payload};
use sonic_rs::{JsonContainerTrait, LazyValue};
use std::borrow::Cow;

/// The parameters of a call, as JSON: a list.
pub(super) struct Parameters<'a>(Cow<'a, str>);

impl<'a> Parameters<'a> {
    /// Those of a call; an event has its data as the only one.
    pub(super) fn of(args: Args<'a>) -> Result<Self, CallError> {
        let text = match args {
            Args::List(Payload::Json(text)) | Args::Text(text) => text,
            Args::List(list) => Cow::Owned(written(&list, "", "")?),
            Args::One(Payload::Undefined)
            | Args::Event(EventArgs { data: Payload::Undefined, .. }) => Cow::Borrowed("[]"),
            Args::One(one) | Args::Event(EventArgs { data: one, .. }) => {
                Cow::Owned(written(&one, "[", "]")?)
            }
        };
        // Parsers recurse.
        if is_deep(&text) { Err(refused("", "Nested too deeply", None)) } else { Ok(Self(text)) }
    }

    /// The list as JSON.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Each of them, not looked into.
    pub(super) fn list(&self) -> Result<Vec<LazyValue<'_>>, CallError> {
        sonic_rs::from_str(&self.0).map_err(|_| refused("", "Expected params to be an array", None))
    }

    /// The first of them as an answer; nothing where there is none.
    pub(super) fn first(&self) -> Result<Payload<'static>, CallError> {
        let list = self.list()?;
        let first = list.first().map(|first| first.as_raw_str().to_owned());
        Ok(first.map_or(Payload::Undefined, |first| Payload::Json(Cow::Owned(first))))
    }

    /// Whether there are exactly as many as there are schemas, and each fits its own.
    pub(super) fn check(&self, schemas: &[Schema]) -> Result<(), CallError> {
        let parsed: sonic_rs::Value = sonic_rs::from_str(&self.0)
            .map_err(|_| refused("", "Expected params to be an array", None))?;
        let items = parsed.as_array().map(|items| items.as_slice()).unwrap_or_default();
        if items.len() != schemas.len() {
            let message = format!("Expected array length to be {}", schemas.len());
            return Err(refused("", &message, Some(&self.0)));
        }
        for (index, (schema, item)) in schemas.iter().zip(items).enumerate() {
            schema.check(item, &format!("/{index}")).map_err(|misfit| {
                let Misfit { path, message, value } = misfit;
                refused(&path, &message, value.as_deref())
            })?;
        }
        Ok(())
    }
}

/// Parameters that do not fit, in the words of alien-rpc's schema errors: where in them the fault
/// is, and what is there.
pub(super) fn refused(path: &str, message: &str, value: Option<&str>) -> CallError {
    CallError::bad_arguments(message.to_owned()).at_json(path, value)
}

fn written(payload: &Payload<'_>, before: &str, after: &str) -> Result<String, CallError> {
    let mut json = before.as_bytes().to_vec();
    payload.write_json(&mut json)?;
    json.extend_from_slice(after.as_bytes());
    Ok(String::from_utf8_lossy(&json).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(args: Args<'_>) -> String {
        Parameters::of(args).unwrap().text().to_owned()
    }

    #[test]
    fn an_event_has_its_data_as_the_only_parameter() {
        let event = |data| Args::Event(EventArgs { name: "e".into(), data, id: None });
        assert_eq!(text(event(Payload::json("{\"a\":1}"))), "[{\"a\":1}]");
        assert_eq!(text(event(Payload::Undefined)), "[]");
        assert_eq!(text(Args::One(Payload::Text("x".into()))), "[\"x\"]");
        assert_eq!(text(Args::List(Payload::json("[1, 2]"))), "[1, 2]");
        assert_eq!(text(Args::none()), "[]");
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        let params = Parameters::of(Args::List(Payload::json("[1.50, 12345678901234567890123]")));
        let first = params.unwrap().first().unwrap();
        assert!(matches!(first, Payload::Json(text) if text == "1.50"));
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let refused = Parameters::of(Args::List(Payload::json(&deep))).err().unwrap();
        assert_eq!(refused.code, Some(400));
    }
}
