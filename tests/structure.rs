//! The rules of the tree that a compiler does not check: who may name whom, how large things may be, and what no source
//! contains. `ARCHITECTURE.md` says why.

#[path = "structure/imports.rs"]
mod imports;

use imports::{Crate, cycle, layers};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file before its unit tests. More than this and the file does more than one thing.
const MAX_FILE: usize = 400;

/// Lines of a function, from `fn` to its closing brace.
const MAX_FUNCTION: usize = 70;

/// What each part of the library may name of the others, after `crate::`.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("types", &["types"]),
    // A store in memory is configured by its handle.
    ("config", &["types", "stores"]),
    ("error", &["types", "config", "stores"]),
    ("wire", &["types", "wire"]),
    ("stores", &["types", "stores"]),
];

/// The crates whose imports are looked at.
const CRATES: &[&str] =
    &["src", "ffi/src", "benches/versus/src", "benches/versus/work/src", "benches/versus/broker/src"];

/// Within the actors: what each module may import of the others. Sending and receiving are siblings that do not know
/// each other.
const ACTORS_MAY_IMPORT: &[(&str, &[&str])] = &[
    ("messages", &[]),
    ("node", &["messages"]),
    ("connection", &["node"]),
    ("storing", &["messages", "node"]),
    ("sending", &["messages", "node", "connection", "storing"]),
    ("receiving", &["messages", "node", "connection", "storing"]),
    ("control", &["messages", "node", "connection", "storing", "sending", "receiving"]),
];

/// Within the stores: backends do not know each other.
const STORES_MAY_IMPORT: &[(&str, &[&str])] = &[
    ("contract", &[]),
    ("shared", &["contract"]),
    ("legacy", &["contract", "shared"]),
    ("server", &["contract", "shared"]),
    ("memory", &["contract", "shared"]),
    ("sqlite", &["contract", "shared", "legacy"]),
    ("postgres", &["contract", "shared", "legacy", "server"]),
    ("redis", &["contract", "shared", "legacy", "server"]),
];

/// Direct children of `src/actors` and of `src/stores`: a reader keeps about so many in mind.
const MAX_MODULES: usize = 8;

/// Dependencies between the modules of `src/actors`.
const MAX_DEPENDENCIES: usize = 20;

/// Where there are sources.
const EVERYWHERE: &[&str] = &["src", "tests", "examples", "benches", "ffi"];

/// Threads of their own that wait for another process's lock: there is nothing else to do meanwhile.
const MAY_SLEEP: &[&str] = &["src/stores/sqlite/writer.rs", "src/stores/sqlite/schema.rs"];

/// A source file of this package.
struct Source {
    /// Relative to the package, with `/`.
    path: String,
    text: String,
    /// The text with comments and literals blanked out, line for line.
    code: String,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Source {
        let text = fs::read_to_string(path).expect("a source is UTF-8");
        let relative = path.strip_prefix(root).expect("is inside");
        let path = relative.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        let code = blank(&text);
        Source { path, text, code }
    }

    /// The part of the library it belongs to: the first name behind `src/`.
    fn part(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        inside.split(['/', '.']).next().unwrap_or_default()
    }

