/**
 * A conversation in a file: its history, and the keys and values that were computed for it. Little endian:
 *
 *      0  89 6f 63 74 61 76 6f 0a      "octavo" so that neither text nor a file changed in transfer looks like it
 *      8  u32 version                  2
 *     12  u32 numerics, u32 history    bytes of these sections
 *     20  u32 tokens, u32 blocks       ids in the section below; blocks in the file, of 16 tokens each
 *     28  u32 blockBytes               bytes of one block (Backend::kv_export)
 *     32  model[32]                    identity of the weights (lib/model/identity.ts)
 *     64  digest[32]                   SHA-256 of bytes 0 to 63 and of S
 *     96  numerics (UTF-8), history (JSON), tokens (i32)
 *         blocks times: a block, and 32 bytes of SHA-256 over the digest before it (S before the first) and the block
 *
 * with S = SHA-256 of model, numerics, history and tokens. The sizes add up to the size of the file, so no count can ask for more
 * memory than that. The file is not trusted: the digests find what is damaged, not what somebody made on purpose, and everything is
 * checked as if they were not there. Whatever bits the blocks hold can spoil no more than the answers of the session restored from
 * them, because it shares them with nobody (see Session).
 */
import { createHash, randomBytes } from 'node:crypto'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { OctavoError } from './base/errors.ts'
import { kvBlockTokens } from './base/kv-blocks.ts'
import * as z from './base/zod.ts'
import { digestBytes, invalidSession } from './host/kv-transfer.ts'
import { conversationShape, messageSchema, type VerbatimMessage } from './messages.ts'
import type { SessionState } from './session.ts'

/** What the blocks of a file depend on beside their tokens. */
export interface KvIdentity {
  /** SHA-256, hexadecimal. */
  model: string
  /** How keys and values are computed and stored, in words. */
  numerics: string
  blockBytes: number
}

const historySchema = z.strictObject({
  tenant: z.string().max(256),
  overflow: z.enum(['error', 'dropOldest']),
  messages: z.array(z.unknown()),
  turns: z.array(z.int().min(1)),
  conversation: z.strictObject(conversationShape),
  /** Places of messages that the model generated; absent: the last of each turn. */
  generated: z.array(z.int().min(0)).optional(),
})

/** A session without its keys and values. */
export type SessionHistory = Omit<SessionState, 'cacheId'>

export interface SessionContent extends KvIdentity {
  history: SessionHistory
  /** What the next prompt begins with, in whole blocks. */
  tokens: Int32Array
}

export interface SessionFile extends SessionContent {
  blocks: number
  /** Where they begin. */
  offset: number
  /** S. */
  seed: Uint8Array
}

const magic = Buffer.from('\x89octavo\n', 'latin1')
const version = 2
const headerBytes = 96
const checkedBytes = 64
/** A context of any model is far below; so is a history that was ever typed. */
const mostTokens = 2 ** 24
const mostHistoryBytes = 2 ** 26
const mostNumericsBytes = 1024

/**
 * Writes a session beside `path` and renames it when it is complete. `writeBlocks` appends what it has of the blocks, at most
 * tokens.length / 16, and says how many.
 */
export async function writeSession(
  path: string,
  content: SessionContent,
  writeBlocks: (partial: string, offset: number, seed: Uint8Array) => Promise<number>,
): Promise<{ tokens: number; bytes: number }> {
  const sections = encodeSections(path, content)
  const seed = sectionsDigest(content.model, sections)
  const partial = `${path}.partial-${randomBytes(6).toString('hex')}`
  const offset = headerBytes + sections.reduce((sum, section) => sum + section.length, 0)
  try {
    const file = await systemCall(path, 'write', () => open(partial, 'wx'))
    try {
      await systemCall(path, 'write', () => file.writev([Buffer.alloc(headerBytes), ...sections], 0))
      const blocks = content.tokens.length === 0 ? 0 : await writeBlocks(partial, offset, seed)
      const header = encodeHeader(content, sections, blocks, seed)
      return await systemCall(path, 'write', async () => {
        await file.write(header, 0, headerBytes, 0)
        await file.sync()
        const { size } = await file.stat()
        await rename(partial, path)
        return { tokens: blocks * kvBlockTokens, bytes: size }
      })
    } finally {
      await file.close()
    }
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {})
    throw error
  }
}

