//! Taste as a test: limits of files, functions and lines, where `unsafe` and the clock may stand,
//! which crate may know which, and documentation that does not rot.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#![forbid(unsafe_code)]

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fulmar::Reason;
use source::{code_of, functions, line_of, without_tests, words};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARACTERS_MAX: usize = 100;

/// Libraries: no output of their own, no clock and no chance outside two files.
const LIBRARIES: [&str; 8] = [
    "core/src/",
    "core/proto/src/",
    "core/driver/src/",
    "core/dialect/src/",
    "core/auth/src/",
    "core/fabric/src/",
    "core/client/src/",
    "core/types/src/",
];

/// Where a library has its one clock and its one source of chance, if it has them.
const SOURCES: [&str; 2] = ["clock.rs:", "entropy.rs:"];

/// The one crate that may hold unsafe code.
const UNSAFE_HOME: &str = "core/driver/src/";

/// Everything that may lie at the top besides what git ignores.
const TOP_LEVEL: [&str; 15] = [
    ".ci",
    ".clippy.toml",
    ".config",
    ".git",
    ".gitignore",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "bench",
    "core",
    "docs",
    "perf",
    "server",
    "tests",
];

/// What may go into the library.
const CORE_ARROWS: [&str; 6] = [
    "fulmar-client",
    "fulmar-dialect",
    "fulmar-driver",
    "fulmar-fabric",
    "fulmar-proto",
    "fulmar-types",
];

/// Which crates of ours a crate may depend on, besides in its tests.
const ARROWS: [(&str, &[&str]); 10] = [
    ("core/proto", &[]),
    ("core/driver", &[]),
    ("core/dialect", &["fulmar-proto"]),
    ("core/fabric", &[]),
    ("core/auth", &["fulmar-dialect"]),
    ("core/client", &["fulmar-proto"]),
    ("core/types", &[]),
    ("core", &CORE_ARROWS),
    ("server", &["fulmar", "fulmar-auth", "fulmar-types"]),
    ("bench", &["fulmar-client", "fulmar-proto", "fulmar-driver"]),
];

/// Abbreviations that stand for a word of ours. `cfg` is the attribute's own name.
const ABBREVIATIONS: [&str; 9] = ["conn", "msg", "ctx", "buf", "idx", "req", "resp", "srv", "cnt"];

/// A file of the repository: its path from the top, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    fn is_library(&self) -> bool {
        LIBRARIES.iter().any(|library| self.path.starts_with(library)) && !self.is_test()
    }

    fn is_crate_root(&self) -> bool {
        self.path.ends_with("src/lib.rs") || self.path.ends_with("src/main.rs")
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Names at any depth that git ignores.
fn ignored() -> BTreeSet<String> {
    let text = fs::read_to_string(top().join(".gitignore")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_suffix('/'));
    names.map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
}

/// All files of an ending, in order.
fn files(ending: &str) -> Vec<File> {
    let (ignored, top) = (ignored(), top());
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != ".git" && !ignored.contains(&name) {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&top).unwrap().to_string_lossy().into_owned();
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 3, "no {ending} files were found");
    found
}

