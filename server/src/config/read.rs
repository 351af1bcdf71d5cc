//! Reading typed values from the tree: a key's kind decides what is accepted, its fallback what
//! holds otherwise. Mistakes are collected, and reading goes on with the fallback.

use super::error::Problem;
use super::keys::{self, DURATION_MOST, Fallback, Key, Kind};
use super::low::{Node, Value};
use super::source::Place;
use super::suggest;
use super::units::{
    parse_address, parse_duration, parse_size, show_count, show_duration, show_size,
};
use std::net::SocketAddr;
use std::time::Duration;

/// A valid value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Setting {
    /// Of [`Kind::Address`].
    Address(SocketAddr),
    /// Of [`Kind::Number`] and [`Kind::Size`].
    Number(u64),
    /// Of [`Kind::Switch`].
    Switch(bool),
    /// Of [`Kind::Duration`]; none is off.
    Duration(Option<Duration>),
    /// Of [`Kind::Choice`]: the index of the word.
    Choice(usize),
    /// Of [`Kind::Choices`]: the indexes of the words.
    Choices(Vec<usize>),
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::TextList`].
    TextList(Vec<String>),
    /// Of [`Kind::Schema`] and [`Kind::SchemaList`], which only the key's reader understands.
    Schema,
}

/// The table that names are looked up in: the root, one `[[endpoint]]`, or one of its routes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// The table.
    pub(crate) node: &'a Node,
    /// The index of the endpoint, if it is one, or in one.
    pub(crate) endpoint: Option<usize>,
    /// The index of the route, if it is one.
    pub(crate) route: Option<usize>,
}

impl<'a> Scope<'a> {
    /// The node of a key, which is named in full (`endpoint[].path`, `limits.headers_max`).
    pub(crate) fn find(&self, name: &str) -> Option<&'a Node> {
        let prefix = match (self.endpoint, self.route) {
            (_, Some(_)) => "endpoint[].route[].",
            (Some(_), None) => "endpoint[].",
            (None, None) => "",
        };
        self.node.find(name.strip_prefix(prefix).unwrap_or(name))
    }

    /// The key as messages show it: `endpoint[3].path`.
    pub(crate) fn shown(&self, name: &str) -> String {
        let mut shown = name.to_owned();
        for index in [self.endpoint, self.route].into_iter().flatten() {
            shown = shown.replacen("[]", &format!("[{index}]"), 1);
        }
        shown
    }
}

/// Reads settings and collects problems.
#[derive(Debug)]
pub(crate) struct Reader {
    cores: usize,
    /// In the order of finding.
    pub(crate) problems: Vec<Problem>,
    /// The names that were asked for; a test compares them with the table.
    #[cfg(test)]
    pub(crate) asked: std::collections::BTreeSet<&'static str>,
}

impl Reader {
    /// A reader for a machine with this many cores.
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            cores: cores.max(1),
            problems: Vec::new(),
            #[cfg(test)]
            asked: std::collections::BTreeSet::new(),
        }
    }

    /// The value of an address key.
    pub(crate) fn address(&mut self, scope: Scope<'_>, name: &str) -> SocketAddr {
        match self.setting(scope, name) {
            Setting::Address(address) => address,
            _ => unreachable!("{name} is an address"),
        }
    }

    /// The value of a number or size key.
    pub(crate) fn number(&mut self, scope: Scope<'_>, name: &str) -> usize {
        match self.setting(scope, name) {
            // Every range in the table fits; a target with less than 64 bits saturates.
            Setting::Number(number) => usize::try_from(number).unwrap_or(usize::MAX),
            _ => unreachable!("{name} is a number"),
        }
    }

    /// The value of a switch.
    pub(crate) fn switch(&mut self, scope: Scope<'_>, name: &str) -> bool {
        match self.setting(scope, name) {
            Setting::Switch(value) => value,
            _ => unreachable!("{name} is a switch"),
        }
    }

    /// The value of a duration key that can be off.
    pub(crate) fn optional_duration(&mut self, scope: Scope<'_>, name: &str) -> Option<Duration> {
        match self.setting(scope, name) {
            Setting::Duration(duration) => duration,
            _ => unreachable!("{name} is a duration"),
        }
    }

    /// The value of a duration key that cannot be off.
    pub(crate) fn duration(&mut self, scope: Scope<'_>, name: &str) -> Duration {
        self.optional_duration(scope, name).unwrap_or_default()
    }

    /// The value of a choice; `values` are in the order of the key's words.
    pub(crate) fn choice<T: Copy>(&mut self, scope: Scope<'_>, name: &str, values: &[T]) -> T {
        match self.setting(scope, name) {
            Setting::Choice(index) => values[index],
            _ => unreachable!("{name} is a choice"),
        }
    }

    /// The value of a list of choices; `values` are in the order of the key's words.
    pub(crate) fn choices<T: Copy>(
        &mut self,
        scope: Scope<'_>,
        name: &str,
        values: &[T],
    ) -> Vec<T> {
        match self.setting(scope, name) {
            Setting::Choices(indexes) => indexes.into_iter().map(|index| values[index]).collect(),
            _ => unreachable!("{name} is a list of choices"),
        }
    }

    /// The value of a text key.
    pub(crate) fn text(&mut self, scope: Scope<'_>, name: &str) -> String {
        match self.setting(scope, name) {
            Setting::Text(text) => text,
            _ => unreachable!("{name} is a text"),
        }
    }

    /// The value of a list of texts.
    pub(crate) fn text_list(&mut self, scope: Scope<'_>, name: &str) -> Vec<String> {
        match self.setting(scope, name) {
            Setting::TextList(list) => list,
            _ => unreachable!("{name} is a list of texts"),
        }
    }

    /// What was typed for a key that holds JSON Schemas, if it has the right shape.
    pub(crate) fn schema<'a>(&mut self, scope: Scope<'a>, name: &str) -> Option<&'a Node> {
        let before = self.problems.len();
        let _checked = self.setting(scope, name);
        scope.find(name).filter(|_| self.problems.len() == before)
    }

    /// Reports a mistake somewhere within the value of a key.
    pub(crate) fn report_at(&mut self, scope: Scope<'_>, name: &str, at: Mistake) {
        let problem = Problem::new(Some(at.place), scope.shown(name), at.message);
        self.problems.push(problem.hint(at.hint));
    }

    /// Reports a mistake in the value of a key, placed at the value where there is one.
    pub(crate) fn report(&mut self, scope: Scope<'_>, name: &str, message: String) {
        let place = scope.find(name).map(|node| node.place.clone());
        self.problems.push(Problem::new(place, scope.shown(name), message));
    }

    /// Reports a mistake in one item of a list, placed at the item where it has a place of its own.
    pub(crate) fn report_item(
        &mut self,
        scope: Scope<'_>,
        name: &str,
        index: usize,
        message: String,
    ) {
        let item = scope.find(name).and_then(|node| match &node.value {
            Value::List(items) => items.get(index).map(|item| item.place.clone()),
            _ => None,
        });
        match item {
            Some(place) => {
                self.problems.push(Problem::new(Some(place), scope.shown(name), message));
            }
            None => self.report(scope, name, message),
        }
    }

    fn setting(&mut self, scope: Scope<'_>, name: &str) -> Setting {
        let key = keys::find(name).expect("every key that is read is in the table");
        #[cfg(test)]
        self.asked.insert(key.name);
        if let Some(node) = scope.find(name) {
            match interpret(key.kind, &node.value) {
                Ok(setting) => return setting,
                Err(refusal) => {
                    let place = refusal.place.unwrap_or_else(|| node.place.clone());
                    let problem = Problem::new(Some(place), scope.shown(name), refusal.message);
                    self.problems.push(problem.hint(refusal.hint));
                }
            }
        } else if let Fallback::Required = key.fallback {
            let leaf = name.rsplit('.').next().unwrap_or(name);
            let example = if leaf == "path" { "/echo" } else { "chat.send" };
            let message = format!("this key is required, such as {leaf} = \"{example}\"");
            let place = Some(scope.node.place.clone());
            self.problems.push(Problem::new(place, scope.shown(name), message));
        }
        self.fallback(key)
    }

    /// What holds where nothing valid was typed. An inherited key is only asked for here once
    /// it was typed wrongly; the caller does the inheriting.
    fn fallback(&self, key: &Key) -> Setting {
        match key.fallback {
            Fallback::Value(text) => default_setting(key.kind, text),
            Fallback::Cores => Setting::Number(self.cores as u64),
            Fallback::WithoutEndpoints => Setting::Switch(false),
            Fallback::Required => Setting::Text(String::new()),
            Fallback::Depends(_) => match key.kind {
                Kind::TextList => Setting::TextList(Vec::new()),
                Kind::Schema | Kind::SchemaList => Setting::Schema,
                Kind::Text => Setting::Text(String::new()),
                _ => Setting::Choice(0),
            },
            Fallback::Inherited(name) => {
                self.fallback(keys::find(name).expect("inherited keys are in the table"))
            }
        }
    }
}

/// What is wrong with a part of a value, and where it stands.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// Where.
    pub(crate) place: Place,
    /// What is wrong and what would be accepted.
    pub(crate) message: String,
    /// A short way out.
    pub(crate) hint: Option<String>,
}

/// Why a value is not accepted.
#[derive(Debug)]
pub(crate) struct Refusal {
    message: String,
    hint: Option<String>,
    /// A narrower place than the whole value.
    place: Option<Place>,
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self { message, hint: None, place: None }
    }
}

fn default_setting(kind: Kind, text: &str) -> Setting {
    use super::source::{Origin, Sources};
    let mut sources = Sources::default();
    let source = sources.add(Origin::Flag, "default", text.to_owned());
    let root = super::low::parse_override(&sources, source, "default", 0);
    let node = root.find("default").expect("an override holds its key");
    interpret(kind, &node.value).expect("defaults in the table are valid")
}

/// A typed value as a valid one of a kind.
///
/// # Errors
/// What is wrong and what would be accepted.
pub(crate) fn interpret(kind: Kind, value: &Value) -> Result<Setting, Refusal> {
    match (kind, value) {
        (Kind::Address, Value::Text(text)) => parse_address(text)
            .map(Setting::Address)
            .map_err(|expected| format!("'{text}' is not an address: {expected}").into()),
        (Kind::Address, Value::Integer(port)) => {
            let hint = Some(format!("did you mean \":{port}\"?"));
            let message = "a port alone is not an address".to_owned();
            Err(Refusal { message, hint, place: None })
        }
        (Kind::Number { least, most }, Value::Integer(number)) => {
            in_range(*number, least, most, show_count)
        }
        (Kind::Size { least, most }, Value::Integer(bytes)) => {
            in_range(*bytes, least, most, show_size)
        }
        (Kind::Size { least, most }, Value::Text(text)) => match parse_size(text) {
            Ok(bytes) => in_range(i128::from(bytes), least, most, show_size),
            Err(expected) => Err(format!("'{text}' is not a size: {expected}").into()),
        },
        (Kind::Switch, Value::Switch(value)) => Ok(Setting::Switch(*value)),
        (Kind::Duration { least, off }, Value::Text(text)) => duration(text, least, off),
        (Kind::Duration { .. }, Value::Integer(number)) => {
            let hint = Some(format!("did you mean \"{number}s\" or \"{number}ms\"?"));
            let message = "a duration needs a unit: ms, s, m or h".to_owned();
            Err(Refusal { message, hint, place: None })
        }
        (Kind::Choice(words), Value::Text(text)) => choice(text, words).map(Setting::Choice),
        (Kind::Choices(words), Value::List(items)) => choice_list(items, words),
        (Kind::Choices(words), Value::Text(text)) => {
            let items = split_list(text).map(|item| choice(item, words));
            items.collect::<Result<_, _>>().map(Setting::Choices)
        }
        (Kind::Text, Value::Text(text)) => Ok(Setting::Text(text.clone())),
        (Kind::TextList, Value::List(items)) => text_list(items),
        (Kind::Schema, Value::Table(_)) | (Kind::SchemaList, Value::List(_)) => Ok(Setting::Schema),
        // A single bare word, or several with commas: a list as shells and containers pass it.
        (Kind::TextList, Value::Text(text)) => {
            Ok(Setting::TextList(split_list(text).map(str::to_owned).collect()))
        }
        (kind, value) => Err(format!("expected {}, found {}", describe(kind), value.kind()).into()),
    }
}

/// A kind in words, such as `a number from 1 to 1,024`.
pub(crate) fn describe(kind: Kind) -> String {
    match kind {
        Kind::Address => "an address such as \"127.0.0.1:9000\"".to_owned(),
        Kind::Number { least, most } => {
            format!("a number from {} to {}", show_count(least), show_count(most))
        }
        Kind::Switch => "true or false".to_owned(),
        Kind::Duration { off: true, .. } => "a duration such as \"30s\", or \"off\"".to_owned(),
        Kind::Duration { off: false, .. } => "a duration such as \"30s\"".to_owned(),
        Kind::Size { least, most } => {
            format!("a size from {} to {}", show_size(least), show_size(most))
        }
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::Choices(words) => format!("a list of {}", words.join(", ")),
        Kind::Text => "a text".to_owned(),
        Kind::TextList => "a list of texts".to_owned(),
        Kind::Schema => "a JSON Schema as a table".to_owned(),
        Kind::SchemaList => "a list of JSON Schemas".to_owned(),
    }
}

fn in_range(
    number: i128,
    least: u64,
    most: u64,
    show: fn(u64) -> String,
) -> Result<Setting, Refusal> {
    match u64::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(Setting::Number(number)),
        Ok(number) => Err(format!(
            "{} is out of range: expected {} to {}",
            show(number),
            show(least),
            show(most)
        )
        .into()),
        Err(_) => Err(format!("out of range: expected {} to {}", show(least), show(most)).into()),
    }
}

fn duration(text: &str, least: u64, off: bool) -> Result<Setting, Refusal> {
    if off && text == "off" {
        return Ok(Setting::Duration(None));
    }
    let duration = parse_duration(text).map_err(|expected| {
        let or_off = if off { ", or off" } else { "" };
        format!("'{text}' is not a duration: {expected}{or_off}")
    })?;
    let milliseconds = duration.as_millis();
    if off && milliseconds == 0 {
        return Ok(Setting::Duration(None));
    }
    if !(u128::from(least)..=u128::from(DURATION_MOST)).contains(&milliseconds) {
        let (least, most) = (Duration::from_millis(least), Duration::from_millis(DURATION_MOST));
        let (least, most) = (show_duration(least), show_duration(most));
        return Err(format!("'{text}' is out of range: expected {least} to {most}").into());
    }
    Ok(Setting::Duration(Some(duration)))
}

fn choice(text: &str, words: &[&str]) -> Result<usize, Refusal> {
    if let Some(index) = words.iter().position(|word| *word == text) {
        return Ok(index);
    }
    let hint = suggest::choice(text, words).map(|word| format!("did you mean '{word}'?"));
    let message = format!("'{text}' is not one of {}", words.join(", "));
    Err(Refusal { message, hint, place: None })
}

fn choice_list(items: &[Node], words: &[&str]) -> Result<Setting, Refusal> {
    let mut chosen: Vec<usize> = Vec::new();
    for item in items {
        let at_item = |refusal| Refusal { place: Some(item.place.clone()), ..refusal };
        let Value::Text(text) = &item.value else {
            let found = item.value.kind();
            return Err(at_item(format!("expected a text in this list, found {found}").into()));
        };
        let index = choice(text, words).map_err(at_item)?;
        if chosen.contains(&index) {
            return Err(at_item(format!("'{text}' stands twice in this list").into()));
        }
        chosen.push(index);
    }
    Ok(Setting::Choices(chosen))
}

fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn text_list(items: &[Node]) -> Result<Setting, Refusal> {
    let texts = items.iter().map(|item| match &item.value {
        Value::Text(text) => Ok(text.clone()),
        other => Err(Refusal {
            message: format!("expected a text in this list, found {}", other.kind()),
            hint: None,
            place: Some(item.place.clone()),
        }),
    });
    texts.collect::<Result<Vec<String>, Refusal>>().map(Setting::TextList)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::KEYS;

    fn refusal(kind: Kind, value: &Value) -> String {
        interpret(kind, value).unwrap_err().message
    }

    #[test]
    fn every_default_is_valid_for_its_kind() {
        let reader = Reader::new(3);
        for key in KEYS {
            let _ = reader.fallback(key);
        }
    }

    #[test]
    fn numbers_have_a_range() {
        let kind = Kind::Number { least: 1, most: 1024 };
        assert_eq!(interpret(kind, &Value::Integer(1)).unwrap(), Setting::Number(1));
        assert_eq!(interpret(kind, &Value::Integer(1024)).unwrap(), Setting::Number(1024));
        let expected = "1,025 is out of range: expected 1 to 1,024";
        assert_eq!(refusal(kind, &Value::Integer(1025)), expected);
        assert_eq!(refusal(kind, &Value::Integer(-1)), "out of range: expected 1 to 1,024");
        assert_eq!(refusal(kind, &Value::Integer(i128::MAX)), "out of range: expected 1 to 1,024");
        let expected = "expected a number from 1 to 1,024, found a text";
        assert_eq!(refusal(kind, &Value::Text("5".to_owned())), expected);
    }

    #[test]
    fn durations_refuse_plain_numbers_and_know_off() {
        let kind = Kind::Duration { least: 10, off: true };
        let refused = interpret(kind, &Value::Integer(30)).unwrap_err();
        assert_eq!(refused.message, "a duration needs a unit: ms, s, m or h");
        assert_eq!(refused.hint.as_deref(), Some("did you mean \"30s\" or \"30ms\"?"));
        let of = |text: &str| interpret(kind, &Value::Text(text.to_owned()));
        assert_eq!(of("off").unwrap(), Setting::Duration(None));
        assert_eq!(of("0s").unwrap(), Setting::Duration(None));
        assert_eq!(of("2m").unwrap(), Setting::Duration(Some(Duration::from_secs(120))));
        assert!(of("5ms").unwrap_err().message.contains("expected 10ms to 24h"));
        assert!(of("25h").is_err());
        let kind = Kind::Duration { least: 10, off: false };
        assert!(interpret(kind, &Value::Text("off".to_owned())).is_err());
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let kind = Kind::Size { least: 512, most: 1 << 20 };
        assert_eq!(interpret(kind, &Value::Integer(512)).unwrap(), Setting::Number(512));
        let text = Value::Text("8KiB".to_owned());
        assert_eq!(interpret(kind, &text).unwrap(), Setting::Number(8192));
        let text = Value::Text("2MiB".to_owned());
        assert_eq!(refusal(kind, &text), "2MiB is out of range: expected 512 to 1MiB");
    }

    #[test]
    fn choices_are_suggested() {
        let refused = choice("brodcast", &["echo", "broadcast"]).unwrap_err();
        assert_eq!(refused.message, "'brodcast' is not one of echo, broadcast");
        assert_eq!(refused.hint.as_deref(), Some("did you mean 'broadcast'?"));
        let kind = Kind::Choices(&["echo", "broadcast"]);
        let text = Value::Text("broadcast, echo".to_owned());
        assert_eq!(interpret(kind, &text).unwrap(), Setting::Choices(vec![1, 0]));
        assert!(refusal(kind, &Value::Text("eco".to_owned())).contains("is not one of"));
    }

    #[test]
    fn lists_may_be_typed_with_commas() {
        let text = Value::Text("a, b,".to_owned());
        let expected = Setting::TextList(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(interpret(Kind::TextList, &text).unwrap(), expected);
    }

    #[test]
    fn a_port_alone_is_explained() {
        let refused = interpret(Kind::Address, &Value::Integer(8080)).unwrap_err();
        assert_eq!(refused.hint.as_deref(), Some("did you mean \":8080\"?"));
    }
}
