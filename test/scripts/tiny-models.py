"""Architecture truth: tiny random models made by Hugging Face transformers, exported to GGUF as converters do, with the
log-probabilities that transformers computes in float32. Writes test/goldens/tiny/*.gguf and tiny.json; usage: tiny-models.py FOLDER

Weights are rounded to values that f32, f16 and bf16 all hold, so that one truth serves every file of a model and those files must
agree with each other exactly. transformers runs with its keys and values rounded to f16, as octavo's KV cache stores them. What is
left is the order of additions; `rounding` shows its size: how far transformers in float64 is from itself in float32.
Deviations are chosen large enough that attention is far from uniform, and each model proves that its feature matters:
`ablated` is how far the log-probabilities move without it.
"""
import copy
import json
import math
import sys

import gguf
import numpy as np
import torch
import transformers
from transformers import (DynamicCache, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

VOCABULARY = 291  # 3 control tokens, 256 bytes, 32 merges; not a multiple of a tile's 32 rows
CONTEXT = 512
folder = sys.argv[1]


class F16Cache(DynamicCache):
    def update(self, keys, values, layer, *rest, **named):
        return super().update(keys.half().to(keys.dtype), values.half().to(values.dtype), layer, *rest, **named)


def config(kind, **fields):
    base = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                intermediate_size=64, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, tie_word_embeddings=True,
                attn_implementation="eager", bos_token_id=0, eos_token_id=0, pad_token_id=0)
    return kind(**{**base, **fields})


def rope(kind, theta=10000.0, **fields):
    return {"rope_type": kind, "rope_theta": theta, **fields}


def llama(**fields):
    return config(LlamaConfig, **{"head_dim": 16, **fields})


YARN = dict(factor=8.0, original_max_position_embeddings=64)
YARN_EXPLICIT = dict(YARN, beta_fast=2.0, beta_slow=0.25, attention_factor=0.9)
LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
# name: model class, config, formats, tokens of text, GGUF architecture, and the config without the feature (None: see ablate)
MODELS = {
    "llama": (LlamaForCausalLM, llama(tie_word_embeddings=False, rope_parameters=rope("default")), ["F32", "F16", "BF16"], 300, "llama",
              llama(tie_word_embeddings=False, rope_parameters=rope("default", theta=20000.0))),
    "llama-rope-llama3": (LlamaForCausalLM, llama(rope_parameters=rope("llama3", **LLAMA3)), ["F16"], 80, "llama",
                          llama(rope_parameters=rope("default"))),
    "llama-rope-linear": (LlamaForCausalLM, llama(rope_parameters=rope("linear", factor=2.5)), ["F16"], 80, "llama",
                          llama(rope_parameters=rope("default"))),
    "llama-rope-yarn": (LlamaForCausalLM, llama(rope_parameters=rope("yarn", **YARN)), ["F16"], 80, "llama",
                        llama(rope_parameters=rope("yarn", **YARN, attention_factor=1.0))),
    "llama-rope-yarn-explicit": (LlamaForCausalLM, llama(rope_parameters=rope("yarn", **YARN_EXPLICIT)), ["F16"], 80, "llama",
                                 llama(rope_parameters=rope("yarn", **YARN, attention_factor=0.9))),
    "mistral": (MistralForCausalLM, config(MistralConfig, num_attention_heads=2, num_key_value_heads=1, sliding_window=24,
                                           rope_parameters=rope("default")), ["F16"], 300, "llama",
                config(MistralConfig, num_attention_heads=2, num_key_value_heads=1, sliding_window=25, rope_parameters=rope("default"))),
    "qwen2": (Qwen2ForCausalLM, config(Qwen2Config, hidden_size=64, rms_norm_eps=1e-6, rope_parameters=rope("default", theta=1e6)),
              ["F32", "F16"], 80, "qwen2", None),
    "qwen3": (Qwen3ForCausalLM, config(Qwen3Config, head_dim=32, rms_norm_eps=1e-6, tie_word_embeddings=False,
                                       rope_parameters=rope("default", theta=1e6)), ["F32", "F16"], 80, "qwen3", None),
}


def representable(w):
    w = w.bfloat16().float()
    w[w.abs() < 2.0 ** -16] = 0  # bf16's 8 significant bits down to here fit f16's subnormals
    assert torch.equal(w, w.half().float())
    return w


def fill(model, generator):
    """Inputs of every projection have unit size after a norm; q and k are larger, so that attention picks."""
    for name, p in model.named_parameters():
        normal = torch.randn(p.shape, generator=generator)
        if "norm" in name:
            value = 1 + 0.3 * normal
        elif name.endswith("bias"):
            value = 0.5 * normal
        elif "embed_tokens" in name:
            value = 0.6 * normal  # tied: logits of deviation 0.6 * sqrt(width), 3.4
        else:
            value = normal / math.sqrt(p.shape[1]) * (1.4 if "q_proj" in name or "k_proj" in name else 1.0)
            if "lm_head" in name:
                value = value * 3
        p.data = representable(value)


def logprobs(model, tokens, cache=F16Cache):
    with torch.inference_mode():
        logits = model(torch.tensor([tokens]), past_key_values=cache(config=model.config) if cache else None, use_cache=bool(cache)).logits[0]
    return logits.double().log_softmax(-1)


def ablate(model, other):
    """The same weights without the feature that the model is here for."""
    bare = type(model)(other or model.config).eval()
    bare.load_state_dict(model.state_dict())
    if other is None:
        for name, p in bare.named_parameters():
            if name.endswith("k_proj.bias"):  # the least visible of the three
                p.data.zero_()
            elif name.endswith("k_norm.weight"):
                p.data.fill_(1)
    return bare


