"""Writes the tiny model in an engine's form: one file for llama-server, a folder for vLLM.

usage: make_model.py gguf OUT.gguf | make_model.py safetensors OUT_FOLDER
"""
import json
import sys
from pathlib import Path

import numpy as np

import tiny_model as tiny

GGUF_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "lm_head": "output",
    "model.norm": "output_norm",
    **{f"model.layers.{n}.{hf}": f"blk.{n}.{part}" for n in range(tiny.LAYERS) for hf, part in GGUF_PARTS.items()},
}


def interleaved(tensor: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp turns neighbouring rows of q and k together, Hugging Face rows half a head apart."""
    rows, columns = tensor.shape
    halves = tensor.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows, columns)


def write_gguf(out: Path) -> None:
    import gguf

    specials = {*tiny.SPECIALS, *tiny.CUES}
    types = [gguf.TokenType.CONTROL if t in specials else gguf.TokenType.NORMAL for t in tiny.TOKENS]
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name("tiny")
    writer.add_context_length(tiny.CONTEXT)
    writer.add_embedding_length(tiny.HIDDEN)
    writer.add_block_count(tiny.LAYERS)
    writer.add_feed_forward_length(tiny.FFN)
    writer.add_head_count(tiny.HEADS)
    writer.add_head_count_kv(tiny.KV_HEADS)
    writer.add_rope_dimension_count(tiny.HIDDEN // tiny.HEADS)
    writer.add_rope_freq_base(tiny.ROPE_BASE)
    writer.add_layer_norm_rms_eps(tiny.NORM_EPS)
    writer.add_vocab_size(len(tiny.TOKENS))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tiny.TOKENS)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in tiny.MERGE_LIST])
    writer.add_bos_token_id(tiny.BOS)
    writer.add_eos_token_id(tiny.EOS)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tiny.TEMPLATE)
    heads = {"q_proj": tiny.HEADS, "k_proj": tiny.KV_HEADS}
    for name, tensor in tiny.tensors():
        stem = name.removesuffix(".weight")
        turned = heads.get(stem.rpartition(".")[2])
        writer.add_tensor(f"{GGUF_NAMES[stem]}.weight", interleaved(tensor, turned) if turned else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tokenizer() -> dict:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    flags = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": tiny.IDS[token], "content": token, **flags} for token in (*tiny.SPECIALS, *tiny.CUES)],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": tiny.IDS,
            "merges": tiny.MERGE_LIST,
        },
    }


def write_safetensors(folder: Path) -> None:
    from safetensors.numpy import save_file

    ends = {"bos_token_id": tiny.BOS, "eos_token_id": tiny.EOS, "pad_token_id": tiny.BOS}
    documents = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": tiny.HIDDEN,
            "intermediate_size": tiny.FFN,
            "num_hidden_layers": tiny.LAYERS,
            "num_attention_heads": tiny.HEADS,
            "num_key_value_heads": tiny.KV_HEADS,
            "head_dim": tiny.HIDDEN // tiny.HEADS,
            "hidden_act": "silu",
            "max_position_embeddings": tiny.CONTEXT,
            "rms_norm_eps": tiny.NORM_EPS,
            "rope_theta": tiny.ROPE_BASE,
            "vocab_size": len(tiny.TOKENS),
            "tie_word_embeddings": False,
            "dtype": "float32",
            **ends,
        },
        # What the model knows by heart ends with the first token, all else with the second.
        "generation_config.json": ends | {"eos_token_id": [tiny.BOS, tiny.EOS]},
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|endoftext|>",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": tiny.CONTEXT,
            "clean_up_tokenization_spaces": False,
            "chat_template": tiny.TEMPLATE,
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in documents.items():
        (folder / name).write_text(json.dumps(content, indent=1))
    save_file(dict(tiny.tensors()), folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    forms = {"gguf": write_gguf, "safetensors": write_safetensors}
    if len(sys.argv) != 3 or sys.argv[1] not in forms:
        sys.exit(__doc__)
    forms[sys.argv[1]](Path(sys.argv[2]))
