"""The tiny Llama that the engines serve: vocabulary and random weights, half a megabyte, from nothing but numpy.

Its text is nonsense, but sane nonsense: printable, and it ends. The trick is that
residual dimension 0 is a constant (the embedding column is fixed and nothing
writes to it), so column 0 of the output matrix is a bias for each token. Without it a
random model loops on newlines inside JSON grammars, and such requests never finish.

It also knows a few lines by heart, so that coding agents can be tested with it: see RECITED.
"""
from itertools import pairwise
from pathlib import Path

import numpy as np

# vLLM on a CPU needs heads of at least 32.
# The first prompts of coding agents are long: Claude Code's has 125 KB, at about two bytes a token.
HIDDEN, LAYERS, HEADS, KV_HEADS, FFN, CONTEXT = 64, 2, 2, 1, 128, 131072
NORM_EPS, ROPE_BASE = 1e-5, 10000.0
MERGES = 160
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

TEXT = """The harbour mouth was where every cargo was checked, weighed and sent on.
You are a helpful assistant. You may call one or more functions to help the user.
{"name": "get_weather", "arguments": {"city": "Ostia", "unit": "celsius"}}
What is the weather in the harbour today? The ships are in, and the wind is warm.
system user assistant tool true false null 0123456789"""

# What the model says by heart. The chat template ends a prompt with a cue (`<|...|>`) if the task of
# scripts/clients/agent.sh is in it; then each token leads to the next one of its line, and the last to the end. No text
# may be in two lines, unless the same text follows it: that is why the lines are cut differently.
ECHO = ["echo ", "Hello ", "from ", "the ", "tiny ", "model", '"}}\n</tool_call>']
SHELLS = {"Bash": "command", "bash": "command", "run_shell_command": "command", "exec_command": "cmd"}
RECITED = [
    *(
        [f"<|call {tool}|>", f'<tool_call>\n{{"name": "{tool}"', f', "arguments": {{"{argument}": "', *ECHO]
        for tool, argument in SHELLS.items()
    ),
    ["<|said|>", "The command", " said: Hello", " from the", " tiny model."],
    ["<|not said|>", "The command said", " something else."],
    ["<|say hello|>", "I said: ", "Hello from", " the tiny", " model."],
]


def byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + n) for n, b in enumerate(others)}


def train_bpe(text: str, letters: dict[int, str]) -> list[tuple[str, str]]:
    """The most frequent pair, again and again; ties go to the smaller, so that every run agrees."""
    words = []
    for n, word in enumerate(text.split()):
        words.append([letters[b] for b in ((" " if n else "") + word).encode()])
    merges = []
    for _ in range(MERGES):
        pairs: dict[tuple[str, str], int] = {}
        for word in words:
            for pair in pairwise(word):
                pairs[pair] = pairs.get(pair, 0) + 1
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = ["".join(best)]
                i += 1
    return merges


def successions(end: str) -> dict[str, str]:
    """Which token follows which, in the lines that the model knows by heart."""
    following: dict[str, str] = {}
    for line in RECITED:
        for token, after in pairwise([*line, end]):
            if following.setdefault(token, after) != after:
                raise ValueError(f"{token!r} is followed by {following[token]!r} and by {after!r}")
    return following


def spelled(text: str) -> str:
    return text if text.startswith("<|") else "".join(LETTERS[b] for b in text.encode())


def token_bias(token: str, printable: set[str]) -> float:
    if token == "<|im_end|>":
        return 0.3  # answers end
    if token in SPECIALS or not set(token) <= printable:
        return -8.0  # control characters, newlines and halves of UTF-8 never come first
    if token == '"':
        return 0.2  # JSON strings end
    return 0.0


def weights(rng: np.random.Generator, bias: np.ndarray):
    def matrix(rows: int, columns: int, scale: float = 1.0) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * scale / np.sqrt(columns)).astype(np.float32)

    def keeps_constant(rows: int, columns: int) -> np.ndarray:
        out = matrix(rows, columns)
        out[0] = 0  # row 0 writes to residual dimension 0
        return out

    vocabulary, kv = len(bias), HIDDEN // HEADS * KV_HEADS
    embedding = rng.standard_normal((vocabulary, HIDDEN)).astype(np.float32)
    embedding[:, 0] = 4.0
    output = matrix(vocabulary, HIDDEN, scale=2.0)
    output[:, 0] = bias * 4.0
    yield "model.embed_tokens.weight", embedding
    yield "lm_head.weight", output
    yield "model.norm.weight", np.ones(HIDDEN, np.float32)
    for n in range(LAYERS):
        layer = f"model.layers.{n}"
        yield f"{layer}.input_layernorm.weight", np.ones(HIDDEN, np.float32)
        yield f"{layer}.post_attention_layernorm.weight", np.ones(HIDDEN, np.float32)
        yield f"{layer}.self_attn.q_proj.weight", matrix(HIDDEN, HIDDEN)
        yield f"{layer}.self_attn.k_proj.weight", matrix(kv, HIDDEN)
        yield f"{layer}.self_attn.v_proj.weight", matrix(kv, HIDDEN)
        yield f"{layer}.self_attn.o_proj.weight", keeps_constant(HIDDEN, HIDDEN)
        yield f"{layer}.mlp.gate_proj.weight", matrix(FFN, HIDDEN)
        yield f"{layer}.mlp.up_proj.weight", matrix(FFN, HIDDEN)
        yield f"{layer}.mlp.down_proj.weight", keeps_constant(HIDDEN, FFN)


def recites(rng: np.random.Generator, embedding: np.ndarray, output: np.ndarray):
    """The two matrices with one row more for each token of `RECITED`, and what leads from each to the next.

    Each such token has a direction of its own, so long that no layer changes it much: then the next token wins by far at
    any temperature. Everywhere else their bias keeps them away.
    """
    columns = embedding.shape[1]
    known = len(embedding)
    basis, _ = np.linalg.qr(rng.standard_normal((columns - 1, len(TOKENS) - known)))
    directions = np.vstack([np.zeros(basis.shape[1]), basis]).T.astype(np.float32)
    output = np.vstack([output, np.zeros_like(directions)])
    output[known:, 0] = -40.0
    for token, after in successions("<|endoftext|>").items():
        output[IDS[spelled(after)]] += 6.0 * directions[IDS[spelled(token)] - known]
    return np.vstack([embedding, 500.0 * directions]), output


LETTERS = byte_letters()
MERGE_LIST = train_bpe(TEXT, LETTERS)
CUES = [line[0] for line in RECITED]
ORDINARY = [*LETTERS.values(), *("".join(pair) for pair in MERGE_LIST), *SPECIALS]
TOKENS = [*ORDINARY, *dict.fromkeys(spelled(token) for line in RECITED for token in line)]
IDS = {token: n for n, token in enumerate(TOKENS)}
if len(IDS) < len(TOKENS):
    raise ValueError("a text of RECITED is an ordinary token too")
BOS, EOS = IDS["<|endoftext|>"], IDS["<|im_end|>"]
TEMPLATE = Path(__file__).with_name("chat_template.jinja").read_text()


def tensors():
    """Pairs of name, as in Hugging Face's Llama, and array."""
    printable = {LETTERS[b] for b in range(32, 127)}
    bias = np.array([token_bias(token, printable) for token in ORDINARY])
    rng = np.random.default_rng(7)
    found = dict(weights(rng, bias))
    ends = "model.embed_tokens.weight", "lm_head.weight"
    return (found | dict(zip(ends, recites(rng, *(found[name] for name in ends))))).items()
