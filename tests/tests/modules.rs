//! Modules depend on one another in one direction only, file by file: what a file uses must not lead back to it.
//!
//! A file uses another by a path that begins with `crate`, `super`, `self` or a module of its own. A name that a module
//! has from elsewhere (`use`) is of the module that it comes from, and to hand it on (`pub use`) is no use. Tests may use
//! what they like.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ItemUse, Macro, UseTree, Visibility};

/// The folders of crates whose modules are held to it.
const CRATES: [&str; 6] = ["guest/contract/src", "guest/core/src", "host/src", "native/src", "drill/src", "bench/src"];

/// A module's path: `["restore", "plan"]`; empty for the root.
type Name = Vec<String>;

/// What a file says.
#[derive(Default)]
struct File {
    path: PathBuf,
    /// The paths it uses, as they are written.
    uses: BTreeSet<Vec<String>>,
    /// Names that it has from elsewhere, and the path of each as it is written.
    names: Vec<(String, Vec<String>)>,
}

impl File {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut file = Self { path, ..Self::default() };
        file.visit_file(&parsed);
        file
    }

    fn note(&mut self, path: Vec<String>) {
        self.uses.insert(path);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<TokenStream>().is_ok_and(|tokens| tokens.to_string() == "test")
    })
}

/// Every path of a `use`, with the name it gives.
fn paths(tree: &UseTree, before: &[String], all: &mut Vec<(String, Vec<String>)>) {
    let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
    match tree {
        UseTree::Path(path) => paths(&path.tree, &with(path.ident.to_string()), all),
        UseTree::Group(group) => group.items.iter().for_each(|tree| paths(tree, before, all)),
        UseTree::Glob(_) => all.push(("*".to_owned(), before.to_vec())),
        UseTree::Name(name) if name.ident == "self" => {
            all.push((before.last().cloned().unwrap_or_default(), before.to_vec()));
        }
        UseTree::Name(name) => all.push((name.ident.to_string(), with(name.ident.to_string()))),
        UseTree::Rename(rename) if rename.ident == "self" => all.push((rename.rename.to_string(), before.to_vec())),
        UseTree::Rename(rename) => all.push((rename.rename.to_string(), with(rename.ident.to_string()))),
    }
}

impl<'ast> Visit<'ast> for File {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut all = Vec::new();
        paths(&item.tree, &[], &mut all);
        if matches!(item.vis, Visibility::Inherited) {
            all.iter().for_each(|(_, path)| self.note(path.clone()));
        }
        self.names.extend(all);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // Who may see it: no use.
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.note(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        words(item.tokens.clone(), self);
        visit::visit_macro(self, item);
    }
}

/// The paths in what is given to a macro.
fn words(tokens: TokenStream, file: &mut File) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if colons == 2 => path.push(word.to_string()),
            TokenTree::Ident(word) => {
                file.note(std::mem::replace(&mut path, vec![word.to_string()]));
            }
            TokenTree::Punct(sign) if sign.as_char() == ':' => {
                colons += 1;
                continue;
            }
            TokenTree::Group(group) => words(group.stream(), file),
            _ => file.note(std::mem::take(&mut path)),
        }
        colons = 0;
    }
    file.note(path);
}

/// The files of a crate by their modules.
fn modules(root: &Path) -> BTreeMap<Name, File> {
    fn add(folder: &Path, within: &[String], all: &mut BTreeMap<Name, File>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let name: Name = within.iter().cloned().chain([stem.clone()]).collect();
            if path.is_dir() {
                add(&path, &name, all);
            } else if path.extension().is_some_and(|end| end == "rs") && !(within.is_empty() && stem == "main") {
                let name = if within.is_empty() && stem == "lib" { Name::new() } else { name };
                all.insert(name, File::read(path));
            }
        }
    }
    let mut all = BTreeMap::new();
    add(root, &[], &mut all);
    // A program without a library.
    all.entry(Name::new()).or_insert_with(|| File::read(root.join("main.rs")));
    all
}

/// The module whose file has what `path` stands for in the module `from`.
fn found(modules: &BTreeMap<Name, File>, from: &Name, path: &[String], depth: usize) -> Option<Name> {
    let mut name = from.clone();
    let mut rest = path;
    match rest.first().map(String::as_str) {
        Some("crate") => name.clear(),
        Some("self") => {}
        Some("super") => {
            name.pop()?;
        }
        Some(first) if modules.contains_key(&[name.clone(), vec![first.to_owned()]].concat()) => {
            name.push(first.to_owned())
        }
        _ => return None,
    }
    rest = &rest[1..];
    while let Some(next) = rest.first() {
        let inner = [name.clone(), vec![next.clone()]].concat();
        if next == "super" {
            name.pop()?;
        } else if modules.contains_key(&inner) {
            name = inner;
        } else {
            break;
        }
        rest = &rest[1..];
    }
    let item = rest.first();
    let names = modules.get(&name).into_iter().flat_map(|file| &file.names);
    let mut from_elsewhere = names.filter(|(known, _)| depth < 8 && item.is_some_and(|item| item == known));
    from_elsewhere.find_map(|(_, path)| found(modules, &name, path, depth + 1)).or(Some(name))
}

