/**
 * Keys of the API. What is kept of a key is its SHA-256: keys are long random texts, so that a slow hash would add nothing. A key that
 * comes is looked for by a digest under a secret of this process, which nobody can aim at, and compared in constant time.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { HttpError } from './errors.ts'
import type { CheckedKey, KeyFunction } from './options.ts'

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

/** A key nobody can guess, and what is kept of it. */
export function newKey(): { key: string; sha256: string } {
  const key = `sk-octavo-${randomBytes(32).toString('base64url')}`
  return { key, sha256: sha256(key).toString('hex') }
}

interface Known {
  digest: Buffer
  tenant: string
}

/** Longer ones are nobody's. */
const mostCharacters = 1024

export class Keys {
  readonly #secret = randomBytes(32)
  readonly #known = new Map<string, Known>()
  readonly #ask: KeyFunction | undefined
  /** False: there are no keys, and everybody may ask. */
  readonly required: boolean

  constructor(keys: CheckedKey[] | KeyFunction | undefined) {
    this.required = keys !== undefined
    this.#ask = typeof keys === 'function' ? keys : undefined
    for (const entry of typeof keys === 'object' ? keys : []) {
      const digest = this.#digest('sha256' in entry ? Buffer.from(entry.sha256, 'hex') : sha256(entry.key))
      this.#known.set(placeOf(digest), { digest, tenant: entry.tenant })
    }
  }

  /** Whose request it is, by its headers: a promise where a function says so that gives one. Throws a 401, or rejects with it. */
  tenantOf(headers: { authorization?: string | undefined; 'x-api-key'?: unknown }): string | Promise<string> {
    if (!this.required) return ''
    const key = keyIn(headers)
    if (key === undefined) throw refused('No API key was given: send `Authorization: Bearer KEY`.')
    const tenant = this.#ask === undefined ? this.#find(key) : this.#ask(key)
    if (typeof tenant === 'string' || tenant === undefined) return knownOnly(tenant)
    return Promise.resolve(tenant).then(knownOnly)
  }

  #find(key: string): string | undefined {
    const digest = this.#digest(sha256(key))
    const known = this.#known.get(placeOf(digest))
    return known !== undefined && timingSafeEqual(known.digest, digest) ? known.tenant : undefined
  }

  #digest(hash: Buffer): Buffer {
    return createHmac('sha256', this.#secret).update(hash).digest()
  }
}

function knownOnly(tenant: string | undefined): string {
  if (tenant === undefined) throw refused('The API key is not known.')
  return tenant
}

const placeOf = (digest: Buffer): string => digest.toString('latin1', 0, 16)

function keyIn(headers: { authorization?: string | undefined; 'x-api-key'?: unknown }): string | undefined {
  const [, bearer] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
  const key = bearer ?? headers['x-api-key']
  return typeof key === 'string' && key !== '' && key.length <= mostCharacters ? key : undefined
}

const refused = (message: string) => new HttpError(401, 'authentication_error', message, { code: 'invalid_api_key' })
