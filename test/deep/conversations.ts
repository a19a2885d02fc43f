// Random conversations through the public API, on templates and vocabularies of many kinds: every prompt against Jinja2, control tokens,
// and what was computed (test/conversations/).
//
//   node --import tsx test/deep/conversations.ts [--conversations 1000] [--first 0] [--python python3]
import { parseArgs } from 'node:util'
import { converse } from '../conversations/run.ts'
import { jinja2 } from '../conversations/truth.ts'

const { values } = parseArgs({
  options: {
    conversations: { type: 'string', default: '1000' },
    first: { type: 'string', default: '0' },
    python: { type: 'string', default: 'python3' },
  },
})
const render = jinja2(values.python)
if (typeof render === 'string') throw new Error(render)
const numbers = Array.from({ length: Number(values.conversations) }, (_, i) => Number(values.first) + i)
const { faults, counts } = await converse(numbers, 1, render)
for (const fault of faults.slice(0, 40)) console.log(fault)
const { conversations, turns, ...others } = counts
const more = Object.entries(others).map(([what, count]) => `${count} ${what}`)
console.log(`summary: ${conversations} conversations, ${turns} turns, ${faults.length} faults; ${more.join(', ')}`)
if (!counts['prompts seen by the model'])
  throw new Error('no prompt was seen on its way to the model: nothing was checked')
process.exit(faults.length === 0 ? 0 : 1)
