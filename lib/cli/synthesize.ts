/** `octavo synthesize <preset> <out.gguf>`: seeded random weights in a known model's shape, to test sizes without a download. */
import { statSync } from 'node:fs'
import { Argument, type Command, Option } from 'commander'
import { OctavoError } from '../base/errors.ts'
import { native } from '../base/native.ts'
import { locateModel } from '../model/locate.ts'
import type { Metadata } from '../model/metadata.ts'
import { type PresetName, presetNames, type SyntheticType, syntheticTypes } from '../model/presets.ts'
import { planSynthesis, synthesizeFile } from '../model/synthesize.ts'
import { integer } from './flags.ts'
import { clearStatusLine, formatBytes, note, printJson, statusLine } from './output.ts'

interface SynthesizeFlags {
  type: SyntheticType
  vocabFrom?: string
  seed: number
  json?: boolean
}

export function addSynthesize(program: Command): void {
  program
    .command('synthesize')
    .description("write a GGUF file with random weights of a known model's shape")
    .addArgument(new Argument('<preset>', 'whose shape').choices(presetNames))
    .argument('<out.gguf>', 'the file to write')
    .addOption(new Option('--type <type>', 'format of the matrices').choices(syntheticTypes).default('q4_0'))
    .option('--vocab-from <file>', 'take the tokenizer of this GGUF file (its number of tokens replaces the preset)')
    .option('--seed <n>', 'same seed, same weights', integer, 1)
    .option('--json', 'print one JSON document when done')
    .action(synthesize)
}

async function synthesize(preset: PresetName, file: string, flags: SynthesizeFlags): Promise<void> {
  const vocabulary = flags.vocabFrom === undefined ? {} : { vocabularyFrom: metadataOf(flags.vocabFrom) }
  const plan = planSynthesis(preset, flags.type, { ...vocabulary, seed: flags.seed })
  synthesizeFile(file, plan, ({ tensor, writtenBytes, totalBytes }) =>
    statusLine(`${file} ${Math.floor((100 * writtenBytes) / totalBytes)}% ${tensor}`),
  )
  clearStatusLine()
  const bytes = statSync(file).size
  const { seed, tensors } = plan
  if (flags.json) await printJson({ file, bytes, preset, type: flags.type, seed, tensors: tensors.length })
  else note(`${file}: ${formatBytes(bytes)}, ${tensors.length} tensors`)
}

function metadataOf(model: string): Metadata {
  const location = locateModel(model)
  if (location.kind === 'files') return native().ggufRead(location.files[0]!).metadata
  throw new OctavoError('INVALID_ARGUMENT', `--vocab-from: expected a GGUF file, found '${model}'.`, { model })
}
