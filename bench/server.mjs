// What HTTP costs, against the same engine asked in process, by turns, with as many threads as there are CPUs, and with one CPU left for
// clients, which are a process of their own and compete for the same CPUs: a compiled one (server/client.cpp) where the server's own cost
// is wanted, one of Node elsewhere. Beside octavo/server: a bare server of node:http that streams the same and does nothing else.
//   cost   tokens a second of 64 clients that ask again and again, and whose CPU time it was
//   first  time to the first token of one request after the other, and where it goes
//   many   256 streams beside 1,000 idle keep-alive connections
//   peer   beside node-llama-cpp behind Fastify on the same file: throughput, first tokens, the worst stall of each stream, memory
//
//   node bench/server.mjs [--model FILE|synthetic:PRESET] [--parts cost,first,many,peer] [--rounds 5] [--streams 64] [--seconds 4] [--firsts 60] [--threads allCpus,oneLeft] [--folder DIR]
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Engine } from 'octavo'
import { createServer } from 'octavo/server'
import { cumulative, svg } from '../dist/load/svg.js'
import { args, threads as cpus, kvBytes, machine } from './load/common.mjs'
import { median } from './median.mjs'
import { installPeer } from './peers/install.mjs'
import { sharedMs } from './server/clock.mjs'
import { NativeClient } from './server/native-client.mjs'
import { plainServer, socketsAlone } from './server/plain.mjs'
import { Timeline } from './server/timeline.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const smol = join(here, '../../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf')
const flags = args({
  ...{ model: existsSync(smol) ? smol : 'synthetic:smollm2-135m', parts: 'cost,first,many,peer' },
  ...{ threads: 'allCpus,oneLeft', rounds: 5, streams: 64, seconds: 4, tokens: 48, firsts: 60 },
  ...{ peerStreams: 32, peerRounds: 3, folder: '' },
})
const promptTokens = 24
const contextTokens = 256
/** Requests whose time does not count: code is compiled meanwhile. */
const warmUps = 30

/** Different for each stream, so that no prefix is shared, and the same in each round. */
const prompt = (i) => Array.from({ length: promptTokens }, (_, k) => 100 + ((i * 7919 + k * 104_729) % 3000))
const requests = (count, tokens) => Array.from({ length: count }, (_, i) => ({ prompt: prompt(i), tokens }))
const body = ({ prompt, tokens }) => ({
  ...{ prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, stream: true },
})

const [client, native] = [fork(join(here, 'server/client.mjs')), new NativeClient()]
const ask = async (message) => {
  client.send(message)
  const [answer] = await once(client, 'message')
  return answer
}
const overHttp = (url, list) => ask({ url, path: '/v1/completions', bodies: list.map(body) })

/** When one request was made, and when its first token was there. */
async function firstInProcess(engine, { prompt, tokens }) {
  const asked = sharedMs()
  const generation = engine.generate({ prompt, maxTokens: tokens, temperature: 0, ignoreEos: true })
  let read
  for await (const _ of generation) read ??= sharedMs()
  return { asked, read }
}

const byName = (names) => Object.fromEntries(names.map((name) => [name, []]))

/** Beginning with another one each time. */
const turned = (list, by) => [...list.slice(by % list.length), ...list.slice(0, by % list.length)]

/** Clients that ask again and again, first for `begun`; gives the function that ends them. */
function loopInProcess(engine, list, begun) {
  let isOver = false
  const running = []
  const all = begun.map(async (first, i) => {
    for (let k = i, one = first; !isOver; one = list[k++ % list.length]) {
      running[i] = engine.generate({ prompt: one.prompt, maxTokens: one.tokens, temperature: 0, ignoreEos: true })
      for await (const _ of running[i]);
    }
  })
  return async () => {
    isOver = true
    for (const generation of running) generation.cancel()
    await Promise.all(all)
  }
}

async function loopOverHttp(url, list, begun) {
  await native.loop(url, { bodies: list.map(body), begun: begun.map(body) })
  return async () => {
    const failed = await native.stop()
    if (failed > 0) throw new Error(`${failed} requests failed`)
  }
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds))

