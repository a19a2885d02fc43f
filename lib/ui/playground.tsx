/** The playground: a conversation with a model, held to a schema if there is one, with one or two settings side by side. */
import { useRef, useState } from 'preact/hooks'
import { answer, type Settings, type Turn } from './api.ts'

const usual: Settings = { temperature: '0.7', top_p: '', top_k: '', max_tokens: '300', seed: '' }
const names: [keyof Settings, string][] = [
  ['temperature', 'Temperature'],
  ['top_p', 'Top p'],
  ['top_k', 'Top k'],
  ['max_tokens', 'Most tokens'],
  ['seed', 'Seed'],
]

interface Side {
  settings: Settings
  turns: Turn[]
  note: string
  isBad: boolean
}

const fresh = (seed = ''): Side => ({ settings: { ...usual, seed }, turns: [], note: '', isBad: false })

export function Playground({ apiKey, models }: { apiKey: string; models: string[] }) {
  const [chosen, setChosen] = useState('')
  const [system, setSystem] = useState('')
  const [text, setText] = useState('')
  const [schema, setSchema] = useState('')
  const [isDouble, setDouble] = useState(false)
  const [sides, setSides] = useState<Side[]>([fresh(), fresh('1')])
  const [isRunning, setRunning] = useState(false)
  const stop = useRef<AbortController>()
  const model = chosen || models[0] || ''
  const change = (at: number, more: Partial<Side>) =>
    setSides((all) => all.map((side, i) => (i === at ? { ...side, ...more } : side)))

  async function run(at: number, side: Side, signal: AbortSignal) {
    const asked: Turn[] = [...side.turns, { role: 'user', content: text }]
    const turns = system === '' ? asked : [{ role: 'system' as const, content: system }, ...asked]
    const startedMs = performance.now()
    let reply: Turn = { role: 'assistant', content: '', reasoning: '' }
    let firstMs = 0
    let pieces = 0
    change(at, { turns: [...asked, reply], note: 'waiting for the first token', isBad: false })
    try {
      for await (const piece of answer({ key: apiKey, model, turns, settings: side.settings, schema, signal })) {
        firstMs ||= performance.now() - startedMs
        pieces++
        reply = { ...reply, content: reply.content + piece.text, reasoning: reply.reasoning + piece.reasoning }
        change(at, { turns: [...asked, reply] })
      }
      const seconds = (performance.now() - startedMs) / 1000
      change(at, { note: `first token after ${firstMs.toFixed(0)} ms, ${pieces} pieces in ${seconds.toFixed(1)} s` })
    } catch (error) {
      change(at, { note: signal.aborted ? 'stopped' : (error as Error).message, isBad: !signal.aborted })
    }
  }

  async function send(event: Event) {
    event.preventDefault()
    if (isRunning || text.trim() === '') return
    setRunning(true)
    const off = new AbortController()
    stop.current = off
    setText('')
    await Promise.all((isDouble ? sides : sides.slice(0, 1)).map((side, at) => run(at, side, off.signal)))
    setRunning(false)
  }

  return (
    <section aria-label="Playground">
      <div class="row">
        <label>
          Model
          <select value={model} onInput={(event) => setChosen(event.currentTarget.value)}>
            {models.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label class="check">
          <input type="checkbox" checked={isDouble} onInput={(event) => setDouble(event.currentTarget.checked)} />
          two settings side by side
        </label>
      </div>
      <details>
        <summary>System message and schema</summary>
        <div class="columns">
          <label>
            System message
            <textarea rows={4} value={system} onInput={(event) => setSystem(event.currentTarget.value)} />
          </label>
          <label>
            JSON Schema that the answer meets
            <textarea
              rows={4}
              value={schema}
              spellcheck={false}
              onInput={(event) => setSchema(event.currentTarget.value)}
            />
          </label>
        </div>
      </details>
      <div class="columns">
        {(isDouble ? sides : sides.slice(0, 1)).map((side, at) => (
          <Column
            key={at}
            title={isDouble ? `Setting ${at + 1}` : 'Setting'}
            side={side}
            onSettings={(settings) => change(at, { settings })}
          />
        ))}
      </div>
      <form onSubmit={send}>
        <label>
          Message
          <textarea
            rows={3}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void send(event)
            }}
          />
        </label>
        <div class="row">
          <button type="submit" class="main" disabled={isRunning || model === ''}>
            Send
          </button>
          <button type="button" disabled={!isRunning} onClick={() => stop.current?.abort()}>
            Stop
          </button>
          <button
            type="button"
            disabled={isRunning}
            onClick={() => setSides((all) => all.map((side) => ({ ...side, turns: [], note: '' })))}
          >
            Clear
          </button>
          <span class="note">Ctrl+Enter sends</span>
        </div>
      </form>
    </section>
  )
}

interface ColumnProps {
  title: string
  side: Side
  onSettings: (settings: Settings) => void
}

function Column({ title, side: { settings, turns, note, isBad }, onSettings }: ColumnProps) {
  return (
    <section class="panel" aria-label={title}>
      <h2>{title}</h2>
      <div class="settings">
        {names.map(([name, label]) => (
          <label key={name}>
            {label}
            <input
              inputMode="decimal"
              value={settings[name]}
              onInput={(event) => onSettings({ ...settings, [name]: event.currentTarget.value })}
            />
          </label>
        ))}
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by the keyboard, too */}
      <div class="chat" role="log" aria-label={`${title}: conversation`} tabIndex={0}>
        {turns.map(({ role, content, reasoning }, i) => (
          <p class="turn" key={i}>
            <b>{role}</b>
            {reasoning ? <span class="thought">{reasoning}</span> : null}
            {content}
          </p>
        ))}
      </div>
      <p class={isBad ? 'bad' : 'note'} role="status">
        {note}
      </p>
    </section>
  )
}
