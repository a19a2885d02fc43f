/**
 * Requests that nobody should send, by a seed: bodies that are nearly right, schemas, tools, templates' variables, garbage, wrong keys, bytes
 * that come slowly or not at all, clients that leave. Each gives the statuses that it saw.
 */
import { connect } from 'node:net'

export interface Hostile {
  url: string
  key: string
  /** In prompts; nothing but an answer to them may have it. */
  canary: string
}

type Random = (n: number) => number

const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!

const strings = [
  ...[
    '',
    ' ',
    'a',
    '\u0000',
    '\ud800',
    '\u202eabc',
    '<|im_start|>system',
    '<tool_call>{"name":',
    '{{ 7 * 7 }}',
    '{% for x in y %}',
  ],
  ...[
    '__proto__',
    'constructor',
    'toString',
    '../../etc/passwd',
    'NaN',
    '1e999',
    '\r\nx-evil: 1',
    'é'.repeat(50),
    '🦊'.repeat(20),
  ],
  ...['{"a":', '[[[[', '(a+)+$', '((((((((((', '\\', '.*.*.*.*', '[^', 'a{1,1000}{1,1000}', 'x'.repeat(3000)],
]
const numbers = [0, -0, 1, -1, 0.5, 1e-320, 1e308, -1e308, 2 ** 31, 2 ** 53, -(2 ** 53), 3.7, 100, 999_999_999]

function value(random: Random, depth = 0): unknown {
  switch (random(depth > 3 ? 5 : 8)) {
    case 0:
      return pick(random, strings)
    case 1:
      return pick(random, numbers)
    case 2:
      return null
    case 3:
      return random(2) === 0
    case 4:
      return pick(random, strings) + pick(random, strings)
    case 5:
      return Array.from({ length: random(5) }, () => value(random, depth + 1))
    case 6:
      return Object.fromEntries(
        Array.from({ length: random(5) }, () => [pick(random, strings), value(random, depth + 1)]),
      )
    default:
      return nested(random(3) === 0 ? 3000 : 70, random(2) === 0)
  }
}

function nested(depth: number, isArray: boolean): unknown {
  let inner: unknown = 1
  for (let i = 0; i < depth; i++) inner = isArray ? [inner] : { a: inner }
  return inner
}

const keywords = [
  ...[
    'type',
    'enum',
    'const',
    'properties',
    'required',
    'additionalProperties',
    'items',
    'prefixItems',
    'minItems',
    'maxItems',
  ],
  ...[
    'pattern',
    'format',
    'minLength',
    'maxLength',
    'minimum',
    'multipleOf',
    'allOf',
    'anyOf',
    'oneOf',
    'not',
    'if',
    'then',
  ],
  ...[
    '$ref',
    '$defs',
    'uniqueItems',
    'patternProperties',
    'propertyNames',
    'unevaluatedProperties',
    'dependentSchemas',
  ],
]

function schema(random: Random, depth = 0): unknown {
  if (random(12) === 0) return value(random)
  if (depth > 4) return { type: pick(random, ['string', 'integer', 'boolean', 'null', 'object', 'array']) }
  const all = Array.from({ length: 1 + random(4) }, (): [string, unknown] => {
    const keyword = pick(random, keywords)
    if (keyword === '$ref') return [keyword, pick(random, ['#', '#/$defs/a', '#/no', 'http://x/y', '#/properties/a'])]
    if (['allOf', 'anyOf', 'oneOf', 'prefixItems'].includes(keyword))
      return [keyword, Array.from({ length: 1 + random(3) }, () => schema(random, depth + 1))]
    if (['properties', '$defs', 'patternProperties', 'dependentSchemas'].includes(keyword))
      return [
        keyword,
        Object.fromEntries([pick(random, strings), 'a', 'b'].map((name) => [name, schema(random, depth + 1)])),
      ]
    if (
      ['not', 'if', 'then', 'items', 'additionalProperties', 'propertyNames', 'unevaluatedProperties'].includes(keyword)
    )
      return [keyword, schema(random, depth + 1)]
    if (keyword === 'type')
      return [keyword, pick(random, ['string', 'integer', 'number', 'boolean', 'object', 'array'])]
    if (keyword === 'pattern') return [keyword, pick(random, strings)]
    if (['minItems', 'maxItems', 'minLength', 'maxLength', 'minimum'].includes(keyword)) return [keyword, random(30)]
    return [keyword, value(random, 3)]
  })
  return Object.fromEntries(all)
}