/// Fails with everything at once, so that one run shows all there is to do.
fn report(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

#[test]
fn rust_files_are_short() {
    let long = |file: &File| file.text.lines().count() > FILE_LINES_MAX;
    let paths: Vec<_> = files(".rs").into_iter().filter(long).map(|file| file.path).collect();
    report("files of more than 800 lines", &paths);
}

#[test]
fn functions_are_short() {
    let mut found = Vec::new();
    for file in files(".rs").iter().filter(|file| !file.is_test()) {
        let code = code_of(&file.text);
        for function in functions(without_tests(&code)) {
            if function.lines > FUNCTION_LINES_MAX {
                let source::Function { name, line, lines } = function;
                found.push(format!("{}:{line}: {name}, {lines} lines", file.path));
            }
        }
    }
    report("functions of more than 70 lines of code", &found);
}

#[test]
fn lines_are_short() {
    let mut found = Vec::new();
    for file in files(".rs") {
        for (index, line) in file.text.lines().enumerate() {
            if line.chars().count() > LINE_CHARACTERS_MAX {
                found.push(format!("{}:{}", file.path, index + 1));
            }
        }
    }
    report("lines of more than 100 characters", &found);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = |file: &File| !file.text.starts_with("//!");
    let paths: Vec<_> = files(".rs").into_iter().filter(silent).map(|file| file.path).collect();
    report("files that do not begin with //!", &paths);
}

#[test]
fn every_crate_but_the_driver_forbids_unsafe_code() {
    let careless = |file: &File| {
        file.is_crate_root()
            && !file.path.starts_with(UNSAFE_HOME)
            && !file.text.contains("#![forbid(unsafe_code)]")
    };
    let paths: Vec<_> = files(".rs").into_iter().filter(careless).map(|file| file.path).collect();
    report("crate roots without #![forbid(unsafe_code)]", &paths);
}

#[test]
fn unsafe_code_is_in_the_driver_and_says_why_it_is_sound() {
    let (mut astray, mut silent) = (Vec::new(), Vec::new());
    for file in files(".rs") {
        let code = code_of(&file.text);
        for (at, _) in words(&code).filter(|(_, word)| *word == "unsafe") {
            let line = line_of(&code, at);
            let place = format!("{}:{line}", file.path);
            if !file.path.starts_with(UNSAFE_HOME) {
                astray.push(place);
            } else if !is_justified(&file.text, line) {
                silent.push(place);
            }
        }
    }
    report("unsafe outside core/driver/src", &astray);
    report("unsafe without SAFETY", &silent);
}

/// Whether the comment above the statement, a line away at most, argues for its safety.
fn is_justified(source: &str, line: usize) -> bool {
    let above: Vec<&str> = source.lines().take(line - 1).collect();
    let is_comment = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("//") || line.starts_with("#[")
    };
    let comment =
        above.iter().rev().skip_while(|line| !is_comment(line)).take_while(|line| is_comment(line));
    let distance = above.iter().rev().take_while(|line| !is_comment(line)).count();
    let mut comment = comment.copied();
    distance <= 2 && comment.any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
}

#[test]
fn crates_know_only_those_below_them() {
    let mut found = Vec::new();
    for (folder, allowed) in ARROWS {
        let text = fs::read_to_string(top().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        for name in dependencies(&manifest) {
            if name.starts_with("fulmar") && !allowed.contains(&name.as_str()) {
                found.push(format!("{folder} -> {name}"));
            }
        }
    }
    report("dependencies against the arrows of docs/ARCHITECTURE.md", &found);
}

/// Dependencies that end up in what is built, on any target.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(toml::Table::values);
    let tables = tables.filter_map(toml::Value::as_table).chain([manifest]);
    let kinds = ["dependencies", "build-dependencies"];
    let named = tables.flat_map(|table| kinds.map(|kind| table.get(kind)));
    let named = named.flatten().filter_map(toml::Value::as_table);
    named.flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn nothing_is_left_undone() {
    // Put together here, so that this file does not find itself.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let macros = [concat!("dbg", "!("), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let mut found = Vec::new();
    for file in files(".rs") {
        let code = code_of(&file.text);
        for (index, (line, code)) in file.text.lines().zip(code.lines()).enumerate() {
            let noted = notes.iter().any(|note| line.contains(note));
            if noted || macros.iter().any(|name| code.contains(name)) {
                found.push(format!("{}:{}", file.path, index + 1));
            }
        }
    }
    report("notes to ourselves and debugging aids", &found);
}

#[test]
fn libraries_print_nothing() {
    let found = library_code(|code| code.contains("print!(") || code.contains("println!("));
    report("output of a library", &found);
}

#[test]
fn time_and_chance_have_one_source_each() {
    let sources = ["Instant::now", "SystemTime::now", "getrandom::", "thread::sleep"];
    let mut found = library_code(|code| sources.iter().any(|source| code.contains(source)));
    let is_source = |place: &str| {
        let in_library = LIBRARIES.iter().find_map(|library| place.strip_prefix(library));
        in_library.is_some_and(|file| SOURCES.iter().any(|source| file.starts_with(source)))
    };
    found.retain(|place| !is_source(place));
    report("time or chance outside clock.rs and entropy.rs", &found);
}

#[test]
fn names_are_whole_words() {
    let found = library_code(|code| words(code).any(|(_, word)| ABBREVIATIONS.contains(&word)));
    report("abbreviations as names", &found);
}

/// Lines of library code, tests left out, for which `is_wrong` holds.
fn library_code(is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files(".rs").iter().filter(|file| file.is_library()) {
        let code = code_of(&file.text);
        for (index, line) in without_tests(&code).lines().enumerate() {
            if is_wrong(line) {
                found.push(format!("{}:{}", file.path, index + 1));
            }
        }
    }
    found
}

#[test]
fn the_top_level_holds_what_was_agreed() {
    let (mut found, ignored) = (Vec::new(), ignored());
    for entry in fs::read_dir(top()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !TOP_LEVEL.contains(&name.as_str()) && !ignored.contains(&name) {
            found.push(name);
        }
    }
    report("unknown entries at the top level", &found);
}

#[test]
fn every_page_has_one_title_and_no_dead_link() {
    let (mut titles, mut links) = (Vec::new(), Vec::new());
    for file in files(".md") {
        let prose = prose(&file.text);
        let count = prose.lines().filter(|line| line.starts_with("# ")).count();
        if count != 1 {
            titles.push(format!("{}: {count}", file.path));
        }
        let folder = top().join(&file.path).parent().unwrap().to_owned();
        for link in relative_links(&prose) {
            if !folder.join(link).exists() {
                links.push(format!("{}: {link}", file.path));
            }
        }
    }
    report("pages without exactly one title", &titles);
    report("dead links", &links);
}

/// A page without its fenced code.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Targets of `[text](target)` that lie in this repository, without their fragments.
fn relative_links(prose: &str) -> Vec<&str> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let targets = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    targets.filter_map(|target| target.split('#').next()).collect()
}