def vocabulary():
    """Byte-level BPE as GPT-2 writes bytes: printable ones as themselves, the rest from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            characters[byte] = chr(byte)
        else:
            characters[byte] = chr(256 + extra)
            extra += 1
    pairs = ["t h", "i n", "e r", "a n", "o n", "r e", "a t", "e n", "o r", "e s", "i s", "i t", "a r", "a l", "o u", "l e", "s t",
             "n d", "o f", "t o", "in g", "an d", "th e", "v e", "m e", "s e", "u n", "h a", "w h", "c h", "b e", "d e"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(characters[b] for b in range(256)), *(p.replace(" ", "") for p in pairs)]
    assert len(tokens) == len(set(tokens)) == VOCABULARY
    return tokens, pairs


def interleaved(w, heads):  # transformers pairs (i, i + D/2), GGUF's llama (2i, 2i + 1)
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def write_rope(w, c, arch):
    p = c.rope_parameters
    w.add_rope_freq_base(p["rope_theta"])
    if p["rope_type"] in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR if p["rope_type"] == "linear" else gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(p["factor"])
    if p["rope_type"] == "yarn":
        w.add_rope_scaling_orig_ctx_len(p["original_max_position_embeddings"])
        if p.get("attention_factor") is not None:  # GGUF's multiplies YaRN's own magnitude, transformers' replaces it
            w.add_rope_scaling_attn_factors(p["attention_factor"] / (0.1 * math.log(p["factor"]) + 1))
        if "beta_fast" in p:
            w.add_rope_scaling_yarn_beta_fast(p["beta_fast"])
            w.add_rope_scaling_yarn_beta_slow(p["beta_slow"])


def llama3_factors(model):
    """What frequencies are divided by."""
    head, base = model.config.head_dim, model.config.rope_parameters["rope_theta"]
    plain = 1.0 / base ** (torch.arange(0, head, 2).float() / head)
    return (plain / model.model.rotary_emb.inv_freq).numpy().astype(np.float32)


SLOTS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    stem, part = name.rsplit(".", 1)
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    if stem in whole:
        return f"{whole[stem]}.{part}"
    _, _, layer, slot = stem.split(".", 3)
    return f"blk.{layer}.{SLOTS[slot]}.{part}"


def write(path, name, model, arch, kind):
    c = model.config
    w = gguf.GGUFWriter(path, arch)
    w.add_name(f"tiny-{name}")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_vocab_size(VOCABULARY)
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    if head != c.hidden_size // c.num_attention_heads:
        w.add_key_length(head)
        w.add_value_length(head)
    if arch == "llama":
        w.add_rope_dimension_count(head)
    if name == "mistral":
        w.add_sliding_window(c.sliding_window)
    write_rope(w, c, arch)
    tokens, merges = vocabulary()
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (VOCABULARY - 3))
    w.add_token_merges(merges)
    w.add_bos_token_id(0)
    w.add_eos_token_id(0)
    w.add_add_bos_token(False)
    if c.rope_parameters["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(model))
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" and c.tie_word_embeddings:
            continue
        a = value.numpy().astype(np.float32)
        if arch == "llama" and ("q_proj" in key or "k_proj" in key):
            a = interleaved(a, c.num_attention_heads if "q_proj" in key else c.num_key_value_heads)
        quantisation = gguf.GGMLQuantizationType[kind if a.ndim == 2 else "F32"]
        w.add_tensor(gguf_name(key), gguf.quants.quantize(a, quantisation), raw_dtype=quantisation)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def golden(name, seed, kind, c, formats, length, arch, other):
    generator = torch.Generator().manual_seed(seed)
    model = kind(c).eval()
    fill(model, generator)
    tokens = torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()
    logp = logprobs(model, tokens)
    chosen = lambda rows: torch.stack([rows[i, t] for i, t in enumerate(tokens[1:])])
    truth = chosen(logp)
    top = {p: logp[p].topk(8) for p in (0, 1, 15, 16, 31, 40, 63, length - 1)}
    for kind_name in formats:
        write(f"{folder}/{name}-{kind_name.lower()}.gguf", name, model, arch, kind_name)
    return {"name": name, "files": [f"{name}-{f.lower()}.gguf" for f in formats], "tokens": tokens,
            "ablated": round((chosen(logprobs(ablate(model, other), tokens)) - truth).abs().mean().item(), 4),
            "rounding": differences(chosen(logprobs(copy.deepcopy(model).double(), tokens)) - truth),
            "f16Cache": round((chosen(logprobs(model, tokens, None)) - truth).abs().max().item(), 6),
            "logprobs": [round(v, 7) for v in truth.tolist()],
            "top": [{"position": p, "tokens": t.indices.tolist(), "logprobs": [round(v, 7) for v in t.values.tolist()]} for p, t in top.items()]}


def differences(d):
    return {"median": round(d.abs().median().item(), 8), "largest": round(d.abs().max().item(), 8)}


rows = [golden(name, 100 + i, *spec) for i, (name, spec) in enumerate(MODELS.items())]
for row in rows:
    print(f"{row['name']:26} without its feature: mean {row['ablated']}   f32 KV instead of f16: max {row['f16Cache']}   "
          f"float64: {row['rounding']}   deviation of log-probabilities {np.std(row['logprobs']):.2f}")
    assert row["ablated"] > 0.01, "the feature must be visible"
with open(f"{folder}/tiny.json", "w") as f:
    f.write(f'{{"madeWith": "transformers {transformers.__version__}, torch {torch.__version__}", "models": [\n')
    f.write(",\n".join(json.dumps(r) for r in rows) + "\n]}\n")