    /// Whether it holds nothing but unit tests.
    fn is_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The code before the unit tests.
    fn production(&self) -> &str {
        if self.is_tests() {
            return "";
        }
        let end = self.code.match_indices("#[cfg(test)]\nmod ").find(|(at, _)| {
            let line = self.code[*at..].lines().nth(1).unwrap_or_default();
            line.ends_with('{')
        });
        end.map_or(&self.code, |(at, _)| &self.code[..at])
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` but what is built or hidden; hidden directories named in `shown` are looked into.
fn files(dir: &Path, shown: &[&str], found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).expect("is a directory").map(|e| e.expect("reads").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && !shown.contains(&name.as_str());
        if path.is_dir() && !hidden && name != "target" {
            files(&path, shown, found);
        } else if path.is_file() && name != ".git" {
            found.push(path);
        }
    }
}

fn sources(dirs: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for dir in dirs {
        files(&root.join(dir), &[], &mut found);
    }
    found.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    found.iter().map(|path| Source::read(&root, path)).collect()
}

/// Rust with the content of comments, strings and characters replaced by blanks. Lines stay where they are.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        match end {
            Some(end) => {
                out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// Where the comment or literal that starts at `at` ends, if one does.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    let find = |from: usize, what: &[char]| {
        let found = rest[from..].windows(what.len()).position(|w| w == what);
        at + found.map_or(rest.len(), |f| from + f + what.len())
    };
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => Some(at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(find(2, &['*', '/'])),
        ['r', '"' | '#', ..] if !in_word || chars[at - 1] == 'b' => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            (rest.get(1 + hashes) == Some(&'"')).then(|| find(2 + hashes, &closing))
        }
        ['"', ..] => Some(at + quoted(rest, '"')),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => Some(at + quoted(rest, '\'')),
        _ => None,
    }
}

/// Length of a literal that starts and ends with `quote`.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Functions with the number of their lines.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts = code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if starts && !name.is_empty() {
            found.extend(body_end(&code[at..]).map(|end| (name, code[at..at + end].lines().count())));
        }
    }
    found
}

/// Where the body of the function at the front of `code` ends; `None` for one without a body.
fn body_end(code: &str) -> Option<usize> {
    let (mut braces, mut others) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others -= 1,
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at + 1),
            '}' => braces -= 1,
            ';' if braces == 0 && others == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The names that stand directly behind `crate::`.
fn crate_names(code: &str) -> Vec<&str> {
    let name = |at: usize| {
        let rest = &code[at + "crate::".len()..];
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    };
    code.match_indices("crate::").map(|(at, _)| name(at)).collect()
}

fn nothing(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn parts_name_only_those_below_them() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let Some((part, allowed)) = MAY_NAME.iter().find(|(part, _)| *part == source.part()) else { continue };
        let strangers = crate_names(&source.code).into_iter().filter(|name| !allowed.contains(name));
        broken.extend(strangers.map(|name| format!("{}: {part} names {name}", source.path)));
    }
    nothing(&broken, "types, config and error stand below wire and stores, which do not know each other");
}

/// The crate whose sources lie in `dir`.
fn read_crate(dir: &str) -> Crate {
    let found = sources(&[dir]);
    let below = |source: &Source| source.path[dir.len() + 1..].to_owned();
    let read: Vec<_> = found.iter().filter(|s| !s.is_tests()).map(|s| (below(s), s.production())).collect();
    Crate::new(read.iter().map(|(path, code)| (path.as_str(), *code)))
}

/// Checks the imports between the children of `folder` against `allowed`.
fn children_import_only_what_they_may(folder: &str, allowed: &[(&str, &[&str])]) {
    let graph = read_crate("src").graph(&[folder]);
    let known: Vec<_> = graph.keys().map(String::as_str).collect();
    let mut expected: Vec<_> = allowed.iter().map(|(module, _)| *module).collect();
    expected.sort_unstable();
    assert_eq!(known, expected, "every module of src/{folder} has its rule");
    let mut broken = Vec::new();
    for (module, may) in allowed {
        let strangers = graph[*module].iter().filter(|name| !may.contains(&name.as_str()));
        broken.extend(strangers.map(|name| format!("src/{folder}/{module} imports {name}")));
    }
    nothing(&broken, "the modules of a folder import only those below them");
    let dependencies: usize = graph.values().map(|names| names.len()).sum();
    println!("src/{folder}: {} modules, {dependencies} dependencies, {} layers", graph.len(), layers(&graph));
    assert!(graph.len() <= MAX_MODULES, "src/{folder} has {} modules, at most {MAX_MODULES}", graph.len());
    assert!(
        folder != "actors" || dependencies <= MAX_DEPENDENCIES,
        "{dependencies} dependencies in src/{folder}, at most {MAX_DEPENDENCIES}"
    );
}

#[test]
fn actors_import_only_those_below_them() {
    children_import_only_what_they_may("actors", ACTORS_MAY_IMPORT);
}

#[test]
fn stores_import_only_those_below_them() {
    children_import_only_what_they_may("stores", STORES_MAY_IMPORT);
}

#[test]
fn legacy_data_is_behind_one_door() {
    let doors = ["adopt.rs", "schema.rs"];
    let mut broken = Vec::new();
    for source in sources(&["src"]).iter().filter(|s| !s.path.starts_with("src/stores/legacy/")) {
        let is_door = source.path.starts_with("src/stores/") && doors.iter().any(|door| source.path.ends_with(door));
        if !is_door && source.code.contains("legacy::") {
            broken.push(source.path.clone());
        }
    }
    nothing(&broken, "only the adoption and the schema of a store use src/stores/legacy");
}

#[test]
fn no_imports_go_in_circles() {
    let mut broken = Vec::new();
    for dir in CRATES {
        let read = read_crate(dir);
        for folder in read.folders() {
            let names: Vec<_> = folder.iter().map(String::as_str).collect();
            let found = cycle(&read.graph(&names));
            broken.extend(found.map(|names| format!("{dir}/{}: {}", folder.join("/"), names.join(" → "))));
        }
    }
    nothing(&broken, "modules of one folder do not import each other in circles");
}

#[test]
fn every_part_of_the_library_has_its_place_in_the_order() {
    let mut parts: Vec<String> = sources(&["src"]).iter().map(|s| s.part().to_owned()).collect();
    parts.dedup();
    parts.retain(|part| !["lib", "actors"].contains(&part.as_str()));
    let mut known: Vec<_> = MAY_NAME.iter().map(|(part, _)| (*part).to_owned()).collect();
    parts.sort();
    known.sort();
    assert_eq!(parts, known);
}

#[test]
fn actix_and_sockets_stay_in_the_actors() {
    let mut broken = Vec::new();
    for source in sources(&["src"]).iter().filter(|s| s.part() != "actors") {
        let found = ["actix", "tokio::net", "std::net"].iter().filter(|name| source.code.contains(**name));
        broken.extend(found.map(|name| format!("{} names {name}", source.path)));
    }
    broken.retain(|line| !line.starts_with("src/error.rs names std::net"));
    nothing(&broken, "only src/actors knows actors and sockets");
}

#[test]
fn the_protocol_has_no_runtime_and_no_clock() {
    let mut broken = Vec::new();
    for source in sources(&["src/wire"]) {
        let names = ["tokio", "futures", "std::thread", "SystemTime", "Instant::now", "getrandom", "parking_lot"];
        let found = names.iter().filter(|name| source.production().contains(**name));
        broken.extend(found.map(|name| format!("{} names {name}", source.path)));
    }
    nothing(&broken, "time and randomness are arguments of src/wire");
}

#[test]
fn unsafe_code_is_forbidden_but_where_pointers_come_in() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("reads");
    assert!(manifest.contains("unsafe_code = \"forbid\""), "the workspace forbids it");
    assert!(manifest.contains("[lints]\nworkspace = true"), "the package follows the workspace");
    let manifest = fs::read_to_string(root().join("ffi/Cargo.toml")).expect("reads");
    assert!(manifest.contains("undocumented_unsafe_blocks = \"deny\""), "each block says why it is sound");
    let found = sources(&["ffi/src"]).into_iter().filter(|s| !s.path.starts_with("ffi/src/abi/"));
    let broken: Vec<_> = found.filter(|s| s.code.contains("unsafe ")).map(|s| s.path).collect();
    nothing(&broken, "only ffi/src/abi follows pointers");
}

#[test]
fn no_file_is_longer_than_its_budget() {
    let mut broken = Vec::new();
    for source in sources(&["src", "ffi/src"]) {
        let lines = source.production().lines().count();
        if lines > MAX_FILE {
            broken.push(format!("{}: {lines} lines", source.path));
        }
    }
    nothing(&broken, &format!("no file has over {MAX_FILE} lines before its unit tests"));
}

#[test]
fn no_function_is_longer_than_its_budget() {
    let mut broken = Vec::new();
    for source in sources(EVERYWHERE) {
        for (name, lines) in functions(&source.code).into_iter().filter(|(_, lines)| *lines > MAX_FUNCTION) {
            broken.push(format!("{}: {name} has {lines} lines", source.path));
        }
    }
    nothing(&broken, &format!("no function has over {MAX_FUNCTION} lines"));
}

#[test]
fn every_source_says_first_what_it_owns() {
    let silent = sources(EVERYWHERE).into_iter().filter(|s| !s.text.starts_with("//!"));
    let broken: Vec<_> = silent.map(|s| s.path).collect();
    nothing(&broken, "a source opens with //!");
}

#[test]
fn nothing_is_unfinished_ignored_or_printed_for_debugging() {
    let mut broken = Vec::new();
    for source in sources(EVERYWHERE) {
        let names = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
        let found = names.iter().filter(|name| source.code.contains(**name));
        broken.extend(found.map(|name| format!("{} has {name}", source.path)));
    }
    nothing(&broken, "a test runs or is not there");
}

#[test]
fn nobody_waits_by_sleeping_a_thread() {
    let found = sources(&["src", "tests", "ffi"]).into_iter().filter(|s| s.code.contains("thread::sleep"));
    let broken: Vec<_> = found.map(|s| s.path).filter(|path| !MAY_SLEEP.contains(&path.as_str())).collect();
    nothing(&broken, "a test waits for what it tests, and a node for events");
}

#[test]
fn every_guarantee_has_a_test_that_carries_its_number() {
    let text = fs::read_to_string(root().join("docs/guarantees.md")).expect("reads");
    let number = |line: &str| line.strip_prefix("**")?.split_once(". ")?.0.parse::<usize>().ok();
    let numbers: Vec<_> = text.lines().filter_map(number).collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "guarantees are numbered without a gap");
    let tests = sources(&["tests"]);
    let is_tested = |number: usize| tests.iter().any(|s| s.code.contains(&format!("fn g{number:02}_")));
    let broken: Vec<_> = numbers.into_iter().filter(|n| !is_tested(*n)).map(|n| format!("guarantee {n}")).collect();
    nothing(&broken, "a test of a guarantee starts with its number: g04_…");
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let mut found = Vec::new();
    files(&root(), &[".ci", ".gitignore"], &mut found);
    let places: Vec<String> = ["home", "root", "work", "Users", "tmp"].iter().map(|dir| format!("/{dir}/")).collect();
    let starts = |text: &str, at: usize| text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
    let mut broken = Vec::new();
    for path in found {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            if places.iter().any(|place| line.match_indices(place).any(|(at, _)| starts(line, at))) {
                broken.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    nothing(&broken, "paths are relative, or temporary and made when they are needed");
}

#[test]
fn the_scanner_sees_code_and_nothing_else() {
    let text = "let a = \"fn x() { // \"; // fn y()\nfn z<'a>(c: char) -> [u8; 2] {\n    c == '\"';\n    r#\"}\"#;\n}\nfn w();\n";
    assert_eq!(functions(&blank(text)), [("z".to_owned(), 4)]);
    assert_eq!(crate_names("use crate::types::X; // crate::wire"), ["types", "wire"]);
    assert_eq!(crate_names(&blank("use crate::types::X; // crate::wire")), ["types"]);
}
