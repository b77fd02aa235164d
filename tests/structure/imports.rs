//! Who imports whom: the modules of a crate, read from its sources, and the dependencies between siblings.
//!
//! A dependency is a path that starts with `crate::`, `super::` or `self::`. It is followed through `pub use`, so that a
//! name counts for the module that defines it, not for the parent that passes it on.

use std::collections::{BTreeMap, BTreeSet};

/// A module as the path of its names below the crate's root; the root itself is empty.
type Module = Vec<String>;

/// The modules of one crate.
pub(crate) struct Crate {
    /// The code of each module, without comments, literals and unit tests.
    modules: BTreeMap<Module, String>,
    /// What a module passes on: name to the path it stands for; `*` for a whole module.
    exports: BTreeMap<Module, Vec<(String, Module)>>,
}

/// Dependencies between the children of one folder: who names whom.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

impl Crate {
    /// Takes the sources of a crate as (path below its `src`, code).
    pub(crate) fn new<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> Crate {
        let modules: BTreeMap<Module, String> =
            sources.map(|(path, code)| (module_of(path), code.to_owned())).collect();
        let mut found = Crate { modules, exports: BTreeMap::new() };
        let exports = found.modules.iter().map(|(module, code)| (module.clone(), found.exports_of(module, code)));
        found.exports = exports.collect();
        found
    }

    /// The names that `module` passes on with `pub use`.
    fn exports_of(&self, module: &Module, code: &str) -> Vec<(String, Module)> {
        let mut found = Vec::new();
        for statement in code.split(';').filter_map(|s| s.rsplit_once("pub").map(|(_, rest)| rest)) {
            let statement = statement.trim_start();
            let statement =
                statement.strip_prefix("(crate)").or(statement.strip_prefix("(super)")).unwrap_or(statement);
            let Some(tree) = statement.trim_start().strip_prefix("use ") else { continue };
            for path in expand(tree) {
                let name = path.last().cloned().unwrap_or_default();
                let target = absolute(module, &path).or_else(|| self.below(module, &path));
                found.extend(target.map(|target| (name, target)));
            }
        }
        found
    }

    /// A path that starts with a child of `module`.
    fn below(&self, module: &Module, path: &[String]) -> Option<Module> {
        let child: Module = module.iter().chain(path.first()).cloned().collect();
        self.modules.contains_key(&child).then(|| module.iter().chain(path).cloned().collect())
    }

    /// The module that defines what `path` names.
    fn resolve(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        // Each turn follows one `pub use`; more in a row than this is a cycle of its own.
        for _ in 0..8 {
            let depth = (0..=path.len()).rev().find(|n| self.modules.contains_key(&path[..*n])).unwrap_or(0);
            let (module, rest) = path.split_at(depth);
            let Some(name) = rest.first().filter(|name| *name != "*") else { return module.to_vec() };
            let exports = self.exports.get(module).map(Vec::as_slice).unwrap_or_default();
            let named = exports.iter().find(|(exported, _)| exported == name).map(|(_, target)| target.clone());
            // Which of several globs a name comes through does not show.
            let glob = || {
                let globs: Vec<_> = exports.iter().filter(|(exported, _)| exported == "*").collect();
                let [(_, target)] = globs.as_slice() else { return None };
                Some(target[..target.len() - 1].iter().chain(rest).cloned().collect())
            };
            match named.or_else(glob) {
                Some(target) => path = target,
                None => return module.to_vec(),
            }
        }
        path
    }

    /// Every dependency between two modules.
    fn dependencies(&self) -> BTreeSet<(Module, Module)> {
        let mut found = BTreeSet::new();
        for (module, code) in &self.modules {
            for path in paths(code) {
                let target = absolute(module, &path).map(|path| self.resolve(&path));
                found.extend(target.filter(|target| target != module).map(|target| (module.clone(), target)));
            }
        }
        found
    }

    /// The dependencies between the direct children of `folder`.
    pub(crate) fn graph(&self, folder: &[&str]) -> Graph {
        let below = |module: &Module| {
            let inside = module.len() > folder.len() && module.iter().zip(folder).all(|(a, b)| a == b);
            inside.then(|| module[folder.len()].clone())
        };
        let mut graph: Graph = self.modules.keys().filter_map(below).map(|child| (child, BTreeSet::new())).collect();
        for (from, to) in self.dependencies() {
            if let (Some(from), Some(to)) = (below(&from), below(&to))
                && from != to
            {
                graph.entry(from).or_default().insert(to);
            }
        }
        graph
    }

