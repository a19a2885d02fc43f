/** Engines and their process: every way in which either can end, each in a child process with a defined exit. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { child, packageRoot } from './child.ts'

const load = "import { Engine } from 'octavo'; const engine = await Engine.load({ model: 'stories' });"
const endless = "{ prompt: 'Once', ignoreEos: true, maxTokens: 700 }"
/** A model whose load takes a while, so that something can happen meanwhile. */
const slowModel = "{ model: 'synthetic:smollm2-135m', contextTokens: 64"
/** `inWorker(body)` runs a body in a worker thread of the application. */
const workers = `import { once } from 'node:events'; import { Worker } from 'node:worker_threads';
  const inWorker = (body) => new Worker("(async () => { const { parentPort } = require('node:worker_threads');" +
    " const { Engine } = await import('octavo'); " + body + " })()", { eval: true, execArgv: [] });
  const story = "{ prompt: 'Once', maxTokens: 40, temperature: 0, ignoreEos: true }";
  const tell = "const engine = await Engine.load({ model: 'stories' }); " +
    "parentPort.postMessage((await engine.generate(" + story + ").result).text);";`
const silent = (end: number | string, stdout = '') => ({ end, stdout, stderr: '' })

describe.concurrent('what happens to the process if', () => {
  it('no engine is closed, one idle, one with a reader that walked away', async () => {
    const source = `${load} const other = await Engine.load({ model: 'stories' });
      const reader = other.generate(${endless})[Symbol.asyncIterator](); await reader.next();
      await engine.generate({ prompt: 'A', maxTokens: 3 }).result; console.log('last line')`
    expect(await child(source)).toEqual(silent(0, 'last line'))
  })

  it('somebody awaits a result, and close(): it stays alive for both', async () => {
    const source = `${load} await engine.generate(${endless}).result; await engine.close(); console.log('done')`
    expect(await child(source)).toEqual(silent(0, 'done'))
  })

  it('process.exit() comes in mid-step: at once, with its code', async () => {
    const source = `${load} engine.generate({ prompt: Array(700).fill(9), ignoreEos: true }); engine.generate(${endless});
      setTimeout(() => process.exit(7), 15)`
    expect(await child(source)).toEqual(silent(7))
  })

  it('process.exit() comes while a model is loading', async () => {
    const source = `import { Engine } from 'octavo';
      void Engine.load(${slowModel}, onProgress: ({ phase }) => phase === 'weights' && process.exit(5) })`
    expect(await child(source)).toEqual(silent(5))
  })

  it('an exception is not caught while requests run: exit code 1, and nothing on stderr but it', async () => {
    const source = `${load} void engine.generate(${endless}); setTimeout(() => { throw new Error('of the application') }, 15)`
    const { end, stderr } = await child(source)
    expect(end).toBe(1)
    expect(stderr).toContain('of the application')
    expect(stderr).not.toMatch(/dist\/|terminate called|Segmentation|Assertion|OctavoError/)
  })

  it('an exception is caught by a handler while requests run: they go on', async () => {
    const source = `${load} const running = engine.generate(${endless});
      process.on('uncaughtException', async () => console.log((await running.result).finishReason));
      setTimeout(() => { throw new Error('of the application') }, 15)`
    expect(await child(source)).toEqual(silent(0, 'length'))
  })

  it('SIGINT comes while a model is loading and nobody handles it: it ends by the signal', async () => {
    const source = `import { Engine } from 'octavo';
      await Engine.load(${slowModel}, onProgress: ({ phase }) => phase === 'weights' && console.log('loading') })`
    const interrupt = (_: string, kill: (signal: NodeJS.Signals) => void) => kill('SIGINT')
    expect(await child(source, { onOutput: interrupt })).toMatchObject({ end: 'SIGINT', stderr: '' })
  })

  it('SIGINT comes while a model is loading and a handler aborts the load: it rejects with the reason and nothing stays', async () => {
    const source = `import { Engine } from 'octavo'; const abort = new AbortController();
      process.once('SIGINT', () => abort.abort('interrupted')); let told = false;
      const onProgress = ({ phase }) => { if (phase === 'weights' && !told) { told = true; console.log('loading') } };
      const reason = await Engine.load(${slowModel}, signal: abort.signal, onProgress }).catch((error) => error);
      console.log(reason, process.getActiveResourcesInfo().filter((name) => /Worker|MessagePort/.test(name)).length)`
    let sent = false
    const interrupt = (stdout: string, kill: (signal: NodeJS.Signals) => void) => {
      if (!sent && stdout.includes('loading')) kill('SIGINT')
      sent ||= stdout.includes('loading')
    }
    expect(await child(source, { onOutput: interrupt })).toEqual(silent(0, 'loading\ninterrupted 0'))
  })

  it('engines are closed in the middle of everything, twice, and used afterwards', async () => {
    const source = `${load} const running = engine.generate(${endless}); const session = engine.session();
      const turn = session.generate('Hi'); const scoring = engine.score({ prompt: 'Once upon' });
      const closing = engine.close(); void engine.close();
      const outcomes = await Promise.allSettled([running.result, turn.result, scoring, engine.close(), closing]);
      const uses = [() => engine.generate({ prompt: 'A' }), () => engine.session(), () => session.generate('A'),
        () => engine.tokenize('A'), () => engine.detokenize([5]), () => engine.score({ prompt: 'A' })];
      const codes = uses.map((use) => { try { use(); return 'none' } catch (error) { return error.code } });
      console.log(outcomes.map((o) => o.reason?.code ?? o.status).join(), [...new Set(codes)].join())
      console.log(engine.stats().kv.totalBlocks > 0, process.getActiveResourcesInfo().join())`
    const { end, stdout, stderr } = await child(source)
    expect({ end, stderr }).toEqual({ end: 0, stderr: '' })
    expect(stdout).toMatch(/^ENGINE_CLOSED,ENGINE_CLOSED,ENGINE_CLOSED,fulfilled,fulfilled ENGINE_CLOSED\ntrue/)
    expect(stdout).not.toMatch(/Worker|MessagePort|Timeout/)
  })
})