const tool = (random: Random): unknown =>
  random(6) === 0
    ? value(random)
    : {
        type: 'function',
        function: { name: pick(random, strings), description: pick(random, strings), parameters: schema(random) },
      }

const message = (random: Random, canary: string): unknown => {
  if (random(8) === 0) return value(random)
  const role = pick(random, ['user', 'assistant', 'system', 'tool', 'developer', pick(random, strings)])
  const content = pick(random, [canary, pick(random, strings), null, [{ type: 'text', text: canary }], value(random)])
  const calls = [
    { id: '1', type: 'function', function: { name: pick(random, strings), arguments: pick(random, strings) } },
  ]
  return { role, content, ...(random(5) === 0 && { tool_calls: random(2) === 0 ? calls : value(random) }) }
}

const fields: Record<string, (random: Random) => unknown> = {
  temperature: (random) => pick(random, numbers),
  top_p: (random) => pick(random, numbers),
  n: (random) => pick(random, [1, 2, 3, 0, 1000, 1.5]),
  stop: (random) => pick(random, [strings, 'a', [], '', Array(100).fill('x')] as unknown[]),
  seed: (random) => pick(random, numbers),
  stream: (random) => pick(random, [true, true, false, 'x']),
  logit_bias: (random) => ({ [pick(random, strings)]: 1, [random(2000)]: pick(random, numbers) }),
  logprobs: (random) => pick(random, [true, 3, false, 99]),
  top_logprobs: (random) => pick(random, [0, 5, 21, -1]),
  tools: (random) => Array.from({ length: random(4) }, () => tool(random)),
  tool_choice: (random) => pick(random, ['auto', 'none', 'required', { type: 'function', function: { name: 'a' } }, 7]),
  response_format: (random) =>
    pick(random, [
      { type: 'json_object' },
      { type: 'json_schema', json_schema: { name: 'x', schema: schema(random) } },
      value(random),
    ]),
  guided_regex: (random) => pick(random, strings),
  guided_choice: (random) => [pick(random, strings), pick(random, strings)],
  guided_grammar: (random) => pick(random, ['root ::= root', 'root ::= "a"', 'root ::= x', ...strings]),
  guided_json: (random) => schema(random),
  chat_template_kwargs: (random) => value(random),
  documents: (random) => [value(random)],
  continue_final_message: () => true,
  model: (random) => pick(random, ['stories', 'none', 3, '__proto__']),
  stream_options: (random) => value(random),
  text: (random) => ({ format: { type: 'json_schema', name: 'x', schema: schema(random) } }),
  echo: () => true,
}

const paths = ['/v1/chat/completions', '/v1/completions', '/v1/responses', '/tokenize', '/detokenize']

function body(random: Random, path: string, canary: string): Record<string, unknown> {
  const messages = Array.from({ length: 1 + random(3) }, () => message(random, canary))
  const given: Record<string, unknown> = { max_tokens: 1 + random(8), max_output_tokens: 1 + random(8) }
  if (path === '/v1/chat/completions') given.messages = random(15) === 0 ? value(random) : messages
  else if (path === '/v1/responses') given.input = random(3) === 0 ? canary : messages
  else if (path === '/detokenize') given.tokens = random(2) === 0 ? [5, random(5000), 7] : value(random)
  else given.prompt = pick(random, [canary, [canary, 'b'], [5, random(5000)], value(random)])
  for (let i = random(4); i > 0; i--) {
    const [name, make] = pick(random, Object.entries(fields))
    given[name] = random(8) === 0 ? value(random) : make(random)
  }
  return given
}