/** Everything but the blocks, checked. `vocabulary`: ids are below it. */
export async function readSession(path: string, expected: KvIdentity, vocabulary: number): Promise<SessionFile> {
  const about = await systemCall(path, 'read', () => stat(path))
  if (!about.isFile()) throw invalidSession(path, 'a session file', 'something that is not a file')
  const file = await systemCall(path, 'read', () => open(path, 'r'))
  try {
    const { size } = await systemCall(path, 'read', () => file.stat())
    const header = await read(path, file, 0, Math.min(size, headerBytes))
    const sizes = checkHeader(path, header, size)
    const sections = await read(path, file, headerBytes, sizes.numerics + sizes.history + 4 * sizes.tokens)
    return decode(path, header, sizes, sections, expected, vocabulary)
  } finally {
    await file.close()
  }
}

interface Sizes {
  numerics: number
  history: number
  tokens: number
  blocks: number
  blockBytes: number
}

function checkHeader(path: string, header: Buffer, size: number): Sizes {
  if (!header.subarray(0, magic.length).equals(magic))
    throw invalidSession(path, 'a session file', 'a file of another kind')
  if (header.length < headerBytes) throw invalidSession(path, `at least ${headerBytes} bytes`, `${size} (cut short)`)
  const [found, numerics, history, tokens, blocks, blockBytes] = Array.from({ length: 6 }, (_, i) =>
    header.readUInt32LE(8 + 4 * i),
  ) as [number, number, number, number, number, number]
  if (found !== version) throw invalidSession(path, `version ${version} of the format`, `version ${found}`)
  atMost(path, 'numerics bytes', numerics, mostNumericsBytes)
  atMost(path, 'history bytes', history, mostHistoryBytes)
  atMost(path, 'tokens', tokens, mostTokens)
  atMost(path, 'blocks', blocks, Math.floor(tokens / kvBlockTokens))
  const bytes = headerBytes + numerics + history + 4 * tokens + blocks * (blockBytes + digestBytes)
  if (bytes !== size) throw invalidSession(path, `${bytes} bytes, as its header says`, `${size}`)
  return { numerics, history, tokens, blocks, blockBytes }
}

function decode(
  path: string,
  header: Buffer,
  sizes: Sizes,
  sections: Buffer,
  expected: KvIdentity,
  vocabulary: number,
): SessionFile {
  const model = header.toString('hex', 32, checkedBytes)
  const historyAt = sizes.numerics
  const tokensAt = historyAt + sizes.history
  const seed = sectionsDigest(model, [sections])
  if (!headDigest(header, seed).equals(header.subarray(checkedBytes)))
    throw invalidSession(path, 'the checksum of its head', 'another one (altered)')
  const numerics = sections.toString('utf8', 0, historyAt)
  if (model !== expected.model)
    throw invalidSession(
      path,
      `a session of model ${expected.model.slice(0, 16)}`,
      `one of model ${model.slice(0, 16)}`,
    )
  if (numerics !== expected.numerics)
    throw invalidSession(path, `keys and values of "${expected.numerics}"`, `of ${JSON.stringify(numerics)}`)
  if (sizes.blockBytes !== expected.blockBytes)
    throw invalidSession(path, `blocks of ${expected.blockBytes} bytes`, `of ${sizes.blockBytes}`)
  const tokens = new Int32Array(sizes.tokens)
  for (let i = 0; i < tokens.length; i++) {
    tokens[i] = sections.readInt32LE(tokensAt + 4 * i)
    checkToken(path, tokens[i]!, vocabulary)
  }
  const history = decodeHistory(path, sections.toString('utf8', historyAt, tokensAt), vocabulary)
  const { blocks, blockBytes } = sizes
  return { model, numerics, blockBytes, history, tokens, blocks, offset: headerBytes + sections.length, seed }
}

/**
 * A system message or none, then turns, each with its answer at the end, or the results of tools that it called: what a session holds
 * between two turns.
 */
function decodeHistory(path: string, text: string, vocabulary: number): SessionHistory {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalidSession(path, 'a history in JSON', 'something else')
  }
  const { messages: given, turns, generated, ...rest } = checkHistory(path, historySchema.safeParse(value))
  const first = given.length - turns.reduce((sum, count) => sum + count, 0)
  if (first < 0) throw invalidSession(path, `turns of ${given.length} messages`, `of ${given.length - first}`)
  const ends = endsOf(given, turns)
  const answers = new Set(generated ?? ends)
  const messages = given.map((message, i) => decodeMessage(path, message, i, answers.has(i), vocabulary))
  if (first > 1 || (first === 1 && messages[0]!.role !== 'system'))
    throw invalidSession(path, 'a system message or none before the turns', `${first} messages`)
  for (const at of ends)
    if (!['assistant', 'tool'].includes(messages[at]!.role))
      throw invalidSession(path, `an answer in message ${at}`, 'none')
  return { ...rest, messages, turns }
}

