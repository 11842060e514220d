//! The documents say what is there: links lead somewhere, and commands name targets, tasks, settings and files that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use qdrant_backup_contract::command_line;
use qdrant_backup_contract::settings::table::VARIABLES;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every Markdown file of the project, by its path from the root.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = folder.join(&name);
            if entry.file_type().unwrap().is_dir() {
                if !["target", "dist", ".git"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                let text = std::fs::read_to_string(root().join(&path)).unwrap();
                found.insert(path, text);
            }
        }
    }
    assert!(found.len() > 15, "{:?}", found.keys());
    found
}

/// A page in parts: its prose, line by line, and its fenced blocks by their language.
#[derive(Default)]
struct Page {
    prose: Vec<String>,
    blocks: Vec<(String, Vec<String>)>,
}

impl Page {
    fn of(text: &str) -> Self {
        let mut page = Self::default();
        let mut open: Option<(String, Vec<String>)> = None;
        for line in text.lines() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => open = Some((language.trim().to_owned(), Vec::new())),
                (Some(_), Some(_)) => page.blocks.extend(open.take()),
                (None, Some((_, lines))) => lines.push(line.to_owned()),
                (None, None) => page.prose.push(line.to_owned()),
            }
        }
        assert!(open.is_none(), "a fence is not closed");
        page
    }

    /// What stands in backticks in the prose.
    fn code(&self) -> Vec<String> {
        self.prose.iter().flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
    }

    /// The prose without what stands in backticks.
    fn text(&self) -> String {
        let words = |line: &String| line.split('`').step_by(2).collect::<Vec<_>>().join("x");
        self.prose.iter().map(words).collect::<Vec<_>>().join("\n")
    }

    /// The commands of the blocks for a terminal, each with its continued lines.
    fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        for (_, lines) in self.blocks.iter().filter(|(language, _)| language == "console") {
            let mut lines = lines.iter();
            while let Some(line) = lines.next() {
                let Some(first) = line.strip_prefix("$ ") else { continue };
                let mut command = first.to_owned();
                while command.ends_with('\\') {
                    command.pop();
                    command.push_str(lines.next().expect("a line goes on"));
                }
                commands.push(command);
            }
        }
        commands
    }
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for line in Page::of(text).prose.iter().filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let times = seen.entry(slug.clone()).or_default();
        anchors.insert(if *times == 0 { slug } else { format!("{slug}-{times}") });
        *times += 1;
    }
    anchors
}

