//! What is typed behind the program's name.

use lexopt::Arg;

/// What `--help` prints.
pub(crate) const HELP: &str =
    "Opens every snapshot of backup sets in Qdrant's own engine, without any cluster: fetches it, compares its SHA-256,
counts its points and reads each of them. What it has read is noted beside the set (`<set>.drill`), so that a restore with
QDRANT_VERIFY_CONTENT can be compared with the backup; QDRANT_VERIFY_SAMPLE_POINTS has to be the same then.

Usage: qdrant-backup-drill [--all] [--with URL]

  --all        every set; else the newest of each collection, of each source
  --with URL   compare the points of each set with those that this Qdrant has now, on every replica, and name the
               first that differ; takes the sets of the cluster's own source, or of the one that QDRANT_RESTORE_SOURCE
               names; the snapshots of a set that differs have to fit into QDRANT_WORK_DIR together

The settings are environment variables, as for qdrant-backup: QDRANT_S3_... for the bucket, QDRANT_COLLECTIONS,
QDRANT_SNAPSHOT_DATETIME_FILTER, QDRANT_RESTORE_BEFORE and QDRANT_RESTORE_SOURCE to choose, QDRANT_REPORT_... and
QDRANT_METRICS_... for other programs, QDRANT_CA_FILE, QDRANT_ALLOW_HOSTS, and QDRANT_WORK_DIR, which needs room for the
largest snapshot twice; with --with QDRANT_RESTORE_API_KEY and QDRANT_RESTORE_RENAME, too.

Exit codes: 0 all is readable, and equal, 1 nothing is, 2 wrong command line or settings, 3 some of it is not.";

/// What the arguments ask for.
pub(crate) struct Asked {
    /// Every set, not just the newest of each collection.
    pub all: bool,
    /// The address of the Qdrant whose points the sets are compared with.
    pub with: Option<String>,
}

impl Asked {
    /// `None` where they ask for the help.
    ///
    /// # Errors
    /// An option that there is not, a missing or an empty value, or anything else than options.
    pub fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut asked = Self { all: false, with: None };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
            match argument {
                Arg::Long("all") => asked.all = true,
                Arg::Long("with") => {
                    let url = parser.value().ok().map(|url| url.to_string_lossy().into_owned());
                    let url = url.filter(|url| !url.trim().is_empty());
                    asked.with = Some(url.ok_or("--with needs the URL of a Qdrant: --with http://qdrant:6333")?);
                }
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                other => return Err(other.unexpected().to_string()),
            }
        }
        Ok(Some(asked))
    }
}
