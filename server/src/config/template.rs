//! Endpoint paths with parameters, and the room names made from them.

/// A text with parameters, such as `lobby-{room}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template {
    /// In order.
    pub(crate) parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// Text as it is.
    Literal(String),
    /// `{name}`: the path segment of the parameter `:name`.
    Path(String),
    /// `{query.name}`: the query parameter `name`.
    Query(String),
    /// `{params.0.a.b}`: a parameter of a call, or a member within.
    Parameter {
        /// From 0.
        index: usize,
        /// The way within, from the outside.
        members: Vec<String>,
    },
    /// `{user_id}`: the user.
    User,
    /// `{claim.NAME}`: a claim of the user's.
    Claim(String),
}

/// The longest path and the longest room template, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// The path with parameter names left out: what decides which requests match.
pub(crate) fn shape(path: &str) -> String {
    let segments = path.split('/').map(|segment| match segment.strip_prefix(':') {
        Some(_) => ":",
        None => segment,
    });
    segments.collect::<Vec<&str>>().join("/")
}

/// Checks a path; returns the names of its parameters.
pub(crate) fn check_path(path: &str) -> Result<Vec<String>, String> {
    let Some(inner) = path.strip_prefix('/') else {
        return Err(format!("'{path}' does not begin with '/'"));
    };
    if path.len() > TEXT_BYTES_MAX {
        return Err(format!("the path is longer than {TEXT_BYTES_MAX} bytes"));
    }
    if let Some(bad) = path.chars().find(|c| !c.is_ascii_graphic() || "?#\\{}*".contains(*c)) {
        return Err(format!("{bad:?} cannot stand in a path; a parameter is written :name"));
    }
    let mut parameters: Vec<String> = Vec::new();
    let count = inner.split('/').count();
    for (index, segment) in inner.split('/').enumerate() {
        if segment.is_empty() && index + 1 < count {
            return Err(format!("'{path}' has an empty segment"));
        }
        if let Some(name) = segment.strip_prefix(':') {
            if !is_name(name) {
                return Err(format!(
                    "':{name}' is not a parameter: expected :name of letters, digits and _"
                ));
            }
            if parameters.iter().any(|other| other == name) {
                return Err(format!("the parameter ':{name}' stands twice in '{path}'"));
            }
            parameters.push(name.to_owned());
        }
    }
    Ok(parameters)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Reads `lobby-{room}-{query.lang}`; path parameters must be among `parameters`.
pub(crate) fn parse_template(text: &str, parameters: &[String]) -> Result<Template, String> {
    parse(text, &|name| parse_parameter(name, parameters))
}

/// Reads `chat:{params.0}`, the room of a route, which also knows calls and users.
pub(crate) fn parse_route_template(text: &str, parameters: &[String]) -> Result<Template, String> {
    parse(text, &|name| match name.split_once('.').unwrap_or((name, "")) {
        // Whoever reads it would take what a client typed for who the client is.
        ("user_id", "") if parameters.iter().any(|parameter| parameter == name) => {
            Err("'{user_id}' is the user here: the path must not have ':user_id'".to_owned())
        }
        ("user_id", "") => Ok(Part::User),
        ("claim", claim) if !claim.is_empty() => Ok(Part::Claim(claim.to_owned())),
        ("params", place) => parse_place(place)
            .ok_or_else(|| format!("'{{{name}}}': write {{params.0}} or {{params.0.member}}")),
        _ => parse_parameter(name, parameters).map_err(|message| {
            format!("{message}; {{params.0}}, {{user_id}} and {{claim.NAME}} are of the call")
        }),
    })
}

/// `0` or `0.member.member`.
fn parse_place(text: &str) -> Option<Part> {
    let mut words = text.split('.');
    let index = words.next()?.parse().ok()?;
    let members: Vec<String> = words.map(str::to_owned).collect();
    let is_whole = members.iter().all(|member| !member.is_empty());
    is_whole.then_some(Part::Parameter { index, members })
}

fn parse(text: &str, parameter: &dyn Fn(&str) -> Result<Part, String>) -> Result<Template, String> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(format!("a room's name has 1 to {TEXT_BYTES_MAX} bytes"));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let open = rest.find(['{', '}']).unwrap_or(rest.len());
        if open > 0 {
            parts.push(Part::Literal(rest[..open].to_owned()));
        }
        rest = &rest[open..];
        if let Some(inner) = rest.strip_prefix('{') {
            let close =
                inner.find('}').ok_or_else(|| format!("'{text}' has a '{{' without '}}'"))?;
            parts.push(parameter(&inner[..close])?);
            rest = &inner[close + 1..];
        } else if rest.starts_with('}') {
            return Err(format!("'{text}' has a '}}' without '{{'"));
        }
    }
    Ok(Template { parts })
}