/** One of them. Undefined: no answer came, nor was one due. */
export async function hostileRequest(random: Random, { url, key, canary }: Hostile): Promise<number[]> {
  const path = pick(random, paths)
  const text = JSON.stringify(body(random, path, canary))
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` }
  switch (random(15)) {
    case 0: {
      const cut = text.slice(0, random(text.length)) + pick(random, ['', '"', '}', '\u0000', ',,'])
      return [(await send(url + path, { headers, body: cut })).status]
    }
    case 1:
      return [
        (
          await send(url + path, {
            headers: { ...headers, authorization: pick(random, ['', 'Bearer x', `Basic ${key}`, `Bearer ${key}x`]) },
            body: text,
          })
        ).status,
      ]
    case 2: {
      const type = pick(random, [
        'text/plain',
        'application/xml',
        'application/json; charset=utf-16',
        '',
        'multipart/form-data',
      ])
      return [(await send(url + path, { headers: { ...headers, 'content-type': type }, body: text })).status]
    }
    case 3: {
      const method = pick(random, ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])
      const place = pick(random, [
        path,
        '/',
        '/v1/models/..%2f..',
        '/%00',
        '/v1/chat/completions/',
        `/${'a'.repeat(2000)}`,
        '/metrics',
      ])
      return [(await send(url + place, { method, headers })).status]
    }
    case 4:
      return raw(url, [rawBytes(random, path, key, text)], random(4) === 0)
    case 5: {
      const controller = new AbortController()
      setTimeout(() => controller.abort(), random(30))
      const asked = JSON.stringify({ ...JSON.parse(text), max_tokens: 200, ignore_eos: true, stream: random(2) === 0 })
      return send(url + path, { headers, body: asked, signal: controller.signal }).then(
        ({ status }) => [status],
        () => [],
      )
    }
    case 6: {
      if (random(10) > 0) return []
      return send(url + path, { headers, body: `{"prompt":"${'x'.repeat(9 << 20)}"}` }).then(
        ({ status }) => [status],
        () => [],
      )
    }
    case 7: {
      const head = `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\n`
      const whole = `${head}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
      const size = 1 + Math.ceil(whole.length / (2 + random(9)))
      const pieces = Array.from({ length: Math.ceil(whole.length / size) }, (_, i) =>
        whole.slice(i * size, (i + 1) * size),
      )
      return raw(url, pieces, random(4) === 0)
    }
    default:
      return [(await send(url + path, { headers, body: text })).status]
  }
}

async function send(url: string, options: RequestInit): Promise<{ status: number }> {
  const response = await fetch(url, { method: 'POST', ...options })
  await response.text()
  return response
}

function rawBytes(random: Random, path: string, key: string, text: string): string {
  const line = `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\n`
  const length = Buffer.byteLength(text)
  return pick(random, [
    `${line}content-length: ${length + 50}\r\n\r\n${text}`,
    `${line}content-length: ${Math.max(0, length - 5)}\r\n\r\n${text}`,
    `${line}content-length: ${length}\r\n\r\n${text}${line}content-length: ${length}\r\n\r\n${text}`,
    `${line}transfer-encoding: chunked\r\n\r\nzz\r\n${text}`,
    `${line}transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n${text}`,
    `${line}x-long: ${'a'.repeat(20_000)}\r\n\r\n`,
    `${line}content-length: -1\r\n\r\n`,
    '\u0016\u0003\u0001 not http at all\r\n\r\n',
    `GET / HTTP/9.9\r\n\r\n`,
    line,
  ])
}

/**
 * Statuses of what came back; the connection is given up after a while. `pieces`: of what is sent, with pauses between them; `half`: the
 * sending half is closed behind the last one.
 */
function raw(url: string, pieces: string[], half: boolean): Promise<number[]> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port))
    let text = ''
    const timer = setTimeout(() => socket.destroy(), 60)
    socket.setEncoding('latin1')
    socket.on('data', (part) => {
      text += part
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve([...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status)))
    })
    const [first = '', ...rest] = pieces
    socket.write(first)
    const pauses = rest.map((piece, i) => setTimeout(() => socket.write(piece), 8 * (i + 1)))
    socket.on('close', () => pauses.forEach(clearTimeout))
    if (half) setTimeout(() => socket.end(), 8 * rest.length)
  })
}
