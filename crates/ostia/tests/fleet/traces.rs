//! What clients ask. Each session asks its next turn when it has the answer to the last one.

use super::engine::Curve;

pub struct Trace {
    pub curve: Curve,
    /// Tokens of one block, as of one hash in the gateway.
    pub block: u64,
    pub sessions: Vec<Session>,
}

const BLOCK: u64 = 256;
/// Coarser, so that tests take seconds.
const AGENTS_BLOCK: u64 = 2_048;

/// The turns of one client. The calls of one turn are made side by side.
pub type Session = Vec<Vec<Ask>>;

#[derive(Debug, Clone)]
pub struct Ask {
    /// A hash for each block of the prompt.
    pub chain: Vec<u64>,
    pub prompt: u64,
    pub output: u64,
}

/// Numbers that only the seed decides (splitmix64).
pub struct Chance(u64);

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub const fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// In so many of a hundred cases.
    pub const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The prompt of a conversation: a hash for each block, and what is new gets new ones.
#[derive(Clone)]
struct Prompt {
    block: u64,
    chain: Vec<u64>,
}

impl Prompt {
    const fn new(block: u64) -> Self {
        Self {
            block,
            chain: Vec::new(),
        }
    }

    fn add(&mut self, tokens: u64, chance: &mut Chance) {
        for _ in 0..tokens / self.block {
            self.chain.push(chance.next());
        }
    }

    fn keep(&mut self, tokens: u64) {
        let blocks = usize::try_from(tokens / self.block);
        self.chain.truncate(blocks.unwrap_or(usize::MAX));
    }

    fn tokens(&self) -> u64 {
        self.chain.len() as u64 * self.block
    }

    fn ask(&self, output: u64) -> Ask {
        Ask {
            chain: self.chain.clone(),
            prompt: self.tokens(),
            output,
        }
    }
}

/// Coding agents: sessions of 40 turns whose prompts grow from 50,000 to 500,000 tokens. 24 of 25 turns reuse nine tenths of
/// their prompt; the others begin anew behind the tools and the system prompt, which all sessions share. One turn in ten
/// sends four sub-agents out.
pub fn agents(curve: Curve, seed: u64) -> Trace {
    let mut chance = Chance::new(seed);
    let mut shared = Prompt::new(AGENTS_BLOCK);
    shared.add(20_000, &mut chance);
    let sessions = (0..32)
        .map(|_| {
            let mut prompt = shared.clone();
            prompt.add(chance.within(30_000, 60_000), &mut chance);
            (0..40)
                .map(|_| agent_turn(&mut prompt, &mut chance))
                .collect()
        })
        .collect();
    Trace {
        curve,
        block: AGENTS_BLOCK,
        sessions,
    }
}

fn agent_turn(prompt: &mut Prompt, chance: &mut Chance) -> Vec<Ask> {
    if chance.percent(4) || prompt.tokens() > 500_000 {
        prompt.keep(20_000);
        prompt.add(chance.within(30_000, 60_000), chance);
    } else {
        let tenth = prompt.tokens() / 10;
        prompt.add(chance.within(tenth / 2, tenth), chance);
    }
    let output = chance.within(100, 500);
    let mut asks = vec![prompt.ask(output)];
    if chance.percent(10) {
        for _ in 0..4 {
            let mut sub_agent = prompt.clone();
            sub_agent.add(chance.within(2_048, 8_192), chance);
            asks.push(sub_agent.ask(chance.within(100, 300)));
        }
    }
    asks
}

/// 150 prefixes of 6,000 tokens, each call with another end. `hot`: the part of the traffic that the first prefix has, of
/// one. The cache of an engine holds a third of them.
pub fn prefixes(curve: Curve, seed: u64, hot: f64) -> Trace {
    let mut chance = Chance::new(seed);
    let all: Vec<Prompt> = (0..150)
        .map(|_| {
            let mut prefix = Prompt::new(BLOCK);
            prefix.add(6_000, &mut chance);
            prefix
        })
        .collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of one"
    )]
    let hot = (hot * 100.0) as u64;
    let sessions = (0..192)
        .map(|_| {
            (0..30)
                .map(|_| {
                    let which = match chance.percent(hot) {
                        true => 0,
                        false => usize::try_from(chance.below(150)).unwrap_or_default(),
                    };
                    let mut prompt = all[which].clone();
                    prompt.add(chance.within(256, 768), &mut chance);
                    vec![prompt.ask(chance.within(50, 150))]
                })
                .collect()
        })
        .collect();
    let cache = 300_000;
    Trace {
        curve: Curve { cache, ..curve },
        block: BLOCK,
        sessions,
    }
}

/// Short prompts that have nothing in common, and long answers.
pub fn long_outputs(curve: Curve, seed: u64) -> Trace {
    let mut chance = Chance::new(seed);
    let sessions = (0..256)
        .map(|_| {
            (0..20)
                .map(|_| {
                    let mut prompt = Prompt::new(BLOCK);
                    prompt.add(chance.within(256, 1_024), &mut chance);
                    vec![prompt.ask(chance.within(500, 3_000))]
                })
                .collect()
        })
        .collect();
    Trace {
        curve,
        block: BLOCK,
        sessions,
    }
}
