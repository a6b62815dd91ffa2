//! A file of `src` as far as its paths go: no parser of Rust, only what tells names from comments and texts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The code of one file, without comments, texts and what only tests compile.
pub struct Source {
    /// Below `src`, with slashes.
    pub path: String,
    /// Names and the punctuation between them.
    tokens: Vec<String>,
}

impl Source {
    /// The folder of all.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
    }

    /// All files that the plugin is built of.
    pub fn all() -> Vec<Self> {
        let mut sources = Vec::new();
        for name in ["lib", "main"] {
            Self::add(name, true, &mut sources);
        }
        assert!(sources.len() > 50, "only {} files found", sources.len());
        sources
    }

    /// Adds a file and the modules that it declares. Modules of tests are not among them: their declarations are cut.
    fn add(path: &str, is_root: bool, sources: &mut Vec<Self>) {
        let file = Self::folder().join(format!("{path}.rs"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tokens = without_tests(tokens(&text));
        let folder = if is_root { String::new() } else { format!("{path}/") };
        for name in declared_modules(&tokens) {
            Self::add(&format!("{folder}{name}"), false, sources);
        }
        sources.push(Self { path: format!("{path}.rs"), tokens });
    }

    /// The top-level module that this belongs to.
    pub fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// Whether this is that module (as `decode/json`) or below it.
    pub fn is_below(&self, module: &str) -> bool {
        let own = self.path.trim_end_matches(".rs");
        own.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The other top-level modules that paths of this lead into.
    pub fn modules_used(&self) -> BTreeSet<String> {
        // `super::` from here to the root: once for each folder, and one more for the file.
        let depth = self.path.matches('/').count() + 1;
        let root_of_library = ["crate".to_owned(), "cq_source_s3".to_owned()];
        let mut used = BTreeSet::new();
        for (at, token) in self.tokens.iter().enumerate() {
            let starts = at == 0 || self.tokens[at - 1] != "::";
            let rest = &self.tokens[at..];
            if starts && root_of_library.contains(token) && self.follows(at, "::") {
                used.extend(first_names(&rest[2..]));
            } else if starts && token == "super" {
                let supers = rest.chunks_exact(2).take_while(|pair| pair[0] == "super" && pair[1] == "::").count();
                if supers >= depth {
                    used.extend(first_names(&rest[2 * supers..]));
                }
            }
        }
        used.remove(self.module());
        used.retain(|name| Self::folder().join(format!("{name}.rs")).exists());
        used
    }

    /// Whether a path starts with this crate; a name that ends with `_` stands for all that start so.
    pub fn names_crate(&self, name: &str) -> bool {
        self.tokens.iter().enumerate().any(|(at, token)| {
            let same = if name.ends_with('_') { token.starts_with(name) } else { token == name };
            let starts = at == 0 || self.tokens[at - 1] != "::";
            same && starts && self.follows(at, "::")
        })
    }

    /// Whether these names stand one after the other, at the start, in the middle or at the end of a path. Of a group
    /// (`std::{fs, net}`) each name counts as following what stands before the group.
    pub fn names_path(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.split("::").collect();
        let Some((last, before)) = wanted.split_last() else { return false };
        if before.is_empty() {
            return self.tokens.iter().any(|token| token == last);
        }
        let mut head: Vec<&str> = before.iter().flat_map(|name| [*name, "::"]).collect();
        head.retain(|name| !name.is_empty());
        self.tokens.windows(head.len()).enumerate().any(|(at, window)| {
            window.iter().map(String::as_str).eq(head.iter().copied())
                && first_names(&self.tokens[at + head.len()..]).iter().any(|name| name == last)
        })
    }

    fn follows(&self, at: usize, token: &str) -> bool {
        self.tokens.get(at + 1).is_some_and(|next| next == token)
    }
}

/// The first name of a path, or of each path in a group (`{a::b, c}` gives `a` and `c`).
fn first_names(rest: &[String]) -> Vec<String> {
    if rest.first().is_none_or(|token| token != "{") {
        return rest.first().cloned().into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0;
    for (at, token) in rest.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if depth == 1 && matches!(rest[at - 1].as_str(), "{" | ",") => names.push(name.to_owned()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// The names in `mod name;`.
fn declared_modules(tokens: &[String]) -> Vec<String> {
    let declarations = tokens.windows(3).filter(|window| window[0] == "mod" && window[2] == ";");
    declarations.map(|window| window[1].clone()).collect()
}

/// Cuts each item behind `#[cfg(test)]`.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_test = tokens[at..].iter().take(ATTRIBUTE.len()).map(String::as_str).eq(ATTRIBUTE);
        if is_test {
            at = end_of_item(&tokens, at + ATTRIBUTE.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Where the item that starts here ends: behind its `;`, or the braces of its body.
fn end_of_item(tokens: &[String], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        let is_use = tokens[start] == "use" || tokens[start..at].iter().take(3).any(|token| token == "use");
        if depth == 0 && (token == ";" || (token == "}" && !is_use)) {
            return at + 1;
        }
    }
    tokens.len()
}

/// Names, `::`, and single characters of punctuation; comments, texts and spaces are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if let Some(length) = length_of_skipped(rest) {
            length
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// Bytes of the comment, the text, the character or the lifetime that starts here; `None`: there is none.
fn length_of_skipped(rest: &str) -> Option<usize> {
    let to = |end: Option<usize>| end.unwrap_or(rest.len());
    if rest.starts_with("//") {
        return Some(to(rest.find('\n')));
    }
    if rest.starts_with("/*") {
        return Some(to(rest.find("*/").map(|end| end + 2)));
    }
    // r"…", r#"…"#, with b or c before it.
    let raw = rest.trim_start_matches(['b', 'c']).strip_prefix('r').map(|raw| (raw, raw.trim_start_matches('#')));
    if let Some((hashes, quoted)) = raw.filter(|(_, quoted)| quoted.starts_with('"')) {
        let end = format!("\"{}", "#".repeat(hashes.len() - quoted.len()));
        let start = rest.len() - quoted.len() + 1;
        return Some(to(rest[start..].find(&end).map(|at| start + at + end.len())));
    }
    let mut characters = rest.char_indices().peekable();
    let (_, quote) = characters.next()?;
    match quote {
        '"' => {}
        // A lifetime has no closing quote behind its first character.
        '\'' if rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'') => {}
        '\'' => return Some(1),
        _ => return None,
    }
    let mut escaped = false;
    for (at, character) in characters {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), tokens: without_tests(tokens(text)) }
    }

    #[test]
    fn paths_are_found_in_groups_and_behind_supers_and_nowhere_else() {
        let text = r##"
            // crate::cli::a
            /* crate::cli */
            use crate::{s3::{self, plugin}, tables};
            use super::super::run::x;
            use super::telemetry;
            const A: &str = "crate::cli"; const B: &str = r#"crate::cli""#; const C: char = '"';
            fn f<'a>(x: &'a crate::config::Spec) {}
            #[cfg(test)]
            use crate::shutdown::x;
            #[cfg(test)]
            mod tests { use crate::plugin::y; }
        "##;
        let used: Vec<String> = source("sync/a.rs", text).modules_used().into_iter().collect();
        assert_eq!(used, ["config", "run", "s3", "tables"].map(str::to_owned).to_vec());
    }

    #[test]
    fn crates_and_impure_names_are_found() {
        let source = source("decode/a.rs", "use std::{fs, io}; use aws_sdk_s3::Client; fn f() { a::parquet::b() }");
        assert!(source.names_path("std::fs") && !source.names_path("std::net"));
        assert!(source.names_crate("aws_") && !source.names_crate("parquet"));
    }
}