describe.concurrent("engines inside the application's own worker threads: what happens if", () => {
  it('only a worker ever loads octavo, ends, and another one does it again', async () => {
    const source = `${workers} const texts = [];
      for (let i = 0; i < 3; i++) { const worker = inWorker(tell); worker.on('message', (text) => texts.push(text)); await once(worker, 'exit') }
      console.log(texts.length, new Set(texts).size)`
    expect(await child(source)).toEqual(silent(0, '3 1'))
  })

  it('several workers and the main thread compute at once', async () => {
    const source = `${workers} ${load} const texts = [];
      const all = [1, 2, 3].map(() => inWorker(tell));
      for (const worker of all) worker.on('message', (text) => texts.push(text));
      await Promise.all([...all.map((worker) => once(worker, 'exit')),
        engine.generate({ prompt: 'Once', maxTokens: 40, temperature: 0, ignoreEos: true }).result.then(({ text }) => texts.push(text))]);
      console.log(texts.length, new Set(texts).size)`
    expect(await child(source)).toEqual(silent(0, '4 1'))
  })

  it('the worker is terminated in mid-step, while others compute with the same weights', async () => {
    const source = `${workers} ${load}
      const busy = "const engine = await Engine.load({ model: 'stories' }); for (let i = 0; i < 8; i++) engine.generate(${endless}); setTimeout(() => parentPort.postMessage(0), 20)";
      const run = engine.generate({ prompt: 'Once', maxTokens: 300, temperature: 0, ignoreEos: true });
      for (let i = 0; i < 3; i++) { const worker = inWorker(busy); await once(worker, 'message'); await worker.terminate() }
      const again = await engine.generate({ prompt: 'Once', maxTokens: 300, temperature: 0, ignoreEos: true }).result;
      console.log((await run.result).text === again.text)`
    expect(await child(source)).toEqual(silent(0, 'true'))
  })

  it('the worker is terminated while it loads', async () => {
    const source = `${workers}
      const worker = inWorker("void Engine.load(${slowModel}, onProgress: ({ phase }) => phase === 'weights' && parentPort.postMessage(0) })");
      await once(worker, 'message'); await worker.terminate();
      const next = inWorker(tell); const [text] = await once(next, 'message'); console.log(text.length > 0)`
    expect(await child(source)).toEqual(silent(0, 'true'))
  })

  it('the worker calls process.exit() with engines open, and the main thread at last', async () => {
    const source = `${workers} const worker = inWorker(tell + " void engine.generate(${endless}); setTimeout(() => process.exit(3), 10)");
      const [code] = await once(worker, 'exit'); console.log(code); process.exit(4)`
    expect(await child(source)).toEqual(silent(4, '3'))
  })
})

