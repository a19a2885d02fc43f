import { describe, expect, it } from 'vitest'
import { StopMatcher } from '../lib/host/output/stop-matcher.ts'

/** What a run of parts gives: the text, the stop string, and the parts as they came. */
function run(stops: string[], parts: string[]) {
  const matcher = new StopMatcher(stops)
  const out: string[] = []
  let stop: string | undefined
  for (const part of parts) {
    const result = matcher.push(part)
    out.push(result.text)
    stop ??= result.stop
  }
  out.push(matcher.end())
  return { text: out.join(''), stop, out }
}

/** Slow and obvious: the shortest prefix of the text that ends with a stop string, the longest of them. */
function expected(stops: string[], text: string): { text: string; stop: string | undefined } {
  for (let end = 1; end <= text.length; end++) {
    const here = stops
      .filter((stop) => stop !== '' && text.slice(0, end).endsWith(stop))
      .sort((a, b) => b.length - a.length)
    if (here[0]) return { text: text.slice(0, end - here[0].length), stop: here[0] }
  }
  return { text, stop: undefined }
}

/** Every way to cut a text of n characters into parts. */
function* cuts(text: string): Generator<string[]> {
  for (let mask = 0; mask < 2 ** Math.max(0, text.length - 1); mask++) {
    const parts: string[] = []
    let start = 0
    for (let at = 1; at <= text.length; at++) {
      if (at < text.length && !(mask & (1 << (at - 1)))) continue
      parts.push(text.slice(start, at))
      start = at
    }
    yield parts
  }
}

describe('stop strings', () => {
  const lists = [
    ['\n\n'],
    ['ab', 'abc', 'bcd'],
    ['aab', 'ab'],
    ['aa', 'aaa'],
    ['abab', 'ba'],
    ['a'],
    ['zz', ''],
    ['b', 'abc'],
  ]
  const texts = ['abcabd', 'aaaab', 'xaabaab', 'abababab', 'a\n\nb\n', 'zz', 'xyz', '', 'aabcabcd']

  it('give the same text for every way to cut it into parts', () => {
    for (const stops of lists) {
      for (const text of texts) {
        for (const parts of cuts(text)) {
          const { text: got, stop } = run(stops, parts)
          expect({ stops, text, got, stop }).toEqual({
            stops,
            text,
            got: expected(stops, text).text,
            stop: expected(stops, text).stop,
          })
        }
      }
    }
  })

  it('hold back only what may become one', () => {
    expect(run(['\n\n'], ['one\n', 'two', '\n']).out).toEqual(['one', '\ntwo', '', '\n'])
    expect(run(['END'], ['xE', 'xEN', 'D y']).out).toEqual(['x', 'Ex', '', ''])
  })

  it('give nothing after a match', () => {
    expect(run(['.'], ['a.b', 'c.', 'd'])).toMatchObject({ text: 'a', stop: '.' })
  })

  it('without any, parts pass through', () => {
    expect(run([], ['a', '', 'b']).out).toEqual(['a', '', 'b', ''])
    expect(run([''], ['a', 'b'])).toMatchObject({ text: 'ab', stop: undefined })
  })
})