const spread = (values) => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) }
}
const rounded = (value) =>
  JSON.parse(JSON.stringify(value, (_, item) => (typeof item === 'number' ? Number(item.toFixed(3)) : item)))

/** CPU microseconds that a process's main thread has taken: here is where HTTP is, while the engine computes on others; and all of a client. */
const mainThread = (pid) => Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1000

/** Answers of 32 to 95 tokens, so that clients do not stay in step. */
const mixed = (count) => requests(count, 0).map((one, i) => ({ ...one, tokens: 32 + ((i * 29) % 64) }))

/** As if they had been asked for a while ago: most of the prompt was read, and a part of the answer is there. */
const halfDone = (list) =>
  list.map(({ prompt, tokens }, i) => ({
    prompt: prompt.slice(0, 2),
    tokens: Math.ceil((tokens * (((i * 37) % 64) + 1)) / 64),
  }))

/** How far things are at the end of a step: a large model has few of them in a second. */
async function atStep(engine) {
  const { generatedTokens } = engine.stats()
  while (engine.stats().generatedTokens === generatedTokens) await sleep(0.002)
  const { generatedTokens: tokens } = engine.stats()
  return { tokens, ms: performance.now(), main: mainThread(process.pid), client: mainThread(native.pid) }
}

/** What is counted at least, where it does not take longer than so. */
const [leastTokens, mostSeconds] = [2048, 12]

/** What a while cost, of a token each. */
async function measure(engine) {
  const from = await atStep(engine)
  await sleep(flags.seconds)
  const isEnough = () =>
    engine.stats().generatedTokens - from.tokens >= leastTokens || performance.now() - from.ms > 1000 * mostSeconds
  while (!isEnough()) await sleep(0.1)
  const to = await atStep(engine)
  const tokens = to.tokens - from.tokens
  const per = (name) => (to[name] - from[name]) / tokens
  return { tokensPerSecond: 1000 / per('ms'), main: per('main'), client: per('client') }
}

async function untilIdle(engine) {
  const isIdle = ({ requests }) => requests.running + requests.waiting === 0
  while (!isIdle(engine.stats())) await sleep(0.05)
}

/** An engine, octavo/server and bare servers in front of it. */
async function serve(threads, streams) {
  const memory = kvBytes(flags.model, contextTokens * streams)
  // The same requests again and again: the cache would answer them.
  // With the other objective a large model lets new requests in as slowly as those that run can bear, and few run at once.
  const rest = { objective: streams > 1 ? 'throughput' : 'latency', prefixCache: false, speculation: 'off' }
  const load = { model: flags.model, threads, contextTokens, kv: { memory }, ...rest }
  const engine = await Engine.load(load)
  const server = await createServer({ models: { model: engine }, port: 0 })
  const url = await server.listen()
  await server.loaded
  const [plain, sockets] = [await plainServer(engine), await socketsAlone()]
  const close = async () => {
    client.send({ fresh: true })
    await native.drop()
    plain.close()
    sockets.close()
    await server.close()
    await engine.close()
  }
  return { engine, server, url, plain, sockets, close }
}

