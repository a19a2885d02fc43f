/** octavo/server: who may ask, how much of it, what is logged of it, how slow clients are, and how the service ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Engine } from 'octavo'
import { newKey } from 'octavo/server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Keys } from '../lib/server/service/keys.ts'
import { Tenants } from '../lib/server/service/tenants.ts'
import { Programs } from './programs.ts'
import { dial, eventsOf, get, httpRequest, type Json, post, serve, until } from './server-tools.ts'

const messages = [{ role: 'user', content: 'Tell a story about a shy owl named Luna and a golden kite.' }]
const bearer = (key: string) => ({ authorization: `Bearer ${key}` })
const folder = mkdtempSync(join(tmpdir(), 'octavo-server-'))
const children: ChildProcess[] = []
let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true })
  await engine.close()
})

describe('keys', () => {
  it('are found by their hash, whatever way they were given, and by a function', async () => {
    const { key, sha256 } = newKey()
    expect([key.length > 40, /^[0-9a-f]{64}$/.test(sha256)]).toEqual([true, true])
    const refused = expect.objectContaining({ status: 401, code: 'invalid_api_key' })
    const keys = new Keys([
      { sha256, tenant: 'gold' },
      { key: 'plain-key', tenant: '' },
    ])
    expect(await keys.tenantOf(bearer(key))).toBe('gold')
    expect(await keys.tenantOf({ 'x-api-key': 'plain-key' })).toBe('')
    expect(await keys.tenantOf({ authorization: `bearer  ${key}` })).toBe('gold')
    for (const wrong of [`${key}x`, key.slice(1), key.toUpperCase(), sha256, '', 'x'.repeat(5000)])
      expect(() => keys.tenantOf(bearer(wrong))).toThrow(refused)
    expect(() => keys.tenantOf({})).toThrow(refused)
    const asked = new Keys(async (given) => (given === 'a' ? 'team' : undefined))
    expect(await asked.tenantOf(bearer('a'))).toBe('team')
    await expect(asked.tenantOf(bearer('b'))).rejects.toMatchObject({ status: 401 })
    expect(await new Keys(undefined).tenantOf({})).toBe('')
    expect(() => new Keys([]).tenantOf(bearer('a'))).toThrow(refused)
  })

  it('open models, metrics and nothing else to their tenants', async () => {
    const server = await serve({
      models: { small: engine, large: engine },
      keys: [
        { key: 'k-small', tenant: 'small' },
        { key: 'k-admin', tenant: 'admin' },
      ],
      tenants: { small: { models: ['small'] }, admin: { admin: true } },
    })
    await server.loaded
    const url = (path: string) => server.url + path
    for (const path of ['/v1/models', '/v1/models/small', '/metrics']) {
      const { status, headers, body } = await get(url(path))
      expect([status, headers.get('www-authenticate'), body.error.code]).toEqual([401, 'Bearer', 'invalid_api_key'])
    }
    for (const path of ['/health', '/ready']) expect((await get(url(path))).status).toBe(200)
    const names = async (key: string) =>
      (await get(url('/v1/models'), bearer(key))).body.data.map((model: Json) => model.id)
    expect([await names('k-small'), await names('k-admin')]).toEqual([['small'], ['small', 'large']])
    const ask = (key: string, model?: string) =>
      post(url('/v1/completions'), { model, prompt: 'Once', max_tokens: 2 }, { headers: bearer(key) })
    expect((await ask('k-small', 'large')).body.error).toMatchObject({ code: 'model_not_found', param: 'model' })
    expect((await ask('k-small')).status).toBe(200)
    expect((await ask('k-admin', 'large')).status).toBe(200)
    expect((await ask('k-none', 'small')).status).toBe(401)
    expect((await get(url('/metrics'), bearer('k-small'))).body.error).toMatchObject({ code: 'forbidden' })
    const { body } = await get(url('/metrics'), bearer('k-admin'))
    expect(body).toMatch(/octavo_tenant_requests_total\{model_name="small",engine="0",tenant="small"\} 1/)
    await server.close()
  })

  it('share no prefix, and none is in an answer of another', async () => {
    const server = await serve({
      models: { stories: engine },
      keys: [
        { key: 'a', tenant: 'cache-a' },
        { key: 'b', tenant: 'cache-b' },
      ],
    })
    await server.loaded
    const ask = async (key: string) =>
      (await post(`${server.url}/v1/chat/completions`, { messages, seed: 1, max_tokens: 4 }, { headers: bearer(key) }))
        .body
    const [first, again, other] = [await ask('a'), await ask('a'), await ask('b')]
    expect(again.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(0)
    expect(other.usage.prompt_tokens_details.cached_tokens).toBe(first.usage.prompt_tokens_details.cached_tokens)
    expect(other.choices).toEqual(first.choices)
    await server.close()
  })
})

describe('limits of a tenant', () => {
  it('tokens a minute: a bucket that goes into debt and fills again', () => {
    let now = 0
    const tenant = new Tenants({ a: { tokensPerMinute: 60, admin: false } }, () => now).of('a')
    const soon = () => 0
    tenant.begin(soon)(100)
    expect(tenant.headers()).toMatchObject({ 'x-ratelimit-limit-tokens': '60', 'x-ratelimit-remaining-tokens': '0' })
    expect(() => tenant.begin(soon)).toThrow(expect.objectContaining({ status: 429, retryAfterMs: 41_000 }))
    now = 40_000
    expect(() => tenant.begin(soon)).toThrow(expect.objectContaining({ retryAfterMs: 1000 }))
    now = 41_000
    const end = tenant.begin(soon)
    end(1)
    end(1000)
    now = 1e9
    expect(tenant.headers()).toMatchObject({ 'x-ratelimit-remaining-tokens': '60', 'x-ratelimit-reset-tokens': '0ms' })
  })

  it('requests at a time, over HTTP, with the time to wait; others are not held up', async () => {
    const server = await serve({
      models: { stories: engine },
      keys: [
        { key: 'a', tenant: 'one' },
        { key: 'b', tenant: 'two' },
      ],
      tenants: { one: { maxRequests: 1 }, '*': { tokensPerMinute: 5 } },
    })
    await server.loaded
    const url = `${server.url}/v1/completions`
    const controller = new AbortController()
    const endless = { prompt: 'Once', ignore_eos: true, max_tokens: 700, temperature: 0 }
    const running = post(url, endless, { headers: bearer('a'), signal: controller.signal }).catch(() => {})
    await until(() => engine.stats().tenants.one?.running === 1)
    const refused = await post(url, { prompt: 'x', max_tokens: 1 }, { headers: bearer('a') })
    expect(refused).toMatchObject({ status: 429, body: { error: { type: 'rate_limit_error' } } })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    expect(Number(refused.headers.get('retry-after-ms'))).toBeGreaterThanOrEqual(100)
    expect((await post(url, { prompt: 'Once', max_tokens: 8 }, { headers: bearer('b') })).status).toBe(200)
    const indebted = await post(url, { prompt: 'x', max_tokens: 1 }, { headers: bearer('b') })
    expect([indebted.status, indebted.body.error.code]).toEqual([429, 'rate_limit_exceeded'])
    controller.abort()
    await running
    await until(async () => (await post(url, { prompt: 'x', max_tokens: 1 }, { headers: bearer('a') })).status === 200)
    await server.close()
  })

  it('weights reach the engines that are loaded', async () => {
    const server = await serve({
      models: { stories: 'stories' },
      keys: [{ key: 'a', tenant: 'gold' }],
      tenants: { gold: { weight: 4 } },
      metrics: 'open',
    })
    await server.loaded
    await post(`${server.url}/v1/completions`, { prompt: 'Once', max_tokens: 2 }, { headers: bearer('a') })
    expect((await get(`${server.url}/metrics`)).body).toMatch(/tenant_weight\{[^}]*tenant="gold"\} 4/)
    await server.close()
  })

  it('a full queue is a 503 that says when to come again', async () => {
    const queue = { maxRequests: 1 }
    const server = await serve({ models: { stories: { model: 'stories', queue, internal: { maxSequences: 1 } } } })
    await server.loaded
    const body = { prompt: 'Once', max_tokens: 60, ignore_eos: true }
    const all = await Promise.all(Array.from({ length: 8 }, () => post(`${server.url}/v1/completions`, body)))
    const refused = all.filter(({ status }) => status !== 200)
    expect(refused.length).toBeGreaterThan(2)
    for (const { status, headers, body } of refused) {
      expect([status, body.error.type, body.error.code]).toEqual([503, 'overloaded_error', 'overloaded'])
      expect(Number(headers.get('retry-after-ms'))).toBeGreaterThan(0)
    }
    await server.close()
  })
})

describe('the log', () => {
  const lines = async (logContent: boolean) => {
    const written: Json[] = []
    const child = (bindings: object): object => ({
      ...logger,
      ...{ info: note(bindings, 'info'), error: note(bindings, 'error') },
    })
    const note = (bindings: object, level: string) => (about: object, message: string) =>
      void written.push({ level, ...bindings, ...about, message })
    const quiet = () => {}
    const logger = {
      ...{ trace: quiet, debug: quiet, warn: quiet, fatal: quiet, level: 'info' },
      info: note({}, 'info'),
      error: note({}, 'error'),
      child,
    }
    const server = await serve({ models: { stories: engine }, logger, logContent })
    await server.loaded
    const url = `${server.url}/v1/chat/completions`
    const { body } = await post(url, { messages, seed: 1, max_tokens: 4 }, { headers: { 'x-request-id': 'mine-1' } })
    await post(url, { messages, seed: 1, max_tokens: 4, stream: true }, { headers: { 'x-request-id': 'bad\tid' } })
    await post(url, { messages, temperature: -1 })
    await server.close()
    return { written: written.filter(({ message }) => message === 'request'), body }
  }

  it('has a line a request, with its id, and nothing of what it said', async () => {
    const { written, body } = await lines(false)
    expect(written).toMatchObject([
      {
        reqId: 'mine-1',
        route: '/v1/chat/completions',
        status: 200,
        model: 'stories',
        completionTokens: 4,
        finishReasons: ['length'],
      },
      { reqId: expect.stringMatching(/^req-[0-9a-f]{32}$/), status: 200 },
      { status: 400, error: 'invalid_value' },
    ])
    const text = JSON.stringify(written)
    for (const secret of ['Luna', 'owl', body.choices[0].message.content]) expect(text).not.toContain(secret)
  })

  it('has it where that is asked for', async () => {
    const { written, body } = await lines(true)
    expect(written[0]).toMatchObject({ prompt: messages, answers: [body.choices[0].message.content] })
  })
})

describe('slow and strange clients', () => {
  it('headers and bodies have their time and their size', async () => {
    const server = await serve({
      models: { stories: engine },
      limits: { headersMs: 150, requestMs: 300, headerBytes: 2048 },
    })
    await server.loaded
    const silent = await dial(server.url)
    silent.socket.write('POST /v1/completions HTTP/1.1\r\nhost: x\r\nx-a: ')
    const slow = await dial(server.url)
    slow.socket.write(
      'POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{',
    )
    const long = await dial(server.url)
    long.socket.write(`GET /health HTTP/1.1\r\nhost: x\r\nx-long: ${'a'.repeat(4000)}\r\n\r\n`)
    await Promise.all([silent.closed, slow.closed, long.closed])
    expect([silent, slow, long].map(({ text }) => text().slice(9, 12))).toEqual(['408', '408', '431'])
    expect((await get(`${server.url}/health`)).status).toBe(200)
    await server.close()
  })

  it('bodies come in pieces, and with a length or without', async () => {
    const server = await serve({ models: { stories: engine }, bodyLimit: 2048 })
    await server.loaded
    const start = 'POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n'
    const ask = async (length: string, ...pieces: string[]) => {
      const client = await dial(server.url)
      for (const piece of [`${start}${length}\r\n\r\n${pieces[0]}`, ...pieces.slice(1)]) {
        client.socket.write(piece)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      await client.closed
      return { status: client.text().slice(9, 12), answer: /"text":"[^"]*"/.exec(client.text())?.[0] }
    }
    const body = JSON.stringify({ prompt: 'Once', max_tokens: 3, temperature: 0 })
    const [head, tail] = [body.slice(0, 20), body.slice(20)]
    const told = `content-length: ${body.length}`
    const untold = 'transfer-encoding: chunked'
    const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
    const whole = await ask(told, body)
    expect(whole).toEqual({ status: '200', answer: expect.stringMatching(/"text":".+"/) })
    for (const [length, ...pieces] of [
      [told, head, tail],
      [told, '', head, tail],
      [untold, chunk(head) + chunk(tail) + chunk('')],
      [untold, chunk(head), chunk(tail), chunk('')],
    ] as [string, ...string[]][])
      expect(await ask(length, ...pieces)).toEqual(whole)
    const large = ' '.repeat(2049)
    for (const [length, ...pieces] of [
      ['content-length: 2049', large],
      ['content-length: 2049', ''],
      [untold, chunk(large) + chunk('')],
      [untold, chunk(large.slice(0, 2048)), chunk(' '), chunk('')],
    ] as [string, ...string[]][])
      expect((await ask(length, ...pieces)).status).toBe('413')
    await server.close()
  })

  it('a reader that stops reading holds up its own generation alone', async () => {
    const other = await Engine.load({ model: 'stories', idleTimeoutMs: 300 })
    const server = await serve({ models: { stories: other } })
    await server.loaded
    const lazy = await dial(server.url)
    lazy.socket.pause()
    const body = { prompt: 'Once', ignore_eos: true, stream: true, n: 32, logprobs: 20, max_tokens: 700 }
    lazy.socket.write(httpRequest('/v1/completions', body))
    await until(() => other.stats().requests.paused > 0)
    expect((await post(`${server.url}/v1/completions`, { prompt: 'Once', max_tokens: 3 })).status).toBe(200)
    await until(() => other.stats().requests.running + other.stats().requests.paused === 0)
    lazy.socket.resume()
    await lazy.closed
    await server.close()
    await other.close()
  })

  it('pages of other origins may ask only where that is allowed', async () => {
    const preflight = { origin: 'https://a.example', 'access-control-request-method': 'POST' }
    const allowed = async (server: { url: string }) =>
      (await fetch(`${server.url}/v1/completions`, { method: 'OPTIONS', headers: preflight })).headers.get(
        'access-control-allow-origin',
      )
    const closed = await serve({ models: { stories: engine } })
    const open = await serve({ models: { stories: engine }, cors: ['https://a.example'], keys: [{ key: 'a' }] })
    expect([await allowed(closed), await allowed(open)]).toEqual([null, 'https://a.example'])
    await Promise.all([closed.close(), open.close()])
  })
})

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

/** `octavo serve` as a process. */
async function command(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', ...args], { env: { ...process.env, ...env } })
  children.push(child)
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  const ended = once(child, 'close').then(([code]) => code as number | null)
  await until(() => /at https?:/.test(output.stderr) || child.exitCode !== null)
  const url = /https?:\S+[^,\s]/.exec(output.stderr)?.[0] ?? ''
  return { child, output, ended, url, ready: () => until(async () => (await get(`${url}/ready`)).status === 200) }
}

