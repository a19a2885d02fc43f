/**
 * The prompts of sessions equal the template applied to the history that a reader sees, and the cache is found again: a sample of the
 * random conversations that `npm run test:deep -- --only conversations` has (conversations/).
 */
import { Engine } from 'octavo'
import { expect, it } from 'vitest'
import { converse } from './conversations/run.ts'
import { shapes } from './conversations/shapes.ts'
import { byEngine, jinja2 } from './conversations/truth.ts'
import { vocabularyNames } from './conversations/vocabularies.ts'

/** Each shape with two vocabularies. */
const numbers = [0, 1].flatMap((round) =>
  shapes.map((_, i) => i + shapes.length * ((i + round) % vocabularyNames.length)),
)
const known = jinja2()
const truth = typeof known === 'string' ? `renderPrompt (${known})` : 'Jinja2'

it(`every prompt is what ${truth} makes of the history, and what was computed before is found again`, async () => {
  const engine = await Engine.load({ model: 'stories', threads: 1 })
  try {
    const render = typeof known === 'string' ? byEngine(engine) : known
    const { faults, counts } = await converse(numbers, shapes.length, render)
    expect(faults).toEqual([])
    expect(counts.turns).toBeGreaterThan(3 * numbers.length)
    expect(counts['prompts seen by the model']).toBeGreaterThan(2 * numbers.length)
  } finally {
    await engine.close()
  }
}, 120_000)
