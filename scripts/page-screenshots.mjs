// Screenshots of the page at /ui, light and dark, with an answer and some load, into a folder; docs/plots has one of each. Wants Debian's
// chromium.
//
//   node scripts/page-screenshots.mjs FOLDER
import { join } from 'node:path'
import { createServer } from 'octavo/server'
import { chromium } from 'playwright-core'

const out = (name) => join(process.argv[2] ?? '.', `${name}.png`)
const tenants = ['chat', 'batch', 'search']
const server = await createServer({
  // So little memory that requests make way for each other.
  models: { stories: { model: 'stories', contextTokens: 512, kv: { memory: '3MiB' } } },
  keys: ['ops', ...tenants].map((tenant) => ({ key: tenant, tenant })),
  tenants: { ops: { admin: true }, chat: { weight: 2 } },
  port: 0,
})
const url = await server.listen()
await server.loaded
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
let isOver = false
/** One client: most of its prompts begin alike, and it rests now and then. */
async function load(tenant, seed) {
  for (let i = 0; !isOver; i++) {
    const prompt = `${i % 4 === 0 ? `Number ${i}. ` : ''}${'Once upon a time there was a fox who read books. '.repeat(6)} ${i % 9}`
    const body = JSON.stringify({ prompt, max_tokens: 60 + 40 * seed, ignore_eos: true, stream: true, seed: i })
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${tenant}` }
    await (await fetch(`${url}/v1/completions`, { method: 'POST', headers, body })).text()
    await new Promise((resolve) => setTimeout(resolve, 40 * ((i * 7 + seed) % 11)))
  }
}
const running = tenants.flatMap((tenant, i) => Array.from({ length: 4 + 2 * i }, (_, k) => load(tenant, i + k)))
for (const colorScheme of ['light', 'dark']) {
  const page = await browser.newPage({ colorScheme, viewport: { width: 1100, height: 760 } })
  await page.goto(`${url}/ui`)
  await page.getByLabel('API key').fill('ops')
  await page.getByLabel('two settings').check()
  await page.getByLabel('Temperature').last().fill('0')
  await page.getByLabel('Message', { exact: true }).fill('Tell a story about a shy owl named Luna.')
  await page.getByRole('button', { name: 'Send' }).click()
  await page
    .getByText(/first token after/)
    .nth(1)
    .waitFor()
  await page.screenshot({ path: out(`page-playground-${colorScheme}`) })
  await page.getByRole('tab', { name: 'Live' }).click()
  await page.waitForTimeout(20_000)
  await page.screenshot({ path: out(`page-live-${colorScheme}`), fullPage: true })
  await page.close()
}
isOver = true
await Promise.all(running)
await browser.close()
await server.close()
