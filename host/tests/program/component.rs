//! Small components with the typed interface, written as text: what they do stands in one function.

use std::path::PathBuf;

use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;
use wit_parser::abi::{AbiVariant, WasmType};

/// Where the function puts its answer.
pub const ANSWER: u32 = 1024;

/// The last two parameters of `run`: the snapshots file, flattened as the canonical ABI does it.
const SNAPSHOTS_ADDRESS: &str = "$snapshots_address";
const SNAPSHOTS_LENGTH: &str = "$snapshots_length";

/// A component in a file.
pub struct ComponentFile {
    directory: TempDir,
}

impl ComponentFile {
    /// `body` is the function's body as WebAssembly text; it returns the address of its answer.
    pub fn new(body: &str) -> Self {
        Self::importing("", "", body)
    }

    /// As [`ComponentFile::new`], with imports: as lines of WIT, and as those of the core module.
    pub fn importing(wit: &str, core: &str, body: &str) -> Self {
        Self::from_bytes(&build(wit, core, "", body))
    }

    /// Answers at once with `answer`.
    pub fn answering(answer: Answer) -> Self {
        let data = format!("(data (i32.const {ANSWER}) \"{}\")", answer.encoded());
        Self::from_bytes(&build("", "", &data, &format!("i32.const {ANSWER}")))
    }

    /// Fails with the content of the snapshots file as its reason.
    pub fn repeating_the_snapshots_file() -> Self {
        let failed = format!("(data (i32.const {ANSWER}) \"{}\")", Answer::Failed("").encoded());
        let body = format!(
            "i32.const {ANSWER}
             local.get {SNAPSHOTS_ADDRESS}
             i32.store offset=12
             i32.const {ANSWER}
             local.get {SNAPSHOTS_LENGTH}
             i32.store offset=16
             i32.const {ANSWER}"
        );
        Self::from_bytes(&build("", "", &failed, &body))
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("component.wasm")
    }
}

/// What `run` returns.
pub enum Answer {
    Status(Status),
    Failed(&'static str),
}

#[derive(Clone, Copy)]
pub enum Status {
    Done = 0,
    Failed = 1,
    Partial = 2,
}

impl Answer {
    /// The bytes of `result<report, error>`, escaped for WebAssembly text. Both payloads start at 8.
    fn encoded(&self) -> String {
        let mut bytes = Vec::new();
        let mut word = |word: u32| bytes.extend(word.to_le_bytes());
        match self {
            Self::Status(status) => {
                [0, 0, *status as u32, ANSWER, 0, 0, 0, 0].into_iter().for_each(&mut word);
            }
            Self::Failed(why) => {
                let length = u32::try_from(why.len()).unwrap();
                [1, 0, 1, ANSWER + 20, length].into_iter().for_each(&mut word);
                bytes.extend(why.bytes());
            }
        }
        bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
    }
}

fn build(wit: &str, core: &str, data: &str, body: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/v0.1")).unwrap();
    let world = format!("package test:component; world it {{ {wit} export vectorkeep:qdrant-backup/tasks@0.1.0; }}");
    let package = resolve.push_str("test.wit", &world).unwrap();
    let world = resolve.select_world(&[package], Some("it")).unwrap();
    let interface = resolve.interfaces.iter().find(|(_, one)| one.name.as_deref() == Some("tasks")).unwrap().1;
    let run = resolve.wasm_signature(AbiVariant::GuestExport, &interface.functions["run"]);
    let [before @ .., WasmType::Pointer, WasmType::Length] = &run.params[..] else { panic!("{run:?}") };
    // Numbers are i32 in what the interface has of them.
    let before = "i32 ".repeat(before.len());
    let text = format!(
        r#"(module
            {core}
            (memory (export "memory") 1)
            (global $free (mut i32) (i32.const 8192))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.set $free (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            {data}
            (func (export "vectorkeep:qdrant-backup/tasks@0.1.0#run")
                (param {before}) (param {SNAPSHOTS_ADDRESS} i32) (param {SNAPSHOTS_LENGTH} i32) (result i32)
                {body}))"#
    );
    let mut module = wat::parse_str(text).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}