/// The groups of modules that lead back to one another.
fn circles(uses: &BTreeMap<Name, BTreeMap<Name, String>>) -> Vec<BTreeSet<Name>> {
    let reached = |from: &Name| {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&Name> = uses[from].keys().collect();
        while let Some(name) = next.pop() {
            if reached.insert(name.clone()) {
                next.extend(uses[name].keys());
            }
        }
        reached
    };
    let all: BTreeMap<&Name, BTreeSet<Name>> = uses.keys().map(|name| (name, reached(name))).collect();
    let mut groups = BTreeSet::new();
    for (name, reached) in &all {
        if reached.contains(*name) {
            groups.insert(reached.iter().filter(|other| all[other].contains(*name)).cloned().collect::<BTreeSet<_>>());
        }
    }
    groups.into_iter().collect()
}

fn check(root: &Path) -> Vec<String> {
    let modules = modules(root);
    let mut uses: BTreeMap<Name, BTreeMap<Name, String>> = BTreeMap::new();
    for (name, file) in &modules {
        let of_file = uses.entry(name.clone()).or_default();
        for path in &file.uses {
            let other = found(&modules, name, path, 0).filter(|other| other != name);
            if let Some(other) = other {
                of_file.entry(other).or_insert_with(|| path.join("::"));
            }
        }
    }
    let told = |circle: BTreeSet<Name>| {
        let mut lines = Vec::new();
        for name in &circle {
            for (other, path) in uses[name].iter().filter(|(other, _)| circle.contains(*other)) {
                let (from, to) = (&modules[name].path, &modules[other].path);
                let short = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
                lines.push(format!("    {} uses `{path}` of {}", short(from), short(to)));
            }
        }
        format!("{}: {} files lead back to themselves:\n{}", root.display(), circle.len(), lines.join("\n"))
    };
    circles(&uses).into_iter().map(told).collect()
}

#[test]
fn no_module_leads_back_to_itself() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let circles: Vec<String> = CRATES.iter().flat_map(|folder| check(&top.join(folder))).collect();
    assert!(circles.is_empty(), "what two of them need belongs into a third, below both:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let written = |files: &[(&str, &str)]| {
        let folder = tempfile::TempDir::new().unwrap();
        for (name, text) in files {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        check(folder.path()).len()
    };
    let (lib, a, inner) = ("lib.rs", "a.rs", "a/inner.rs");
    for (what, files, circles) in [
        ("one way", vec![(lib, "mod a; mod b;"), (a, "use crate::b::B;"), ("b.rs", "pub struct B;")], 0),
        ("both ways", vec![(lib, "mod a; mod b;"), (a, "use crate::b::B;"), ("b.rs", "fn b() { crate::a::a() }")], 1),
        (
            "in a macro",
            vec![(lib, "mod a; mod b;"), (a, "use crate::b;"), ("b.rs", "fn b() { f!(x, crate::a::A) }")],
            1,
        ),
        ("up and down", vec![(lib, "mod a;"), (a, "mod inner; use inner::I;"), (inner, "use super::A;")], 1),
        ("handed on", vec![(lib, "mod a;"), (a, "mod inner; pub use inner::I;"), (inner, "use super::A;")], 0),
        (
            "by a name that is handed on",
            vec![
                (lib, "mod a; mod b;"),
                (a, "mod inner; pub use inner::I;"),
                (inner, "use crate::b;"),
                ("b.rs", "use crate::a::I;"),
            ],
            1,
        ),
        (
            "in tests",
            vec![
                (lib, "mod a; mod b;"),
                (a, "use crate::b::B;"),
                ("b.rs", "#[cfg(test)] mod tests { use crate::a::A; }"),
            ],
            0,
        ),
    ] {
        assert_eq!(written(&files), circles, "{what}");
    }
}

/// A crate that the component depends on and whose change does not build it anew leaves a stale one in the program.
#[test]
fn a_change_in_any_crate_of_the_component_builds_it_anew() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap();
    let said = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(&top)
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let (mut next, mut needed) = (vec![top.join("guest/component")], BTreeSet::new());
    while let Some(folder) = next.pop().filter(|_| needed.len() < 100) {
        let packages = said["packages"].as_array().unwrap();
        let manifest = folder.join("Cargo.toml");
        let package = packages.iter().find(|package| package["manifest_path"] == *manifest.to_str().unwrap()).unwrap();
        let used = package["dependencies"].as_array().unwrap().iter().filter(|used| used["kind"].is_null());
        next.extend(used.filter_map(|used| used["path"].as_str()).map(PathBuf::from));
        needed.insert(folder);
    }
    assert!(needed.len() >= 3, "{needed:?}");
    let script = fs::read_to_string(top.join("host/build.rs")).unwrap();
    for folder in needed {
        let name = folder.strip_prefix(&top).unwrap().display().to_string();
        let whole = script.contains(&format!("\"{name}\","));
        let parts = ["src", "Cargo.toml"].iter().all(|part| script.contains(&format!("\"{name}/{part}\",")));
        assert!(whole || parts, "host/build.rs does not look at {name}");
    }
}