async function costWith(threads) {
  const { engine, url, plain, close } = await serve(threads, flags.streams)
  const list = mixed(flags.streams)
  const begun = halfDone(list)
  const begin = {
    inProcess: () => loopInProcess(engine, list, begun),
    plain: () => loopOverHttp(plain.url, list, begun),
    http: () => loopOverHttp(url, list, begun),
  }
  const ways = Object.keys(begin)
  const speeds = byName(ways)
  const [microseconds, clients] = [byName(ways), byName(ways)]
  for (let round = 0; round < flags.rounds; round++)
    for (const way of turned(ways, round)) {
      const before = engine.stats().generatedTokens
      const end = await begin[way]()
      // Every stream has begun: the prompts that came all at once are behind.
      while (engine.stats().generatedTokens - before < 8 * flags.streams) await sleep(0.05)
      await sleep(1)
      const { tokensPerSecond, main, client: other } = await measure(engine)
      speeds[way].push(tokensPerSecond)
      microseconds[way].push(main)
      clients[way].push(other)
      await end()
      await untilIdle(engine)
      const place = `${threads} threads, round ${round + 1} of ${flags.rounds}`
      console.error(
        `${place}, ${way}: ${tokensPerSecond.toFixed(0)} tokens/s, main thread ${main.toFixed(1)} us a token`,
      )
    }
  await close()
  const [tokensPerSecond, main, other] = [medians(speeds), medians(microseconds), medians(clients)]
  const cpuShare = (way, us) => (us * tokensPerSecond[way]) / 1e6 / cpus()
  return {
    ...{ threads, streams: flags.streams, tokensPerSecond },
    ...{ mainThreadMicrosecondsPerToken: main, clientMicrosecondsPerToken: other },
    // Of neighbours in time.
    throughputCost: costs((way) => 1 - median(speeds[way].map((speed, round) => speed / speeds.inProcess[round]))),
    // Of all CPUs; what more the throughput lost is what computing lost by being disturbed.
    cpuShare: costs((way) => ({
      server: cpuShare(way, main[way] - main.inProcess),
      client: cpuShare(way, other[way]),
    })),
  }
}

const costs = (of) => ({ plain: of('plain'), http: of('http') })
const medians = (all) => Object.fromEntries(Object.entries(all).map(([name, values]) => [name, median(values)]))

/** Of rows: the medians of each column. */
const columns = (rows) =>
  medians(Object.fromEntries(Object.keys(rows[0]).map((name) => [name, rows.map((row) => row[name])])))

/** One request after the other, each way in turn: what of the time to the first token is spent where. */
async function firstsWith(threads) {
  const { engine, server, url, plain, sockets, close } = await serve(threads, 1)
  const timeline = new Timeline(engine)
  timeline.watch(server.app.server)
  timeline.watch(plain.server)
  const [single] = requests(1, 4)
  const http = (at) => native.first(at, body(single))
  const ways = {
    inProcess: () => firstInProcess(engine, single),
    plain: () => http(plain.url),
    http: () => http(url),
    httpByNode: async () => (await overHttp(url, [single])).marks[0],
  }
  const rows = byName(Object.keys(ways))
  const alone = []
  for (let i = -warmUps; i < flags.firsts; i++) {
    for (const way of turned(Object.keys(ways), Math.abs(i))) {
      timeline.begin()
      const row = timeline.take(await ways[way]())
      if (i >= 0) rows[way].push(row)
    }
    const { asked, read } = await http(sockets.url)
    if (i >= 0) alone.push(read - asked)
  }
  await close()
  // Of neighbours in time.
  const overInProcess = (way) => median(rows[way].map(({ total }, i) => total - rows.inProcess[i].total))
  return {
    ...{ threads, costMs: { ...costs(overInProcess), httpByNode: overInProcess('httpByNode') } },
    socketsAloneMs: median(alone),
    stretchesMs: Object.fromEntries(Object.entries(rows).map(([way, list]) => [way, columns(list)])),
  }
}

const threadCounts = { allCpus: cpus(), oneLeft: Math.max(1, cpus() - 1) }
async function withAndWithoutOne(measure) {
  const all = {}
  for (const name of flags.threads.split(',')) all[name] = await measure(threadCounts[name])
  return all
}
const cost = () => withAndWithoutOne(costWith)
const first = () => withAndWithoutOne(firstsWith)

const memoryOf = (pid) => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kb = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)[1])
  return { residentMiB: kb('VmRSS') / 1024, peakMiB: kb('VmHWM') / 1024 }
}

