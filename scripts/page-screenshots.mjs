// Screenshots of the page at /ui, light and dark, with an answer and some load, into a folder; docs/plots has one of each. Wants Debian's
// chromium.
//
//   node scripts/page-screenshots.mjs FOLDER
import { join } from 'node:path'
import { createServer } from 'octavo/server'
import { chromium } from 'playwright-core'

const out = (name) => join(process.argv[2] ?? '.', `${name}.png`)
const server = await createServer({ models: { stories: 'stories' }, port: 0 })
const url = await server.listen()
await server.loaded
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
let isOver = false
const load = async (seed) => {
  for (let i = 0; !isOver; i++) {
    const body = JSON.stringify({ prompt: `Once ${seed} upon ${i}`, max_tokens: 60 + 20 * seed, stream: true, seed: i })
    await (
      await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    ).text()
    await new Promise((resolve) => setTimeout(resolve, 100 * seed))
  }
}
const running = [1, 2, 3, 4].map(load)
for (const colorScheme of ['light', 'dark']) {
  const page = await browser.newPage({ colorScheme, viewport: { width: 1100, height: 760 } })
  await page.goto(`${url}/ui`)
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
