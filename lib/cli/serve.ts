/**
 * `octavo serve <model>...`: models behind HTTP, as OpenAI's API has it. A model is `path` or `name=path`; everything else is in flags, or in
 * a file of the options of `createServer`. Keys may come from the environment (OCTAVO_API_KEYS), where they are no file. SIGTERM and
 * Ctrl-C let requests that run come to their end; a second one does not.
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { OctavoError } from '../base/errors.ts'
import type { KeyOption, ModelOption, Server, ServerOptions } from '../server/index.ts'
import { addEngineFlags, type EngineFlags, engineOptions, integer } from './flags.ts'
import { note } from './output.ts'

interface ServeFlags extends EngineFlags {
  config?: string
  keys?: string
  alias?: Record<string, string>
  host?: string
  port?: number
  tlsCert?: string
  tlsKey?: string
  cors?: string[]
  logLevel?: string
  logContent?: boolean
  openMetrics?: boolean
  isolation?: 'thread' | 'process'
}

const alias = (text: string, earlier: Record<string, string> = {}): Record<string, string> => {
  const [, name, model] = /^([^=]+)=(.+)$/.exec(text) ?? []
  if (name === undefined) throw new InvalidArgumentError('Expected <alias>=<model>, for example gpt-4o-mini=small.')
  return { ...earlier, [name]: model! }
}
const origins = (text: string, earlier: string[] = []): string[] => [...earlier, text]
const levels = ['trace', 'debug', 'info', 'warn', 'error', 'silent']

export function addServe(program: Command): void {
  const command = program
    .command('serve')
    .description("serve models over HTTP, as OpenAI's API has it")
    .argument('[models...]', "each a GGUF file, 'stories' or 'synthetic:<preset>', or <name>=<one of these>")
    .option('--host <address>', "where to listen; default '127.0.0.1'")
    .option('--port <n>', 'default 8000; 0 takes one that is free', integer)
    .option('--alias <alias=model>', 'another name of a model (repeatable)', alias)
    .option('--config <file>', 'options of createServer as JSON; flags go before them')
    .option('--keys <file>', 'keys and tenants as JSON: { keys: [{ sha256, tenant }], tenants: { ... } }')
    .option('--tls-cert <file>', 'certificate, in PEM')
    .option('--tls-key <file>', 'its private key, in PEM')
    .option('--cors <origin>', "whose pages may ask, or '*' (repeatable)", origins)
    .addOption(new Option('--log-level <level>', 'of the lines on stdout').choices(levels).default('info'))
    .option('--log-content', 'prompts and answers go into the log')
    .option('--open-metrics', '/metrics needs no key')
    .addOption(
      new Option('--isolation <place>', 'where to compute; a process is started again when it dies').choices([
        'thread',
        'process',
      ]),
    )
    .option('--chat-template <file>', "a Jinja template to use instead of the models' own")
  addEngineFlags(command).action((models: string[], flags: ServeFlags) => serve(command, models, flags))
  program
    .command('key')
    .description('make a key for `octavo serve --keys`: it is printed once, the file has its hash')
    .argument('[tenant]', 'whose it is')
    .action(async (tenant: string | undefined) => {
      const { newKey } = await import('../server/index.ts')
      const { key, sha256 } = newKey()
      const entry = JSON.stringify({ sha256, ...(tenant !== undefined && { tenant }) })
      process.stdout.write(`${key}\n`)
      note(`in the file of keys: ${entry}`)
    })
}

async function serve(command: Command, models: string[], flags: ServeFlags): Promise<void> {
  const options = serverOptions(models, flags)
  if (Object.keys(options.models).length === 0) command.error('error: no model: name one, or give --config')
  const { createServer } = await import('../server/index.ts')
  const server = await createServer(options)
  onSignals(server)
  const url = await server.listen()
  const names = Object.keys(options.models).join(', ')
  note(`octavo serves ${names} at ${url}${options.keys === undefined ? '' : ', with keys'}`)
  try {
    await server.loaded
  } catch (error) {
    await server.stop()
    throw error
  }
}

/** The process ends when nothing is left to do; a second signal does not wait for that. */
function onSignals(server: Server): void {
  let signals = 0
  for (const [signal, code] of [['SIGTERM', 143] as const, ['SIGINT', 130] as const])
    process.on(signal, () => {
      if (++signals > 1) process.exit(code)
      note('octavo finishes the requests that run; a second signal ends it at once')
      void server.close().then(() => process.exit(0))
    })
}

function serverOptions(models: string[], flags: ServeFlags): ServerOptions {
  const config = flags.config === undefined ? {} : (readJson(flags.config) as Partial<ServerOptions>)
  const keyFile = flags.keys === undefined ? {} : (readJson(flags.keys) as Pick<ServerOptions, 'keys' | 'tenants'>)
  const { host, port, tlsCert, tlsKey, cors, logLevel, logContent } = flags
  const keys = [...listed(config.keys), ...listed(keyFile.keys), ...keysOf(process.env.OCTAVO_API_KEYS)]
  const hasKeys = keys.length > 0 || (config.keys ?? keyFile.keys) !== undefined
  return {
    ...config,
    models: { ...config.models, ...Object.fromEntries(models.map((text) => modelOf(text, flags))) },
    aliases: { ...config.aliases, ...flags.alias },
    tenants: { ...config.tenants, ...keyFile.tenants },
    ...(hasKeys && { keys }),
    ...(host !== undefined && { host }),
    ...(port !== undefined && { port }),
    ...((tlsCert !== undefined || tlsKey !== undefined) && { tls: { cert: tlsCert ?? '', key: tlsKey ?? '' } }),
    ...(cors !== undefined && { cors: cors.includes('*') ? '*' : cors }),
    logger: config.logger ?? logLevel ?? 'info',
    ...(logContent && { logContent }),
    ...(flags.openMetrics && { metrics: 'open' }),
  }
}

const listed = (keys: ServerOptions['keys']): KeyOption[] => (Array.isArray(keys) ? keys : [])

/** `key` or `tenant=key`, separated by commas. */
function keysOf(text: string | undefined): KeyOption[] {
  const entries = (text ?? '').split(',').map((entry) => entry.trim())
  return entries.filter(Boolean).map((entry) => {
    const [, tenant, key] = /^([^=]*)=(.+)$/.exec(entry) ?? []
    return key === undefined ? { key: entry } : { key, tenant: tenant! }
  })
}

/** The name of a file without its ending, and without the number of its part. */
const nameOf = (path: string): string =>
  path.startsWith('synthetic:') ? path : basename(path).replace(/(-\d{5}-of-\d{5})?\.gguf$/i, '')

function modelOf(text: string, flags: ServeFlags): [name: string, option: ModelOption] {
  const [, name, path] = /^([^=/\\]+)=(.+)$/.exec(text) ?? []
  const model = path ?? text
  const { isolation } = flags
  const place = isolation === undefined ? {} : { isolation, restart: isolation === 'process' }
  return [name ?? nameOf(model), { ...engineOptions(model, flags), ...place }]
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw new OctavoError('FILE_NOT_FOUND', `No such file: ${file}.`, { path: file })
    const what = error instanceof SyntaxError ? `${file} is no JSON: ${message}` : `Cannot read ${file}: ${message}`
    throw new OctavoError(error instanceof SyntaxError ? 'INVALID_ARGUMENT' : 'IO_ERROR', what, { path: file })
  }
}
