use bytes::Bytes;

use super::{Fault, Memory};
use crate::scan::BLOCK;

/// The plain bytes so far, and no more than the limit.
pub(super) struct Output {
    bytes: Vec<u8>,
    most: u64,
}

impl Output {
    pub(super) fn new(most: u64) -> Self {
        Self {
            bytes: Vec::new(),
            most,
        }
    }

    /// Makes room for `more` bytes. What is held is that room and `fixed` bytes of others.
    pub(super) fn hold(
        &mut self,
        fixed: u64,
        more: usize,
        memory: &mut impl Memory,
    ) -> Result<(), Fault> {
        let needed = self.bytes.len() + more;
        if needed as u64 > self.most {
            return Err(Fault::TooLarge);
        }
        let capacity = self.bytes.capacity();
        let target = match needed <= capacity {
            true => capacity,
            false => {
                let most = usize::try_from(self.most).unwrap_or(usize::MAX);
                (2 * capacity).max(BLOCK).min(most).max(needed)
            }
        };
        if !memory.hold(fixed + target as u64) {
            return Err(Fault::NoMemory);
        }
        self.bytes.reserve_exact(target - self.bytes.len());
        Ok(())
    }

    /// There must be room for them.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn finish(self) -> Bytes {
        self.bytes.into()
    }
}
