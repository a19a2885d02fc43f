"""Texts written by the oracle (oracle.py): float32, temperature 1, no special tokens. Whoever is measured on them has no home
advantage, as a model has on texts of its own: any other rounding of the same weights reads those worse.

  oracle_write.py MODEL TEXTS.json CHARACTERS TOKENS WRITINGS SEED OUT.json

Each of TEXTS.json's texts is begun WRITINGS times with its first CHARACTERS and continued by TOKENS; OUT.json is a list of texts.
All are written at once: position by position, a beginning's tokens as they are, then what is drawn.
"""
import json
import math
import sys

import torch

from oracle import CONTROL, File, Llama, make_tokenizer


class Writer:
    """One position of all rows at a time, on cached keys and values [B, kv heads, T, head]."""

    def __init__(self, model, rows, length):
        self.model = model
        shape = (model.layers, rows, model.kv_heads, length, model.head)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)

    def logits(self, tokens, at):
        m, B = self.model, len(tokens)
        angles = at * m.base ** (-torch.arange(0, m.head, 2, dtype=torch.float64) / m.head)
        cos, sin = angles.cos().float(), angles.sin().float()
        x = m.weights["token_embd.weight"][tokens]
        for i in range(m.layers):
            weight = lambda name: m.weights[f"blk.{i}.{name}.weight"].T
            h = m.norm(x, m.weights[f"blk.{i}.attn_norm.weight"])
            q = m.rope((h @ weight("attn_q")).view(B, m.heads, m.head), cos, sin)
            self.keys[i, :, :, at] = m.rope((h @ weight("attn_k")).view(B, m.kv_heads, m.head), cos, sin)
            self.values[i, :, :, at] = (h @ weight("attn_v")).view(B, m.kv_heads, m.head)
            k, v = self.keys[i, :, :, : at + 1], self.values[i, :, :, : at + 1]
            q = q.view(B, m.kv_heads, m.heads // m.kv_heads, m.head)
            p = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(m.head), -1)
            x = x + (p @ v).reshape(B, -1) @ weight("attn_output")
            h = m.norm(x, m.weights[f"blk.{i}.ffn_norm.weight"])
            x = x + (torch.nn.functional.silu(h @ weight("ffn_gate")) * (h @ weight("ffn_up"))) @ weight("ffn_down")
        return m.norm(x, m.weights["output_norm.weight"]) @ m.output.T


def write(path, texts, characters, tokens, writings, seed, out):
    file = File(path)
    model, tokenizer = Llama(file), make_tokenizer(file)
    special = torch.tensor([t == CONTROL for t in file.key("tokenizer.ggml.token_type")])
    begun = [t["text"][:characters] for t in json.load(open(texts))] * writings
    rows = [tokenizer.encode(text).ids for text in begun]
    ends = [len(row) + tokens for row in rows]
    random = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        writer = Writer(model, len(rows), max(ends))
        for at in range(max(ends) - 1):
            logits = writer.logits(torch.tensor([row[min(at, len(row) - 1)] for row in rows]), at)
            drawn = torch.multinomial(logits.masked_fill(special, -math.inf).softmax(-1), 1, generator=random)
            for row, end, token in zip(rows, ends, drawn.flatten().tolist(), strict=True):
                if at + 1 == len(row) < end:
                    row.append(token)
    json.dump([tokenizer.decode(row) for row in rows], open(out, "w"), ensure_ascii=False)


if __name__ == "__main__":
    if len(sys.argv) != 8:
        raise SystemExit(__doc__)
    write(*sys.argv[1:3], *map(int, sys.argv[3:7]), sys.argv[7])