/** Places of the last messages of turns. */
function endsOf(messages: readonly unknown[], turns: readonly number[]): number[] {
  let end = messages.length - turns.reduce((sum, count) => sum + count, 0)
  return turns.map((count) => {
    end += count
    return end - 1
  })
}

/** An answer's ids are its own; anything else by that name is a caller's. */
function decodeMessage(
  path: string,
  value: unknown,
  at: number,
  isAnswer: boolean,
  vocabulary: number,
): VerbatimMessage {
  const { tokens, ...message } = Object(value) as { tokens?: unknown }
  const checked = checkHistory(path, messageSchema.safeParse(isAnswer ? message : value), ['messages', at])
  if (!isAnswer || tokens === undefined) return checked
  const ids = checkHistory(path, idsSchema.safeParse(tokens), ['messages', at, 'tokens'])
  for (const token of ids) checkToken(path, token, vocabulary)
  return { ...checked, tokens: Int32Array.from(ids) }
}

const idsSchema = z.array(z.int().min(0))

function checkHistory<T>(path: string, { data, error }: z.ZodSafeParseResult<T>, at: PropertyKey[] = []): T {
  if (error === undefined) return data
  const issue = error.issues[0]!
  const where = [...at, ...issue.path].map(String).join('.') || 'value'
  throw invalidSession(path, `a history whose ${where} is right`, issue.message)
}

function encodeSections(path: string, { numerics, history, tokens }: SessionContent): Buffer[] {
  const ids = Buffer.alloc(4 * tokens.length)
  tokens.forEach((token, i) => {
    ids.writeInt32LE(token, 4 * i)
  })
  const messages = history.messages.map((message) =>
    message.tokens instanceof Int32Array ? { ...message, tokens: Array.from(message.tokens) } : message,
  )
  const places = history.messages.flatMap(({ tokens }, i) => (tokens instanceof Int32Array ? [i] : []))
  const ends = endsOf(history.messages, history.turns)
  const usual = places.length === ends.length && places.every((place, i) => place === ends[i])
  const generated = usual ? undefined : places
  const { tools } = history.conversation
  const conversation = { ...history.conversation, tools: tools?.list }
  const text = Buffer.from(JSON.stringify({ ...history, conversation, messages, generated }))
  if (text.length <= mostHistoryBytes) return [Buffer.from(numerics), text, ids]
  const details = { path, expected: mostHistoryBytes, found: text.length }
  const message = `The history has ${text.length} bytes; a session file takes ${mostHistoryBytes}.`
  throw new OctavoError('INVALID_ARGUMENT', message, details)
}

function encodeHeader(content: SessionContent, sections: Buffer[], blocks: number, seed: Uint8Array): Buffer {
  const header = Buffer.alloc(headerBytes)
  magic.copy(header)
  const [numerics, history] = sections
  const fields = [version, numerics!.length, history!.length, content.tokens.length, blocks, content.blockBytes]
  fields.forEach((field, i) => {
    header.writeUInt32LE(field, 8 + 4 * i)
  })
  header.write(content.model, 32, 'hex')
  headDigest(header, seed).copy(header, checkedBytes)
  return header
}

function sectionsDigest(model: string, sections: Buffer[]): Buffer {
  const hash = createHash('sha256').update(model, 'hex')
  for (const section of sections) hash.update(section)
  return hash.digest()
}

const headDigest = (header: Buffer, seed: Uint8Array): Buffer =>
  createHash('sha256').update(header.subarray(0, checkedBytes)).update(seed).digest()

function checkToken(path: string, token: number, vocabulary: number): void {
  if (token < 0 || token >= vocabulary) throw invalidSession(path, `token ids from 0 to ${vocabulary - 1}`, `${token}`)
}

function atMost(path: string, what: string, found: number, most: number): void {
  if (found > most) throw invalidSession(path, `at most ${most} ${what}`, `${found}`)
}

async function read(path: string, file: FileHandle, position: number, bytes: number): Promise<Buffer> {
  const out = Buffer.alloc(bytes)
  for (let filled = 0; filled < bytes; ) {
    const { bytesRead } = await systemCall(path, 'read', () =>
      file.read(out, filled, bytes - filled, position + filled),
    )
    if (bytesRead === 0) throw invalidSession(path, `${position + bytes} bytes`, `${position + filled} (cut short)`)
    filled += bytesRead
  }
  return out
}

/** What the operating system refuses, as an error with a code. */
async function systemCall<T>(path: string, verb: 'read' | 'write', call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const missing = verb === 'read' && code === 'ENOENT'
    const what = missing ? `${path} does not exist.` : `Cannot ${verb} ${path}: ${message}`
    throw new OctavoError(missing ? 'FILE_NOT_FOUND' : 'IO_ERROR', what, { path }, { cause: error })
  }
}