/// `a/b/../c` is `a/c`.
fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut tidy, part| {
        match part {
            Component::ParentDir => assert!(tidy.pop(), "{} leads out of the project", path.display()),
            Component::CurDir => {}
            part => tidy.push(part),
        }
        tidy
    })
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let (mut links, mut wrong) = (0, Vec::new());
    for (path, text) in &pages {
        let prose = Page::of(text).text();
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.starts_with("https://") && !target.starts_with("http://")) {
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let leads = if file.is_empty() { path.clone() } else { tidy(&path.parent().unwrap().join(file)) };
            if !root().join(&leads).exists() {
                wrong.push(format!("{}: {target}: there is no such file", path.display()));
            } else if !anchor.is_empty() && !pages.get(&leads).is_some_and(|page| anchors(page).contains(anchor)) {
                wrong.push(format!("{}: {target}: there is no such heading", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(links > 80, "{links}");
}

/// Variables that are none of the program's settings.
const OTHER_VARIABLES: &[&str] = &[
    // Of the tests.
    "QDRANT_BIN",
    "QDRANT_BACKUP_PYTHON",
    "QDRANT_BACKUP_NODE",
    "QDRANT_BACKUP_SKIP_NOTHING",
    "QDRANT_BACKUP_TEST_DIALECT",
    // Of the fuzz targets, and of cargo.
    "FUZZ_SECONDS",
    "UPDATE_DOCS",
    // Of a command of one's own that is measured, and of the demo.
    "BASELINE",
    "KEEP",
];

/// True for a variable that the program, the tests or Qdrant itself reads. `QDRANT_S3_...` and `QDRANT_BACKUP_KEEP_` stand
/// for all that begin so.
fn is_known(name: &str, cut_off: bool) -> bool {
    let plain = name.strip_suffix("_FILE").unwrap_or(name);
    let is = |known: &str| known == name || known == plain || cut_off && known.starts_with(name);
    // `QDRANT__...` are Qdrant's own.
    name.starts_with("QDRANT__")
        || VARIABLES.iter().any(|variable| is(variable.name))
        || OTHER_VARIABLES.iter().any(|known| is(known))
}

#[test]
fn every_setting_that_is_named_is_one() {
    let (mut named, mut wrong) = (0, Vec::new());
    for (path, text) in pages() {
        // It says what was there once.
        if path.ends_with("CHANGELOG.md") {
            continue;
        }
        for (at, _) in text.match_indices("QDRANT_") {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            let name: String =
                text[at..].chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_').collect();
            let after = &text[at + name.len()..];
            let cut_off = name.ends_with('_') && ["...", "*"].iter().any(|more| after.starts_with(more));
            named += 1;
            if !is_known(&name, cut_off) {
                wrong.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(named > 200, "{named}");
}

/// The folders and files at the root, by which a path in backticks is known as one.
const TOP: [&str; 14] = [
    "guest/",
    "ci/",
    "examples/",
    "host/",
    "native/",
    "drill/",
    "tests/",
    "bench/",
    "fuzz/",
    "k8s/",
    "charts/",
    "docs/",
    "wit/",
    ".ci/",
];

#[test]
fn every_file_that_is_named_is_there() {
    let (mut named, mut wrong) = (0, Vec::new());
    for (path, text) in pages() {
        if path.ends_with("CHANGELOG.md") || path.ends_with("migration.md") {
            continue;
        }
        for code in Page::of(&text).code() {
            let is_path = TOP.iter().any(|top| code.starts_with(top)) && !code.contains(['<', '*', ' ', '{']);
            if is_path && !code.ends_with("...") {
                named += 1;
                let beside = path.parent().unwrap().join(&code);
                if !root().join(&code).exists() && !root().join(beside).exists() {
                    wrong.push(format!("{}: {code}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(named > 20, "{named}");
}

/// What `make` knows.
struct Makefile(String);

impl Makefile {
    fn has_target(&self, name: &str) -> bool {
        self.0.lines().any(|line| line.starts_with(&format!("{name}:")))
    }

    fn has_variable(&self, name: &str) -> bool {
        self.0.contains(&format!("\n{name} ?=")) || self.0.contains(&format!("$({name})"))
    }
}

/// Programs that a document may name, besides those whose arguments are looked at.
const PROGRAMS: [&str; 13] =
    ["apt-get", "cd", "cosign", "gh", "helm", "kubectl", "ls", "npm", "pip", "rustup", "sha256sum", "tar", "wasmtime"];

/// The words of a command, without its comment; quotes hold a word together.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            ('#', None) if word.is_empty() => break,
            (' ', None) => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (c, _) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// What is wrong with one simple command.
fn wrong_with(words: &[String], makefile: &Makefile) -> Option<String> {
    // Variables in front: `NAME=value command`.
    let assigned = words.iter().take_while(|word| {
        word.split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c)))
    });
    let count = assigned.clone().count();
    let is_make = words.get(count).is_some_and(|program| program == "make");
    for name in assigned.filter_map(|word| word.split_once('=')).map(|(name, _)| name) {
        if !(is_known(name, false) || is_make && makefile.has_variable(name)) {
            return Some(format!("{name} is no setting"));
        }
    }
    let [program, arguments @ ..] = &words[count..] else { return None };
    let missing = |path: &str| !root().join(path).exists() && !path.starts_with("dist/");
    match program.as_str() {
        "make" => arguments.iter().find_map(|word| match word.split_once('=') {
            Some((name, _)) => (!makefile.has_variable(name)).then(|| format!("make knows no {name}")),
            None => (!makefile.has_target(word)).then(|| format!("make has no target {word}")),
        }),
        "export" => wrong_with(arguments, makefile),
        "qdrant-backup" | "dist/qdrant-backup" => wrong_with_task(arguments),
        "dist/qdrant-backup-drill" => None,
        "cargo" => wrong_with_cargo(arguments),
        program if program.contains('/') && missing(program) => Some(format!("there is no {program}")),
        program if program.contains('/') || PROGRAMS.contains(&program) => arguments
            .iter()
            .find(|word| TOP.iter().any(|top| word.starts_with(top)) && !word.contains('.') && missing(word))
            .map(|word| format!("there is no {word}")),
        program => Some(format!("{program} is none of the programs that documents name")),
    }
}

/// The commands that write the component into a file; the program knows them, the table of tasks does not.
const DELIVERY: [&str; 3] = ["component", "configmap", "oci"];

fn wrong_with_task(arguments: &[String]) -> Option<String> {
    if arguments.first().is_some_and(|name| DELIVERY.contains(&name.as_str())) {
        return None;
    }
    command_line::parse(arguments).err().map(|error| error.0.lines().next().unwrap_or_default().to_owned())
}

fn wrong_with_cargo(arguments: &[String]) -> Option<String> {
    let values = |option: &str| -> Vec<&String> {
        arguments.windows(2).filter(|pair| pair[0] == option).map(|pair| &pair[1]).collect()
    };
    let manifests: Vec<String> =
        ["guest/component", "guest/contract", "guest/core", "host", "native", "drill", "examples/rust", "tests"]
            .iter()
            .map(|folder| std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap())
            .collect();
    let is_package =
        |name: &&String| manifests.iter().any(|manifest| manifest.contains(&format!("\nname = \"{name}\"\n")));
    if let Some(name) = values("-p").into_iter().find(|name| !is_package(name)) {
        return Some(format!("there is no package {name}"));
    }
    let tests = root().join("tests/tests");
    let is_test = |name: &&String| {
        tests.join(format!("{name}.rs")).exists() || tests.join(name).join("main.rs").exists() || *name == "program"
    };
    values("--test").into_iter().find(|name| !is_test(name)).map(|name| format!("there is no test {name}"))
}

#[test]
fn every_command_names_what_is_there() {
    let makefile = Makefile(std::fs::read_to_string(root().join("Makefile")).unwrap());
    let (mut count, mut wrong) = (0, Vec::new());
    for (path, text) in pages() {
        for command in Page::of(&text).commands() {
            for part in command.split(" | ").take(1).flat_map(|part| part.split(" && ")) {
                count += 1;
                if let Some(why) = wrong_with(&words(part), &makefile) {
                    wrong.push(format!("{}: `{command}`: {why}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 60, "{count}");
}

/// CI and newcomers run the tests by the command in the README.
#[test]
fn the_readme_is_short_and_says_how_to_test() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.lines().count() <= 150, "{} lines", text.lines().count());
    assert!(Page::of(&text).commands().iter().any(|command| command == "make test"));
}

/// The direct dependencies of a crate, without those of this workspace.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let section = rest.split("\n[").next().unwrap();
    let names = section.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['.', ' ']).next());
    names.filter(|name| !name.is_empty() && !name.starts_with("qdrant-backup")).map(str::to_owned).collect()
}

#[test]
fn every_dependency_of_the_component_has_its_reason() {
    let page = std::fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let named: BTreeSet<String> =
        rows.filter(|(_, why)| !why.starts_with("| ")).map(|(name, _)| name.to_owned()).collect();
    let used: BTreeSet<String> =
        ["guest/component", "guest/core", "guest/contract"].iter().flat_map(|folder| dependencies(folder)).collect();
    assert_eq!(named, used);
    assert!(used.len() > 15, "{used:?}");
}

/// Images, chart, manifests and CHANGELOG are of the workspace's version.
#[test]
fn every_version_is_that_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let chart = read("charts/qdrant-backup/Chart.yaml");
    assert!(chart.contains(&format!("\nversion: {version}\nappVersion: {version}\n")), "{chart}");
    assert!(read("CHANGELOG.md").contains(&format!("\n## [{version}]")));
    for file in ["k8s/Containerfile", "k8s/component/image-volume/Containerfile"] {
        assert!(read(file).contains(&format!("image.version=\"{version}\"")), "{file}");
    }
    let (mut named, mut wrong) = (0, Vec::new());
    let mut folders = vec![root().join("k8s"), root().join("charts")];
    let mut files = vec![root().join("Makefile"), root().join("docs/migration.md")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for image in ["qdrant-backup:", "qdrant-backup-compiler:", "qdrant-backup-component:"] {
            for (at, _) in text.match_indices(image) {
                let tag: String =
                    text[at + image.len()..].chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
                let tag = tag.trim_end_matches('.');
                if !tag.is_empty() {
                    named += 1;
                    if tag != version {
                        wrong.push(format!("{}: {image}{tag}", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(named > 15, "{named}");
    let tags = read("k8s/common/kustomization.yaml");
    assert_eq!(tags.matches(&format!("newTag: {version}\n")).count(), 2, "{tags}");
}

/// The program's own options are a table in its source; docs/settings.md has each with its variable.
#[test]
fn every_global_option_is_on_the_page_of_settings() {
    let page = std::fs::read_to_string(root().join("docs/settings.md")).unwrap();
    let (_, options) = page.split_once("## Global options").unwrap();
    let mut source = String::new();
    let mut folders = vec![root().join("host/src")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                source.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let between = |begin: &str| -> BTreeSet<String> {
        source.split(begin).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    };
    let flags: BTreeSet<String> =
        between("&str = \"--").into_iter().filter(|flag| !flag.is_empty()).map(|flag| format!("`--{flag}")).collect();
    let variables: BTreeSet<String> =
        between("variable: Some(\"").into_iter().map(|variable| format!("`{variable}`")).collect();
    assert!(flags.len() >= 10 && variables.len() >= 9, "{flags:?} {variables:?}");
    let missing: Vec<&String> =
        flags.iter().chain(&variables).filter(|name| !options.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/settings.md lacks {missing:?}");
}
