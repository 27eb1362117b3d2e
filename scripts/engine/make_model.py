"""Writes a tiny Llama with random weights as a GGUF: half a megabyte, no download, no torch.

Its text is nonsense, but sane nonsense: printable, and it ends. The trick is that
residual dimension 0 is a constant (the embedding column is fixed and nothing
writes to it), so column 0 of the output matrix is a bias for each token. Without it a
random model loops on newlines inside JSON grammars, and such requests never finish.

usage: make_model.py OUT.gguf
"""
import sys
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np

HIDDEN, LAYERS, HEADS, KV_HEADS, FFN, CONTEXT = 64, 2, 4, 2, 128, 4096
MERGES = 160
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

TEXT = """The harbour mouth was where every cargo was checked, weighed and sent on.
You are a helpful assistant. You may call one or more functions to help the user.
{"name": "get_weather", "arguments": {"city": "Ostia", "unit": "celsius"}}
What is the weather in the harbour today? The ships are in, and the wind is warm.
system user assistant tool true false null 0123456789"""


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
    yield "token_embd.weight", embedding
    yield "output.weight", output
    yield "output_norm.weight", np.ones(HIDDEN, np.float32)
    for n in range(LAYERS):
        yield f"blk.{n}.attn_norm.weight", np.ones(HIDDEN, np.float32)
        yield f"blk.{n}.ffn_norm.weight", np.ones(HIDDEN, np.float32)
        yield f"blk.{n}.attn_q.weight", matrix(HIDDEN, HIDDEN)
        yield f"blk.{n}.attn_k.weight", matrix(kv, HIDDEN)
        yield f"blk.{n}.attn_v.weight", matrix(kv, HIDDEN)
        yield f"blk.{n}.attn_output.weight", keeps_constant(HIDDEN, HIDDEN)
        yield f"blk.{n}.ffn_gate.weight", matrix(FFN, HIDDEN)
        yield f"blk.{n}.ffn_up.weight", matrix(FFN, HIDDEN)
        yield f"blk.{n}.ffn_down.weight", keeps_constant(HIDDEN, FFN)


def main(out: Path) -> None:
    letters = byte_letters()
    merges = train_bpe(TEXT, letters)
    tokens = [*letters.values(), *("".join(pair) for pair in merges), *SPECIALS]
    printable = {letters[b] for b in range(32, 127)}
    bias = np.array([token_bias(token, printable) for token in tokens])
    types = [gguf.TokenType.CONTROL if t in SPECIALS else gguf.TokenType.NORMAL for t in tokens]

    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(Path(__file__).with_name("chat_template.jinja").read_text())
    for name, tensor in weights(np.random.default_rng(7), bias):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
