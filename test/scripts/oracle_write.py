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

    def attend(self, layer, at, q, k, v):
        self.keys[layer, :, :, at], self.values[layer, :, :, at] = k, v
        k, v = self.keys[layer, :, :, : at + 1], self.values[layer, :, :, : at + 1]
        q = q.view(len(q), self.model.kv_heads, -1, self.model.head)
        p = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(self.model.head), -1)
        return (p @ v).reshape(len(q), -1)

    def logits(self, tokens, at):
        m = self.model
        cos, sin = m.turns(at)
        x = m.weights["token_embd.weight"][tokens]
        for i in range(m.layers):
            x = m.layer(i, x, cos, sin, lambda q, k, v: self.attend(i, at, q, k, v))
        return m.logits(m.norm(x, m.weights["output_norm.weight"]))


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
