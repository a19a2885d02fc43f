"""Writes test/goldens/tokenizer-words.json: where Hugging Face's `tokenizers` cuts texts into words, by pre-tokenizer.

    python pre_tokenizer_goldens.py TEXTS.json OUT.json [COUNT]

The pre-tokenizers are put together as the models' own tokenizer.json files have them. Of each text (TEXTS, then `more` here, then
COUNT random ones for a large comparison, kept in OUT) the lengths of its words in bytes: base64 of little-endian uint16.
"""
import base64, json, random, struct, sys
from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

texts = json.load(open(sys.argv[1]))
count = int(sys.argv[3]) if len(sys.argv) > 3 else 0

SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# Letters that have a case, by their numbers: many of these characters do not survive an editor that normalises text.
CASED = ("A-Za-z\xb5\xc0-\xd6\xd8-\xf6\xf8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c"
         "\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
         "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4"
         "\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d"
         "\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f"
         "\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb"
         "\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}"
KIMI_UPPER, KIMI_LOWER = UPPER + r"&&[^\p{Han}]]", LOWER + r"&&[^\p{Han}]]"


def split(regex):
    return Split(Regex(regex), "isolated")


def words(*steps):
    return Sequence([*steps, ByteLevel(add_prefix_space=False, use_regex=False)])


CJK = split("[一-龥ࠀ-一가-퟿]+")
ROWS = {
    "gpt-2": ByteLevel(add_prefix_space=False, use_regex=True),
    "minerva-7b": Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]),
    "llama-bpe": words(split(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)),
    "megrez": words(split(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)),
    "tekken": words(split(rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}]*{LOWER}]+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}]+{LOWER}]*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|" + SPACES)),
    "llama4": words(split(rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}]*{LOWER}]+{CONTRACTION}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}]+{LOWER}]*{CONTRACTION}?|"
                          rf"\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|" + SPACES)),
    "deepseek-llm": words(split("[\r\n]"), split(rf"\s?[{CASED}]+"), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"), CJK, Digits(individual_digits=True)),
    "deepseek-coder": words(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), CJK, Digits(individual_digits=True)),
    "deepseek-v3": words(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")),
    "seed-coder": words(split(CONTRACTION + "|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")),
    "minicpm5": words(split(r"\p{N}{1,3}"), split(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)),
    "viking": words(split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), Digits(individual_digits=True)),
    "kimi-k2": words(split(rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?{KIMI_UPPER}*{KIMI_LOWER}+{CONTRACTION}?|[^\r\n\p{{L}}\p{{N}}]?{KIMI_UPPER}+{KIMI_LOWER}*{CONTRACTION}?|"
                           r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)),
    "superbpe": words(split(r"\p{N}+"), split(r"(?=(\d{3})+(?!\d))")),
}

more = ["1", "12", "123", "1234", "12345678", "1234567x890", "²1234", "²123", "12²34567", "1²2", "٣٤٥٦٧", "3.14159265", "1,000,000", "x1y22z333w4444",
        "  \n x", "a \n\n b", " \r\n\r\n", "a  b   c    d", "   \t x", "x\u00a0y\u3000z", "   5", "     ", "中文English混合", "汉字 abc 汉字", "カタカナ漢字ひらがな",
        "한국어와 English", "a's A'S 'Tis they'Re x'll y'D z'sx", "Iphone iPhone IPHONE HTTPServer aBC", "e\u0301 E\u0301A a\u0300b", "...!!!", "#include <a.h>", "a/b//c/\n/",
        "foo(bar)|baz, qux. quux! نص، نص۔ हिन्दी। 中文。中文，", "‘quoted’ “quoted” ！？：；（）", "𐐀𐐨 𞤀 ΩK", "Ʞ ᲀ ẞ", "😀 a😀b 👩‍👩‍👧‍👦", "\u200d\u200b\ufeff", "€5 £6 +1 =2 ^3 `4`", "__init__ a_b -x"]


def random_text(next):
    pools = [list("abcXYZ"), list("0123456789"), list("²½Ⅷ٣४"), list(" \t\n\r\u00a0\u3000"), list(".,!?'\"()[]/|_-#@…。，、।۔،‘“！"), list("中漢字かナ가각"), list("ß́̈ǅʰªéΩЖא"),
             ["'s", "'LL", "'t", " a", "\r\n", "  "], list("+<=>^~`$€™"), ["😀", "👍🏽", "\u200d", "𐐀"]]
    return "".join(next.choice(next.choice(pools)) for _ in range(next.randint(1, 24)))


def lengths(row, text):
    found = [len(word) for word, _ in row.pre_tokenize_str(text)]
    return base64.b64encode(struct.pack(f"<{len(found)}H", *found)).decode()


rng = random.Random(5)
own = [*more, *(random_text(rng) for _ in range(count))]
golden = {"more": own, "every": 4, "words": {}}
for name, row in ROWS.items():
    golden["words"][name] = [lengths(row, text) for text in [*texts[::golden["every"]], *own]]
json.dump(golden, open(sys.argv[2], "w"), ensure_ascii=True, separators=(",", ":"))
