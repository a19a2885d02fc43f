/**
 * The `octavo` command as a user starts it: stdout, stderr and exit codes. Of each kind some are processes of their own, and all that are
 * interrupted; the others share one.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Outcome, Programs } from './programs.ts'

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const story = 'Tell a story about a shy owl named Luna and a golden kite.'

interface Spawned {
  input?: string
  /** Sends SIGINT when stdout begins. */
  interruptOnOutput?: boolean
}

/** A command in a process of its own. */
function started(args: string[], { input = '', interruptOnOutput = false }: Spawned = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { stdio: 'pipe' })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (interruptOnOutput && stdout === '') child.kill('SIGINT')
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
    child.stdin.on('error', () => {}) // a process that ends without reading its input closes the pipe: not this test's matter
    child.stdin.end(input)
  })
}

let programs: Programs
beforeAll(() => {
  programs = new Programs()
})
afterAll(async () => expect(await programs.close()).toBe(0))
const octavo = (args: string[], { input = '' } = {}) => programs.run(main, args, input)

const draft = fileURLToPath(new URL('../models/octavo-stories-draft-q4_0.gguf', import.meta.url))
const greedy = ['--temperature', '0', '--threads', '1']

describe('octavo run', { timeout: 30_000 }, () => {
  let alone: Outcome
  beforeAll(async () => {
    alone = await started(['run', 'stories', story, ...greedy])
  })

  it('streams text to stdout, speed to stderr, and exits 0', () => {
    const { code, stdout, stderr } = alone
    expect(stderr).toMatch(/^\d+ tokens, [\d.]+ tokens\/s, first token after \d+ ms \(\d+ prompt tokens/)
    expect(stdout).toMatch(/Luna/)
    expect(stdout.endsWith('\n')).toBe(true)
    expect(code).toBe(0)
  })

  it('prints one JSON document and nothing else with --json; the same text as without', async () => {
    const { code, stdout } = await octavo(['run', 'stories', story, ...greedy, '--json'])
    const result = JSON.parse(stdout) as {
      text: string
      finishReason: string
      usage: { completionTokens: number }
      tokens: number[]
    }
    expect(`${result.text}\n`).toBe(alone.stdout)
    expect(result.finishReason).toBe('stop')
    expect(result.tokens.length).toBe(result.usage.completionTokens)
    expect(code).toBe(0)
  })

  it('reads the prompt from stdin when there is no argument', async () => {
    const piped = await started(['run', 'stories', ...greedy], { input: `${story}\n` })
    expect(piped.stdout).toBe(alone.stdout)
    expect(piped.code).toBe(0)
  })

  it('passes sampling options on: a seed fixes the text, another changes it, --stop and --max-tokens end it', async () => {
    const sampled = (seed: number, ...more: string[]) =>
      octavo(['run', 'stories', story, '--temperature', '1.2', '--seed', String(seed), '--json', ...more])
    const text = ({ stdout }: Outcome) => (JSON.parse(stdout) as { text: string }).text
    const [first, again, other] = await Promise.all([sampled(1), sampled(1), sampled(2)])
    expect(text(again)).toBe(text(first))
    expect(text(other)).not.toBe(text(first))
    const stopped = await sampled(1, '--stop', '.')
    expect(text(stopped)).toBe(text(first).slice(0, text(first).indexOf('.')))
    const { tokens } = JSON.parse(first.stdout) as { tokens: number[] }
    const ended = JSON.parse((await sampled(1, '--stop-token', '4095', '--stop-token', String(tokens[7]))).stdout)
    expect(ended).toMatchObject({ tokens: tokens.slice(0, tokens.indexOf(tokens[7]!)), stop: { token: tokens[7] } })
    const short = JSON.parse((await sampled(1, '--max-tokens', '5')).stdout) as {
      tokens: number[]
      finishReason: string
    }
    expect(short.tokens.length).toBe(5)
    expect(short.finishReason).toBe('length')
  })

  it('says the same with and without guesses, and with a draft model; what they came to is in the timings', async () => {
    const told = async (...more: string[]) => {
      const { code, stdout } = await octavo([
        'run',
        'stories',
        story,
        '--temperature',
        '1',
        '--seed',
        '3',
        '--json',
        ...more,
      ])
      expect(code).toBe(0)
      return JSON.parse(stdout) as { text: string; timings: { speculation?: { proposed: number; accepted: number } } }
    }
    const off = await told('--speculation', 'off')
    const auto = await told('--speculation', 'auto')
    const drafted = await told('--draft', draft)
    const never = await told('--draft', draft, '--speculation', 'off')
    for (const { text } of [auto, drafted, never]) expect(text).toBe(off.text)
    // The first step with a draft model finds out what it costs.
    expect(drafted.timings.speculation!.proposed).toBeGreaterThan(0)
    expect(off.timings.speculation).toBeUndefined()
    expect(never.timings.speculation).toBeUndefined()
  })

  it('continues plain text with --raw', async () => {
    const { code, stdout } = await octavo(['run', 'stories', 'Once upon a time', '--raw', '-n', '20', ...greedy])
    expect(stdout.length).toBeGreaterThan(10)
    expect(code).toBe(0)
  })

  it('ends on Ctrl-C with what it has and exits 130', async () => {
    const args = ['run', 'stories', story, ...greedy, '--ignore-eos', '-n', '700']
    const whole = await octavo(args)
    const cut = await started(args, { interruptOnOutput: true })
    expect(cut.code).toBe(130)
    expect(cut.stdout.length).toBeLessThan(whole.stdout.length)
    expect(whole.stdout.startsWith(cut.stdout.replace(/\n$/, ''))).toBe(true)
  })
})

describe('octavo run --schema', { timeout: 30_000 }, () => {
  it('holds the answer to a JSON Schema, or to what a module exports', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'octavo-cli-'))
    try {
      const path = (name: string) => join(folder, name)
      const schema = {
        type: 'object',
        properties: { name: { type: 'string', maxLength: 10 }, wise: { type: 'boolean' } },
        required: ['name', 'wise'],
        additionalProperties: false,
      }
      const zod = pathToFileURL(createRequire(import.meta.url).resolve('zod')).href
      await writeFile(path('owl.json'), JSON.stringify(schema))
      await writeFile(
        path('owl.mjs'),
        `import * as z from '${zod}'\nexport default z.object({ name: z.string().max(10), wise: z.boolean().default(true) })\n`,
      )
      await writeFile(path('broken.json'), '{')
      await writeFile(
        path('unsupported.json'),
        '{ "type": "array", "items": { "type": "string" }, "uniqueItems": true }',
      )
      const run = (file: string, ...more: string[]) =>
        octavo(['run', 'stories', 'An owl as JSON:', '--raw', '--seed', '1', '--schema', path(file), ...more])
      const plain = await run('owl.json')
      expect([plain.code, JSON.parse(plain.stdout)]).toEqual([
        0,
        { name: expect.any(String), wise: expect.any(Boolean) },
      ])
      const typed = await run('owl.mjs', '--json')
      const { object, text } = JSON.parse(typed.stdout)
      expect([typed.code, object]).toEqual([0, { wise: true, ...JSON.parse(text) }])
      const cut = JSON.parse((await run('owl.json', '--json', '-n', '5')).stdout)
      expect([cut.finishReason, cut.object, typeof cut.partial]).toEqual(['length', undefined, 'object'])
      const fails = async (file: string) => {
        const { code, stderr } = await run(file)
        return [code, stderr]
      }
      expect(await fails('nowhere.json')).toEqual([1, expect.stringContaining('No such file')])
      expect(await fails('nowhere.mjs')).toEqual([1, expect.stringContaining('No such file')])
      expect(await fails('broken.json')).toEqual([1, expect.stringContaining('expected JSON in')])
      expect(await fails('unsupported.json')).toEqual([1, expect.stringContaining('uniqueItems')])
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('octavo chat', { timeout: 30_000 }, () => {
  it('answers piped lines in one conversation', async () => {
    const input = `${story}\n\nWhat color was the kite?\n`
    const { code, stdout } = await started(['chat', 'stories', ...greedy, '--json'], { input })
    const answers = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { text: string; usage: { promptTokens: number } })
    expect(answers.length).toBe(2)
    expect(answers[0]!.text).toMatch(/Luna/)
    expect(answers[1]!.text).toMatch(/golden/i)
    expect(answers[1]!.usage.promptTokens).toBeGreaterThan(answers[0]!.usage.promptTokens)
    expect(code).toBe(0)
  })

  it('saves a conversation and goes on with it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'octavo-cli-'))
    const file = join(folder, 'chat')
    const first = await octavo(['chat', 'stories', ...greedy, '--save', file], { input: `${story}\n` })
    expect([first.code, first.stderr]).toEqual([0, expect.stringMatching(/saved \d+ tokens in \d+ bytes/)])
    const input = 'What color was the kite?\n'
    const { code, stdout } = await octavo(['chat', 'stories', ...greedy, '--json', '--restore', file], { input })
    const { text, usage } = JSON.parse(stdout)
    expect([code, text, usage.cachedTokens > 0]).toEqual([0, expect.stringMatching(/golden/i), true])
    const both = await octavo(['chat', 'stories', '--restore', file, '--system', 'x'], { input })
    expect([both.code, both.stderr]).toEqual([2, expect.stringContaining('--system')])
    await rm(folder, { recursive: true })
  })

  it('forgets the last turn on /undo', async () => {
    const input = `/undo\n${story}\n/undo\n/undo\n/exit\n`
    const { code, stderr } = await octavo(['chat', 'stories', ...greedy, '--max-tokens', '8'], { input })
    expect(code).toBe(0)
    expect(stderr.match(/there is no turn to forget/g)).toHaveLength(2)
    expect(stderr.match(/the last turn is forgotten/g)).toHaveLength(1)
  })

  it('forgets on /reset and leaves on /exit', async () => {
    const { code, stdout } = await octavo(['chat', 'stories', ...greedy, '--json'], {
      input: `${story}\n/reset\n${story}\n/exit\n${story}\n`,
    })
    const answers = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { text: string; usage: { promptTokens: number } })
    expect(answers.length).toBe(2)
    expect(answers[1]!.text).toBe(answers[0]!.text)
    expect(answers[1]!.usage.promptTokens).toBe(answers[0]!.usage.promptTokens)
    expect(code).toBe(0)
  })

  it('keeps the session when Ctrl-C cancels an answer', async () => {
    const { code, stdout } = await started(['chat', 'stories', ...greedy, '--ignore-eos', '-n', '300'], {
      input: `${story}\nWhat color was the kite?\n`,
      interruptOnOutput: true,
    })
    expect(stdout.split('\n').filter((line) => line !== '').length).toBeGreaterThanOrEqual(2)
    expect(code).toBe(0)
  })
})

