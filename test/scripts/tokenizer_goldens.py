"""Writes test/goldens/tokenizer-*.json: 300 texts and what Hugging Face's `tokenizers` makes of them.

    python tokenizer_goldens.py STORIES/tokenizer.json SMOLLM2.gguf OUT_FOLDER

The objects for GGUF vocabularies are built here from vocabulary and merges alone, with the pre-tokenizers that the
models' own tokenizer.json files have. Ids are stored as base64 of little-endian uint16, one string a text.
"""
import base64, json, random, struct, sys, unicodedata
from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import generate_merges

stories_path, smollm_path, out = sys.argv[1:4]
random.seed(1)

CODE = ["def f(x):\n    return [i**2 for i in range(x)]\n", "for (let i = 0; i < n; i++) {\n\t\tsum += a[i];\n}\n",
        "#include <stdio.h>\nint main(void) { printf(\"%d\\n\", 0x1F); }", "SELECT * FROM t WHERE a >= 10 AND b != 'x';",
        "<div class=\"a\">&amp;</div>", "x |> f |> g", "if (a<b||c>d) {}", "\\frac{1}{2} \\sum_{i=0}^{n}", "{\"k\": [1, 2.5e-3, null]}",
        "    \n\n\n  \t\tindented\n", "http://example.org/a?b=c&d=%20#e", "a_b__c-d--e...f!!!???", "'s 't 're I'll we'd they've 'S IT'S"]
WORDS = ("the quick brown fox jumps over a lazy dog Once upon time there was little owl named Luna who didn't like 12 3456 "
         "kites it's they'll naïve café Straße ÇA été co-operate 3.14159 1,000,000 ½ ² ٣٤ Ⅷ e.g. U.S.A. iPhone McDonald").split()
SCRIPTS = ["你好，世界！今天天气很好。", "日本語のテキストとカタカナ", "한국어 문장입니다", "Привет, как дела?", "مرحبا بالعالم ١٢٣", "שלום עולם",
           "नमस्ते दुनिया", "สวัสดีชาวโลก", "Γειά σου Κόσμε", "ქართული", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛", "e\u0301 n\u0303 \u1e9b\u0323 \uac00\u11a8"]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "👍🏽", "🦉🪁", "☃️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "✨", "…", "—", "“quoted”", "™", "€5"]
SPACES = [" ", "  ", "   ", " " * 17, "\t", "\n", "\r\n", "\n\n", " \n ", "\u00a0", "\u3000", "\u2028", "\x85", "\ufeff", "\u200b", "\u2009 "]
CONTROL = ["\x00", "\x01\x02", "\x1b[31m", "\x7f", "\ufffd", "\ue000\uf8ff", "\U0010ffff"]


def words(n):
    return "".join(random.choice(WORDS) + random.choice([" ", " ", " ", ", ", ". ", "  ", "\n"]) for _ in range(n))


def mixed(n):
    pools = [CODE, WORDS, SCRIPTS, EMOJI, SPACES, SPACES, CONTROL]
    return "".join(random.choice(random.choice(pools)) for _ in range(n))


def any_characters(n):
    tables = [(0x20, 0x7f), (0xa0, 0x250), (0x370, 0x600), (0x900, 0xe80), (0x2000, 0x2c00), (0x3040, 0xa000), (0x1f300, 0x1fa00)]
    # Characters that are not assigned in every Unicode version have no settled category.
    kept = [c for lo, hi in tables for c in map(chr, range(lo, hi)) if unicodedata.category(c) != "Cn"]
    return "".join(random.choice(kept) for _ in range(n))


texts = ["", " ", "a", "\n", "Hello", " Hello", "Hello ", "  Hello  world  "] + CODE + SCRIPTS + EMOJI + SPACES + CONTROL
texts += ["x" * 600, "ab" * 400, "antidisestablishmentarianism" * 12, "字" * 200, "1234567890" * 20, "🦉" * 60, "=" * 100, "a1" * 90, " a" * 150]
while len(texts) < 300:
    kind = len(texts) % 3
    texts.append(words(random.randint(1, 30)) if kind == 0 else mixed(random.randint(1, 14)) if kind == 1 else any_characters(random.randint(1, 40)))


