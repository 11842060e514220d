//! Files read and written whole, and what is in them as a checksum.

use std::io::Write;
use std::path::Path;

use ring::digest::{SHA256, digest};

/// The SHA-256 of `bytes` as hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of `file`.
///
/// # Errors
/// It can't be read; names it.
pub fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("can't read {}: {error}", file.display()))
}

/// Writes all of it or nothing: beside `file` first, then in its place. A link stays one.
///
/// # Errors
/// It can't be written; names it.
pub fn write(file: &Path, bytes: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("can't write {}: {error}", file.display());
    let file = if file.is_symlink() { std::fs::canonicalize(file).map_err(failed)? } else { file.to_path_buf() };
    let name = file.file_name().ok_or_else(|| format!("can't write {}: it is no file", file.display()))?;
    let mut beside = name.to_os_string();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = file.with_file_name(beside);
    let written = std::fs::File::create_new(&beside)
        .and_then(|mut new| new.write_all(bytes).and_then(|()| new.sync_all()))
        .and_then(|()| match std::fs::metadata(&file) {
            Ok(old) => std::fs::set_permissions(&beside, old.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| std::fs::rename(&beside, &file));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}