describe('octavo chat --tools', { timeout: 30_000 }, () => {
  it('tells the template of the tools in a module, and says what is wrong with one', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'octavo-cli-'))
    try {
      const path = (name: string) => join(folder, name)
      await writeFile(
        path('tools.mjs'),
        "export default { weather: { description: 'in a city', execute: () => 'sunny' } }\n",
      )
      await writeFile(path('empty.mjs'), 'export const tools = {}\n')
      await writeFile(
        path('t.jinja'),
        '{{ tools[0].function.name }}: {{ tools[0].function.description }} {{ messages[-1].content }}',
      )
      const common = ['chat', 'stories', ...greedy, '-n', '3', '--chat-template', path('t.jinja'), '--show-prompt']
      const { code, stderr } = await octavo([...common, '--tools', path('tools.mjs')], { input: 'Hi\n' })
      expect([code, stderr]).toEqual([0, expect.stringContaining('weather: in a city Hi')])
      const missing = await octavo([...common, '--tools', path('nowhere.mjs')], { input: 'Hi\n' })
      expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('No such file')])
      const empty = await octavo([...common, '--tools', path('empty.mjs')], { input: 'Hi\n' })
      expect([empty.code, empty.stderr]).toEqual([1, expect.stringContaining('expected a default export')])
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('the chat template at the command line', { timeout: 30_000 }, () => {
  const template =
    "{{ messages[-1].content }}|{{ mood | default('none') }}|{{ deep.a[0] | default('-') }}|{% if quick is sameas false %}slow{% endif %}|"
  const flags = [
    '--template-option',
    'mood=merry = 1',
    '--template-option',
    'deep={"a":[5]}',
    '--template-option',
    'quick=false',
  ]
  const prompt = 'Hi|merry = 1|5|slow|'

  async function inFolder(use: (file: string) => Promise<void>): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'octavo-cli-'))
    await writeFile(join(folder, 'template.jinja'), `${template}\n`)
    await use(join(folder, 'template.jinja')).finally(() => rm(folder, { recursive: true }))
  }

  it('is that of the file, with the options given, and --show-prompt shows what is sent', () =>
    inFolder(async (file) => {
      const common = ['-n', '3', ...greedy, '--chat-template', file, ...flags, '--show-prompt']
      const run = await octavo(['run', 'stories', 'Hi', ...common])
      expect([run.code, run.stderr.split('\n')[0]]).toEqual([0, prompt])
      const asJson = await octavo(['run', 'stories', 'Hi', ...common, '--json'])
      const [shown, result] = asJson.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(shown).toEqual({ prompt: { text: prompt, tokens: expect.any(Array) } })
      expect(result.usage.promptTokens).toBe(shown.prompt.tokens.length)
      expect(`${result.text}\n`).toBe(run.stdout)
      const chat = await octavo(['chat', 'stories', ...common, '--json'], { input: 'Hi\nHi\n' })
      const lines = chat.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(lines.map((line) => line.prompt?.text ?? line.text)).toEqual([prompt, result.text, prompt, result.text])
      const plain = await octavo(['chat', 'stories', ...common], { input: 'Hi\n' })
      expect([plain.stderr, plain.stdout]).toEqual([`${prompt}\n`, run.stdout])
    }))

  it('a file that is not there, and an option that is none', async () => {
    const missing = await octavo(['chat', 'stories', '--chat-template', 'nowhere.jinja'])
    expect([missing.code, missing.stderr]).toEqual([1, 'octavo: FILE_NOT_FOUND: No such file: nowhere.jinja.\n'])
    const wrong = await octavo(['chat', 'stories', '--template-option', 'x'])
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('enable_thinking=false')])
  })
})

