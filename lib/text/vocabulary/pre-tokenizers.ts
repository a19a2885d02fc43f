/**
 * How byte-level BPE vocabularies cut a text into words before merging, by the name in `tokenizer.ggml.pre`: regular
 * expressions applied one after the other to the pieces that the one before left, each of whose matches becomes a piece of its own.
 * They are those of the models' own tokenizer.json files, letter for letter where one may come out of such a file; `\s` is Unicode
 * White_Space. None takes more than linear time, but superbpe's, which is bounded.
 */

export interface PreTokenizer {
  split: string[]
  /** Text is brought to Unicode NFC first. */
  nfc?: boolean
  /** A word that is a token as a whole is not merged from its bytes. */
  ignoreMerges?: boolean
  /** A begin token goes in front where the file does not say. */
  addBos?: boolean
  /** Tokens may go on over the beginning of a word. */
  acrossWords?: boolean
}

export const gpt2Split = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const spaces = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`
const cl100k = (digits: string) =>
  String.raw`${contraction}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`
const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
/** Words of an upper-case and a lower-case part, with or without a contraction. */
const twoCases = (up: string, low: string, suffix: string) =>
  String.raw`[^\r\n\p{L}\p{N}]?${up}*${low}+${suffix}|[^\r\n\p{L}\p{N}]?${up}+${low}*${suffix}`
const o200k = (digits: string, suffix: string) =>
  String.raw`${twoCases(upper, lower, suffix)}|${digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${spaces}`

// These files write line ends into their expressions as they are.
const lineEnds = '[\r\n]'
const rawSpaces = String.raw`\s*${lineEnds}+|\s+(?!\S)|\s+`
const seedCoder = String.raw`${contraction}|[^${'\r\n'}\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}${'\r\n'}]+|${rawSpaces}`
const deepseekV3 =
  String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` +
  String.raw`${'`'}{|}~][A-Za-z]+|[^${'\r\n'}\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+${lineEnds}*|${rawSpaces}`

/** Characters and ranges of them by their numbers. */
const ranges = (hex: string) =>
  hex.replace(/[0-9A-F]+/g, (n) => String.fromCodePoint(Number.parseInt(n, 16))).replaceAll(' ', '')
/** Letters that have a case, most of them: as the files list them. */
const casedLetters = ranges(
  '41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C 38E-3A1 3A3-3F5 ' +
    '3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 ' +
    '1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC ' +
    '1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D ' +
    '212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B ' +
    'A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB ' +
    '10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943',
)
const ideographs = `[${ranges('4E00-9FA5 800-4E00 AC00-D7FF')}]+`
const ideographsAndKana = `[${ranges('4E00-9FA5 3040-309F 30A0-30FF')}]+`
const deepseekLetters = String.raw`\s?[${casedLetters}]+`
const deepseekPunctuation = String.raw`\s?[${ranges('21-2F 3A-7E FF01-FF0F FF1A-FF5E 2018-201F 3000-3002')}]+`
/** White space at the end, looked for at its beginning alone: it would be tried from every blank of a run otherwise. */
const trailingSpaces = String.raw`(?<!\s)\s+$`
const anyLetters = String.raw`\s?\p{L}+`

const han = String.raw`\p{Script=Han}`
const noHan = (set: string) => `(?:(?!${han})${set})`
const kimi = String.raw`${han}+|${twoCases(noHan(upper), noHan(lower), `${contraction}?`)}|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`
/** White space, brackets and the sentence marks of some scripts end a word. */
const unmarked = String.raw` ?[^(\s|.,!?…。，、।۔،)]+`
/** Numbers in groups of three, counted from the end. A cut looks at all digits up to there, so no number is longer than this. */
const thousands = [String.raw`\p{N}{1,999}`, String.raw`(?=(\d{3})+(?!\d))`]

const gpt2: PreTokenizer = { split: [gpt2Split] }
const singleDigits: PreTokenizer = { split: [String.raw`\p{N}`, gpt2Split] }
const llama3: PreTokenizer = { split: [cl100k(String.raw`\p{N}{1,3}`)], ignoreMerges: true, addBos: true }
const dbrx: PreTokenizer = { split: llama3.split }
const qwen: PreTokenizer = { split: [cl100k(String.raw`\p{N}`)] }
const gpt4o: PreTokenizer = { split: [o200k(String.raw`\p{N}{1,3}`, `${contraction}?`)] }
const deepseek3: PreTokenizer = { split: [String.raw`\p{N}{1,3}`, ideographsAndKana, deepseekV3] }

const named = (row: PreTokenizer, ...names: string[]) => Object.fromEntries(names.map((name) => [name, row]))

export const preTokenizers: Readonly<Record<string, PreTokenizer>> = {
  ...named(
    gpt2,
    'default',
    'gpt-2',
    'phi-2',
    'olmo',
    'mpt',
    'a.x-4.0',
    'mellum',
    'trillion',
    'exaone4',
    'granite-docling',
  ),
  ...named(singleDigits, 'smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'exaone', 'minerva-7b', 'mellum2'),
  ...named(llama3, 'llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0', 'lfm2'),
  ...named(dbrx, 'smaug-bpe', 'dbrx', 'glm4', 'chatglm-bpe'),
  qwen2: { ...qwen, nfc: true },
  ...named(qwen, 'deepseek-r1-qwen', 'megrez', 'stablelm2', 'hunyuan', 'kormo', 'f2llmv2', 'solar-open'),
  tekken: { split: [o200k(String.raw`\p{N}`, '')], ignoreMerges: true, addBos: true },
  ...named(gpt4o, 'gpt-4o', 'llama4', 'kanana2', 'talkie'),
  'deepseek-llm': {
    split: [lineEnds, deepseekLetters, deepseekPunctuation, trailingSpaces, ideographs, String.raw`\p{N}`],
  },
  'deepseek-coder': { split: [lineEnds, anyLetters, String.raw`\s?\p{P}+`, ideographs, String.raw`\p{N}`] },
  ...named(deepseek3, 'deepseek-v3', 'hunyuan-dense', 'joyai-llm'),
  'seed-coder': { split: [seedCoder] },
  minicpm5: { split: [String.raw`\p{N}{1,3}`, cl100k(String.raw`\p{N}+`)], ignoreMerges: true },
  viking: { split: [unmarked, String.raw`\p{N}`] },
  'poro-chat': { split: [unmarked] },
  'kimi-k2': { split: [kimi] },
  superbpe: { split: thousands, acrossWords: true },
}

/**
 * Expressions that by themselves begin a word between an ASCII letter and a space that an ASCII letter follows, whatever is around
 * them.
 */
export const wordExpressions: ReadonlySet<string> = new Set([
  ...[gpt2, llama3, qwen, gpt4o].flatMap((row) => row.split),
  ...['tekken', 'kimi-k2', 'poro-chat', 'seed-coder'].flatMap((name) => preTokenizers[name]!.split),
  ...[cl100k(String.raw`\p{N}+`), deepseekV3, deepseekLetters, anyLetters],
])
