//! Keys that are not in the table, and tables that should be something else.

use super::error::Problem;
use super::keys;
use super::low::{Node, Value};
use super::read::Reader;
use super::suggest;

/// Lists of tables, by the names of their keys.
const TABLES: [&str; 2] = ["endpoint", "endpoint[].route"];

/// Reports every key that is not in the table, and every table that should be something else.
pub(crate) fn report_unknown(reader: &mut Reader, root: &Node) {
    let Value::Table(members) = &root.value else {
        return;
    };
    for (name, node) in members {
        check_member(reader, name, name, node);
    }
}

/// `pattern` has list indices left out (`endpoint[].path`), `shown` has them (`endpoint[3].path`).
fn check_member(reader: &mut Reader, pattern: &str, shown: &str, node: &Node) {
    match &node.value {
        _ if keys::find(pattern).is_some() => {}
        Value::List(items) if TABLES.contains(&pattern) => {
            for (index, item) in items.iter().enumerate() {
                check_item(reader, &format!("{pattern}[]"), &format!("{shown}[{index}]"), item);
            }
        }
        other if TABLES.contains(&pattern) => {
            let hint = Some(format!("write [[{}]]", pattern.replace("[]", "")));
            let message = format!("expected a list of tables, found {}", other.kind());
            let problem = Problem::new(Some(node.place.clone()), shown, message);
            reader.problems.push(problem.hint(hint));
        }
        Value::Table(members) if keys::is_section(pattern) => {
            for (name, member) in members {
                let (pattern, shown) = (format!("{pattern}.{name}"), format!("{shown}.{name}"));
                check_member(reader, &pattern, &shown, member);
            }
        }
        other if keys::is_section(pattern) => {
            let message = format!("expected a table, found {}", other.kind());
            reader.problems.push(Problem::new(Some(node.place.clone()), shown, message));
        }
        _ => reader.problems.push(unknown(pattern, shown, node)),
    }
}

fn check_item(reader: &mut Reader, pattern: &str, shown: &str, item: &Node) {
    let Value::Table(members) = &item.value else {
        let message = format!("expected a table, found {}", item.value.kind());
        let place = Some(item.place.clone());
        reader.problems.push(Problem::new(place, shown, message));
        return;
    };
    for (name, node) in members {
        check_member(reader, &format!("{pattern}.{name}"), &format!("{shown}.{name}"), node);
    }
}

fn unknown(pattern: &str, shown: &str, node: &Node) -> Problem {
    let hint = suggest::key(pattern).map(|name| {
        let own = ["endpoint[].route[].", "endpoint[]."]
            .into_iter()
            .find_map(|prefix| name.strip_prefix(prefix).filter(|_| pattern.starts_with(prefix)));
        let name = own.unwrap_or(name);
        format!("did you mean '{name}'?")
    });
    let message = format!("unknown key '{shown}'");
    Problem::new(Some(node.key_place.clone()), "", message).hint(hint)
}
