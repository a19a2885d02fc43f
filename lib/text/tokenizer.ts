/**
 * Text to tokens and back, on the calling thread. The merge model is @huggingface/tokenizers, or ScoreMerges; what is around it
 * (special tokens, begin token, prefix space, cutting of long texts) is here, because it decides what a text is allowed to mean.
 * Control tokens come out of a text only with `parseSpecial`; otherwise their names are ordinary text.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { OctavoError } from '../base/errors.ts'
import type { GgufPacked } from '../base/native.ts'
import { type TokenBytes, TokenTable } from '../host/output/detokenizer.ts'
import { type Placement, placeAnswers } from './answer-ids.ts'
import { wellFormed } from './jinja/values/well-formed.ts'
import { PromptBytes, type Segment, spellAnswer } from './prompt-bytes.ts'
import { type Cut, type Piece, piecesOf, TokenCutter } from './token-cutter.ts'
import { vocabularyFromGguf } from './vocabulary/gguf-tokenizer.ts'
import { vocabularyFromJson } from './vocabulary/json-tokenizer.ts'
import { ScoreMerges } from './vocabulary/score-merges.ts'
import {
  type SpecialToken,
  type TextBounds,
  textBounds,
  tokenBytes,
  tokenType,
  type Vocabulary,
} from './vocabulary/vocabulary.ts'

export interface EncodeOptions {
  /** Names of control tokens in the text become control tokens. Default: false. */
  parseSpecial?: boolean | undefined
  /** Put the begin token in front, unless the text begins with it. Default: false. */
  addBos?: boolean | undefined
}

/** A rendered conversation: its text, cut at its control tokens, and where it shows answers whose ids are known. */
export interface ChatText {
  text: string
  cuts: Cut[]
  /** Stretches of the text: from, to, from, to ... */
  answers: { ids: Int32Array; stretches: number[] }[]
}

export interface DecodeOptions {
  /** Write control tokens as their names. Default: they have no text. */
  special?: boolean | undefined
}

export interface TokenizerInfo extends TextBounds {
  vocabularySize: number
  bosId: number | undefined
  /** Every token that ends a generation. */
  eosIds: number[]
  /** Prompts begin with the begin token. */
  addBos: boolean
  hasChatTemplate: boolean
  /** What the log should say about it. */
  notes: string[]
  /** The text of a whole token sequence loses one leading space: the one that tokenising put in front. */
  dropPrefixSpace: boolean
  tokenBytes: TokenBytes
}

/** Opened when it is needed: that takes longer than all that a load does with a vocabulary. */
const library = () =>
  createRequire(import.meta.url)('@huggingface/tokenizers') as typeof import('@huggingface/tokenizers')

/** Characters of a chunk of a long text: some 20 ms of work. */
const chunkChars = 4096

export class Tokenizer {
  readonly vocabulary: Vocabulary
  readonly info: TokenizerInfo
  #made: Merges | undefined
  /** The ids of the text that was worked on last: what was remembered is its own. */
  #latest: number[] = []
  readonly #ordinary: TokenCutter
  readonly #all: TokenCutter
  readonly #table: TokenTable
  readonly #controlTexts: ReadonlyMap<number, string>

  constructor(vocabulary: Vocabulary) {
    this.vocabulary = vocabulary
    // What is in a file of its own making may be wrong.
    if (vocabulary.ranks === undefined) this.warm()
    this.#ordinary = new TokenCutter(vocabulary.userDefined)
    this.#all = new TokenCutter([...vocabulary.userDefined, ...vocabulary.control])
    const spelled = tokenBytes(vocabulary)
    const { table } = spelled
    this.#table = new TokenTable(table)
    this.#controlTexts = new Map(vocabulary.control.map(({ id, text }) => [id, text]))
    this.info = {
      vocabularySize: vocabulary.tokens.length,
      bosId: vocabulary.bosId,
      eosIds: vocabulary.eosIds,
      addBos: vocabulary.addBos,
      hasChatTemplate: vocabulary.chatTemplate !== undefined,
      dropPrefixSpace: vocabulary.prefixSpace !== 'never',
      tokenBytes: table,
      notes: vocabulary.notes,
      ...textBounds(vocabulary, spelled),
    }
  }

  static fromMetadata(metadata: Record<string, GgufPacked>): Tokenizer {
    return new Tokenizer(vocabularyFromGguf(metadata))
  }

