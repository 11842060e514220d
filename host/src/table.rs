//! The program's own options and commands: a row each. The command line, its help, completions and the manual page are made
//! from here.

/// The shells there are completions for.
pub const SHELLS: &str = "bash|zsh|fish";

/// One of the host's own options: `--name VALUE` or `--name=VALUE`, or `--name` alone.
#[derive(Debug)]
pub struct HostOption {
    /// With its two dashes.
    pub flag: &'static str,
    /// What the value is; empty where it takes none.
    pub value: &'static str,
    /// The environment variable that does the same; the option wins.
    pub variable: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
}

/// `--work-dir`.
pub const WORK_DIR: &str = "--work-dir";
/// `--snapshots`.
pub const SNAPSHOTS: &str = "--snapshots";
/// `--ca-file`.
pub const CA_FILE: &str = "--ca-file";
/// `--extra-ca-file`.
pub const EXTRA_CA_FILE: &str = "--extra-ca-file";
/// `--client-cert`.
pub const CLIENT_CERT: &str = "--client-cert";
/// `--client-key`.
pub const CLIENT_KEY: &str = "--client-key";
/// `--allow-host`.
pub const ALLOW_HOST: &str = "--allow-host";
/// `--component`.
pub const COMPONENT: &str = "--component";
/// `--memory-limit`.
pub const MEMORY_LIMIT: &str = "--memory-limit";
/// `--no-progress`.
pub const NO_PROGRESS: &str = "--no-progress";
/// `--deadline`.
pub const DEADLINE: &str = "--deadline";

/// The host's own options.
pub const OPTIONS: &[HostOption] = &[
    HostOption {
        flag: WORK_DIR,
        value: "DIR",
        variable: Some("QDRANT_WORK_DIR"),
        help: "The directory of the state files; the current one by default",
    },
    HostOption {
        flag: SNAPSHOTS,
        value: "FILE",
        variable: Some("QDRANT_SNAPSHOTS_FILE"),
        help: "Restore what this CSV file lists, in place of `snapshots` in the work directory; only read",
    },
    HostOption {
        flag: CA_FILE,
        value: "FILE",
        variable: Some("QDRANT_CA_FILE"),
        help: "Trust the certificates (PEM) in this file in place of the system's",
    },
    HostOption {
        flag: EXTRA_CA_FILE,
        value: "FILE",
        variable: Some("QDRANT_EXTRA_CA_FILE"),
        help: "Trust the certificates (PEM) in this file besides",
    },
    HostOption {
        flag: CLIENT_CERT,
        value: "FILE",
        variable: Some("QDRANT_CLIENT_CERT"),
        help: "Show this certificate (PEM, with those between it and its CA) to servers that ask for one",
    },
    HostOption { flag: CLIENT_KEY, value: "FILE", variable: Some("QDRANT_CLIENT_KEY"), help: "Its private key (PEM)" },
    HostOption {
        flag: ALLOW_HOST,
        value: "RULE",
        variable: Some("QDRANT_ALLOW_HOSTS"),
        help: "Allow requests to more than the configured servers and the names below them: `name`, `*.name`, \
               `10.0.0.0/8`, each with an optional `:port`; several with commas or by repeating the option",
    },
    HostOption {
        flag: COMPONENT,
        value: "FILE",
        variable: None,
        help: "Run this component in place of the built-in one: as it is or compressed by xz or gzip, at most 64MiB",
    },
    HostOption {
        flag: MEMORY_LIMIT,
        value: "SIZE",
        variable: Some("QDRANT_MEMORY_LIMIT"),
        help: "How much memory the component may have, 16MiB to 4GiB; 256MiB by default",
    },
    HostOption {
        flag: DEADLINE,
        value: "DURATION",
        variable: Some("QDRANT_RUN_DEADLINE"),
        help: "End the run with exit code 124 after this time: `3600`, `90s`, `60m`, `2h`; none by default",
    },
    HostOption {
        flag: NO_PROGRESS,
        value: "",
        variable: None,
        help: "Show the log alone on a terminal, as in a pipe: no lines below it, no colours, no summary",
    },
];

/// One of the program's own commands, which run no task.
#[derive(Debug)]
pub struct HostCommand {
    /// Its name.
    pub name: &'static str,
    /// What stands after it.
    pub arguments: &'static str,
    /// The words that may stand after it, for completions.
    pub words: &'static [&'static str],
    /// What it does, in one line.
    pub help: &'static str,
}

/// The program's own commands. Those of the delivery have more to say of themselves (`delivery`).
pub const COMMANDS: &[HostCommand] = &[
    HostCommand {
        name: "config",
        arguments: "show [--output table|json]",
        words: &["show"],
        help: "show every setting with its value, where it came from and what it means; secrets are masked",
    },
    HostCommand {
        name: "completions",
        arguments: SHELLS,
        words: &["bash", "zsh", "fish"],
        help: "print completions for a shell: `source <(qdrant-backup completions bash)`",
    },
    HostCommand {
        name: "man",
        arguments: "",
        words: &[],
        help: "print the manual page: `qdrant-backup man | man -l -`",
    },
    HostCommand { name: "component", arguments: "FILE", words: &[], help: "write the built-in component to FILE" },
    HostCommand {
        name: "configmap",
        arguments: "MANIFEST [COMPONENT [KEY]]",
        words: &[],
        help: "put the component into the ConfigMap in the YAML file MANIFEST",
    },
    HostCommand {
        name: "oci",
        arguments: "DIR [COMPONENT]",
        words: &[],
        help: "write the component as a wasm OCI artifact into DIR",
    },
];
