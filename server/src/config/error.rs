//! Mistakes in the configuration, as people and as machines read them.

use super::keys;
use super::source::{Origin, Place, Source, Sources};
use crate::exit::{Code, Failure};
use crate::json::{Object, list};
use std::fmt::Write;

/// One mistake.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    /// Where, if it was typed anywhere.
    pub(crate) place: Option<Place>,
    /// The key as shown, such as `endpoint[3].mode`; empty where there is none.
    pub(crate) key: String,
    /// What is wrong and what would be accepted.
    pub(crate) message: String,
    /// A short way out, such as `did you mean 'room'?`.
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// A problem without a hint.
    pub(crate) fn new(
        place: Option<Place>,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { place, key: key.into(), message: message.into(), hint: None }
    }

    /// The same with a hint, if there is one.
    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// A configuration that cannot be used: all its mistakes, and the texts they are in.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// What to exit with: invalid, or a file that may not be read.
    pub(crate) code: Code,
    /// The texts and the problems; at least one problem.
    pub(crate) sources: Sources,
}

impl Rejected {
    /// All problems with excerpts, then the count. `closing` follows the count, such as
    /// `Nothing was started.`.
    pub(crate) fn render(&self, closing: &str) -> String {
        let mut text = String::new();
        for problem in &self.sources.problems {
            render_problem(&mut text, problem, &self.sources.list);
        }
        let count = self.sources.problems.len();
        let noun = if count == 1 { "error" } else { "errors" };
        let _ = write!(text, "{count} {noun}.");
        if !closing.is_empty() {
            let _ = write!(text, " {closing}");
        }
        text
    }

    /// The same as a failure of a command, which prints `error: ` itself.
    pub(crate) fn failure(&self) -> Failure {
        let text = self.render("");
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        Failure::new(self.code, text)
    }

    /// The problems as a JSON list of `{source, line, column, key, message, hint}`; line and
    /// column only for files.
    pub(crate) fn json(&self) -> String {
        list(self.sources.problems.iter().map(|problem| {
            let mut object = Object::new();
            if let Some((place, source)) = located(problem, &self.sources.list) {
                object.string("source", &source.name);
                if source.origin == Origin::File {
                    let (line, column) = place.line_and_column(&source.text);
                    object.raw("line", &line).raw("column", &column);
                }
            }
            object.string("key", &problem.key).string("message", &problem.message);
            if let Some(hint) = &problem.hint {
                object.string("hint", hint);
            }
            object.finish()
        }))
    }
}

fn located<'a>(problem: &'a Problem, list: &'a [Source]) -> Option<(&'a Place, &'a Source)> {
    let place = problem.place.as_ref()?;
    Some((place, list.get(place.source)?))
}

fn render_problem(text: &mut String, problem: &Problem, list: &[Source]) {
    text.push_str("error: ");
    let located = located(problem, list);
    let file = located.filter(|(_, source)| source.origin == Origin::File);
    if let Some((place, source)) = file {
        let (line, column) = place.line_and_column(&source.text);
        let _ = write!(text, "{}:{line}:{column}: ", source.name);
    } else if let Some((_, source)) = located {
        let _ = write!(text, "{}: ", source.name);
    }
    if !problem.key.is_empty() {
        let _ = write!(text, "{}: ", problem.key);
    }
    text.push_str(&problem.message);
    let hint = problem.hint.as_deref().unwrap_or_default();
    match file {
        Some((place, source)) => {
            text.push('\n');
            render_excerpt(text, place, source, hint);
        }
        None if hint.is_empty() => text.push('\n'),
        None => {
            let _ = writeln!(text, "; {hint}");
        }
    }
}

/// The line with a marker below:
/// ```text
///    22 | mode = "rom"
///       |        ^^^^^ did you mean 'room'?
/// ```
fn render_excerpt(text: &mut String, place: &Place, source: &Source, hint: &str) {
    const CHARACTERS_SHOWN: usize = 160;
    let (number, column) = place.line_and_column(&source.text);
    if is_sensitive(place, &source.text) {
        let _ = writeln!(text, "{number:>5} | (not shown: it may hold a secret)");
        if !hint.is_empty() {
            let _ = writeln!(text, "      | {hint}");
        }
        return;
    }
    let (line, width) = place.line_and_width(&source.text);
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = line.chars().take(CHARACTERS_SHOWN).map(printable).collect();
    let _ = writeln!(text, "{number:>5} | {shown}");
    if column <= CHARACTERS_SHOWN {
        let (before, marks) = (" ".repeat(column - 1), "^".repeat(width.min(CHARACTERS_SHOWN)));
        let _ = writeln!(text, "      | {}", format!("{before}{marks} {hint}").trim_end());
    } else if !hint.is_empty() {
        let _ = writeln!(text, "      | {hint}");
    }
}

