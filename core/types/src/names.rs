//! Names that JavaScript and TypeScript accept.
use std::borrow::Cow;

/// Words that cannot name a variable in a module (ECMA-262, 12.7.2), or mean something else there.
const RESERVED: &[&str] = &[
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "undefined",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

/// Types that the written module declares, or uses and must not hide.
const TYPES: &[&str] = &[
    "AbortSignal",
    "Array",
    "AsyncIterable",
    "Client",
    "Promise",
    "ReadableStream",
    "RequestOptions",
    "Route",
    "Subscription",
    "any",
    "bigint",
    "boolean",
    "never",
    "number",
    "object",
    "string",
    "symbol",
    "unknown",
];

/// Whether it can stand where an identifier is wanted, reserved words included. Only ASCII: what
/// more there may be is a matter of the reader's version of Unicode.
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(starts) && characters.all(continues)
}

/// Whether a constant of a module may be called so.
pub(crate) fn is_variable(name: &str) -> bool {
    is_identifier(name) && !RESERVED.contains(&name)
}

/// As the name of a member of a type.
pub(crate) fn member(name: &str) -> Cow<'_, str> {
    // `new(): T` is how TypeScript writes constructors.
    if is_identifier(name) && name != "new" { Cow::Borrowed(name) } else { literal(name).into() }
}

/// As a key in an object literal.
pub(crate) fn key(name: &str) -> Cow<'_, str> {
    match name {
        "__proto__" => Cow::Borrowed(r#"["__proto__"]"#), // any other form sets the prototype
        name if is_identifier(name) => Cow::Borrowed(name),
        name => literal(name).into(),
    }
}

/// As a string of JavaScript, which has all of JSON's (ECMA-262 since 2019).
pub(crate) fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// As the name of a parameter.
pub(crate) fn parameter(name: &str) -> String {
    let name = identifier(name);
    if RESERVED.contains(&&*name) { name + "_" } else { name }
}

/// As the name of a type.
pub(crate) fn type_name(name: &str) -> String {
    let name = identifier(name);
    let is_taken = RESERVED.contains(&&*name) || TYPES.contains(&&*name);
    if is_taken { name + "Type" } else { name }
}

/// A doc comment, empty without text; each line after `indent`.
pub(crate) fn comment(text: Option<&str>, indent: &str) -> String {
    let text = text.unwrap_or_default().trim().replace("*/", "*\\/");
    match text.lines().count() {
        0 => String::new(),
        1 => format!("{indent}/** {text} */\n"),
        _ => {
            let lines: String = text
                .lines()
                .map(|line| format!("{indent} * {line}").trim_end().to_owned() + "\n")
                .collect();
            format!("{indent}/**\n{lines}{indent} */\n")
        }
    }
}

fn identifier(name: &str) -> String {
    let mut identifier: String =
        name.chars().map(|letter| if continues(letter) { letter } else { '_' }).collect();
    if !identifier.starts_with(starts) {
        identifier.insert(0, '_');
    }
    identifier
}

fn starts(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_' || letter == '$'
}

fn continues(letter: char) -> bool {
    starts(letter) || letter.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_identifiers_are_quoted() {
        assert_eq!(member("a-b"), r#""a-b""#);
        assert_eq!(member("a\"b\n"), r#""a\"b\n""#);
        assert_eq!(member("delete"), "delete");
        assert_eq!(member("new"), r#""new""#);
        assert_eq!(key("9"), r#""9""#);
        assert_eq!(key("__proto__"), r#"["__proto__"]"#);
    }

    #[test]
    fn parameters_and_types_are_never_reserved_words() {
        assert_eq!(parameter("class"), "class_");
        assert_eq!(parameter("2nd try"), "_2nd_try");
        assert_eq!(type_name("Page<User>"), "Page_User_");
        assert_eq!(type_name("Promise"), "PromiseType");
        assert_eq!(type_name(""), "_");
    }

    #[test]
    fn a_comment_cannot_be_ended_from_within() {
        assert_eq!(comment(Some("a */ b"), ""), "/** a *\\/ b */\n");
        assert_eq!(comment(Some("a\n\nb"), "  "), "  /**\n   * a\n   *\n   * b\n   */\n");
        assert_eq!(comment(None, ""), "");
    }
}