describe.concurrent('a file that is loaded twice', () => {
  const logging = 'const log = []; const onLog = (line) => log.push(line);'
  const shared = "const isShared = log.filter((line) => line.includes('shared with another engine')).length;"

  it('shares its weights, also with a worker thread, and with one that loads at the same time', async () => {
    const source = `${workers} import { Engine } from 'octavo'; ${logging}
      const [a, b] = await Promise.all([Engine.load({ model: 'stories', onLog }), Engine.load({ model: 'stories', onLog })]);
      const worker = inWorker("await Engine.load({ model: 'stories', onLog: (line) => parentPort.postMessage(line) })");
      worker.on('message', onLog); await once(worker, 'exit'); await a.close();
      ${shared} const { finishReason } = await b.generate({ prompt: 'A', maxTokens: 3 }).result; console.log(isShared, finishReason)`
    expect(await child(source)).toEqual(silent(0, '2 length'))
  })

  it('is freed when the last engine closes, and loaded anew', async () => {
    const source = `import { Engine } from 'octavo'; ${logging}
      for (let i = 0; i < 3; i++) await (await Engine.load({ model: 'stories', onLog })).close();
      ${shared} console.log(isShared, log.length)`
    expect(await child(source)).toEqual(silent(0, '0 3'))
  })

  it('loads for the second one when the first one is aborted in the middle', async () => {
    const source = `import { Engine } from 'octavo'; const abort = new AbortController(); let second;
      const options = { model: 'synthetic:smollm2-135m', contextTokens: 64 };
      const first = Engine.load({ ...options, signal: abort.signal, onProgress: ({ fraction }) => {
        if (second || fraction < 0.1) return;
        second = Engine.load(options); abort.abort('changed my mind');
      } });
      const reason = await first.catch((error) => error); const engine = await second;
      console.log(reason, (await engine.generate({ prompt: [5], maxTokens: 2, ignoreEos: true }).result).tokens.length)`
    expect(await child(source)).toEqual(silent(0, 'changed my mind 2'))
  })
})

describe('two engines that decode together', () => {
  it('share one pool of threads, with an engine in a worker thread too', async () => {
    const source = `import { readdirSync } from 'node:fs'; ${workers} import { Engine } from 'octavo';
      const count = () => readdirSync('/proc/self/task').length;
      const start = async () => {
        const engine = await Engine.load({ model: 'stories', threads: 32 });
        await engine.generate({ prompt: 'Once', maxTokens: 3 }).result; return count();
      };
      const before = count(); const one = await start(); const two = await start();
      const worker = inWorker("const engine = await Engine.load({ model: 'stories', threads: 32 });" +
        "await engine.generate({ prompt: 'Once', maxTokens: 3 }).result; parentPort.postMessage(0)");
      await once(worker, 'message'); const three = count(); await worker.terminate();
      console.log(one - before >= 31, two - one < 10, three - two < 10)`
    expect(await child(source)).toEqual(silent(0, 'true true true'))
  })

  it('take turns: when one is done, the other is nearly as far', async () => {
    const source = `${load} const other = await Engine.load({ model: 'stories' });
      const start = (of) => of.generate({ prompt: 'Once', ignoreEos: true, maxTokens: 600 });
      const both = [start(engine), start(other)];
      await Promise.race(both.map(({ result }) => result));
      console.log(Math.min(...both.map(({ partial }) => partial.tokens.length)) > 300)`
    expect(await child(source)).toEqual(silent(0, 'true'))
  })
})

/** The full counts are rows of scripts/test-deep.mjs. */
describe('what is left of requests', () => {
  /** AddressSanitizer keeps what was freed for a while and is slow: fewer requests, whose memory says nothing. */
  const sanitized = process.env.ASAN_OPTIONS !== undefined
  const limit = (bytes: number) => String(sanitized ? Number.POSITIVE_INFINITY : bytes)
  const deep = async (script: string, ...args: string[]) => {
    // So few requests cannot tell what V8's optimising compilers take, megabytes at once and not all at the beginning, from a leak.
    const flags = ['--expose-gc', '--gc-global', '--max-semi-space-size=1', '--no-opt', '--no-maglev']
    const run = promisify(execFile)(process.execPath, [...flags, `test/deep/${script}.mjs`, ...args], {
      cwd: packageRoot,
    })
    return run.then(
      ({ stdout }) => stdout,
      ({ stdout, stderr }) => `failed: ${stdout}${stderr}`,
    )
  }

  it('nothing, when they are read, awaited, cancelled and aborted', async () => {
    const limits = ['--limit', limit(2000), '--heap-limit', limit(150)]
    expect(await deep('memory', '--requests', sanitized ? '500' : '1500', '--tokens', '4', ...limits)).toMatch(
      /^summary: .* 0 blocks held/,
    )
  })

  it('nothing, when they are given up at random moments: queued, prefilling, decoding, held by a slow reader', async () => {
    expect(await deep('aborts', '--requests', '600', '--limit', limit(20_000))).toMatch(/^summary: .* 0 handles left/)
  })
})