it('stop cuts off what runs, also while close waits for it', async () => {
  for (const first of [true, false]) {
    const server = await serve({ models: { stories: engine } })
    await server.loaded
    const endless = { prompt: 'Once', ignore_eos: true, max_tokens: 700, stream: true, n: 8 }
    const cut = post(`${server.url}/v1/completions`, endless).then(
      ({ body }) => body.endsWith('[DONE]\n\n'),
      () => false,
    )
    await until(() => engine.stats().requests.running > 0)
    const closing = first ? server.close() : undefined
    await server.stop()
    await closing
    expect(await cut).toBe(false)
    await until(() => engine.stats().requests.running === 0)
  }
})

it('an alias of a model that is none is refused', async () => {
  await expect(serve({ models: { stories: engine }, aliases: { a: 'storys' } })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    details: { option: 'aliases.a' },
  })
})

describe('octavo serve', () => {
  const long = { prompt: 'Once', ignore_eos: true, max_tokens: 600, temperature: 0, stream: true }

  it('names, aliases, keys of file and environment; SIGTERM lets what runs come to its end', async () => {
    const file = join(folder, 'keys.json')
    const { key, sha256 } = newKey()
    writeFileSync(file, JSON.stringify({ keys: [{ sha256, tenant: 'file' }], tenants: { file: { models: ['tale'] } } }))
    const args = ['tale=stories', '--alias', 'gpt-4o=tale', '--keys', file]
    const { child, ended, output, url, ready } = await command(args, { OCTAVO_API_KEYS: 'env=secret-1, secret-2' })
    await ready()
    for (const given of [key, 'secret-1', 'secret-2'])
      expect((await get(`${url}/v1/models`, bearer(given))).body.data.map((model: Json) => model.id)).toEqual([
        'tale',
        'gpt-4o',
      ])
    expect((await get(`${url}/v1/models`)).status).toBe(401)
    const expected = await engine.generate({ prompt: 'Once', ignoreEos: true, maxTokens: 600, temperature: 0 }).result
    const streams = Array.from({ length: 8 }, () => post(`${url}/v1/completions`, long, { headers: bearer(key) }))
    const lines = () =>
      output.stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
    const idle = await dial(url)
    await until(async () => (await get(`${url}/v1/models`, bearer(key))).status === 200)
    child.kill('SIGTERM')
    await until(async () => (await get(`${url}/ready`).catch(() => ({ status: 503 }))).status === 503)
    for (const { status, body } of await Promise.all(streams)) {
      expect(status).toBe(200)
      const events = eventsOf(body)
      expect(events.at(-1)).toBe('[DONE]')
      expect(
        events
          .slice(0, -1)
          .map((event) => event.choices[0].text)
          .join(''),
      ).toBe(expected.text)
    }
    expect(await ended).toBe(0)
    await idle.closed
    expect(lines().filter((line) => line.route === '/v1/completions')).toHaveLength(8)
    expect(output.stdout + output.stderr).not.toContain('secret-')
    expect(output.stdout).not.toContain(key)
  })

  it('a second signal ends it at once', async () => {
    const { child, ended, output, url, ready } = await command(['stories', '--log-level', 'silent'])
    await ready()
    const cut = post(`${url}/v1/completions`, { ...long, n: 64, prompt: 'A' }).then(
      ({ body }) => body.endsWith('[DONE]\n\n'),
      () => false,
    )
    await until(async () => /num_requests_running\{[^}]*\} [1-9]/.test((await get(`${url}/metrics`)).body))
    child.kill('SIGINT')
    await until(() => output.stderr.includes('finishes'))
    child.kill('SIGTERM')
    expect(await ended).toBe(143)
    expect(await cut).toBe(false)
    expect(output.stdout).toBe('')
  })

  it('says what is wrong', async () => {
    const programs = new Programs()
    for (const [args, code, told] of [
      [['/no/such.gguf'], 1, /FILE_NOT_FOUND: /],
      [[], 2, /no model/],
      [['stories', '--keys', join(folder, 'none.json')], 1, /FILE_NOT_FOUND: No such file/],
      [['stories', '--port', '99999'], 1, /INVALID_ARGUMENT: Option port/],
      [['stories', '--tls-cert', 'none.pem', '--tls-key', 'none.pem'], 1, /FILE_NOT_FOUND: Cannot read none.pem/],
    ] as const) {
      const outcome = await programs.run(main, ['serve', '--port', '0', ...args])
      expect([outcome.code, told.test(outcome.stderr) || outcome.stderr]).toEqual([code, true])
    }
    expect(await programs.close()).toBe(0)
  })

  it('a file has all of it; TLS', async () => {
    const { execFileSync } = await import('node:child_process')
    const [cert, key] = ['cert.pem', 'key.pem'].map((name) => join(folder, name)) as [string, string]
    const subject = ['-subj', '/CN=localhost', '-days', '2', '-nodes']
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
    execFileSync('openssl', ['req', '-x509', ...subject, ...curve, '-keyout', key, '-out', cert], { stdio: 'ignore' })
    const config = join(folder, 'service.json')
    const models = { a: { model: 'stories', kv: { memory: '8MiB' } } }
    writeFileSync(config, JSON.stringify({ models, tls: { cert, key }, defaults: { temperature: 0 }, logger: false }))
    const { child, ended, url } = await command(['--config', config])
    expect(url).toMatch(/^https:/)
    const ask = () =>
      new Promise<number>((resolve, reject) => {
        httpsRequest(`${url}/v1/models`, { rejectUnauthorized: false }, (response) => {
          response.resume()
          resolve(response.statusCode!)
        })
          .on('error', reject)
          .end()
      })
    expect(await ask()).toBe(200)
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
  })
})
