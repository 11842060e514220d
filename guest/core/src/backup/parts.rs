//! How large the parts of an upload are. A snapshot's size is known at its end only, and an upload has so many parts at most:
//! what does not fit into so many is sent again in larger ones.

/// The sizes that are tried one after another, and how many parts of one size an upload may have.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    /// In bytes, the smallest first.
    sizes: &'static [usize],
    most: usize,
}

/// Why there is no larger size.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoLarger {
    /// No object is as large.
    Object,
    /// Two parts of this many bytes do not fit into the memory for buffers.
    Memory(usize),
}

impl Parts {
    /// With the first ones an upload ends at 78 GiB, with the last ones at 5 TiB, which is as large as an object can be (AWS,
    /// "Multipart upload limits").
    pub(super) const OF_S3: Self = Self { sizes: &[8 << 20, 64 << 20, 544 << 20], most: 10_000 };

    /// The first size that is tried.
    pub(super) fn first(self) -> usize {
        self.sizes.first().copied().unwrap_or_default()
    }

    /// How many parts an upload may have.
    pub(super) fn most(self) -> usize {
        self.most
    }

    /// How many bytes an upload in parts of `size` may have.
    pub(super) fn holds(self, size: usize) -> u64 {
        // More than a `usize` holds in a component.
        size as u64 * self.most as u64
    }

    /// The size that is tried after `size`, where buffers may have `largest` bytes.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn after(self, size: usize, largest: u64) -> Result<usize, NoLarger> {
        let next = self.sizes.iter().copied().find(|next| *next > size).ok_or(NoLarger::Object)?;
        if next as u64 > largest { Err(NoLarger::Memory(next)) } else { Ok(next) }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
pub(super) mod tests {
    use super::*;
    use crate::limits::Limits;

    /// Sizes with which an upload is soon outgrown.
    pub(in crate::backup) const SMALL: Parts = Parts { sizes: &[1000, 3000, 16 << 20], most: 4 };

    #[test]
    fn the_largest_parts_hold_the_largest_object() {
        let Parts { sizes, most } = Parts::OF_S3;
        assert!(sizes.is_sorted() && sizes.iter().all(|size| (5 << 20..=5 << 30).contains(size)));
        assert_eq!(most, 10_000);
        let gib: Vec<u64> = sizes.iter().map(|size| Parts::OF_S3.holds(*size) >> 30).collect();
        assert_eq!(gib, [78, 625, 5312]);
        assert!(Parts::OF_S3.holds(sizes[2]) >= 5 << 40 && Parts::OF_S3.holds(sizes[1]) < 5 << 40);
    }

    #[test]
    fn each_size_is_tried_where_two_parts_fit_into_memory() {
        let parts = Parts::OF_S3;
        let after = |size: usize, limit: u64| parts.after(size, Limits::new(1, limit).memory().largest_of_two());
        // Half of the memory is for two buffers.
        for size in [64 << 20, 544 << 20] {
            let before = if size == 64 << 20 { 8 << 20 } else { 64 << 20 };
            assert_eq!(after(before, 4 * size as u64), Ok(size));
            assert_eq!(after(before, 4 * size as u64 - (8 << 20)), Err(NoLarger::Memory(size)));
        }
        assert_eq!(after(544 << 20, u64::MAX), Err(NoLarger::Object));
    }
}
