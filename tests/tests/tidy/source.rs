//! Rust source as the checks read it: what is code, what is text, where functions are.

/// The source with the insides of comments and literals blanked, line for line.
pub(crate) fn code_of(source: &str) -> String {
    Blanker { rest: source, code: String::with_capacity(source.len()) }.run()
}

/// The code before the file's own tests.
pub(crate) fn without_tests(code: &str) -> &str {
    let tests = code.match_indices("#[cfg(test)]").find(|(at, mark)| {
        let after = code[at + mark.len()..].trim_start();
        after.starts_with("mod ") || after.starts_with("#[")
    });
    tests.map_or(code, |(at, _)| &code[..at])
}

/// A function with a body: name, line, and lines of code in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// All functions of blanked code, nested ones included.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let named = words(code).filter(|(_, word)| *word == "fn");
    named.filter_map(|(at, word)| function(code, at, at + word.len())).collect()
}

/// Every identifier and keyword with its place.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let end = code[start..].find(|c| !is_word(c)).map_or(code.len(), |length| start + length);
        at = end;
        Some((start, &code[start..end]))
    })
}

/// The line of a place, from 1.
pub(crate) fn line_of(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

fn function(code: &str, start: usize, after: usize) -> Option<Function> {
    let signature = &code[after..];
    // `fn(u8)` is a type, not a function.
    let name: String = signature.trim_start().chars().take_while(|c| is_word(*c)).collect();
    let open = signature.find(['{', ';']).filter(|open| signature[*open..].starts_with('{'))?;
    let body = &signature[open..];
    let mut depth = 0_usize;
    for (at, character) in body.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let lines = body[1..at].lines().filter(|line| !line.trim().is_empty()).count();
            return (!name.is_empty()).then(|| Function {
                name,
                line: line_of(code, start),
                lines,
            });
        }
    }
    None
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

struct Blanker<'a> {
    rest: &'a str,
    code: String,
}

impl Blanker<'_> {
    fn run(mut self) -> String {
        while let Some(character) = self.rest.chars().next() {
            let raw = self.raw_string();
            if self.rest.starts_with("//") {
                self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.blank(self.rest.find("*/").map_or(self.rest.len(), |end| end + 2));
            } else if let Some(length) = raw {
                self.blank(length);
            } else if character == '"' {
                self.blank(quoted(self.rest, '"'));
            } else if character == '\'' && is_character(self.rest) {
                self.blank(quoted(self.rest, '\''));
            } else {
                self.code.push(character);
                self.rest = &self.rest[character.len_utf8()..];
            }
        }
        self.code
    }

    /// The length of a raw string that begins here.
    fn raw_string(&self) -> Option<usize> {
        if self.code.ends_with(is_word) {
            return None;
        }
        let marks = self.rest.strip_prefix("br").or_else(|| self.rest.strip_prefix('r'))?;
        let hashes = marks.len() - marks.trim_start_matches('#').len();
        let inside = marks[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        Some(self.rest.len() - inside.len() + length)
    }

    fn blank(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at(length);
        self.code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }
}

/// Whether the quote begins a character and not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

/// The length of a literal in quotes, both included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn comments_and_literals_are_not_code() {
    let source = "let a = \"fn x() {\"; // unsafe\nlet b = '{'; /* { */ fn y<'a>(c: &'a u8) {}\n\
                  let d = r#\"a \" {\"#; let e = b'\\'';";
    let code = code_of(source);
    assert_eq!(code.lines().count(), 3);
    assert_eq!(words(&code).filter(|(_, word)| *word == "fn").count(), 1);
    assert!(!code.contains("unsafe") && code.matches('{').count() == 1, "{code}");
}

#[test]
fn functions_are_counted_without_comments_and_blank_lines() {
    let code =
        code_of("fn a() {\n    // why\n    b();\n\n    c();\n}\nfn d();\nlet e: fn(u8) = f;");
    assert_eq!(functions(&code), [Function { name: "a".into(), line: 1, lines: 2 }]);
}
