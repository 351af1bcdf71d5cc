//! The log: one line per event on standard error, as text for people or as JSON for machines.
//!
//! A line that repeats the one before it is folded: it is counted, and the count appears as
//! `suppressed=N` once something else is logged or [`FOLD_MILLISECONDS`] have passed. A peer
//! that repeats a mistake can then not fill a disk with it.

use crate::clock;
use crate::json::{Object, Quoted};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long identical lines are folded before one is written again, in milliseconds.
pub(crate) const FOLD_MILLISECONDS: u64 = 10_000;

/// How important a line is; a logger writes its own level and the more important ones.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Level {
    /// Something failed and the work it belonged to is lost.
    Error,
    /// Something is probably not what the operator wants; names the key that governs it.
    Warn,
    /// What a person watching the server wants to know.
    Info,
    /// What a person searching for a fault wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// In the order of the names of the key `log_level`.
    pub(crate) const ALL: [Self; 5] =
        [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The lower-case name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Error => "\u{1b}[31m",
            Self::Warn => "\u{1b}[33m",
            Self::Info => "\u{1b}[32m",
            Self::Debug | Self::Trace => "\u{1b}[2m",
        }
    }
}

/// How lines look; the key `log`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// `level target message key=value`.
    Text,
    /// One object per line: `ts`, `level`, `msg`, `target` and the fields.
    Json,
}

impl Format {
    /// In the order of the names of the key `log`.
    pub(crate) const ALL: [Self; 3] = [Self::Auto, Self::Text, Self::Json];
}

/// The value of a field. Numbers stay numbers in JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Field<'a> {
    /// A text, quoted in text lines where it holds more than a plain word.
    Text(&'a str),
    /// A number.
    Number(u64),
    /// True or false.
    Switch(bool),
}

/// Writes lines; shared by reference between threads.
pub(crate) struct Logger {
    level: Level,
    json: bool,
    colour: bool,
    state: Mutex<State>,
}

impl std::fmt::Debug for Logger {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Logger").field("level", &self.level).field("json", &self.json).finish()
    }
}

struct State {
    out: Box<dyn Write + Send>,
    /// The last line written, and when (milliseconds since 1970).
    last: Option<(Line, u64)>,
    suppressed: u64,
}

#[derive(Clone, Eq, PartialEq)]
struct Line {
    level: Level,
    target: String,
    message: String,
    fields: Vec<(String, OwnedField)>,
}

#[derive(Clone, Eq, PartialEq)]
enum OwnedField {
    Text(String),
    Number(u64),
    Switch(bool),
}

impl Logger {
    /// A logger on standard error. Colour needs a terminal and no `NO_COLOR`.
    pub(crate) fn to_standard_error(format: Format, level: Level) -> Self {
        let terminal = io::stderr().is_terminal();
        let json = format == Format::Json || (format == Format::Auto && !terminal);
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::new(level, json, colour, Box::new(io::stderr()))
    }

    fn new(level: Level, json: bool, colour: bool, out: Box<dyn Write + Send>) -> Self {
        let state = Mutex::new(State { out, last: None, suppressed: 0 });
        Self { level, json, colour: colour && !json, state }
    }

    /// Whether lines are text for people, as `auto` has decided.
    pub(crate) fn is_text(&self) -> bool {
        !self.json
    }

