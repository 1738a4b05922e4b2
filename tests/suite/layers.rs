//! What a module may import, where `unsafe` may stand, and what must never be called: ARCHITECTURE.md, enforced.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::rust_source::{Token, tokens};

/// Every module at the top of the crate, with those that it may import. Nothing points up: a module is below all that
/// may import it.
const LAYERS: [(&str, &[&str]); 17] = [
    // Of tests alone, and open to all.
    (GOLDEN, &[]),
    ("error", &[]),
    ("profile", &["error"]),
    ("analysis", &["profile", "error"]),
    ("format", &["profile", "error"]),
    ("policy", &["profile", "error"]),
    ("system", &["profile", "error"]),
    ("symbolize", &["system", "profile", "error"]),
    ("collect", &["system", "format", "profile", "error"]),
    ("snapshot", &["policy", "format", "profile", "error"]),
    ("alerts", &["policy", "analysis", "system", "profile", "error"]),
    (
        "profiler",
        &["alerts", "snapshot", "policy", "symbolize", "collect", "format", "analysis", "system", "profile", "error"],
    ),
    ("metrics", &["profiler", "alerts", "policy", "collect", "analysis", "profile", "error"]),
    ("http", &["metrics", "profiler", "snapshot", "policy", "collect", "format", "analysis", "profile", "error"]),
    (
        "handle",
        &[
            "http", "profiler", "alerts", "snapshot", "policy", "collect", "format", "analysis", "profile", "error",
            "system",
        ],
    ),
    ("testing", &["profiler", "analysis", "profile", "error"]),
    ("install", &["system"]),
];

/// The files that tests compare with.
const GOLDEN: &str = "golden";

/// Where `unsafe` may stand, each block with its reason.
const UNSAFE: [&str; 2] = ["system", "collect"];

#[test]
fn nothing_points_up() {
    for (index, (module, allowed)) in LAYERS.iter().enumerate() {
        for below in *allowed {
            assert!(LAYERS[..index].iter().any(|(known, _)| known == below), "{module} -> {below}");
        }
    }
}