fn parse_parameter(name: &str, parameters: &[String]) -> Result<Part, String> {
    if let Some(query) = name.strip_prefix("query.") {
        let valid = is_name(query).then(|| Part::Query(query.to_owned()));
        return valid.ok_or_else(|| format!("'{{{name}}}' does not name a query parameter"));
    }
    if parameters.iter().any(|parameter| parameter == name) {
        return Ok(Part::Path(name.to_owned()));
    }
    let known: Vec<String> = parameters.iter().map(|known| format!("{{{known}}}")).collect();
    let known = if known.is_empty() { "no parameters".to_owned() } else { known.join(", ") };
    Err(format!(
        "'{{{name}}}' is not a parameter of the path, which has {known}; {{query.name}} is \
                 a query parameter"
    ))
}

impl std::fmt::Display for Template {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.write_str(text)?,
                Part::Path(name) => write!(out, "{{{name}}}")?,
                Part::Query(name) => write!(out, "{{query.{name}}}")?,
                Part::Parameter { index, members } => {
                    write!(out, "{{params.{index}")?;
                    members.iter().try_for_each(|member| write!(out, ".{member}"))?;
                    out.write_str("}")?;
                }
                Part::User => out.write_str("{user_id}")?,
                Part::Claim(name) => write!(out, "{{claim.{name}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_parameters() {
        assert_eq!(check_path("/"), Ok(vec![]));
        assert_eq!(check_path("/echo"), Ok(vec![]));
        assert_eq!(check_path("/a/:b/:c_1/d"), Ok(vec!["b".to_owned(), "c_1".to_owned()]));
        let bad = ["", "echo", "/a//b", "/a b", "/a?b", "/:", "/:1a", "/:a/:a", "/é", "/{a}", "/*"];
        for path in bad {
            assert!(check_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn templates_use_parameters_of_the_path_and_the_query() {
        let parameters = vec!["room".to_owned()];
        let template = parse_template("a-{room}.{query.lang}", &parameters).unwrap();
        let expected = [
            Part::Literal("a-".to_owned()),
            Part::Path("room".to_owned()),
            Part::Literal(".".to_owned()),
            Part::Query("lang".to_owned()),
        ];
        assert_eq!(template.parts, expected);
        assert_eq!(template.to_string(), "a-{room}.{query.lang}");
        for text in ["", "{", "}", "{room", "room}", "{rom}", "{}", "{query.}", "{{room}}"] {
            assert!(parse_template(text, &parameters).is_err(), "{text}");
        }
    }

    #[test]
    fn rooms_of_routes_know_calls_and_users() {
        let parameters = vec!["team".to_owned()];
        let text = "{team}/{params.1}:{params.0.a.b}:{user_id}:{claim.org id}:{query.x}";
        let template = parse_route_template(text, &parameters).unwrap();
        let members = vec!["a".to_owned(), "b".to_owned()];
        assert!(template.parts.contains(&Part::Parameter { index: 0, members }));
        assert!(template.parts.contains(&Part::Claim("org id".to_owned())));
        assert_eq!(template.to_string(), text);
        for text in
            ["{params}", "{params.}", "{params.x}", "{params.0.}", "{claim.}", "{tea}", "{0}"]
        {
            assert!(parse_route_template(text, &parameters).is_err(), "{text}");
        }
        assert!(parse_route_template("{user_id}", &["user_id".to_owned()]).is_err());
        assert!(parse_template("{params.0}", &parameters).is_err());
    }

    #[test]
    fn paths_that_differ_only_in_names_match_the_same() {
        assert_eq!(shape("/rooms/:a"), shape("/rooms/:b"));
        assert_ne!(shape("/rooms/:a"), shape("/rooms/a"));
    }
}