    /// Every folder that has children.
    pub(crate) fn folders(&self) -> BTreeSet<Module> {
        self.modules.keys().filter(|module| !module.is_empty()).map(|m| m[..m.len() - 1].to_vec()).collect()
    }
}

/// A cycle of imports in the graph, as the names along it.
pub(crate) fn cycle(graph: &Graph) -> Option<Vec<String>> {
    fn visit(graph: &Graph, at: &str, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        if let Some(start) = path.iter().position(|name| name == at) {
            path.drain(..start);
            path.push(at.to_owned());
            return true;
        }
        if !done.insert(at.to_owned()) {
            return false;
        }
        path.push(at.to_owned());
        if graph.get(at).into_iter().flatten().any(|next| visit(graph, next, path, done)) {
            return true;
        }
        path.pop();
        false
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|start| {
        let mut path = Vec::new();
        visit(graph, start, &mut path, &mut done).then_some(path)
    })
}

/// The length of the longest chain of dependencies, in modules.
pub(crate) fn layers(graph: &Graph) -> usize {
    fn height(graph: &Graph, at: &str, limit: usize) -> usize {
        if limit == 0 {
            return 0;
        }
        1 + graph.get(at).into_iter().flatten().map(|next| height(graph, next, limit - 1)).max().unwrap_or(0)
    }
    graph.keys().map(|start| height(graph, start, graph.len())).max().unwrap_or(0)
}

/// The module of a source, from its path below `src`.
fn module_of(path: &str) -> Module {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut names: Module = path.split('/').map(str::to_owned).collect();
    let is_root = matches!(names.as_slice(), [only] if only == "lib" || only == "main");
    if is_root || names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// A path in `module` as a path from the crate's root; `None` if it does not start inside the crate.
fn absolute(module: &Module, path: &[String]) -> Option<Module> {
    let mut base = match path.first()?.as_str() {
        "crate" => Module::new(),
        "self" | "super" => module.clone(),
        _ => return None,
    };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => {
                base.pop();
            }
            name => base.push(name.to_owned()),
        }
    }
    Some(base)
}

/// All paths of the code that start with `crate`, `super` or `self`, groups taken apart.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                found.extend(expand(&code[at..]));
            }
        }
    }
    found
}

/// Takes the tree of a path apart: `a::{b, c::d}` is `a::b` and `a::c::d`. `as` names are left out, and so is what stands
/// after the path.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    expand_into(tree, &mut Vec::new(), &mut found);
    found
}

/// Returns what is left of `tree` after the path.
fn expand_into<'a>(tree: &'a str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = tree.trim_start();
    let depth = prefix.len();
    loop {
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while let Some(next) = rest.trim_start().strip_prefix(',').or(Some(rest.trim_start())) {
                let next = next.trim_start();
                if next.is_empty() || next.starts_with('}') {
                    rest = next.strip_prefix('}').unwrap_or(next);
                    break;
                }
                let after = expand_into(next, prefix, found);
                let after = after.trim_start();
                let skipped = after.find([',', '}']).unwrap_or(after.len());
                rest = &after[skipped..];
            }
            prefix.truncate(depth);
            return rest;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        prefix.push(name.to_owned());
        match after.strip_prefix("::") {
            Some(next) if next.starts_with(|c: char| c.is_alphanumeric() || "_{*".contains(c)) => rest = next,
            _ => {
                found.push(prefix.clone());
                prefix.truncate(depth);
                return after;
            }
        }
    }
}

#[test]
fn imports_are_followed_to_where_a_name_is_defined() {
    let sources = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a/mod.rs", "mod x; pub(crate) mod y; pub use x::{Thing, Other};"),
        ("a/x.rs", "pub struct Thing;"),
        ("a/y.rs", "use super::Thing;"),
        ("b.rs", "use crate::a::{Thing, y::{self, Z}}; fn f() { crate::c::g() }"),
        ("c.rs", "use crate::{a::Other, b};"),
    ];
    let read = Crate::new(sources.into_iter());
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    let graph = read.graph(&[]);
    assert_eq!(graph["b"], names(&["a", "c"]));
    assert_eq!(graph["c"], names(&["a", "b"]));
    assert_eq!(read.graph(&["a"])["y"], names(&["x"]));
    assert_eq!(cycle(&graph), Some(vec!["b".to_owned(), "c".to_owned(), "b".to_owned()]));
    assert_eq!(cycle(&read.graph(&["a"])), None);
    assert_eq!(layers(&read.graph(&["a"])), 2);
}
