// octavo/server under what is too large to come along: @langchain/openai, @ai-sdk/openai for ai 6 and 7, OpenTelemetry's SDK with a collector
// that is a stub, and a real Prometheus where there is one. They are installed into a temporary folder from the npm registry.
//
//   node test/deep/server-clients.mjs [--folder DIR]
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { Engine } from 'octavo'
import { createServer } from 'octavo/server'
import { z } from 'zod'

const { values } = parseArgs({ options: { folder: { type: 'string' } } })
const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = values.folder ?? mkdtempSync(join(tmpdir(), 'octavo-clients-'))
const packages = {
  ...{
    '@langchain/openai': '1.6.0',
    '@langchain/core': '1.4.0',
    zod: '4.6.7',
    ai: '6.0.325',
    'ai-7': 'npm:ai@7.0.173',
  },
  ...{ '@ai-sdk/openai': '3.0.141', '@ai-sdk/openai-4': 'npm:@ai-sdk/openai@4.0.118' },
  ...{ '@opentelemetry/api': '1.10.0', '@opentelemetry/sdk-node': '0.301.0' },
  '@opentelemetry/exporter-trace-otlp-http': '0.301.0',
}
if (!existsSync(join(folder, 'node_modules/@langchain/openai'))) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies: packages }))
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--legacy-peer-deps']
  execFileSync('npm', ['install', ...options], { cwd: folder, stdio: 'ignore' })
  symlinkSync(root, join(folder, 'node_modules/octavo'))
}
const require = createRequire(join(folder, 'package.json'))
const load = (name) => import(pathToFileURL(require.resolve(name)).href)

const engine = await Engine.load({ model: 'stories' })
const server = await createServer({ models: { stories: engine }, keys: [{ key: 'sk-test' }], metrics: 'open', port: 0 })
const url = await server.listen()
await server.loaded
const story = 'Tell a story about a shy owl named Luna and a golden kite.'
const messages = [{ role: 'user', content: story }]
const own = (options) => engine.generate({ messages, ...options }).result
const Hero = z.object({ name: z.string().min(1).max(12), kind: z.enum(['owl', 'fox', 'bear']) })
const weather = z.object({ city: z.enum(['Rome', 'Oslo']) })
let checks = 0
const same = (found, expected, what) => {
  assert.deepEqual(found, expected, what)
  checks++
}
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false })

async function langchain() {
  const { ChatOpenAI } = await load('@langchain/openai')
  const { tool } = await load('@langchain/core/tools')
  const made = (more = {}) =>
    new ChatOpenAI({
      ...{ model: 'stories', apiKey: 'sk-test', configuration: { baseURL: `${url}/v1` }, maxRetries: 0, maxTokens: 40 },
      ...{ temperature: 0.8, modelKwargs: { seed: 5 }, streamUsage: true, useResponsesApi: false, ...more },
    })
  const expected = await own({ seed: 5, temperature: 0.8, maxTokens: 40 })
  const whole = await made().invoke(story)
  same(whole.content, expected.text, 'langchain invoke')
  same(whole.usage_metadata.output_tokens, 40, 'langchain usage')
  let text = ''
  for await (const { content } of await made().stream(story)) text += content
  same(text, expected.text, 'langchain stream')
  const hero = await made({ maxTokens: 200 }).withStructuredOutput(Hero, { method: 'jsonSchema' }).invoke(story)
  same(Hero.parse(hero), hero, 'langchain object')
  const tools = [tool(() => 'sunny', { name: 'weather', description: 'w', schema: weather })]
  const called = await made({ maxTokens: 100 }).bindTools(tools, { tool_choice: 'required' }).invoke(story)
  same(weather.safeParse(called.tool_calls[0].args).success, true, 'langchain tools')
  let joined
  const stream = await made({ maxTokens: 100 }).bindTools(tools, { tool_choice: 'weather' }).stream(story)
  for await (const chunk of stream) joined = joined === undefined ? chunk : joined.concat(chunk)
  same(joined.tool_calls[0].args, called.tool_calls[0].args, 'langchain streamed call')
  const responses = await made({ useResponsesApi: true }).invoke(story)
  same(responses.text, expected.text, 'langchain responses')
  await assert.rejects(made({ temperature: -1 }).invoke(story), ({ status }) => status === 400)
  const controller = new AbortController()
  const aborted = made({ modelKwargs: { ignore_eos: true }, maxTokens: -1 }).invoke(story, {
    signal: controller.signal,
  })
  controller.abort()
  await assert.rejects(aborted)
}

