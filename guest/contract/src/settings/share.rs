//! A share of the collections: what one pod of an Indexed Job takes.

/// One of `of` shares. All pods come to the same split without talking to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// `JOB_COMPLETION_INDEX`, from 0.
    pub index: u64,
    /// `QDRANT_BACKUP_SHARES`, at least 1.
    pub of: u64,
}

impl Share {
    /// True for the collections of this share. The split depends on names and the number of shares alone, and must
    /// never change: pods of different versions of this tool may be at work at the same time.
    pub fn takes(&self, collection: &str) -> bool {
        (u128::from(hash(collection)) * u128::from(self.of)) >> 64 == u128::from(self.index)
    }
}

/// FNV-1a, 64 bits, then the finalizer of SplitMix64: names that differ only at their end spread as well.
pub fn hash(text: &str) -> u64 {
    let fnv = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_collection_is_in_one_share_and_the_shares_are_alike() {
        let names: Vec<String> = (0..1000).map(|number| format!("collection-{number:04}")).collect();
        for of in [1, 2, 3, 7, 64] {
            let taken = |name: &String| (0..of).filter(|index| Share { index: *index, of }.takes(name)).count();
            assert!(names.iter().all(|name| taken(name) == 1), "{of}");
            for index in 0..of {
                let share = names.iter().filter(|name| Share { index, of }.takes(name)).count() as f64;
                let fair = 1000.0 / of as f64;
                assert!((share - fair).abs() < 4.0 * fair.sqrt(), "share {index} of {of} has {share}");
            }
        }
    }

    #[test]
    fn the_split_is_the_one_of_all_versions() {
        let index = |name: &str| (0..7).find(|index| Share { index: *index, of: 7 }.takes(name));
        assert_eq!(["docs", "_default_128", "midlib", ""].map(index), [Some(0), Some(4), Some(4), Some(6)]);
    }
}