/// Whether a line may hold a secret. Goes by the text alone: of a file that cannot be parsed
/// nothing else is known.
fn is_sensitive(place: &Place, text: &str) -> bool {
    let (number, _) = place.line_and_column(text);
    let lines: Vec<&str> = text.lines().take(number).collect();
    let start = lines.iter().rposition(|line| header(line).is_some());
    let section = start.and_then(|start| header(lines[start])).unwrap_or_default();
    let own = &lines[start.map_or(0, |start| start + 1).min(lines.len())..];
    // A list may go on over several lines: the nearest line that begins with a key decides.
    let section = match section.strip_prefix("endpoint") {
        Some("") => "endpoint[]".to_owned(),
        Some(".route") => "endpoint[].route[]".to_owned(),
        Some(rest) if rest.starts_with('.') => format!("endpoint[]{rest}"),
        _ => section.to_owned(),
    };
    match own.iter().rev().find_map(|line| key_of(line)) {
        Some(key) if section.is_empty() => keys::is_sensitive(key),
        Some(key) => keys::is_sensitive(&format!("{section}.{key}")),
        None => keys::is_sensitive(&section),
    }
}

/// The name in `[name]` or `[[name]]`.
fn header(line: &str) -> Option<&str> {
    let inner = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
    let name = inner.split_once(']')?.0.trim();
    is_dotted_name(name).then_some(name)
}

/// The name in `name = value`.
fn key_of(line: &str) -> Option<&str> {
    let name = line.split_once('=')?.0.trim();
    is_dotted_name(name).then_some(name)
}

fn is_dotted_name(name: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !name.is_empty() && name.chars().all(in_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonic_rs::JsonValueTrait;

    fn rejected(origin: Origin, name: &str, text: &str, typed: &str) -> Rejected {
        let mut sources = Sources::default();
        let source = sources.add(origin, name, text.to_owned());
        let start = text.find(typed).unwrap();
        let place = Place { source, span: start..start + typed.len() };
        let problem =
            Problem::new(Some(place), "endpoint[0].mode", "'rom' is not one of echo, room");
        sources.problems.push(problem.hint(Some("did you mean 'room'?".to_owned())));
        Rejected { code: Code::Configuration, sources }
    }

    #[test]
    fn shows_the_line_and_marks_the_value() {
        let text = "# one\n\nmode = \"rom\" # x\n";
        let rendered =
            rejected(Origin::File, "fulmar.toml", text, "\"rom\"").render("Nothing was started.");
        let expected = "\
error: fulmar.toml:3:8: endpoint[0].mode: 'rom' is not one of echo, room
    3 | mode = \"rom\" # x
      |        ^^^^^ did you mean 'room'?
1 error. Nothing was started.";
        assert_eq!(rendered, expected);
    }

    #[test]
    fn names_the_variable_without_an_excerpt() {
        let rendered = rejected(Origin::Environment, "FULMAR_X", "rom", "rom").render("");
        let expected = "error: FULMAR_X: endpoint[0].mode: 'rom' is not one of echo, room; \
                        did you mean 'room'?\n1 error.";
        assert_eq!(rendered, expected);
    }

    #[test]
    fn the_json_form_has_line_and_column() {
        let rejected = rejected(Origin::File, "a.toml", "x\n  mode = 'rom'", "'rom'");
        let parsed: sonic_rs::Value = sonic_rs::from_str(&rejected.json()).unwrap();
        assert_eq!(parsed[0]["line"].as_u64(), Some(2));
        assert_eq!(parsed[0]["column"].as_u64(), Some(10));
        assert_eq!(parsed[0]["source"].as_str(), Some("a.toml"));
    }

    #[test]
    fn lines_that_may_hold_a_secret_are_not_shown() {
        let hidden = |text: &str, typed: &str| {
            let rendered = rejected(Origin::File, "a.toml", text, typed).render("");
            assert!(rendered.contains("a.toml:"), "{rendered}");
            !rendered.contains("hunter2")
        };
        let list = "[auth]\ntokens = [\n  'x=y',\n  'hunter2',\n]\n";
        for (text, typed) in [
            (list, "'hunter2'"),
            ("[auth.jwt]\nsecret = 'hunter2'\n", "'hunter2'"),
            ("[auth.jwt]\nsecrte = 'hunter2'\n", "secrte"),
            ("auth.jwt.secret = 'hunter2\n", "'hunter2"),
            ("auth = { tokens = ['hunter2'] }\n", "tokens"),
            ("[fabric]\nurls = ['redis://:hunter2@x']\n", "'redis"),
            ("[auth]\nmethods = []\n[aut]\ntoken = 'hunter2'\n", "token ="),
        ] {
            assert!(hidden(text, typed), "{text}");
        }
        for (text, typed) in [
            ("[auth]\nmethods = ['hunter2']\n", "'hunter2'"),
            ("[[endpoint]]\nauth = 'hunter2'\n", "'hunter2'"),
            ("[auth]\ntokens = []\n[limits]\nx = 'hunter2'\n", "x ="),
        ] {
            assert!(!hidden(text, typed), "{text}");
        }
    }

    #[test]
    fn a_very_long_line_is_cut() {
        let text = format!("x = '{}rom'", "y".repeat(5000));
        let rendered = rejected(Origin::File, "a.toml", &text, "rom").render("");
        assert!(rendered.len() < 500, "{rendered}");
    }
}
