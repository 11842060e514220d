//! Bytes for people.

/// One decimal and a binary unit: `1.2 GiB`.
pub fn size(bytes: u64) -> String {
    let mut power = 0;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if bytes >> power < 1024 {
            break;
        }
        power += 10;
        unit = next;
    }
    if power == 0 {
        return format!("{bytes} B");
    }
    let whole = bytes >> power;
    // Less than 2^60, which has room for ten times as much.
    let rest = bytes - (whole << power);
    format!("{whole}.{} {unit}", (rest * 10) >> power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size((1 << 20) - 1), "1023.9 KiB");
        assert_eq!(size(1 << 20), "1.0 MiB");
        assert_eq!(size(556_544), "543.5 KiB");
        assert_eq!(size(u64::MAX), "15.9 EiB");
    }
}
