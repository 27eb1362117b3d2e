//! A simulated engine: prompts are read one after the other, outputs are written side by side, and the blocks of both stay
//! in a cache until others need the room.

use std::collections::{HashMap, VecDeque};

/// How fast an engine is.
#[derive(Debug, Clone, Copy)]
pub struct Curve {
    /// Prompt tokens a second.
    pub prefill: f64,
    /// Seconds a token takes alone, and how much longer for each other request that runs.
    pub step: f64,
    pub slope: f64,
    /// Tokens that the cache holds.
    pub cache: u64,
}

/// A dense model of 70B parameters on four H100s: 12,000 prompt tokens a second, 25 ms a token alone, 38 ms with 32 others.
pub const DENSE: Curve = Curve {
    prefill: 12_000.0,
    step: 0.025,
    slope: 0.000_4,
    cache: 3_000_000,
};

/// A mixture of experts of 30B with 3B active on one H100: 30,000 prompt tokens a second, 8 ms a token alone.
pub const SMALL: Curve = Curve {
    prefill: 30_000.0,
    step: 0.008,
    slope: 0.000_2,
    cache: 3_000_000,
};

/// A mixture of experts of 400B on eight H200s: 20,000 prompt tokens a second, 18 ms a token alone.
pub const LARGE: Curve = Curve {
    prefill: 20_000.0,
    step: 0.018,
    slope: 0.000_6,
    cache: 4_000_000,
};

/// A dense model of 120B on eight H100s: 9,000 prompt tokens a second, 30 ms a token alone.
pub const MIDDLE: Curve = Curve {
    prefill: 9_000.0,
    step: 0.030,
    slope: 0.000_5,
    cache: 2_500_000,
};

/// A dense model of 70B on eight A100s: 5,000 prompt tokens a second, 35 ms a token alone.
pub const OLD: Curve = Curve {
    prefill: 5_000.0,
    step: 0.035,
    slope: 0.000_8,
    cache: 2_000_000,
};

pub struct Engine {
    curve: Curve,
    /// Tokens of one block of the cache.
    block: u64,
    /// When it has read the prompts that it was given.
    reads_until: f64,
    /// When each request that runs is over.
    ends: Vec<f64>,
    cache: Lru,
}

/// What became of one request.
pub struct Served {
    pub cached: u64,
    pub first_token: f64,
    pub end: f64,
}

impl Engine {
    pub fn new(curve: Curve, block: u64) -> Self {
        let blocks = usize::try_from(curve.cache / block).unwrap_or(usize::MAX);
        Self {
            curve,
            block,
            reads_until: 0.0,
            ends: Vec::new(),
            cache: Lru::new(blocks),
        }
    }

    /// `chain`: a hash for each block of the prompt. `output`: tokens.
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
    pub fn serve(&mut self, now: f64, chain: &[u64], prompt: u64, output: u64) -> Served {
        let cached = (self.cache.beginning(chain) as u64 * self.block).min(prompt);
        self.cache.put(chain);
        let begin = self.reads_until.max(now);
        self.reads_until = begin + (prompt - cached) as f64 / self.curve.prefill;
        let first_token = self.reads_until;
        self.ends.retain(|end| *end > first_token);
        let step = self.curve.step + self.curve.slope * self.ends.len() as f64;
        let end = first_token + step * output as f64;
        self.ends.push(end);
        Served {
            cached,
            first_token,
            end,
        }
    }
}

/// The blocks that were used last.
pub struct Lru {
    most: usize,
    used: HashMap<u64, u64>,
    /// In the order of use; an entry counts only if the block was not used again.
    order: VecDeque<(u64, u64)>,
    clock: u64,
}

impl Lru {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            used: HashMap::new(),
            order: VecDeque::new(),
            clock: 0,
        }
    }

    /// How many blocks from the first on it has.
    pub fn beginning(&self, chain: &[u64]) -> usize {
        let known = |block: &&u64| self.used.contains_key(block);
        chain.iter().take_while(known).count()
    }

    /// The last block first, so that the beginnings of prompts stay longest.
    pub fn put(&mut self, chain: &[u64]) {
        for block in chain.iter().rev() {
            self.clock += 1;
            self.used.insert(*block, self.clock);
            self.order.push_back((*block, self.clock));
        }
        while self.used.len() > self.most {
            let Some((block, at)) = self.order.pop_front() else {
                return;
            };
            if self.used.get(&block) == Some(&at) {
                self.used.remove(&block);
            }
        }
    }
}