#[test]
fn decisions_are_numbered_and_complete() {
    let parts = ["## Context", "## Decision", "## Consequences", "## What would change our mind"];
    let mut found = Vec::new();
    let records = files(".md");
    let records = records.iter().filter(|file| file.path.starts_with("docs/adr/"));
    for (index, file) in records.enumerate() {
        if !file.path.starts_with(&format!("docs/adr/{:04}-", index + 1)) {
            found.push(format!("{}: not number {}", file.path, index + 1));
        }
        if parts.iter().any(|part| !file.text.contains(part)) {
            found.push(format!("{}: a part is missing", file.path));
        }
        if file.text.lines().count() > 80 {
            found.push(format!("{}: longer than a page", file.path));
        }
    }
    report("records of decisions", &found);
}

#[test]
fn the_table_of_reasons_is_whole() {
    let page = fs::read_to_string(top().join("docs/OPERATIONS.md")).unwrap();
    let mut found = Vec::new();
    for reason in Reason::ALL {
        let told = match reason.told() {
            0 => "-".to_owned(),
            code => code.to_string(),
        };
        let key = match reason.key() {
            "" => "-".to_owned(),
            key => format!("`{key}`"),
        };
        let row = format!("| `{}` | {told} | {key} |", reason.code());
        if !page.contains(&row) {
            found.push(row);
        }
    }
    report("rows missing in docs/OPERATIONS.md", &found);
}

#[test]
fn the_readme_shows_the_example_of_the_crate() {
    let readme = fs::read_to_string(top().join("README.md")).unwrap();
    let library = fs::read_to_string(top().join("core/src/lib.rs")).unwrap();
    let lines = library.lines().filter_map(|line| line.strip_prefix("//!"));
    let docs: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let example = first_block(&docs.join("\n"), "```no_run\n").unwrap();
    assert_eq!(first_block(&readme, "```rust,no_run\n"), Some(example));
}

fn first_block(text: &str, fence: &str) -> Option<String> {
    let (_, block) = text.split_once(fence)?;
    Some(block.split_once("\n```")?.0.to_owned())
}

#[test]
fn the_argument_for_unsafe_code_stands_right_above_it() {
    let argued = "// SAFETY: the index was checked.\nlet a =\n    unsafe { b() };";
    assert!(is_justified(argued, 3));
    assert!(!is_justified("let a = 1;\nunsafe { b() };", 2));
    assert!(!is_justified("// SAFETY: for another.\na();\nb();\nc();\nunsafe { d() };", 5));
    assert!(!is_justified("// Fast.\nunsafe { b() };", 2));
}

#[test]
fn links_and_dependencies_are_found_where_they_are() {
    let text = "# A\n[b](c.md#d) [e](https://f.example) [g](#h)\n```\n[i](j.md)\n```\n";
    assert_eq!(relative_links(&prose(text)), ["c.md"]);
    let manifest = "[dependencies]\na = \"1\"\n[dev-dependencies]\nb = \"1\"\n\
                    [target.'cfg(unix)'.dependencies]\nc = \"1\"";
    let mut names = dependencies(&manifest.parse().unwrap());
    names.sort();
    assert_eq!(names, ["a", "c"]);
}
