//! Sizes as people write them.

/// Reads a size in bytes: `268435456`, `256Mi`, `256MiB`, `1Gi` (powers of two), `256M`, `256MB` (powers of
/// ten), as Kubernetes has it. `None` for anything else and for sizes beyond 64 bits.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let number: u64 = number.parse().ok()?;
    let factor = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A size in the largest binary unit that holds it exactly, as [`parse_size`] reads it: `256MiB`.
pub fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_kubernetes_writes_them() {
        for (text, bytes) in [
            ("1", 1),
            ("65536", 65_536),
            ("64Ki", 65_536),
            ("256Mi", 256 << 20),
            ("256MiB", 256 << 20),
            (" 256 MiB ", 256 << 20),
            ("1Gi", 1 << 30),
            ("256M", 256_000_000),
            ("1GB", 1_000_000_000),
            ("5k", 5_000),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "Mi", "-1", "+1", "1.5Gi", "1x", "1 Mi B", "99999999999999999999", "18446744073709551615Ki"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_are_read() {
        for bytes in [0, 1, 1_000, 1 << 10, 256 << 20, 3 << 30, (1 << 20) + 1] {
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
        assert_eq!(show_size(256 << 20), "256MiB");
    }
}
