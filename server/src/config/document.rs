//! The table of keys as text: `fulmar configdoc`, `docs/CONFIG.md`, `fulmar genconfig`.

use super::keys::{Fallback, KEYS, Key};
use super::read::describe;
use std::fmt::Write;

/// The whole of `docs/CONFIG.md`.
pub(crate) fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    let mut section = None;
    for key in KEYS {
        let (name, leaf) = split(key);
        if section != Some(name) {
            section = Some(name);
            let _ = write!(text, "\n## {}\n\n", heading(name));
            text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        }
        let (kind, fallback) = (describe(key.kind), fallback(key));
        let reload = if key.reloadable { " Taken at a reload." } else { "" };
        let _ = writeln!(text, "| `{leaf}` | {kind} | {fallback} | {}{reload} |", key.doc);
    }
    text
}

/// The table for a terminal.
pub(crate) fn plain() -> String {
    let mut text = String::new();
    for key in KEYS {
        let default = fallback(key).replace('`', "");
        let _ = writeln!(text, "{}\n    {}", key.name, key.doc.replace('`', "'"));
        let _ = writeln!(text, "    {}; default: {default}", describe(key.kind));
        if let Some(variable) = key.variable() {
            let _ = writeln!(text, "    environment: {variable}");
        }
        text.push('\n');
    }
    text
}

/// A configuration file with every key, commented out at its default, and the two endpoints that
/// hold without a file.
pub(crate) fn example() -> String {
    let mut text = String::from(EXAMPLE_START);
    let mut section = "";
    for key in KEYS {
        let (name, leaf) = split(key);
        if let Some(table) = name.strip_prefix("endpoint[].") {
            if table != "backpressure" {
                let name = format!("{}.{leaf}", table.replace("[]", ""));
                comment(&mut text, &format!("{name} ({}): {}", describe(key.kind), key.doc));
            }
            continue;
        }
        if name != section {
            section = name;
            let header = if name == "endpoint[]" { EXAMPLE_ENDPOINTS } else { "" };
            text.push_str(header);
            if header.is_empty() {
                let _ = writeln!(text, "\n[{name}]");
            }
        }
        if section == "endpoint[]" {
            if !matches!(key.fallback, Fallback::Inherited(_)) {
                comment(&mut text, &format!("{leaf} ({}): {}", describe(key.kind), key.doc));
            }
            continue;
        }
        comment(&mut text, key.doc);
        let _ = match key.fallback {
            Fallback::Value(value) => writeln!(text, "#{leaf} = {value}"),
            Fallback::Cores => writeln!(text, "#{leaf} = 4  # default: number of cores"),
            _ => writeln!(text, "{leaf} = true"),
        };
    }
    text.push_str(EXAMPLE_END);
    text
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Written by `fulmar configdoc --markdown`; change the table in server/src/config/keys.rs. -->

A configuration file is TOML. `fulmar genconfig` writes a commented one, `fulmar check` validates
one without starting anything.

- **Which file**: `-c FILE` (repeatable, later files win), else `$FULMAR_CONFIG`, else
  `./fulmar.toml` if it is there, else the built-in defaults.
- **What wins**: defaults, then files, then environment, then `--set key=value`, then flags such as
  `--listen`. Tables are merged by key; a list, `[[endpoint]]` included, is replaced as a whole.
- **Environment**: `FULMAR_` and the key in capitals, levels joined by two underscores:
  `limits.connections_max` is `FULMAR_LIMITS__CONNECTIONS_MAX`. An empty variable counts as unset;
  an unknown one is a warning.
- **`--set`** takes a TOML value; a bare word is a text: `--set timeouts.idle=5m`.
- **Durations** have a unit: `500ms`, `30s`, `2m`, `1h`, `1m30s`. Where `off` is accepted, so is
  `0s`. **Sizes** are bytes or have a unit: `4096`, `128KiB`, `1MiB`, `64KB`.
- **Secrets** (`auth.tokens`, `auth.jwt.secret`, `authorization`, passwords in `fabric.urls`) are in
  no log and no error message: where the mistake is in such a place, the line is not shown. Paths of
  files are those of the process; files are read at the start.
- **Unknown keys** are errors, with a suggestion. Nothing is started with an invalid configuration.
- **Changes** take effect at the next start, unless a key says otherwise below. `SIGHUP` validates
  the configuration again and logs the result.

Without any `[[endpoint]]` there are two: `/echo` (mode `echo`) and `/rooms/:room` (mode `room`,
role `both`, `echo_to_self = true`), and the demo page at `/`.
";

const EXAMPLE_START: &str = "\
# Fulmar configuration. A line that begins with '#' and a key shows the default of that key;
# remove the '#' to change it. `fulmar check` validates this file.

";

const EXAMPLE_ENDPOINTS: &str = "
# Endpoints: the paths clients connect to. Keys of an endpoint:
#
";

const EXAMPLE_END: &str = "#
# message_bytes_max, idle, ping_interval and backpressure = { bytes_max = ..., low_bytes = ...,
# policy = ... } override the server-wide keys for one endpoint.

[[endpoint]]
path = \"/echo\"
mode = \"echo\"

[[endpoint]]
path = \"/rooms/:room\"
mode = \"room\"
room = \"{room}\"
role = \"both\"
echo_to_self = true
";

/// Words as comment lines of a readable width.
fn comment(text: &mut String, words: &str) {
    const WIDTH: usize = 90;
    let mut width = 0;
    for word in words.split(' ') {
        if width == 0 || width + word.len() >= WIDTH {
            text.push_str(if width == 0 { "#" } else { "\n#" });
            width = 1;
        }
        let _ = write!(text, " {word}");
        width += word.len() + 1;
    }
    text.push('\n');
}

fn split(key: &Key) -> (&'static str, &'static str) {
    key.name.rsplit_once('.').unwrap_or(("", key.name))
}

fn heading(section: &str) -> String {
    match section {
        "" => "Top level".to_owned(),
        "endpoint[]" => "`[[endpoint]]`".to_owned(),
        "endpoint[].backpressure" => "`backpressure` of an `[[endpoint]]`".to_owned(),
        "endpoint[].event" => "`event` of an `[[endpoint]]` with dialect `event`".to_owned(),
        "endpoint[].rpc" => "`rpc` of an `[[endpoint]]` with dialect `rpc`".to_owned(),
        "endpoint[].upstream" => "`upstream` of an `[[endpoint]]` with routes".to_owned(),
        "endpoint[].route[]" => "`[[endpoint.route]]`".to_owned(),
        _ => format!("`[{section}]`"),
    }
}

fn fallback(key: &Key) -> String {
    match key.fallback {
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Cores => "number of cores".to_owned(),
        Fallback::WithoutEndpoints => "true without any `[[endpoint]]`, else false".to_owned(),
        Fallback::Inherited(name) => format!("`{name}`"),
        Fallback::Depends(words) => words.to_owned(),
        Fallback::Required => "required".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIG.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == markdown(),
            "docs/CONFIG.md is stale: fulmar configdoc --markdown > docs/CONFIG.md"
        );
    }

    #[test]
    fn every_key_is_in_every_form() {
        let (markdown, plain, example) = (markdown(), plain(), example());
        for key in KEYS {
            let leaf = split(key).1;
            assert!(markdown.contains(&format!("| `{leaf}` |")), "{}", key.name);
            assert!(plain.contains(key.name), "{}", key.name);
            assert!(example.contains(leaf), "{}", key.name);
        }
    }
}
