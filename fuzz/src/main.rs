//! libFuzzer on the target that `FUZZ_TARGET` names; without a name it lists them, and with `FUZZ_EXAMPLES` it writes
//! the examples into that folder.
#![no_main]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use qdrant_backup_fuzz::{TARGETS, Target, target};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(
    init: {
        let Ok(name) = std::env::var("FUZZ_TARGET") else {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            std::process::exit(0)
        };
        let chosen = target(&name).unwrap_or_else(|| panic!("there is no target `{name}`"));
        if let Ok(folder) = std::env::var("FUZZ_EXAMPLES") {
            for (number, example) in (chosen.examples)().iter().enumerate() {
                std::fs::write(format!("{folder}/example-{number}"), example).expect("a folder for the examples");
            }
            std::process::exit(0)
        }
        CHOSEN.get_or_init(|| chosen);
    },
    |data: &[u8]| {
        if let Some(chosen) = CHOSEN.get() {
            (chosen.check)(data);
        }
    }
);
