/** Conversations by their numbers: shapes and vocabularies take turns. */
import { check, type Report } from './check.ts'
import { watchSent } from './sent.ts'
import { type Shape, shapes } from './shapes.ts'
import { Conversation, Rooms, type Talk } from './talk.ts'
import type { Render } from './truth.ts'
import { type Vocabulary, type VocabularyName, vocabulary, vocabularyNames } from './vocabularies.ts'

const shapeOf = (number: number): Shape => shapes[number % shapes.length]!
const vocabularyOf = (number: number): VocabularyName =>
  vocabularyNames[Math.floor(number / shapes.length) % vocabularyNames.length]!

/** As many at a time. */
const atOnce = 6

/** `perEngine`: conversations of so many shapes share an engine, whose own template is the first of them. */
export async function converse(numbers: readonly number[], shapesPerEngine: number, render: Render): Promise<Report> {
  const talk: Talk = { turns: [], faults: [], counts: { conversations: numbers.length } }
  for (const name of vocabularyNames) {
    const ofVocabulary = numbers.filter((number) => vocabularyOf(number) === name)
    if (ofVocabulary.length === 0) continue
    const known = vocabulary(name)
    try {
      for (let first = 0; first < shapes.length; first += shapesPerEngine) {
        const some = shapes.slice(first, first + shapesPerEngine)
        const queue = ofVocabulary.filter((number) => some.includes(shapeOf(number)))
        if (queue.length > 0) await inRooms(known, queue, talk)
      }
    } finally {
      known.variant.remove()
    }
  }
  return check(talk, render)
}

async function inRooms(known: Vocabulary, numbers: readonly number[], talk: Talk): Promise<void> {
  const unwatch = watchSent()
  const rooms = new Rooms(known, shapeOf(numbers[0]!))
  const queue = [...numbers]
  const worker = async () => {
    for (let number = queue.shift(); number !== undefined; number = queue.shift())
      await new Conversation(rooms, shapeOf(number), number, talk).run()
  }
  try {
    await Promise.all(Array.from({ length: atOnce }, worker))
  } finally {
    await rooms.close()
    unwatch()
  }
}
