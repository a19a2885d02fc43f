"""The truth that octavo's model execution is held against: a plain float32 forward pass of a llama-architecture GGUF file in
PyTorch, on the weights as the `gguf` package dequantises them. No cache, no batching. With `quantised` it also rounds the input of
every matrix product to int8 and keys and values to f16 as docs/numerics.md says: what octavo differs by from that is not the
numeric format's doing.

  oracle.py tokens  MODEL TEXTS.json OUT.json      token ids of each text, by the `tokenizers` package from the file's vocabulary
  oracle.py compare MODEL FOLDER                   the rows that scripts/quality/oracle.mjs left in FOLDER -> FOLDER/comparison.json
  oracle.py goldens MODEL GOLDENS.json             fills in every entry {name, text, continue} of GOLDENS.json, in place

Needs torch, numpy, gguf and tokenizers.
"""
import copy
import json
import math
import sys

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

CONTROL, USER_DEFINED = 3, 4  # tokenizer.ggml.token_type
PIECE = 256  # positions whose logits are in memory at once


class File:
    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.tensors = {t.name: t for t in self.reader.tensors}

    def key(self, name, default=None):
        field = self.reader.fields.get(name)
        if field is None and default is None:
            raise SystemExit(f"the model has no metadata {name}")
        return default if field is None else field.contents()

    def tensor(self, name):
        t = self.tensors[name]
        return torch.from_numpy(np.array(gguf.quants.dequantize(t.data, t.tensor_type), dtype=np.float32))


def make_tokenizer(file):
    """Byte-level BPE ('gpt2' kind); special tokens in the text count as such."""
    kind, pre = file.key("tokenizer.ggml.model"), file.key("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in ("gpt-2", "smollm"):
        raise SystemExit(f"expected a gpt2 vocabulary with pre-tokenizer gpt-2 or smollm, found {kind} / {pre}")
    tokens = file.key("tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in file.key("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if pre == "smollm" else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    types = file.key("tokenizer.ggml.token_type")
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, types) if k in (CONTROL, USER_DEFINED)])
    return tokenizer


def int8_groups(x):
    """x rounded as docs/numerics.md, "Quantising activations": groups of 32, scale by the largest."""
    groups = x.reshape(-1, 32)
    largest = groups.abs().amax(-1, keepdim=True)
    q = torch.round(groups * torch.where(largest < 1e-30, torch.zeros_like(largest), 127 / largest))
    return (q * (largest / 127)).reshape(x.shape)


