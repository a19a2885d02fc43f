/** A schema or a grammar -> the program that cpp/grammar/ runs. Pure: the same text gives the same program, or the same refusal. */
import { sha256 } from '../base/sha256.ts'
import { explore, lengths, tabulate } from './automata/automaton.ts'
import { byteClassifier, classifier } from './automata/classifier.ts'
import { Budget, unsupported } from './automata/refusal.ts'
import { patternConditions } from './automata/regex-machine.ts'
import { type CallsSource, callsNode, schemaNode } from './calls.ts'
import { ebnfNode } from './ebnf.ts'
import { type Node, ProgramBuilder } from './program.ts'

export interface CompiledGrammar {
  /** Names the program: the same key, the same program. */
  key: string
  program: Int32Array<ArrayBuffer>
}

const mostSchemaBytes = 2 << 20

/** White space between two tokens of JSON: none, one space, or a line break and an indent. */
function whiteSpace(budget: Budget) {
  const [space, line] = [0, 1]
  // 0: nothing yet, 1: a space, 2: a line break and what follows.
  const table = tabulate(
    { start: 0, classes: 3, budget, key: (state) => state },
    (state, symbol): number | undefined => {
      if (state === 0) return symbol === line ? 2 : 1
      return state === 2 && symbol !== line ? 2 : undefined
    },
    () => space,
  )!
  return { table, lengths: lengths(table), classifier: whiteSpaceClassifier }
}
const whiteSpaceClassifier = byteClassifier([32, 10, 9])

/** Of a JSON Schema as text. */
export function compileSchema(text: string, tenant = ''): CompiledGrammar {
  if (text.length > mostSchemaBytes) throw unsupported('schema', '', `it has more than ${mostSchemaBytes} characters`)
  const budget = new Budget(tenant)
  const builder = new ProgramBuilder(budget, whiteSpace(budget))
  const program = builder.build(schemaNode(text, builder, budget))
  if (program === undefined) throw unsupported('schema', '', 'no value meets it')
  return named(program)
}

function named(program: Int32Array<ArrayBuffer>): CompiledGrammar {
  return { key: sha256(program).digest('hex'), program }
}

export type GrammarSource =
  | { kind: 'schema'; text: string }
  | { kind: 'regex'; text: string }
  | { kind: 'choice'; texts: string[] }
  | { kind: 'ebnf'; text: string }
  | CallsSource

/** `tenant`: what is remembered of patterns and numbers is found again by its grammars alone. */
export function compileGrammar(source: GrammarSource, tenant = ''): CompiledGrammar {
  if (source.kind === 'schema') return compileSchema(source.text, tenant)
  const budget = new Budget(tenant)
  budget.at(source.kind === 'calls' ? 'schema' : source.kind, '')
  const builder = new ProgramBuilder(budget, whiteSpace(budget))
  const start =
    source.kind === 'choice'
      ? builder.texts([...new Set(source.texts)])
      : source.kind === 'regex'
        ? regexNode(source.text, builder, budget)
        : source.kind === 'calls'
          ? callsNode(source, builder, budget)
          : ebnfNode(source.text, builder, budget)
  const program = start === undefined ? undefined : builder.build(start)
  if (program === undefined)
    throw unsupported(source.kind === 'calls' ? 'schema' : source.kind, '', 'no text matches it')
  return named(program)
}

/** Texts that match as a whole. */
function regexNode(source: string, builder: ProgramBuilder, budget: Budget): Node | undefined {
  const { conditions, min, max } = patternConditions(source, budget, { whole: true })
  const machines = conditions.map(({ machine, negative }) => ({
    machine,
    role: negative ? ('mustNot' as const) : ('must' as const),
  }))
  const table = explore(machines, budget)
  if (table === undefined) return undefined
  const span = lengths(table)
  const automaton = builder.automaton(table, span, builder.classifier(classifier(table.partition, 'raw')))
  return builder.text(automaton, min, max)
}