def pack(ids):
    return base64.b64encode(struct.pack(f"<{len(ids)}H", *ids)).decode()


def write(name, value):
    json.dump(value, open(f"{out}/{name}.json", "w"), ensure_ascii=True, separators=(",", ":"), indent=None)


write("tokenizer-texts", texts)

stories = Tokenizer.from_file(stories_path)
write("tokenizer-stories", {"ids": [pack(stories.encode(t, add_special_tokens=False).ids) for t in texts]})

fields = GGUFReader(smollm_path).fields
tokens, types, merges = (fields[f"tokenizer.ggml.{k}"].contents() for k in ("tokens", "token_type", "merges"))
smollm = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
smollm.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
smollm.decoder = decoders.ByteLevel()
smollm.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
write("tokenizer-smollm2", {"ids": [pack(smollm.encode(t, add_special_tokens=False).ids) for t in texts]})

# Other pre-tokenizers over the stories vocabulary: their published expressions, as tokenizer.json files spell them.
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
NEMO = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?"
         r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
         r"\s*[\r\n]+|\s+(?!\S)|\s+")
spec = json.load(open(stories_path))["model"]
rows = {}
for name, regex, nfc, ignore in [("llama-bpe", LLAMA3, False, True), ("qwen2", LLAMA3.replace("{1,3}", ""), True, False),
                                 ("tekken", NEMO, False, True), ("gpt-4o", O200K, False, False)]:
    t = Tokenizer(models.BPE(spec["vocab"], [tuple(m) for m in spec["merges"]], ignore_merges=ignore))
    if nfc:
        t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    rows[name] = [pack(t.encode(x, add_special_tokens=False).ids) for x in texts[::4]]
write("tokenizer-pre", {"every": 4, "ids": rows})

# A small SentencePiece vocabulary: trained BPE pieces with scores by rank, bytes, control tokens; merges from the scores as
# Hugging Face converts Llama 2's.
trained = Tokenizer(models.BPE())
trained.normalizer = normalizers.Replace(" ", "▁")
trained.train_from_iterator([w for _ in range(200) for w in [" " + random.choice(WORDS)]] + ["▁▁", "▁▁▁▁"] * 5, trainers.BpeTrainer(vocab_size=420, show_progress=False))
ranks = json.loads(trained.to_str())["model"]
made = ["".join(m) if isinstance(m, list) else m.replace(" ", "", 1) for m in ranks["merges"]]
pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("<|mark|>", 0.0, 4)]
pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
pieces += [(p, -float(i), 1) for i, p in enumerate(dict.fromkeys(made))]
pieces += [(c, -float(len(pieces) + i), 1) for i, c in enumerate(sorted(set(ranks["vocab"]) - {p for p, _, _ in pieces} | set("<>s/")))]
vocab = {p: i for i, (p, _, _) in enumerate(pieces)}
normal = {p: s for p, s, k in pieces if k == 1}
spm = Tokenizer(models.BPE(vocab, generate_merges(vocab, normal), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
spm.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
spm.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
spm.add_special_tokens([AddedToken(p, normalized=False) for p in ("<s>", "</s>")])
spm.add_tokens([AddedToken("<|mark|>", normalized=False, special=False)])
extra = ["the <|mark|> brown fox", "<|mark|>dog<|mark|> <|mark|>", "▁literal ▁", "the  quick   brown"]
chosen = texts[::2] + extra
write("tokenizer-spm", {"every": 2, "extra": extra, "tokens": [p for p, _, _ in pieces], "scores": [s for _, s, _ in pieces],
                        "types": [k for _, _, k in pieces], "ids": [pack(spm.encode(t, add_special_tokens=False).ids) for t in chosen],
                        "special": pack(spm.encode("<s>the fox</s> a dog", add_special_tokens=False).ids),
                        "decoded": [spm.decode(spm.encode(t, add_special_tokens=False).ids) for t in chosen]})
spm.save(f"{out}/tokenizer-spm.tokenizer.json", pretty=False)