it.each(['-inf', '-Infinity', '-INF'])('--logit-bias 5=%s bans a token', { timeout: 30_000 }, async (text) => {
  const args = ['run', 'stories', story, ...greedy, '-n', '3', '--json']
  const { tokens } = JSON.parse((await octavo(args)).stdout)
  const banned = await octavo([...args, '--logit-bias', `${tokens[0]}=${text}`])
  expect(banned.code).toBe(0)
  expect(JSON.parse(banned.stdout).tokens).not.toContain(tokens[0])
})

describe('octavo inspect', { timeout: 30_000 }, () => {
  it('shows names out of a hostile file, and the terminal obeys none of them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'octavo-'))
    try {
      const bytes = await readFile(new URL('../models/octavo-stories-q4_0.gguf', import.meta.url))
      Buffer.from('\u001b[2J').copy(bytes, bytes.indexOf('gpt2'))
      await writeFile(join(folder, 'evil.gguf'), bytes)
      const { stdout, stderr } = await octavo(['inspect', join(folder, 'evil.gguf'), '--tensors'])
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
      expect(`${stdout}${stderr}`).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
      expect(stdout).toContain('?[2J')
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('prints architecture, tokenizer, tensors by type and memory', async () => {
    const { code, stdout } = await octavo(['inspect', 'stories'])
    expect(stdout).toMatch(/architecture +llama/)
    expect(stdout).toMatch(/tokenizer +gpt2/)
    expect(stdout).toMatch(/\| q4_0 +\|/)
    expect(stdout).toMatch(/KV cache/)
    expect(code).toBe(0)
  })

  it('says the same as JSON', async () => {
    const { stdout } = await octavo(['inspect', 'stories', '--json', '--context', '512'])
    const report = JSON.parse(stdout) as {
      architecture: string
      layers: number
      tensors: { type: string; count: number; bytes: number }[]
      memory: Record<string, number>
    }
    expect(report).toMatchObject({ architecture: 'llama', layers: 4, memory: { contextTokens: 512 } })
    expect(report.tensors.some((row) => row.type === 'q4_0' && row.bytes > 1_000_000)).toBe(true)
    expect(report.memory.totalBytes).toBeGreaterThan(2_000_000)
    // What an engine takes by default: room for four requests of that length.
    expect(report.memory).toMatchObject({ kvTokens: 2048, kvBytes: 2048 * 2048, textBytes: 4096 * 240 })
    // After the load: half of so small a pool, and no step's buffers yet.
    const { weightBytes, textBytes } = report.memory
    expect(report.memory).toMatchObject({
      kvBytesAtLoad: 2 ** 21,
      totalBytesAtLoad: weightBytes! + textBytes! + 2 ** 21,
    })
  })

  it('counts a draft model: its weights, and its part of the blocks', async () => {
    const of = async (...more: string[]) => {
      const { stdout } = await octavo(['inspect', 'stories', '--json', '--context', '512', ...more])
      const { memory } = JSON.parse(stdout) as { memory: Record<string, number> & { draft?: Record<string, number> } }
      return memory
    }
    const [alone, both] = await Promise.all([of(), of('--draft', draft)])
    expect(alone.draft).toBeUndefined()
    // Two layers with one key and value head of 64 in two bytes each, as many tokens as the target has room for.
    expect(both.draft!.kvBytes).toBe(2048 * 2 * 2 * 64 * 2)
    expect(both.draft!.totalBytes).toBeGreaterThan((await stat(draft)).size / 2)
    expect(both.totalBytes! - alone.totalBytes!).toBe(both.draft!.totalBytes)
    expect((await octavo(['inspect', 'stories', '--draft', draft])).stdout).toMatch(/draft model, all of it/)
  })
})

describe('GPUs on the command line', { timeout: 30_000 }, () => {
  it('inspect predicts the memory of a GPU of a stated size', async () => {
    const { code, stdout, stderr } = await octavo(['inspect', 'stories', '--json', '--device-memory', '1GiB'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { memory } = JSON.parse(stdout)
    expect(memory).toMatchObject({
      device: 'a GPU of 1.00 GiB',
      fits: true,
      availableBytes: Math.floor(2 ** 30 * 0.94),
    })
    const table = await octavo(['inspect', 'stories', '--device-memory', '20MiB'])
    expect(table.stdout).toMatch(/memory of a GPU of 20\.0 MiB.*\n.*\n\| weights/)
    expect(table.stdout).toContain('It does not fit at all.')
    for (const flags of [
      ['--device-memory', '24'],
      ['--device', 'gpu'],
    ])
      expect((await octavo(['inspect', 'stories', ...flags])).code).not.toBe(0)
  })

  it('devices lists what can compute, and what a load begins with', async () => {
    const { cpu, cuda, auto } = JSON.parse((await octavo(['devices', '--json'])).stdout)
    expect(cpu.cpus).toBeGreaterThan(0)
    expect(auto.device).toMatch(/^cpu$|^cuda:\d+$/)
    if (cuda.devices.length === 0) expect(auto).toEqual({ device: 'cpu', passed: [cuda.reason] })
    expect((await octavo(['devices'])).stdout).toMatch(/^cpu .*\n(.*\n)*auto +(cpu|cuda)/)
  })
})

describe('octavo synthesize', { timeout: 60_000 }, () => {
  it('writes a file that inspect reads', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'octavo-cli-'))
    try {
      const file = join(folder, 'random.gguf')
      const made = await octavo(['synthesize', 'smollm2-135m', file, '--type', 'q4_0', '--seed', '3', '--json'])
      expect(made.stderr).toBe('')
      expect(made.code).toBe(0)
      expect(JSON.parse(made.stdout)).toMatchObject({ file, bytes: (await stat(file)).size })
      const { stdout } = await octavo(['inspect', file, '--json'])
      expect(JSON.parse(stdout)).toMatchObject({ architecture: 'llama', layers: 30, width: 576 })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})

describe('octavo bench-load', { timeout: 60_000 }, () => {
  const small = ['--scale', '0.1', '--warmup', '0.1', '--seconds', '20', '--threads', '1']

  it('measures clients in a closed loop, and random arrivals', async () => {
    for (const arrivals of [
      ['--clients', '4', '--requests', '12'],
      ['--rate', '60', '--requests', '12', '--workload', 'rag', '--isolation', 'process'],
    ]) {
      const { code, stdout, stderr } = await octavo(['bench-load', 'stories', ...small, ...arrivals, '--json'])
      expect(stderr).toBe('')
      const report = JSON.parse(stdout)
      expect(report.requests.measured).toBeGreaterThanOrEqual(12)
      expect(report.requests.errors).toEqual({})
      expect(report.firstTokenMs.p99).toBeGreaterThan(0)
      expect(report.lengths.cachedShare > 0.3).toBe(arrivals.includes('rag'))
      expect(code).toBe(0)
    }
  })

  it('prints tables and writes charts', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'octavo-'))
    const file = join(folder, 'load.svg')
    const { code, stdout } = await octavo(['bench-load', 'stories', ...small, '--requests', '8', '--svg', file])
    expect(stdout).toMatch(/first token .*\n.*between tokens .*\n.*whole answer/)
    expect(stdout).toContain('unfilled ends of last blocks')
    expect((await stat(file)).size).toBeGreaterThan(1000)
    expect(code).toBe(0)
    await rm(folder, { recursive: true })
  })
})

describe('octavo bench', { timeout: 60_000 }, () => {
  it('measures decode from C++ and through the API, with the limits of the same run', async () => {
    const { code, stdout } = await octavo([
      'bench',
      'stories',
      '-p',
      '32',
      '-n',
      '16',
      '-r',
      '2',
      '--threads',
      '1',
      '--json',
    ])
    const report = JSON.parse(stdout) as {
      limits: Record<string, number>
      decode: { tokensPerSecond: number }
      api: { tokensPerSecond: number; ratioToNative: number }
      runs: { sampled: boolean }[]
      guesses: { proposed: number }
    }
    expect(report.guesses.proposed, 'plain decode unless it is asked for guesses').toBe(0)
    const { matrixOpsPerSecond, ...limits } = report.limits
    for (const limit of Object.values(limits)) expect(limit).toBeGreaterThan(0)
    expect(matrixOpsPerSecond).toBeGreaterThanOrEqual(0)
    expect(report.decode.tokensPerSecond).toBeGreaterThan(0)
    expect(report.api.tokensPerSecond).toBeGreaterThan(0)
    expect(report.runs.map((run) => run.sampled)).toEqual([false, true])
    expect(code).toBe(0)
  })
})

describe('octavo bench --speculation', { timeout: 60_000 }, () => {
  it('measures guesses when it is asked for them', async () => {
    const guesses = async (...more: string[]) => {
      const args = ['-p', '8', '-n', '40', '-r', '1', '--threads', '1', '--json', ...more]
      const { code, stdout } = await octavo(['bench', 'stories', ...args])
      expect(code).toBe(0)
      return (JSON.parse(stdout) as { guesses?: { proposed: number } }).guesses?.proposed
    }
    expect(await guesses('--draft', draft)).toBeGreaterThan(0)
    expect(await guesses('--draft', draft, '--speculation', 'off')).toBe(0)
  })
})

describe('octavo bench --parallel', { timeout: 60_000 }, () => {
  it('measures a fast model with short requests', async () => {
    const args = ['-p', '8', '-n', '1', '-r', '1', '--threads', '1', '--parallel', '4', '--json']
    const { code, stdout, stderr } = await octavo(['bench', 'stories', ...args])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [parallel] = (JSON.parse(stdout) as { parallel: Record<string, number>[] }).parallel
    expect(parallel).toMatchObject({ requests: 4 })
    expect(parallel!.tokens).toBeGreaterThanOrEqual(1)
    expect(parallel!.tokensPerSecond).toBeGreaterThan(0)
  })
})

describe('what could go wrong at the command line', { timeout: 30_000 }, () => {
  it.each([
    ['run', 'nowhere.gguf', 'Hi'],
    ['chat', 'nowhere.gguf'],
    ['inspect', 'nowhere.gguf'],
    ['bench', 'nowhere.gguf'],
  ])('a model that is not there: octavo %s', async (...args) => {
    const { code, stdout, stderr } = await octavo([...args])
    expect(stderr).toMatch(/^octavo: FILE_NOT_FOUND: .*nowhere\.gguf/)
    expect(stdout).toBe('')
    expect(code).toBe(1)
  })

  it.each([
    ['no such command', ['dance']],
    ['no model', ['run']],
    ['no such option', ['run', 'stories', 'Hi', '--colour', 'red']],
    ['a word where a number belongs', ['run', 'stories', 'Hi', '--temperature', 'warm']],
    ['a half where a whole number belongs', ['run', 'stories', 'Hi', '--max-tokens', '1.5']],
    ['a way of guessing that is none', ['run', 'stories', 'Hi', '--speculation', 'always']],
    ['a logit bias that is none', ['run', 'stories', 'Hi', '--logit-bias', 'the']],
    ['a logit bias without bounds', ['run', 'stories', 'Hi', '--logit-bias', '5=inf']],
    ['no type for synthesize', ['synthesize', 'smollm2-135m', 'out.gguf', '--type', 'q9_9']],
  ])('wrong usage: %s', async (_name, args) => {
    const { code, stdout, stderr } = await octavo(args)
    expect(stderr).toMatch(/error: /)
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  it('an option out of range is a typed error', async () => {
    const { code, stdout, stderr } = await octavo(['run', 'stories', 'Hi', '--temperature', '-1'])
    expect(stderr).toMatch(/^octavo: INVALID_ARGUMENT: .*temperature/)
    expect(stdout).toBe('')
    expect(code).toBe(1)
  })

  it('exit codes are those of a process', async () => {
    expect((await started(['dance'])).code).toBe(2)
    expect((await started(['inspect', 'nowhere.gguf'])).code).toBe(1)
  })

  it('help and version exit 0', async () => {
    expect((await started(['--help'])).code).toBe(0)
    expect((await octavo(['--help'])).code).toBe(0)
    expect((await started(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