  /** From tokenizer.json; tokenizer_config.json and chat_template.jinja are looked for beside it. */
  static fromFile(path: string): Tokenizer {
    const beside = (name: string) => readText(join(dirname(path), name), true)
    const json = readText(path, false)!
    return new Tokenizer(vocabularyFromJson(json, beside('tokenizer_config.json'), beside('chat_template.jinja')))
  }

  /** Makes now what the first text needs. */
  warm(): void {
    const { vocabulary } = this
    this.#made ??= vocabulary.scores ? byScores(vocabulary, vocabulary.scores) : byRanks(vocabulary)
  }

  get #merges(): Merges {
    this.warm()
    return this.#made!
  }

  get control(): SpecialToken[] {
    return this.vocabulary.control
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    return last(this.encodeSteps(text, options))
  }

  /** Pieces that were cut already: their control tokens stand, their texts have none. */
  encodePieces(pieces: readonly Piece[], addBos = false): number[] {
    return last(this.encodePieceSteps(pieces, addBos))
  }

  /** As `encode`, but a generator that pauses now and then in a long text; it returns the tokens. */
  encodeSteps(text: string, options: EncodeOptions = {}): Generator<void, number[]> {
    const clean = wellFormed(text)
    const pieces = (options.parseSpecial ? this.#all : this.#ordinary).cut(clean)
    return this.#encode(pieces, options.addBos ?? false)
  }

  encodePieceSteps(pieces: readonly Piece[], addBos = false): Generator<void, number[]> {
    const cut = pieces.flatMap((piece) => (typeof piece === 'string' ? this.#ordinary.cut(wellFormed(piece)) : [piece]))
    return this.#encode(cut, addBos)
  }

  /** A rendering; where an answer whose ids are known is shown, these ids stand as far as they spell what is there. */
  *encodeChatSteps({ text, cuts, answers }: ChatText, addBos: boolean): Generator<void, number[]> {
    if (answers.length === 0) return yield* this.encodePieceSteps(piecesOf(text, cuts), addBos)
    const prompt = new PromptBytes(this.#segments(text, cuts))
    const spelled = answers.map(({ ids }) =>
      spellAnswer(
        ids,
        (id) => (id < this.info.vocabularySize ? this.#table.bytes(id) : new Uint8Array()),
        (id) => this.#controlTexts.get(id),
      ),
    )
    const shown = answers.flatMap(({ stretches }, answer) =>
      Array.from({ length: stretches.length / 2 }, (_, i) => {
        const [from, to] = [prompt.byteAt(stretches[2 * i]!), prompt.byteAt(stretches[2 * i + 1]!)]
        return { answer, from, to }
      }),
    )
    shown.sort((a, b) => a.from - b.from)
    return yield* this.#encodePlaced(prompt, placeAnswers(prompt, spelled, shown), addBos)
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const dropPrefixSpace = this.info.dropPrefixSpace
    if (!options.special) return this.#table.decode(ids, { dropPrefixSpace })
    let text = ''
    let run: number[] = []
    const flush = () => {
      text += this.#table.decode(run, { dropPrefixSpace: dropPrefixSpace && text === '' })
      run = []
    }
    for (let i = 0; i < ids.length; i++) {
      const name = this.#controlTexts.get(ids[i]!)
      if (name === undefined) run.push(ids[i]!)
      else {
        flush()
        text += name
      }
    }
    flush()
    return text
  }

  *#encode(pieces: readonly Piece[], addBos: boolean): Generator<void, number[]> {
    const { bosId } = this.vocabulary
    const ids: number[] = []
    if (addBos && bosId !== undefined && pieces[0] !== bosId) ids.push(bosId)
    for (const [index, piece] of pieces.entries()) {
      if (typeof piece === 'number') {
        ids.push(piece)
        continue
      }
      yield* this.#encodeText(this.#prefixed(piece, index === 0), ids)
    }
    return ids
  }

  *#encodeText(text: string, ids: number[]): Generator<void, void> {
    for (let start = 0; start < text.length; ) {
      if (start > 0) yield
      const end = this.#chunkEnd(text, start)
      this.#keepApart(ids)
      for (const id of this.#merges.encode(text.slice(start, end))) ids.push(id)
      start = end
    }
  }

  /** Words remembered from another's text would tell, by the time that this one takes, what that one said. */
  #keepApart(ids: number[]): void {
    if (ids === this.#latest) return
    this.#merges.forget()
    this.#latest = ids
  }

  /** Text and special tokens of a rendering, in order. */
  #segments(text: string, cuts: readonly Cut[]): Segment[] {
    const segments: Segment[] = []
    for (const { from, to, id } of cuts) {
      const inside = id === undefined ? this.#ordinary.cuts(text.slice(from, to)) : [{ from: 0, to: to - from, id }]
      for (const cut of inside) {
        const own = text.slice(from + cut.from, from + cut.to)
        const written = cut.id === undefined ? this.#prefixed(own, segments.length === 0) : own
        const prefix = written.length - own.length
        segments.push({ at: from + cut.from, text: written, prefix, id: cut.id, isControl: id !== undefined })
      }
    }
    return segments
  }

  /** Ids where they are placed, and the rest tokenised as it is. */
  *#encodePlaced(prompt: PromptBytes, placements: readonly Placement[], addBos: boolean): Generator<void, number[]> {
    const { bosId } = this.vocabulary
    const ids: number[] = []
    const first = placements[0]?.from === 0 ? placements[0].ids[0] : prompt.segments[0]?.id
    if (addBos && bosId !== undefined && first !== bosId) ids.push(bosId)
    let next = 0
    let at = 0
    for (const [index, { id }] of prompt.segments.entries()) {
      const [start, end] = [prompt.starts[index]!, prompt.starts[index + 1]!]
      while (at < end) {
        const placement = placements[next]
        if (placement?.from === at) {
          for (const placed of placement.ids) ids.push(placed)
          at = placement.to
          next++
          continue
        }
        const until = Math.min(end, placement?.from ?? end)
        if (id !== undefined && at === start && until === end) ids.push(id)
        else yield* this.#encodeText(prompt.text(at, until), ids)
        at = until
      }
    }
    return ids
  }

  #prefixed(text: string, first: boolean): string {
    const { prefixSpace, prefixOnce } = this.vocabulary
    if (prefixSpace === 'never' || (prefixSpace === 'first' && !first)) return text
    return prefixOnce && /^[ ▁]/.test(text) ? text : ` ${text}`
  }

  /**
   * The end of the chunk that begins at `start`: a place where no word can go on, between an ASCII letter and a space that
   * an ASCII letter follows. (Every pre-tokenizer in the table begins a word there, whatever is around it.)
   */
  #chunkEnd(text: string, start: number): number {
    if (!this.vocabulary.cutsAtWords || text.length - start <= 2 * chunkChars) return text.length
    border.lastIndex = start + chunkChars
    const match = border.exec(text)
    return match ? match.index + 1 : text.length
  }
}

