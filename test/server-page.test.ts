/** /ui in a real browser, by its keyboard alone; to whom it is there, and what it may load. Wants Debian's chromium. */
import { existsSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { Engine } from 'octavo'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { get, type Running, serve, until } from './server-tools.ts'

const executablePath = '/usr/bin/chromium'
const story = 'Tell a story about a shy owl named Luna and a golden kite.'
let engine: Engine
let server: Running
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
  server = await serve({ models: { stories: engine } })
  await server.loaded
})
afterAll(async () => {
  await server.close()
  await engine.close()
})

const built = (name: string) => readFileSync(fileURLToPath(new URL(`../dist/ui/${name}`, import.meta.url)))

it('is less than 60 KB', () => {
  const bytes = ['index.html', 'app.js', 'app.css'].map((name) => gzipSync(built(name)).length)
  expect(bytes.reduce((a, b) => a + b)).toBeLessThan(60_000)
})

describe('is there', () => {
  it('for this machine, with a policy that lets it load its own files alone', async () => {
    const { status, headers, body } = await get(`${server.url}/ui`)
    expect([status, headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    const policy = headers.get('content-security-policy')!
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'")
    expect(policy).not.toContain('unsafe')
    expect(body).toMatch(/^<!doctype html>/)
    expect((await get(`${server.url}/ui/app.js`)).body).toContain('MIT')
    for (const name of ['..%2f..%2fpackage.json', 'index.js', '__proto__'])
      expect((await get(`${server.url}/ui/${name}`)).status).toBe(404)
  })

  it('for nobody who asks from elsewhere without a key, and where it is off', async () => {
    const address = Object.values(networkInterfaces())
      .flat()
      .find((one) => one !== undefined && one.family === 'IPv4' && !one.internal)?.address
    const open = await serve({ models: { stories: engine }, host: '0.0.0.0' })
    const keyed = await serve({
      models: { stories: engine },
      keys: [{ key: 'a', tenant: 'a' }],
      tenants: { a: { admin: true } },
    })
    const off = await serve({ models: { stories: engine }, ui: 'off' })
    if (address !== undefined)
      for (const path of ['/ui', '/ui/app.js', '/ui/counts'])
        expect((await get(`http://${address}:${new URL(open.url).port}${path}`)).status).toBe(404)
    expect((await get(`${keyed.url}/ui`)).status).toBe(200)
    expect((await get(`${keyed.url}/ui/counts`)).status).toBe(401)
    expect((await get(`${keyed.url}/ui/counts`, { authorization: 'Bearer a' })).body.models[0].name).toBe('stories')
    expect((await get(`${off.url}/ui`)).status).toBe(404)
    await Promise.all([open.close(), keyed.close(), off.close()])
  })
})

// Expressions for the browser.
const focused = `document.activeElement?.closest('label')?.textContent ?? document.activeElement?.textContent ?? ''`
const unnamed = `[...document.querySelectorAll('button, input, select, textarea, [tabindex="0"]')]
  .filter((element) => !element.closest('label, [aria-label]') && element.textContent === '')
  .map((element) => element.outerHTML)`

describe.skipIf(!existsSync(executablePath))('in a browser', () => {
  let browser: Browser
  let page: Page
  const faults: string[] = []
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
    page = await browser.newPage()
    page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
    page.on('pageerror', (error) => faults.push(error.message))
    await page.goto(`${server.url}/ui`)
  }, 60_000)
  afterAll(() => browser.close())

  it('answers what was typed, with the settings that were, by the keyboard alone', async () => {
    const focus = async (name: string) => {
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press('Tab')
        const found = await page.evaluate<string>(focused)
        if (found.startsWith(name)) return
      }
      throw new Error(`nothing called ${name} has the focus`)
    }
    const type = async (name: string, text: string) => {
      await focus(name)
      await page.keyboard.press('Control+A')
      await page.keyboard.type(text)
    }
    await type('Temperature', '0')
    await type('Most tokens', '24')
    await type('Message', story)
    await page.keyboard.press('Control+Enter')
    await page.getByText(/first token after \d+ ms/).waitFor()
    const messages = [{ role: 'user', content: story }]
    const { text } = await engine.generate({ messages, temperature: 0, maxTokens: 24 }).result
    expect(await page.getByRole('log').textContent()).toBe(`user${story}assistant${text}`)
  })

  it('says what is wrong', async () => {
    await page.getByLabel('Temperature').fill('-1')
    await page.getByLabel('Message', { exact: true }).fill('x')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByText('temperature: expected a number, at least 0').waitFor()
    await page.getByLabel('Temperature').fill('0')
    faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes('400')))
  })

  it('two settings side by side, held to a schema', async () => {
    await page.getByRole('button', { name: 'Clear' }).click()
    await page.getByLabel('two settings').check()
    await page.getByText('System message and schema').click()
    await page.getByLabel('JSON Schema').fill('{"enum":["owl","kite"]}')
    await page.getByLabel('Message', { exact: true }).fill(story)
    await page.getByRole('button', { name: 'Send' }).click()
    await until(async () => (await page.getByText(/first token after/).count()) === 2)
    for (const log of await page.getByRole('log').all())
      expect(await log.textContent()).toMatch(/assistant"(owl|kite)"$/)
  })

  it('the live view counts what ran', async () => {
    await page.getByRole('tab', { name: 'Playground' }).focus()
    await page.keyboard.press('ArrowRight')
    await page.getByText(/Tokens \(per second\): generated/).waitFor()
    const tree = await page.getByRole('tabpanel').ariaSnapshot()
    for (const part of ['region "Live view"', 'region "Tenants"', 'region "Last requests"', 'columnheader "Tenant"'])
      expect(tree).toContain(part)
    expect(tree).toMatch(/row "stories everybody 1 0 0 [1-9]/)
    expect(tree).toMatch(/row ".* everybody .* (stop|length)/)
    expect(await page.locator('canvas').count()).toBe(8)
  })

  it('the live view says who holds what of the cache, what was found in it, and who made way', async () => {
    const tight = await Engine.load({ model: 'stories', contextTokens: 700, kv: { memory: '2MiB' } })
    const watched = await serve({
      models: { tight },
      keys: [{ key: 'see', tenant: 'ops' }],
      tenants: { ops: { admin: true } },
    })
    await page.goto(`${watched.url}/ui`)
    await page.getByLabel('API key').fill('see')
    await page.getByRole('tab', { name: 'Live' }).click()
    await page.getByText('Prefix cache (% of the tokens of prompts): found none').waitFor()

    const prompt = Array.from({ length: 90 }, (_, i) => 300 + i)
    for (const tenant of ['anna', 'anna', 'ben']) await tight.generate({ prompt, tenant, maxTokens: 1 }).result
    const { cachedTokens, promptTokens } = tight.stats()
    expect([cachedTokens, promptTokens]).toEqual([80, 270])
    await page.getByText('Prefix cache (% of the tokens of prompts): found 29.6').waitFor()

    // Nobody reads on, so they hold what they have.
    const held = ['anna', 'ben', 'ben'].map((tenant, seed) =>
      tight.generate({ prompt: prompt.slice(20 * seed), tenant, seed, maxTokens: 600, ignoreEos: true }),
    )
    await Promise.all(held.map((generation) => generation[Symbol.asyncIterator]().next()))
    await until(() => tight.stats().requests.paused === 3)
    const { tenants, kv } = tight.stats()
    const [anna, ben] = [tenants.anna!.kvBlocks, tenants.ben!.kvBlocks]
    expect(anna + ben).toBe(kv.totalBlocks - kv.freeBlocks - kv.cachedBlocks)
    await page.getByText(`KV cache by tenant (blocks in use): anna ${anna}, ben ${ben}`).waitFor()
    const table = await page.getByRole('region', { name: 'Tenants' }).ariaSnapshot()
    for (const [name, blocks] of Object.entries({ anna, ben }))
      expect(table).toMatch(new RegExp(`row "tight ${name} 1 \\d \\d \\d+ \\d+ ${blocks}"`))
    for (const generation of held) generation.cancel()

    const made = page.getByText(/Preemptions \(per second\): requests that made way (0\.\d*[1-9]|[1-9])/).waitFor()
    const crowd = Array.from({ length: 12 }, (_, seed) =>
      tight.generate({ prompt: [300 + seed], seed, maxTokens: 300, ignoreEos: true, tenant: 'anna' }),
    )
    await Promise.all([made, ...crowd.map(({ result }) => result)])
    expect(tight.stats().preemptions).toBeGreaterThan(0)
    const told = page.locator('dt:has-text("Preempted") + dd')
    await until(async () => (await told.textContent()) === String(tight.stats().preemptions))
    faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes('401')))
    await page.goto(`${server.url}/ui`)
    await Promise.all([watched.close(), tight.close()])
  })

  it('has names for everything that can be reached, and loads nothing that its policy forbids', async () => {
    await page.getByRole('tab', { name: 'Playground' }).click()
    const nameless = await page.evaluate<string[]>(unnamed)
    expect(nameless).toEqual([])
    expect(faults).toEqual([])
  })
})