#[test]
fn every_import_is_allowed() {
    let root = Root::of(&read(&source_folder().join("lib.rs")));
    let mut wrong = Vec::new();
    for file in files("src") {
        let source = read(&file);
        wrong.extend(imports(&source, &file, &root).iter().filter_map(|import| import.refusal(&file)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_where_it_may_and_says_why() {
    let wrong: Vec<String> = files("src").iter().flat_map(|file| unsafe_without_reason(&read(file), file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// It frees what other threads are using: jemalloc#2681.
#[test]
fn nothing_resets_jemallocs_profiler() {
    let files = ["src", "examples", "benches"].into_iter().flat_map(files);
    let wrong: Vec<String> = files.flat_map(|file| resets(&read(&file), &file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names that the crate's root gives to items of its modules.
struct Root {
    /// Item → module.
    items: HashMap<String, String>,
}

impl Root {
    /// Reads `pub use module::{A, B};` in lib.rs.
    fn of(lib: &str) -> Self {
        let tokens = tokens(lib);
        let mut items = HashMap::new();
        for (at, _) in tokens.iter().enumerate().filter(|(_, (_, token))| token.is("use")) {
            let statement: Vec<&Token> =
                tokens[at + 1..].iter().map(|(_, token)| token).take_while(|token| !token.is(";")).collect();
            if let [Token::Word(module), rest @ ..] = &statement[..] {
                for token in rest {
                    if let Token::Word(item) = token {
                        items.insert(item.clone(), module.clone());
                    }
                }
            }
        }
        Self { items }
    }
}

/// One path that begins at the crate's root.
#[derive(Debug, PartialEq)]
struct Import {
    line: usize,
    /// The module at the top that the path leads to; the item's name when there is no such module.
    module: String,
}

impl Import {
    /// Why it is not allowed in `file`.
    fn refusal(&self, file: &Path) -> Option<String> {
        let Self { line, module } = self;
        let place = format!("{}:{line}", shown(file));
        let own = top_module(file)?;
        let Some((_, allowed)) = LAYERS.iter().find(|(known, _)| *known == own) else {
            return Some(format!("{place}: `{own}` is not in the table of layers; add it to tests/suite/layers.rs"));
        };
        let is_allowed = *module == own || module == GOLDEN || allowed.contains(&&**module);
        (!is_allowed).then(|| format!("{place}: `{own}` imports `{module}`; allowed are {}", allowed.join(", ")))
    }
}

/// Every path of `source` that begins at the crate's root, with `crate::` or with as many `super::` as it takes.
/// Code of tests counts as well.
fn imports(source: &str, file: &Path, root: &Root) -> Vec<Import> {
    let tokens = tokens(source);
    let is = |at: usize, code: &str| tokens.get(at).is_some_and(|(_, token)| token.is(code));
    let mut imports = Vec::new();
    // For each open brace, whether it is that of a module.
    let mut braces: Vec<bool> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is(at, "{") {
            braces.push(at >= 2 && is(at - 2, "mod"));
        } else if is(at, "}") {
            braces.pop();
        }
        // `$crate::` is for the users of a macro.
        let absolute = is(at, "crate") && is(at + 1, "::") && !(at > 0 && is(at - 1, "$"));
        let supers = (at..).step_by(2).take_while(|&at| is(at, "super") && is(at + 1, "::")).count();
        let depth = depth(file) + braces.iter().filter(|&&module| module).count();
        if absolute || supers > 0 && supers == depth {
            at += 2 * supers.max(1);
            for (line, token) in first_segments(&tokens[at..]) {
                let Token::Word(item) = token else { continue };
                let is_module = LAYERS.iter().any(|(module, _)| module == item);
                let module = if is_module { item } else { root.items.get(item).unwrap_or(item) };
                imports.push(Import { line: *line, module: module.clone() });
            }
        } else {
            at += 1 + 2 * supers.saturating_sub(1);
        }
    }
    imports
}

/// What stands first in a path: one name, or those at the top of `{a::b, c}`. Ends before a brace that it did not open.
fn first_segments(tokens: &[(usize, Token)]) -> Vec<&(usize, Token)> {
    let Some(first) = tokens.first() else { return Vec::new() };
    if !first.1.is("{") {
        return vec![first];
    }
    let mut depth = 0;
    let mut begins = false;
    let mut segments = Vec::new();
    for token in tokens {
        match &token.1 {
            mark if mark.is("{") => depth += 1,
            mark if mark.is("}") => depth -= 1,
            Token::Word(_) if begins && depth == 1 => segments.push(token),
            _ => {}
        }
        begins = token.1.is("{") || token.1.is(",");
        if depth == 0 {
            break;
        }
    }
    segments
}

/// Every `unsafe` of `source` where none may stand, and every unsafe block and impl with no `// SAFETY:` before it.
fn unsafe_without_reason(source: &str, file: &Path) -> Vec<String> {
    let lines: Vec<&str> = source.lines().collect();
    let tokens = tokens(source);
    let may = top_module(file).is_some_and(|module| UNSAFE.contains(&module.as_str()));
    let mut wrong = Vec::new();
    for pair in tokens.windows(2).filter(|pair| pair[0].1.is("unsafe")) {
        let ((line, _), (_, next)) = (&pair[0], &pair[1]);
        let place = format!("{}:{line}", shown(file));
        // `#[unsafe(export_name = …)]` is an attribute.
        if !may && !next.is("(") {
            wrong.push(format!("{place}: `unsafe` outside of {}", UNSAFE.join(" and ")));
        } else if may && (next.is("{") || next.is("impl")) && !has_reason(&lines[..line - 1]) {
            wrong.push(format!("{place}: no `// SAFETY:` right before"));
        }
    }
    wrong
}

/// Whether the comment before the statement that goes on after `before` gives a reason.
fn has_reason(before: &[&str]) -> bool {
    let mut before = before.iter().rev().map(|line| line.trim()).peekable();
    // The lines of the same statement, and its attributes.
    let ends_a_statement = |line: &str| line.is_empty() || line.ends_with([';', '{', '}']);
    while before.next_if(|line| !line.starts_with("//") && !ends_a_statement(line)).is_some() {}
    before.take_while(|line| line.starts_with("//")).any(|line| line.starts_with("// SAFETY: "))
}

fn resets(source: &str, file: &Path) -> Vec<String> {
    let is_reset = |token: &Token| matches!(token, Token::Text(text) if text.contains("prof.reset"));
    let found = tokens(source).into_iter().filter(|(_, token)| is_reset(token));
    found.map(|(line, _)| format!("{}:{line}: prof.reset", shown(file))).collect()
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The Rust files in a folder of the project and in the folders below it.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder that can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "no Rust files in {folder}");
    files.sort();
    files
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn shown(file: &Path) -> String {
    file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).display().to_string()
}

/// The names of the modules that lead to `file`: `src/http/mod.rs` is `http`, `src/http/json.rs` is `http`, `json`.
fn module_path(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(source_folder()).unwrap_or(file).with_extension("");
    let names = inside.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| !["mod", "lib", "main"].contains(&name.as_str())).collect()
}

fn depth(file: &Path) -> usize {
    module_path(file).len()
}

/// `None` for lib.rs, which may import anything.
fn top_module(file: &Path) -> Option<String> {
    module_path(file).into_iter().next()
}

mod tests {
    use super::*;

    #[track_caller]
    fn check_imports(file: &str, source: &str, expect: &[&str]) {
        let root = Root::of("mod a; pub use profile::{Address, ByteSize as Size};\npub use handle::start;");
        let file = source_folder().join(file);
        let wrong: Vec<String> =
            imports(source, &file, &root).iter().filter_map(|import| import.refusal(&file)).collect();
        assert_eq!(wrong, expect);
    }

    #[test]
    fn an_import_that_is_allowed_passes() {
        let source = "use crate::profile::{Mapping, Profile};\nuse crate::{error::Error, system, profile::{a, b}};\n\
                      fn f() { crate::format::heap_v2::parse(); crate::Size::mib(1); crate::collect::f() }\n\
                      // use crate::http::x;\n";
        check_imports("collect/hooks.rs", source, &[]);
        check_imports("lib.rs", "use crate::http::x;", &[]);
        check_imports("install.rs", "use $crate::handle::x;", &[]);
    }

    #[test]
    fn an_import_that_is_not_allowed_is_told_with_its_place() {
        check_imports(
            "profile/model.rs",
            "\nuse crate::collect::StackId;",
            &["src/profile/model.rs:2: `profile` imports `collect`; allowed are error"],
        );
        check_imports(
            "analysis/mod.rs",
            "use crate::{profile::A,\n http::{B, collect}};\nfn f() { crate::start() }",
            &[
                "src/analysis/mod.rs:2: `analysis` imports `http`; allowed are profile, error",
                "src/analysis/mod.rs:3: `analysis` imports `handle`; allowed are profile, error",
            ],
        );
        check_imports(
            "policy/rate_limit.rs",
            "use super::super::system::now;\nuse super::Reason;\n#[cfg(test)] mod tests { use super::super::Trigger; \
             use super::super::super::http::x; }\nuse super::super::profile::A;",
            &[
                "src/policy/rate_limit.rs:1: `policy` imports `system`; allowed are profile, error",
                "src/policy/rate_limit.rs:3: `policy` imports `http`; allowed are profile, error",
            ],
        );
        check_imports(
            "novel/mod.rs",
            "use crate::error::Error;",
            &["src/novel/mod.rs:1: `novel` is not in the table of layers; add it to tests/suite/layers.rs"],
        );
    }

    #[track_caller]
    fn check_unsafe(file: &str, source: &str, expect: &[&str]) {
        assert_eq!(unsafe_without_reason(source, &source_folder().join(file)), expect);
    }

    #[test]
    fn unsafe_outside_of_its_folders_is_told() {
        let told = |line| format!("src/http/json.rs:{line}: `unsafe` outside of system and collect");
        let source = "#[unsafe(no_mangle)]\nfn f() { \"unsafe {\"; }\n// SAFETY: no.\nunsafe { x() }\nunsafe fn g() {}\n\
                      unsafe impl Send for X {}";
        check_unsafe("http/json.rs", source, &[&*told(4), &told(5), &told(6)]);
    }

    #[test]
    fn unsafe_without_a_reason_is_told() {
        check_unsafe(
            "system/mmap.rs",
            "// SAFETY: yes.\nlet a = unsafe { x() };\n// SAFETY: a long\n// reason.\n#[allow(x)]\nlet b =\n    unsafe { y() };\n\
             unsafe fn f() {}\n// SAFETY: yes.\nunsafe impl Send for X {}\n",
            &[],
        );
        check_unsafe(
            "collect/hooks.rs",
            "// SAFETY: yes.\nlet a = 1;\nunsafe { x() };\n// Safe.\nunsafe impl Send for X {}\n// SAFETY: yes.\n\nunsafe { y() }",
            &[
                "src/collect/hooks.rs:3: no `// SAFETY:` right before",
                "src/collect/hooks.rs:5: no `// SAFETY:` right before",
                "src/collect/hooks.rs:8: no `// SAFETY:` right before",
            ],
        );
    }

    #[test]
    fn a_reset_is_told() {
        let source = "// prof.reset\nraw::write(b\"prof.reset\\0\", 19)";
        assert_eq!(resets(source, &source_folder().join("system/a.rs")), ["src/system/a.rs:2: prof.reset"]);
    }
}
