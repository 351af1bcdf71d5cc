//! Keys that are not in the table, and tables that should be something else.

use super::error::Problem;
use super::keys;
use super::low::{Node, Value};
use super::read::Reader;
use super::suggest;

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
        Value::List(items) if pattern == "endpoint" => {
            for (index, item) in items.iter().enumerate() {
                check_endpoint(reader, index, item);
            }
        }
        other if pattern == "endpoint" => {
            let hint = Some("write [[endpoint]]".to_owned());
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

fn check_endpoint(reader: &mut Reader, index: usize, item: &Node) {
    let Value::Table(members) = &item.value else {
        let message = format!("expected a table, found {}", item.value.kind());
        let place = Some(item.place.clone());
        reader.problems.push(Problem::new(place, format!("endpoint[{index}]"), message));
        return;
    };
    for (name, node) in members {
        let shown = format!("endpoint[{index}].{name}");
        check_member(reader, &format!("endpoint[].{name}"), &shown, node);
    }
}

fn unknown(pattern: &str, shown: &str, node: &Node) -> Problem {
    let hint = suggest::key(pattern).map(|name| {
        let near = |prefix: &str| pattern.starts_with(prefix) && name.starts_with(prefix);
        let name = if near("endpoint[].") { &name["endpoint[].".len()..] } else { name };
        format!("did you mean '{name}'?")
    });
    let message = format!("unknown key '{shown}'");
    Problem::new(Some(node.key_place.clone()), "", message).hint(hint)
}
