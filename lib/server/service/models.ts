/**
 * The models of the service, by name. They are loaded one after the other, so that each plans its memory with what the others took;
 * while one loads, those before it answer. Engines that were handed in are their owner's to close.
 */
import { createHash } from 'node:crypto'
import { OctavoError, toOctavoError } from '../../base/errors.ts'
import { pathOf } from '../../base/paths.ts'
import { version } from '../../base/version.ts'
import { Engine, type LoadOptions } from '../../index.ts'
import { HttpError } from './errors.ts'
import type { CheckedService, ModelOption } from './options.ts'
import type { Tenant } from './tenants.ts'

export interface ServedModel {
  readonly name: string
  readonly engine: Engine
  /** Of what its answers depend on, as far as it is the service's. */
  readonly fingerprint: string
  /** What an id spells. */
  readonly token: (id: number) => { text: string; bytes: number[] }
}

export interface ModelState {
  name: string
  aliases: string[]
  /** Seconds since the epoch. */
  created: number
  engine: Engine | undefined
  error: unknown
}

interface Entry extends ModelState {
  option: ModelOption
  served: ServedModel | undefined
}

export class Models {
  /** Resolves when all of them are there; rejects with the first that is not to be had. */
  readonly loaded: Promise<void>
  readonly #entries = new Map<string, Entry>()
  readonly #aliases: Map<string, string>
  readonly #off = new AbortController()
  #closing: Promise<void> | undefined

  constructor(
    { models, aliases }: Pick<CheckedService, 'models' | 'aliases'>,
    shared: Pick<LoadOptions, 'tenants' | 'onLog'>,
  ) {
    this.#aliases = new Map(Object.entries(aliases))
    for (const [name, option] of Object.entries(models)) {
      for (const alias of ownAliases(option)) this.#aliases.set(alias, name)
      const entry = { name, option, aliases: [], created: Math.floor(Date.now() / 1000) }
      this.#entries.set(name, { ...entry, engine: undefined, error: undefined, served: undefined })
    }
    for (const [alias, name] of this.#aliases) {
      const entry = this.#entries.get(name)
      if (entry === undefined) throw wrongAlias(alias, name, [...this.#entries.keys()])
      entry.aliases.push(alias)
    }
    this.loaded = this.#load(shared)
    this.loaded.catch(() => {})
  }

  get all(): readonly ModelState[] {
    return [...this.#entries.values()]
  }

  /** All of them answer. */
  get areReady(): boolean {
    return this.all.every(({ engine }) => engine !== undefined && engine.failure === undefined)
  }

  /** One of them will never answer again. */
  get failure(): unknown {
    const failed = this.all.find(({ engine, error }) => error !== undefined || engine?.failure !== undefined)
    return failed?.error ?? failed?.engine?.failure
  }

  /** The model of a request. Throws a 404, or a 503 while it is not loaded. */
  of(asked: string | undefined, tenant: Tenant): ServedModel {
    const name = asked === undefined ? this.#first(tenant) : (this.#aliases.get(asked) ?? asked)
    const entry = name === undefined ? undefined : this.#entries.get(name)
    if (entry === undefined || !tenant.mayUse(entry.name)) {
      const message = `The model ${JSON.stringify(asked ?? '')} does not exist or you have no access to it.`
      throw new HttpError(404, 'not_found_error', message, { code: 'model_not_found', param: 'model' })
    }
    if (entry.served !== undefined) return entry.served
    const isOver = entry.error !== undefined
    const message = isOver ? `The model ${entry.name} cannot be loaded.` : `The model ${entry.name} is being loaded.`
    throw new HttpError(503, isOver ? 'server_error' : 'overloaded_error', message, {
      ...{ code: 'model_not_ready', param: 'model', retryAfterMs: isOver ? undefined : 1000 },
    })
  }

  /** Ends engines that were loaded here. */
  close(): Promise<void> {
    this.#off.abort()
    this.#closing ??= this.loaded
      .catch(() => {})
      .then(async () => {
        const own = [...this.#entries.values()].filter(({ option }) => !isEngine(option))
        await Promise.all(own.map(({ engine }) => engine?.close()))
      })
    return this.#closing
  }

  #first(tenant: Tenant): string | undefined {
    return [...this.#entries.keys()].find((name) => tenant.mayUse(name))
  }

  async #load(shared: Pick<LoadOptions, 'tenants' | 'onLog'>): Promise<void> {
    for (const entry of this.#entries.values()) {
      try {
        const { option } = entry
        entry.engine = isEngine(option)
          ? option
          : await Engine.load({ ...shared, ...loadOptions(option), signal: this.#off.signal })
        const { name, engine } = entry
        // A conversation begins: the thread for templates is there before the first request comes.
        if (engine.model.chatTemplate) engine.session()
        entry.served = { name, engine, fingerprint: fingerprint(engine), token: tokensOf(engine) }
      } catch (error) {
        entry.error = this.#off.signal.aborted ? error : toOctavoError(error)
        throw entry.error
      }
    }
  }
}

function wrongAlias(alias: string, found: string, names: string[]): OctavoError {
  const details = { option: `aliases.${alias}`, expected: names.join(' or '), found }
  return new OctavoError(
    'INVALID_ARGUMENT',
    `Option aliases.${alias}: expected ${details.expected}, found ${found}.`,
    details,
  )
}

const isPath = (option: ModelOption): option is string | URL => pathOf(option) !== undefined

function loadOptions(option: Exclude<ModelOption, Engine>): LoadOptions {
  if (isPath(option)) return { model: option }
  const { aliases, ...options } = option
  return options
}

function ownAliases(option: ModelOption): string[] {
  if (isEngine(option) || isPath(option)) return []
  return option.aliases ?? []
}

/** Of whatever copy of octavo. */
export const isEngine = (value: unknown): value is Engine => typeof (value as Partial<Engine>)?.generate === 'function'

/** Nothing is kept: what others were told of would tell by its time. */
function tokensOf(engine: Engine): ServedModel['token'] {
  return (id) => {
    const { text, bytes } = engine.token(id)
    return { text, bytes: [...bytes] }
  }
}

function fingerprint({ model }: Engine): string {
  const { name, architecture, fileBytes, parameters, weightFormat } = model
  const about = JSON.stringify([version, name, architecture, fileBytes, parameters, weightFormat])
  return `octavo-${createHash('sha256').update(about).digest('hex').slice(0, 12)}`
}