async function startServer(script, sequences, ...more) {
  const all = [flags.model, cpus(), contextTokens, sequences, ...more].map(String)
  const child = spawn(process.execPath, [join(here, 'server', script), ...all], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data')
  return { child, url: line.trim() }
}

async function stopServer(child) {
  client.send({ fresh: true })
  child.kill('SIGTERM')
  await once(child, 'close')
}

async function many() {
  const { child, url } = await startServer('octavo.mjs', 128)
  const list = requests(256, 24)
  await overHttp(url, requests(8, 4))
  const alone = await overHttp(url, list)
  const before = memoryOf(child.pid)
  const { open } = await ask({ url, idle: 1000 })
  const idle = memoryOf(child.pid)
  const beside = await overHttp(url, list)
  const { open: still } = await ask({ stillOpen: true })
  const after = memoryOf(child.pid)
  await stopServer(child)
  const tokens = list.length * 24
  return {
    ...{ streams: list.length, idleConnections: open, stillOpen: still, failed: alone.failed + beside.failed },
    tokensPerSecond: { alone: tokens / alone.seconds, besideIdle: tokens / beside.seconds },
    kibPerIdleConnection: ((idle.residentMiB - before.residentMiB) * 1024) / open,
    residentMiB: { before: before.residentMiB, after: after.residentMiB },
    firstMs: spread(beside.firstMs),
    worstStallMs: spread(beside.gapsMs),
  }
}

async function peer() {
  const folder = flags.folder || mkdtempSync(join(tmpdir(), 'octavo-peers-'))
  installPeer(folder)
  const list = requests(flags.peerStreams, flags.tokens)
  const servers = { octavo: ['octavo.mjs'], 'node-llama-cpp': ['node-llama-cpp.mjs', folder] }
  const rows = Object.fromEntries(Object.keys(servers).map((name) => [name, { runs: [], memory: [] }]))
  for (let round = 0; round < flags.peerRounds; round++)
    for (const [name, [script, ...more]] of Object.entries(servers)) {
      const { child, url } = await startServer(script, flags.peerStreams, ...more)
      await overHttp(url, requests(2, 4))
      const run = await overHttp(url, list)
      if (run.failed > 0) throw new Error(`${name}: ${run.failed} streams failed`)
      rows[name].runs.push(run)
      rows[name].memory.push(memoryOf(child.pid))
      await stopServer(child)
    }
  const tokens = list.length * flags.tokens
  const summary = Object.entries(rows).map(([name, { runs, memory }]) => [
    name,
    {
      tokensPerSecond: median(runs.map(({ seconds }) => tokens / seconds)),
      firstMs: spread(runs.flatMap(({ firstMs }) => firstMs)),
      worstStallMs: spread(runs.flatMap(({ gapsMs }) => gapsMs)),
      peakMiB: median(memory.map(({ peakMiB }) => peakMiB)),
    },
  ])
  draw(rows)
  return { streams: list.length, tokens: flags.tokens, ...Object.fromEntries(summary) }
}

/** Of first tokens and of worst stalls: the share of streams for which they took at most so long. */
function draw(rows) {
  const line = (of) => Object.entries(rows).map(([name, { runs }]) => ({ name, points: cumulative(runs.flatMap(of)) }))
  const charts = [
    { title: 'First token', x: 'ms', y: '% of streams', series: line(({ firstMs }) => firstMs) },
    { title: 'Worst stall of a stream', x: 'ms', y: '% of streams', series: line(({ gapsMs }) => gapsMs) },
  ]
  writeFileSync(join(here, '../docs/plots/server.svg'), svg(charts))
}

const name = basename(flags.model).replace('synthetic:', '')
const file = join(here, `results/server${name === basename(smol) ? '' : `-${name}`}.json`)
const results = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
Object.assign(results, { model: name, machine: machine(cpus()) })
for (const [name, part] of Object.entries({ cost, first, many, peer })) {
  if (!flags.parts.split(',').includes(name)) continue
  results[name] = { ...results[name], ...rounded(await part()) }
  console.log(JSON.stringify({ [name]: results[name] }, null, 2))
}
mkdirSync(join(here, 'results'), { recursive: true })
writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`)
client.disconnect()
native.close()