    /// Logs one event. `target` is the part of the server that speaks, such as `listener`.
    pub(crate) fn event(
        &self,
        level: Level,
        target: &str,
        message: &str,
        fields: &[(&str, Field<'_>)],
    ) {
        if level <= self.level {
            let fields = own(fields);
            let line =
                Line { level, target: target.to_owned(), message: message.to_owned(), fields };
            self.write(line, clock::unix_milliseconds());
        }
    }

    /// Logs a fact of the start, at `info`. Text: the name in a column of ten, then the words for
    /// people. JSON: the name as `msg`, and the fields.
    pub(crate) fn fact(&self, name: &str, words: &str, fields: &[(&str, Field<'_>)]) {
        if self.json {
            self.event(Level::Info, "start", name, fields);
        } else {
            self.notice(Level::Info, name, words);
        }
    }

    /// Writes a line of the start as text: a name in a column of ten, then words. Never folded.
    pub(crate) fn notice(&self, level: Level, name: &str, words: &str) {
        if level <= self.level {
            let mut state = self.lock();
            self.flush(&mut state, clock::unix_milliseconds());
            state.last = None;
            let (before, after) = match (self.colour, level) {
                (true, Level::Error | Level::Warn) => (level.colour(), "\u{1b}[0m"),
                (true, _) => ("\u{1b}[1m", "\u{1b}[0m"),
                (false, _) => ("", ""),
            };
            let text = format!("{before}{name:<9}{after} {}\n", Printable(words));
            let _ = state.out.write_all(text.as_bytes());
        }
    }

    /// Writes what is still folded; call before the process ends.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        self.flush(&mut state, clock::unix_milliseconds());
        let _ = state.out.flush();
    }

    fn write(&self, line: Line, now: u64) {
        let mut state = self.lock();
        if let Some((last, at)) = &state.last
            && *last == line
            && now.saturating_sub(*at) < FOLD_MILLISECONDS
        {
            state.suppressed += 1;
            return;
        }
        let repeated = state.last.as_ref().is_some_and(|(last, _)| *last == line);
        let suppressed = if repeated { std::mem::take(&mut state.suppressed) } else { 0 };
        self.flush(&mut state, now);
        let mut text = self.render(&line, suppressed, now);
        text.push('\n');
        // A log that cannot be written must not stop the server, and there is nobody to tell.
        let _ = state.out.write_all(text.as_bytes());
        state.last = Some((line, now));
    }

    fn flush(&self, state: &mut State, now: u64) {
        let suppressed = std::mem::take(&mut state.suppressed);
        if let Some((last, _)) = state.last.as_ref().filter(|_| suppressed > 0) {
            let mut text = self.render(last, suppressed, now);
            text.push('\n');
            let _ = state.out.write_all(text.as_bytes());
        }
    }

    fn render(&self, line: &Line, suppressed: u64, now: u64) -> String {
        if self.json { json_line(line, suppressed, now) } else { self.text_line(line, suppressed) }
    }

    fn text_line(&self, line: &Line, suppressed: u64) -> String {
        let (before, after) =
            if self.colour { (line.level.colour(), "\u{1b}[0m") } else { ("", "") };
        let mut text = format!(
            "{before}{:<5}{after} {} {}",
            line.level.name(),
            Printable(&line.target),
            Printable(&line.message)
        );
        for (name, value) in &line.fields {
            let _ = match value {
                OwnedField::Text(value) if is_plain(value) => write!(text, " {name}={value}"),
                OwnedField::Text(value) => write!(text, " {name}={}", Quoted(value)),
                OwnedField::Number(value) => write!(text, " {name}={value}"),
                OwnedField::Switch(value) => write!(text, " {name}={value}"),
            };
        }
        if suppressed > 0 {
            let _ = write!(text, " suppressed={suppressed}");
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn own(fields: &[(&str, Field<'_>)]) -> Vec<(String, OwnedField)> {
    let owned = fields.iter().map(|(name, value)| {
        let value = match value {
            Field::Text(value) => OwnedField::Text((*value).to_owned()),
            Field::Number(value) => OwnedField::Number(*value),
            Field::Switch(value) => OwnedField::Switch(*value),
        };
        ((*name).to_owned(), value)
    });
    owned.collect()
}

fn json_line(line: &Line, suppressed: u64, now: u64) -> String {
    let mut object = Object::new();
    object.string("ts", &clock::rfc3339(now)).string("level", line.level.name());
    object.string("msg", &line.message).string("target", &line.target);
    for (name, value) in &line.fields {
        match value {
            OwnedField::Text(value) => object.string(name, value),
            OwnedField::Number(value) => object.raw(name, value),
            OwnedField::Switch(value) => object.raw(name, value),
        };
    }
    if suppressed > 0 {
        object.raw("suppressed", &suppressed);
    }
    object.finish()
}

fn is_plain(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    !value.is_empty() && value.bytes().all(plain)
}

/// Text without control characters: a peer's words cannot forge lines or drive the terminal.
struct Printable<'a>(&'a str);

impl std::fmt::Display for Printable<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            out.write_char(if character.is_control() { '\u{fffd}' } else { character })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonic_rs::JsonValueTrait;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Captured {
        fn lines(&self) -> Vec<String> {
            let bytes = self.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
        }
    }

    fn logger(level: Level, json: bool) -> (Logger, Captured) {
        let captured = Captured::default();
        (Logger::new(level, json, false, Box::new(captured.clone())), captured)
    }

    fn line(message: &str) -> Line {
        let (target, message) = ("room".to_owned(), message.to_owned());
        Line { level: Level::Warn, target, message, fields: Vec::new() }
    }

    #[test]
    fn writes_text_lines_with_fields() {
        let (logger, captured) = logger(Level::Info, false);
        let fields = [
            ("address", Field::Text("127.0.0.1:9000")),
            ("reason", Field::Text("two words")),
            ("count", Field::Number(3)),
            ("pinned", Field::Switch(false)),
        ];
        logger.event(Level::Info, "listener", "accepting", &fields);
        let expected = "info  listener accepting address=127.0.0.1:9000 reason=\"two words\" \
                        count=3 pinned=false";
        assert_eq!(captured.lines(), [expected]);
    }

    #[test]
    fn leaves_out_what_is_below_the_level() {
        let (logger, captured) = logger(Level::Warn, false);
        logger.event(Level::Info, "listener", "accepting", &[]);
        logger.fact("ready", "127.0.0.1:9000", &[]);
        assert!(captured.lines().is_empty());
    }

    #[test]
    fn writes_one_json_object_per_line() {
        let (logger, captured) = logger(Level::Info, true);
        logger.fact(
            "ready",
            "x in 3 ms",
            &[("address", Field::Text("x")), ("n", Field::Number(3))],
        );
        logger.event(Level::Warn, "room", "two\nlines", &[]);
        let lines = captured.lines();
        assert_eq!(lines.len(), 2);
        let fact: sonic_rs::Value = sonic_rs::from_str(&lines[0]).unwrap();
        assert_eq!(fact["msg"].as_str(), Some("ready"));
        assert_eq!(fact["address"].as_str(), Some("x"));
        assert_eq!(fact["n"].as_u64(), Some(3));
        assert_eq!(fact["ts"].as_str().unwrap().len(), "2026-02-03T04:05:06.789Z".len());
        let event: sonic_rs::Value = sonic_rs::from_str(&lines[1]).unwrap();
        assert_eq!(event["msg"].as_str(), Some("two\nlines"));
        assert_eq!(event["level"].as_str(), Some("warn"));
    }

    #[test]
    fn folds_identical_lines_and_says_how_many() {
        let (logger, captured) = logger(Level::Info, false);
        for _ in 0..5 {
            logger.write(line("slow"), 1000);
        }
        logger.write(line("other"), 1001);
        let expected = ["warn  room slow", "warn  room slow suppressed=4", "warn  room other"];
        assert_eq!(captured.lines(), expected);
    }

    #[test]
    fn writes_a_folded_line_again_after_the_window() {
        let (logger, captured) = logger(Level::Info, false);
        logger.write(line("slow"), 1000);
        logger.write(line("slow"), 2000);
        logger.write(line("slow"), 1000 + FOLD_MILLISECONDS);
        assert_eq!(captured.lines(), ["warn  room slow", "warn  room slow suppressed=1"]);
    }

    #[test]
    fn a_folded_line_is_not_lost_at_the_end() {
        let (logger, captured) = logger(Level::Info, false);
        let now = clock::unix_milliseconds();
        logger.write(line("slow"), now);
        logger.write(line("slow"), now);
        logger.finish();
        assert_eq!(captured.lines(), ["warn  room slow", "warn  room slow suppressed=1"]);
    }

    #[test]
    fn control_characters_cannot_forge_a_line() {
        let (logger, captured) = logger(Level::Info, false);
        let fields = [("path", Field::Text("/x\nerror forged"))];
        logger.event(Level::Info, "listener", "bad\nready 1.2.3.4:5\u{1b}[2J", &fields);
        assert_eq!(captured.lines().len(), 1);
        assert!(!captured.lines()[0].contains('\u{1b}'));
    }
}
