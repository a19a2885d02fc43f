// Random schemas and what a model draws under them, through the public API, many at once, at temperature 1.5: every finished answer must be one
// that ajv validates, and every other one says 'length' and has what was written of it.
//
//   node --import tsx test/deep/typed-answers.ts --model stories --schemas 500 --answers 2
import { parseArgs } from 'node:util'
import { Engine, OctavoError } from 'octavo'
import { validator } from '../grammar-tools.ts'
import { documentSchema } from '../random-schemas.ts'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'stories' },
    schemas: { type: 'string', default: '500' },
    answers: { type: 'string', default: '2' },
    tokens: { type: 'string', default: '300' },
  },
})

const engine = await Engine.load({ model: values.model, contextTokens: 1024 })
const counts = { valid: 0, length: 0, refused: 0, tokens: 0 }
const faults: string[] = []

async function answer(seed: number, draw: number): Promise<void> {
  const schema = documentSchema(seed)
  const options = { seed: 1000 * draw + seed, maxTokens: Number(values.tokens), temperature: 1.5, topK: 0, topP: 1 }
  const fault = (what: string) => faults.push(`schema ${seed}, answer ${draw}: ${what}`)
  try {
    const generation = engine.generate({ prompt: `Example ${draw} as JSON:\n`, schema, ...options })
    let last: unknown
    for await (const { partial } of generation) last = partial
    const { text, object, partial, finishReason, usage } = await generation.result
    counts.tokens += usage.completionTokens
    if (finishReason === 'stop') {
      counts.valid++
      if (!validator(schema)(JSON.parse(text))) fault(`not valid: ${text}`)
      if (JSON.stringify(object) !== JSON.stringify(JSON.parse(text))) fault(`another object: ${text}`)
    } else if (finishReason === 'length') {
      counts.length++
      if (partial === undefined && /["{[tfn]/.test(text)) fault(`no partial: ${text}`)
      if (JSON.stringify(partial) !== JSON.stringify(last)) fault(`another partial than the last part's: ${text}`)
    } else fault(`ended with ${finishReason}`)
  } catch (error) {
    if (error instanceof OctavoError && error.code === 'SCHEMA_UNSUPPORTED') counts.refused++
    else fault(String(error))
  }
}

const jobs = Array.from({ length: Number(values.schemas) * Number(values.answers) }, (_, i) => i)
const next = async () => {
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift())
    await answer(Math.floor(job / Number(values.answers)), job % Number(values.answers))
}
await Promise.all(Array.from({ length: 32 }, next))
await engine.close()
for (const fault of faults.slice(0, 40)) console.log(fault)
console.log(
  `summary: ${values.schemas} schemas, ${counts.valid} answers valid, ${counts.length} cut by maxTokens, ${counts.refused} refused, ${faults.length} faults; ${counts.tokens} tokens`,
)
process.exit(faults.length === 0 && counts.valid > 0 ? 0 : 1)
