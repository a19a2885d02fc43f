// Opens a model file on request as a load does (checkpoint, tokenizer, template, weights, one step) and says how that ended.
// What did not change since the whole file was opened is not computed again: the bytes of the weights are never damaged here.

import { greedySampling, native } from '../../dist/base/native.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { ChatTemplate } from '../../dist/text/chat-template.js'
import { Tokenizer } from '../../dist/text/tokenizer.js'

const codes = ['MODEL_INVALID', 'MODEL_UNSUPPORTED', 'OUT_OF_MEMORY', 'TEMPLATE_ERROR']
const text = 'The quick brown fox, 1234 and \u{1F98A}.'
const segment = (count) => Int32Array.of(0, count, 1, 0, -1)
const sampler = { ...greedySampling, promptLength: 1 }

/** Loads the weights, draws a token. */
function compute(desc) {
  const model = new (native().Model)(desc, 'cpu', null)
  try {
    for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
    model.finishLoad()
    const engine = new (native().Engine)(model, { threads: 1, kvBlocks: 4, maxStepTokens: 8, prefixCache: false })
    try {
      const sequence = engine.sequenceCreate('')
      engine.setSampler(sequence, sampler)
      engine.sequenceReserve(sequence, 2)
      const segments = segment(2)
      segments[0] = sequence
      engine.submit(segments, 1, Int32Array.of(0, desc.vocabulary - 1), 2)
      const tokens = new Int32Array(1)
      if (engine.wait(tokens, new Float32Array(1)) !== 1) throw new Error('a step gave no row')
      if (tokens[0] < -1 || tokens[0] >= desc.vocabulary) throw new Error(`drew token ${tokens[0]}`)
    } finally {
      engine.close()
    }
  } finally {
    model.close()
  }
}

function tokenize(tokenizer, vocabulary) {
  for (const special of [false, true]) {
    const ids = tokenizer.encode(text, { parseSpecial: special, addBos: true })
    for (const id of ids) if (!Number.isInteger(id) || id < 0 || id >= vocabulary) throw new Error(`token id ${id}`)
    tokenizer.decode(ids, { special })
  }
}

async function render({ chatTemplate, control, named }) {
  const template = new ChatTemplate({ source: chatTemplate, control, named, deadlineMs: 20000 })
  try {
    await template.render({ messages: [{ role: 'user', content: 'hi' }], tools: null, addGenerationPrompt: true })
  } finally {
    await template.close()
  }
}

const seen = { weights: '', template: '' }
async function open(path) {
  const { desc, metadata } = openCheckpoint(path)
  const tokenizer = Tokenizer.fromMetadata(metadata)
  tokenize(tokenizer, desc.vocabulary)
  const weights = JSON.stringify(desc)
  if (weights !== seen.weights) compute(desc)
  const { chatTemplate, control, named } = tokenizer.vocabulary
  const template = JSON.stringify([chatTemplate, control, named])
  if (chatTemplate !== undefined && template !== seen.template) await render(tokenizer.vocabulary)
  if (seen.weights === '') Object.assign(seen, { weights, template })
}

process.on('message', async (path) => {
  let outcome = 'loaded'
  try {
    await open(path)
  } catch (error) {
    outcome = codes.includes(error.code) ? error.code : `unexpected: ${error.stack}`
  }
  process.send({ outcome, peakBytes: process.resourceUsage().maxRSS * 1024 })
})
