/**
 * Every option of the service: its documentation, its schema and its default, in one place. Options of models are those of Engine.load,
 * which checks them itself.
 */
import { pathOf } from '../../base/paths.ts'
import * as z from '../../base/zod.ts'
import type { Engine, GenerateOptions, LoadOptions } from '../../index.ts'

/** A model to load, or an engine that is the caller's to close. */
export type ModelOption = string | URL | Engine | (LoadOptions & { aliases?: string[] | undefined })

/** What a tenant may use. Nothing said: as much as there is. */
export interface TenantOptions {
  /** Its share of each model, in proportion to the weights of the others. Default 1. */
  weight?: number | undefined
  /** Tokens a minute, prompts and answers together; what it left of the last minute it may use at once. */
  tokensPerMinute?: number | undefined
  /** Requests at a time. */
  maxRequests?: number | undefined
  /** Names of the models that it sees. Default: all. */
  models?: string[] | undefined
  /** Whether it may read what concerns all tenants: /metrics and /ui. Default false. */
  admin?: boolean | undefined
}

/** A key: as it is, or better by the SHA-256 of its bytes in hexadecimal digits. */
export type KeyOption = ({ key: string } | { sha256: string }) & {
  /** Whose it is. Default ''. */
  tenant?: string | undefined
}

/** Says whose a key is; undefined: nobody's. */
export type KeyFunction = (key: string) => string | undefined | Promise<string | undefined>

export interface ServiceOptions {
  /** Models by the names they are asked for; the first one also answers requests that name none. They are loaded one after the other. */
  models: Record<string, ModelOption>
  /** Other names of models. */
  aliases?: Record<string, string> | undefined
  /** Sampling of requests that say nothing of their own. Default: octavo's. */
  defaults?: Pick<GenerateOptions, DefaultName> | undefined
  /** Who may ask. Default: everybody, as the tenant ''. */
  keys?: KeyOption[] | KeyFunction | undefined
  /** Limits by tenant; of a tenant that is not here: those of '*', if any. */
  tenants?: Record<string, TenantOptions> | undefined
  /** Bytes of a request's body at most. Default 8 MiB. */
  bodyLimit?: number | undefined
  /** 'keyed' (default): where there are keys, only tenants with `admin` read /metrics. 'open': everybody does. */
  metrics?: 'keyed' | 'open' | 'off' | undefined
  /** 'auto' (default): /ui is there for requests from this machine, and for tenants with `admin` where there are keys. */
  ui?: 'auto' | 'off' | undefined
  /** Whether lines of the log have prompts and answers. Default false. */
  logContent?: boolean | undefined
}

export interface ServerOptions extends ServiceOptions {
  /** Where to listen. Default '127.0.0.1'. */
  host?: string | undefined
  /** Default 8000; 0 takes one that is free. */
  port?: number | undefined
  /** Files of a certificate and its private key, in PEM. */
  tls?: { cert: string | URL; key: string | URL } | undefined
  /** Origins whose pages may ask, or '*'. Default: none. */
  cors?: string[] | '*' | undefined
  /** false (default), true (JSON lines on stdout), a level, or a logger with the methods of pino. */
  logger?: boolean | string | object | undefined
  limits?: HttpLimits | undefined
}

export interface HttpLimits {
  /** Bytes of a request's headers. Default 16 KiB. */
  headerBytes?: number | undefined
  /** Milliseconds for a request's headers to come. Default 10,000. */
  headersMs?: number | undefined
  /** Milliseconds for all of a request to come. Default 30,000. */
  requestMs?: number | undefined
  /** Milliseconds that a connection may be idle between requests. Default 75,000. */
  keepAliveMs?: number | undefined
  /** Connections at a time. Default 10,000. */
  connections?: number | undefined
}

type DefaultName =
  | ('maxTokens' | 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty' | 'presencePenalty')
  | ('frequencyPenalty' | 'templateOptions' | 'reasoning' | 'speculation' | 'deadlines')

const isModel = (value: unknown) => pathOf(value) !== undefined || isData(value)
const isData = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
const path = z.custom<string | URL>((value) => pathOf(value) !== undefined, "a file's path or file: URL")
const count = z.int().min(1)
const ms = z
  .int()
  .min(1)
  .max(2 ** 31 - 1)

const tenant = z.strictObject({
  weight: z.number().min(0.001).max(1000).optional(),
  tokensPerMinute: z.number().gt(0).optional(),
  maxRequests: count.optional(),
  models: z.array(z.string()).optional(),
  admin: z.boolean().default(false),
})

const key = z.union(
  [
    z.strictObject({ key: z.string().min(1), tenant: z.string().default('') }),
    z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/i), tenant: z.string().default('') }),
  ],
  { error: 'an object with key or sha256 (64 hexadecimal digits), and perhaps tenant' },
)

const serviceShape = {
  models: z.record(z.string().min(1), z.custom<ModelOption>(isModel, 'a model, its load options or an Engine')),
  aliases: z.record(z.string().min(1), z.string()).default({}),
  defaults: z.custom<Pick<GenerateOptions, DefaultName>>(isData, 'an object of options').default({}),
  keys: z
    .union([z.array(key), z.custom<KeyFunction>((value) => typeof value === 'function')], {
      error: 'a function, or an array of objects with key or sha256 (64 hexadecimal digits), and perhaps tenant',
    })
    .optional(),
  tenants: z.record(z.string(), tenant).default({}),
  bodyLimit: count.default(8 << 20),
  metrics: z.enum(['keyed', 'open', 'off']).default('keyed'),
  ui: z.enum(['auto', 'off']).default('auto'),
  logContent: z.boolean().default(false),
}

export const serviceSchema = z.strictObject(serviceShape)

export const serverSchema = z.strictObject({
  ...serviceShape,
  host: z.string().min(1).default('127.0.0.1'),
  port: z.int().min(0).max(65_535).default(8000),
  tls: z.strictObject({ cert: path, key: path }).optional(),
  cors: z.union([z.literal('*'), z.array(z.string())], { error: "'*' or an array of origins" }).optional(),
  logger: z
    .custom<boolean | string | object>(
      (value) => ['boolean', 'string', 'object'].includes(typeof value) && value !== null,
      'true, false, a level or a logger',
    )
    .default(false),
  limits: z
    .strictObject({
      headerBytes: z
        .int()
        .min(1024)
        .default(16 << 10),
      headersMs: ms.default(10_000),
      requestMs: ms.default(30_000),
      keepAliveMs: ms.default(75_000),
      connections: count.default(10_000),
    })
    .prefault({}),
})

export type CheckedService = z.output<typeof serviceSchema>
export type CheckedServer = z.output<typeof serverSchema>
export type CheckedTenant = z.output<typeof tenant>
export type CheckedKey = z.output<typeof key>
