//! `did you mean ...?`: the nearest known word, where one is near enough to be worth saying.

use super::keys::KEYS;
use strsim::{damerau_levenshtein, jaro_winkler};

/// Names that other servers use for a setting, and ours.
const ELSEWHERE: [(&str, &str); 9] = [
    ("max_payload_length", "limits.message_bytes_max"),
    ("max_message_size", "limits.message_bytes_max"),
    ("idle_timeout", "timeouts.idle"),
    ("ws_ping_interval", "timeouts.ping_interval"),
    ("max_backpressure", "backpressure.bytes_max"),
    ("allowed_origins", "endpoint[].origins"),
    ("threads", "shards"),
    ("backend", "io"),
    ("port", "listen"),
];

/// The nearest of `choices` to what was typed.
pub(crate) fn choice<'a>(typed: &str, choices: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let near = |choice: &&str| {
        let distance = damerau_levenshtein(&typed, choice);
        let beginning = typed.len() >= 3 && choice.starts_with(&typed);
        distance <= choice.len().div_ceil(3) || beginning
    };
    let nearest = choices.iter().copied().filter(near);
    nearest.min_by_key(|choice| damerau_levenshtein(&typed, choice))
}

/// The nearest key name to an unknown one. `pattern` is the whole typed name with list indices
/// left out, such as `endpoint[].mod`. The answer is a full name of the same form.
pub(crate) fn key(pattern: &str) -> Option<&'static str> {
    let (section, leaf) = split(pattern);
    let leaf = snake_case(leaf);
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == leaf).map(|(_, name)| *name);
    let same_section = || {
        let names = KEYS.iter().map(|key| key.name).filter(|name| split(name).0 == section);
        nearest(&leaf, names)
    };
    let any_section = || nearest(&leaf, KEYS.iter().map(|key| key.name));
    let sections = || {
        let section_names = ["limits", "timeouts", "backpressure", "deflate", "endpoint"];
        choice(pattern, &section_names)
    };
    elsewhere.or_else(same_section).or_else(sections).or_else(any_section)
}

fn nearest(leaf: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    const NEAR_ENOUGH: f64 = 0.84;
    // Strictly better only: of equals, the first in the table is the more general key.
    let best = names.fold((NEAR_ENOUGH, None), |best, name| {
        let score = likeness(leaf, split(name).1);
        if score > best.0 { (score, Some(name)) } else { best }
    });
    best.1
}

/// 0 to 1, for the better of the two: letter by letter, or word by word in any order.
fn likeness(one: &str, other: &str) -> f64 {
    jaro_winkler(one, other).max(likeness_of_words(one, other))
}

/// Words in another order and shortened words count: `max_conn` is like `connections_max`, and
/// a little less like `connections_pending_max`.
fn likeness_of_words(one: &str, other: &str) -> f64 {
    const SHORTENED: f64 = 0.95;
    const PER_EXTRA_WORD: f64 = 0.05;
    let of_word = |word: &str| {
        let scores = other.split('_').map(|candidate| {
            let shortened = word.len() >= 3 && word != candidate && candidate.starts_with(word);
            if shortened { SHORTENED } else { jaro_winkler(word, candidate) }
        });
        scores.fold(0.0, f64::max)
    };
    let (mut sum, mut count) = (0.0, 0.0);
    for word in one.split('_') {
        sum += of_word(word);
        count += 1.0;
    }
    let others = other.split('_').fold(0.0, |count: f64, _| count + 1.0);
    sum / count - PER_EXTRA_WORD * (others - count).abs()
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// `maxPayloadLength` and `max-payload-length` as `max_payload_length`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(if character == '-' { '_' } else { character.to_ascii_lowercase() });
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_misspelled_reordered_and_shortened_keys() {
        assert_eq!(key("limits.max_conn"), Some("limits.connections_max"));
        assert_eq!(key("limits.max_connections"), Some("limits.connections_max"));
        assert_eq!(key("limits.message_byte_max"), Some("limits.message_bytes_max"));
        assert_eq!(key("lisen"), Some("listen"));
        assert_eq!(key("endpoint[].pth"), Some("endpoint[].path"));
        assert_eq!(key("endpoint[].backpressure.polcy"), Some("endpoint[].backpressure.policy"));
    }

    #[test]
    fn finds_keys_in_another_section_and_sections() {
        assert_eq!(key("connections_max"), Some("limits.connections_max"));
        assert_eq!(key("ping_interval"), Some("timeouts.ping_interval"));
        assert_eq!(key("limit"), Some("limits"));
        assert_eq!(key("endpoints"), Some("endpoint"));
    }

    #[test]
    fn knows_the_names_of_other_servers() {
        assert_eq!(key("maxPayloadLength"), Some("limits.message_bytes_max"));
        assert_eq!(key("idleTimeout"), Some("timeouts.idle"));
        assert_eq!(key("wsPingInterval"), Some("timeouts.ping_interval"));
    }

    #[test]
    fn says_nothing_where_nothing_is_near() {
        assert_eq!(key("zebra"), None);
        assert_eq!(key(""), None);
        assert_eq!(choice("xyz", &["echo", "room"]), None);
        assert_eq!(choice("rom", &["echo", "room"]), Some("room"));
        assert_eq!(choice("ROOM", &["echo", "room"]), Some("room"));
    }
}