async function aiSdk(aiName, providerName) {
  const { generateText, Output, stepCountIs, streamText, tool } = await load(aiName)
  const { createOpenAI } = await load(providerName)
  const provider = createOpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-test' })
  // Its model is of chat completions, or of responses.
  for (const model of [provider.chat('stories'), provider('stories')]) {
    const request = { model, prompt: story, maxOutputTokens: 40, temperature: 0.8, maxRetries: 0 }
    const isChat = model.provider.includes('chat')
    // Only the first hands a seed on.
    const seeded = isChat ? { ...request, seed: 5 } : { ...request, temperature: 0 }
    const expected = await own(
      isChat ? { seed: 5, temperature: 0.8, maxTokens: 40 } : { temperature: 0, maxTokens: 40 },
    )
    same((await generateText(seeded)).text, expected.text, `${aiName} ${model.provider} text`)
    let text = ''
    for await (const piece of streamText(seeded).textStream) text += piece
    same(text, expected.text, `${aiName} ${model.provider} stream`)
    const long = { ...request, maxOutputTokens: 200 }
    const { output } = await generateText({ ...long, output: Output.object({ schema: Hero }) })
    same(Hero.parse(output), output, `${aiName} ${model.provider} object`)
    const tools = { weather: tool({ description: 'w', inputSchema: weather, execute: async () => 'sunny' }) }
    const { steps, text: said } = streamText({
      ...{ ...long, tools, toolChoice: 'required', stopWhen: stepCountIs(2) },
      prepareStep: ({ stepNumber }) => (stepNumber > 0 ? { toolChoice: 'none' } : {}),
    })
    assert.notEqual(await said, '')
    same(
      (await steps).map((step) => step.toolResults.length),
      [1, 0],
      `${aiName} ${model.provider} tools`,
    )
    await assert.rejects(generateText({ ...request, temperature: -1 }), ({ statusCode }) => statusCode === 400)
  }
}

/** A program with an SDK of its own, which sends spans to a collector that notes them. */
async function collector() {
  const bodies = []
  const stub = createHttp((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    request.on('end', () => {
      bodies.push(JSON.parse(text))
      response.setHeader('content-type', 'application/json').end('{}')
    })
  }).listen(0)
  await once(stub, 'listening')
  const program = `import { NodeSDK } from '@opentelemetry/sdk-node'
    import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
    const sdk = new NodeSDK({ traceExporter: new OTLPTraceExporter({ url: 'http://127.0.0.1:${stub.address().port}/v1/traces' }), instrumentations: [] })
    sdk.start()
    const { createServer } = await import('octavo/server')
    const server = await createServer({ models: { stories: 'stories' }, port: 0 })
    const url = await server.listen()
    await server.loaded
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const headers = { 'content-type': 'application/json', traceparent }
    await (await fetch(url + '/v1/completions', { method: 'POST', headers, body: JSON.stringify({ prompt: 'Once', max_tokens: 5 }) })).text()
    await server.close()
    await sdk.shutdown()`
  writeFileSync(join(folder, 'traced.mjs'), program)
  const env = { ...process.env, OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' }
  const child = spawn(process.execPath, ['traced.mjs'], { cwd: folder, env, stdio: ['ignore', 'ignore', 'inherit'] })
  const [code] = await once(child, 'close')
  stub.close()
  same(code, 0, 'the traced program ends')
  const spans = bodies.flatMap(({ resourceSpans }) =>
    resourceSpans.flatMap(({ scopeSpans }) =>
      scopeSpans.flatMap(({ scope, spans }) => spans.map((span) => ({ scope, ...span }))),
    ),
  )
  const span = spans.find(({ name }) => name === 'text_completion stories')
  same(
    [span.traceId, span.parentSpanId],
    ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'],
    'parent of the span',
  )
  const attributes = Object.fromEntries(span.attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
  same(
    [attributes['gen_ai.provider.name'], Number(attributes['gen_ai.usage.output_tokens'])],
    ['octavo', 5],
    'attributes',
  )
}

/** Debian's package prometheus has it. */
async function prometheus() {
  if (spawnSync('prometheus', ['--version']).status !== 0) return 'no prometheus here'
  const data = mkdtempSync(join(tmpdir(), 'octavo-prometheus-'))
  const target = new URL(url).host
  const config = {
    global: { scrape_interval: '1s' },
    scrape_configs: [{ job_name: 'octavo', static_configs: [{ targets: [target] }] }],
  }
  writeFileSync(join(data, 'prometheus.yml'), JSON.stringify(config))
  const listen = `127.0.0.1:${20_000 + (process.pid % 20_000)}`
  const flags = [
    `--config.file=${data}/prometheus.yml`,
    `--storage.tsdb.path=${data}/tsdb`,
    `--web.listen-address=${listen}`,
  ]
  const child = spawn('prometheus', flags, { stdio: 'ignore' })
  try {
    for (let tries = 0; ; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 500))
      const query = encodeURIComponent('vllm:generation_tokens_total{model_name="stories"}')
      const found = await fetch(`http://${listen}/api/v1/query?query=${query}`).then(
        (response) => response.json(),
        () => undefined,
      )
      const value = found?.data?.result?.[0]?.value?.[1]
      if (value !== undefined) {
        same(Number(value), engine.stats().generatedTokens, 'what Prometheus scraped')
        return 'Prometheus scraped'
      }
      assert.ok(tries < 60, 'Prometheus found nothing')
    }
  } finally {
    child.kill()
    await once(child, 'close')
    rmSync(data, { recursive: true })
  }
}

await langchain()
await aiSdk('ai', '@ai-sdk/openai')
await aiSdk('ai-7', '@ai-sdk/openai-4')
await collector()
const scraped = await prometheus()
await server.close()
await engine.close()
if (values.folder === undefined) rmSync(folder, { recursive: true })
console.log(`summary: ${checks} checks of @langchain/openai, @ai-sdk/openai 3 and 4, OTLP; ${scraped}`)