interface Merges {
  encode(text: string): Iterable<number>
  /** Drops the words that it remembers. */
  forget(): void
}

/** What @huggingface/tokenizers does to a text before its words are merged. */
interface Words {
  normalizer: ((text: string) => string) | null
  pre_tokenizer: (text: string) => string[]
}

function byRanks({ model, ranks }: Vocabulary): Merges {
  try {
    const source = { post_processor: null, decoder: null, added_tokens: [], ...model }
    const merges = new (library().Tokenizer)(source, { clean_up_tokenization_spaces: false })
    if (ranks !== undefined) {
      const { pairs, whole } = ranks
      const { normalizer, pre_tokenizer: words } = merges as unknown as Words
      // A space is spelled otherwise in GPT-2's alphabet. Native code remembers no words.
      return {
        encode: (text) => pairs.encode(words(normalizer ? normalizer(text) : text).join(' '), whole),
        forget: () => {},
      }
    }
    const { model: words } = merges as unknown as { model: { clear_cache?(): void } }
    return {
      encode: (text) => merges.encode(text, { add_special_tokens: false }).ids,
      forget: () => words.clear_cache?.(),
    }
  } catch (error) {
    throw new OctavoError(
      'MODEL_INVALID',
      `The tokenizer cannot be built: ${(error as Error).message}`,
      {},
      { cause: error },
    )
  }
}

function byScores({ tokens, types }: Vocabulary, scores: Float64Array): Merges {
  const unknownId = types.indexOf(tokenType.unknown)
  const merges = new ScoreMerges({
    ...{ tokens: [...tokens], types, scores, byteFallback: types.includes(tokenType.byte) },
    unknownId: unknownId < 0 ? undefined : unknownId,
  })
  return { encode: (text) => merges.encode(text.replaceAll(' ', '▁')), forget: () => {} }
}

const border = /[A-Za-z](?= [A-Za-z])/g

function last(steps: Generator<void, number[]>): number[] {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

function readText(path: string, optional: boolean): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    if (missing && optional) return undefined
    throw new OctavoError(missing ? 'FILE_NOT_FOUND' : 'IO_ERROR', `${path}: ${(error as Error).message}`, { path })
  }
}