class Llama:
    def __init__(self, file):
        arch = file.key("general.architecture")
        if arch != "llama":
            raise SystemExit(f"expected a llama architecture, found {arch}")
        if "llama.rope.scaling.type" in file.reader.fields or "rope_freqs.weight" in file.tensors:
            raise SystemExit("RoPE scaling is not part of this oracle (see tiny-models.py)")
        self.layers, self.width = file.key("llama.block_count"), file.key("llama.embedding_length")
        self.heads, self.kv_heads = file.key("llama.attention.head_count"), file.key("llama.attention.head_count_kv")
        self.head = file.key("llama.attention.key_length", self.width // self.heads)
        self.eps = file.key("llama.attention.layer_norm_rms_epsilon")
        self.base = file.key("llama.rope.freq_base", 10000.0)
        self.weights = {name: file.tensor(name) for name in file.tensors}
        self.input = self.cached = lambda x: x
        self.output = self.weights.get("output.weight", self.weights["token_embd.weight"])

    def quantised(self):
        """The same model with octavo's number formats."""
        other = copy.copy(self)
        other.input, other.cached = int8_groups, lambda x: x.half().float()
        return other

    def norm(self, x, w):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.eps) * w

    def turns(self, positions):
        """cos, sin [.., head / 2] of the RoPE angles."""
        angles = positions * self.base ** (-torch.arange(0, self.head, 2, dtype=torch.float64) / self.head)
        return angles.cos().float(), angles.sin().float()

    def rope(self, x, cos, sin):  # [.., head]; GGUF's llama order: neighbours are a pair
        u, v = x[..., 0::2], x[..., 1::2]
        return torch.stack([u * cos - v * sin, u * sin + v * cos], -1).flatten(-2)

    def layer(self, i, x, cos, sin, attend):
        """x [rows, width] after layer i. attend: q [rows, heads, head], k, v [rows, kv heads, head] -> [rows, heads * head]."""
        weight = lambda name: self.weights[f"blk.{i}.{name}.weight"].T
        h = self.input(self.norm(x, weight("attn_norm")))
        q, k, v = ((h @ weight(f"attn_{s}")).view(len(x), -1, self.head) for s in "qkv")
        x = x + self.input(attend(self.rope(q, cos, sin), self.rope(k, cos, sin), v)) @ weight("attn_output")
        h = self.input(self.norm(x, weight("ffn_norm")))
        gated = torch.nn.functional.silu(h @ weight("ffn_gate")) * (h @ weight("ffn_up"))
        return x + self.input(gated) @ weight("ffn_down")

    def hidden(self, tokens):
        """[T, width] after the last norm."""
        T = len(tokens)
        cos, sin = self.turns(torch.arange(T, dtype=torch.float64)[:, None, None])
        mask = torch.full((T, T), -math.inf).triu(1)

        def attend(q, k, v):
            k, v = (self.cached(t).repeat_interleave(self.heads // self.kv_heads, 1).transpose(0, 1) for t in (k, v))
            p = torch.softmax(q.transpose(0, 1) @ k.transpose(1, 2) / math.sqrt(self.head) + mask, -1)
            return (p @ v).transpose(0, 1).reshape(T, -1)

        x = self.weights["token_embd.weight"][torch.tensor(tokens)]
        for i in range(self.layers):
            x = self.layer(i, x, cos, sin, attend)
        return self.norm(x, self.weights["output_norm.weight"])

    def logits(self, hidden):
        return self.input(hidden) @ self.output.T

    def rows(self, tokens):
        """Yields (first position, logits [n, V] in float32) so that a long text never has all its logits in memory."""
        with torch.inference_mode():
            hidden = self.hidden(tokens)
            for start in range(0, len(tokens), PIECE):
                yield start, self.logits(hidden[start:start + PIECE])


def next_logprobs(model, tokens):
    """Log-probability of tokens[i + 1] after tokens[.. i], in float64."""
    out = []
    for start, logits in model.rows(tokens):
        logp = logits.double().log_softmax(-1)
        following = tokens[start + 1:start + 1 + len(logp)]
        out += [logp[i, t].item() for i, t in enumerate(following)]
    return out


def compare_rows(oracle, other, margin):
    """Log-softmax rows of `other` against the oracle's logits, both in the same pieces: counts and sums over all positions."""
    total = {"positions": 0, "agree": 0, "clear": 0, "clear_agree": 0, "kl_sum": 0.0, "kl_max": 0.0, "faults": []}
    for (start, logits), ours in zip(oracle, other, strict=True):
        logp = logits.double().log_softmax(-1)
        kl = (logp.exp() * (logp - ours)).sum(-1)
        top = logits.topk(2, -1)
        lead = top.values[:, 0] - top.values[:, 1]
        agree = ours.argmax(-1) == top.indices[:, 0]
        clear = lead > margin
        total["positions"] += len(logits)
        total["agree"] += int(agree.sum())
        total["clear"] += int(clear.sum())
        total["clear_agree"] += int((clear & agree).sum())
        total["kl_sum"] += kl.sum().item()
        total["kl_max"] = max(total["kl_max"], kl.max().item())
        total["faults"] += [{"position": start + i, "margin": round(lead[i].item(), 4), "kl": round(kl[i].item(), 4)}
                            for i in (clear & ~agree).nonzero().flatten().tolist()]
    return total


def summary(texts):
    sums = {k: sum(t[k] for t in texts) for k in ("positions", "agree", "clear", "clear_agree", "kl_sum")}
    return {"positions": sums["positions"], "clear": sums["clear"], "clear_agreement": sums["clear_agree"] / max(1, sums["clear"]),
            "agreement": sums["agree"] / sums["positions"], "mean_kl": sums["kl_sum"] / sums["positions"],
            "kl_max": max(t["kl_max"] for t in texts)}


def perplexity(logprobs):
    return math.exp(-np.mean(np.array(logprobs, np.float64)))


def compare(path, folder):
    file = File(path)
    model = Llama(file)
    quantised = model.quantised()
    manifest = json.load(open(f"{folder}/manifest.json"))
    octavo, form = [], []
    for text in manifest["texts"]:
        tokens, margin = text["tokens"], manifest["margin"]
        rows = np.memmap(f"{folder}/{text['rows']}", np.float32, "r", shape=(len(tokens), manifest["vocabulary"]))
        truth = list(model.rows(tokens))
        pieces = (torch.from_numpy(np.array(rows[at:at + PIECE])).double() for at in range(0, len(tokens), PIECE))
        octavo.append({"name": text["name"], **compare_rows(truth, pieces, margin)})
        pieces = (logits.double().log_softmax(-1) for _, logits in quantised.rows(tokens))
        form.append({"name": text["name"], **compare_rows(truth, pieces, margin)})
    long = manifest["perplexity"]
    values = {"oracle": perplexity(next_logprobs(model, long["tokens"])), "octavo": perplexity(long["logprobs"]),
              "format": perplexity(next_logprobs(quantised, long["tokens"]))}
    result = {"texts": octavo, "total": summary(octavo), "format": {"texts": form, "total": summary(form)},
              "perplexity": {"tokens": len(long["tokens"]), **values}}
    json.dump(result, open(f"{folder}/comparison.json", "w"), indent=1)


def goldens(path, out):
    """tokens; per position the argmax, its top-2 margin in logits and the log-probability of the next token of the text, by the
    oracle and with octavo's number formats; and the oracle's greedy continuation of entries with `continue`, with its margins."""
    file = File(path)
    model, tokenizer = Llama(file), make_tokenizer(file)
    quantised = model.quantised()
    entries = json.load(open(out))
    for entry in entries:
        tokens = tokenizer.encode(entry["text"]).ids
        top = [logits.topk(2, -1) for _, logits in model.rows(tokens)]
        entry["tokens"] = tokens
        entry["argmax"] = [i for t in top for i in t.indices[:, 0].tolist()]
        entry["margin"] = [round(m, 6) for t in top for m in (t.values[:, 0] - t.values[:, 1]).tolist()]
        entry["logprobs"] = [round(v, 6) for v in next_logprobs(model, tokens)]
        entry["int8Logprobs"] = [round(v, 6) for v in next_logprobs(quantised, tokens)]
        if entry.get("continue"):
            entry["greedy"], entry["greedyMargin"] = [], []
            for _ in range(entry["continue"]):
                with torch.inference_mode():
                    last = model.logits(model.hidden(tokens + entry["greedy"])[-1]).topk(2)
                entry["greedy"].append(last.indices[0].item())
                entry["greedyMargin"].append(round((last.values[0] - last.values[1]).item(), 6))
    with open(out, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(e, ensure_ascii=False) for e in entries) + "\n]\n")


def tokens(path, texts, out):
    tokenizer = make_tokenizer(File(path))
    json.dump([{"name": t["name"], "tokens": tokenizer.encode(t["text"]).ids} for t in json.load(open(texts))], open(out, "w"))


if __name__ == "__main__":
    commands = {"tokens": (tokens, 3), "compare": (compare, 2), "goldens": (goldens, 2)}
    function, arguments = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if function is None or len(sys.argv) != 2 + arguments:
        raise SystemExit(__doc__)
    function(*sys.argv[2:])
