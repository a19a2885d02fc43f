/** The page at /ui: a playground and a live view of the service that it comes from. A key, where there are any, stays in this tab. */
import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { modelNames } from './api.ts'
import { Live } from './live.tsx'
import { Playground } from './playground.tsx'

const tabs = ['Playground', 'Live'] as const

function App() {
  const [tab, setTab] = useState<(typeof tabs)[number]>('Playground')
  const [key, setKey] = useState('')
  const [models, setModels] = useState<string[]>([])
  const [fault, setFault] = useState('')
  useEffect(() => {
    modelNames(key).then(
      (names) => {
        setModels(names)
        setFault('')
      },
      (error: Error) => setFault(error.message),
    )
  }, [key])
  const turn = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (step === undefined) return
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length]!
    setTab(next)
    document.getElementById(`tab-${next}`)?.focus()
  }
  return (
    <>
      <header>
        <h1>octavo</h1>
        <div role="tablist" aria-label="Views" onKeyDown={turn}>
          {tabs.map((name) => (
            <button
              key={name}
              id={`tab-${name}`}
              type="button"
              role="tab"
              aria-controls="view"
              aria-selected={tab === name}
              tabIndex={tab === name ? 0 : -1}
              onClick={() => setTab(name)}
            >
              {name}
            </button>
          ))}
        </div>
        <label>
          API key
          <input
            type="password"
            autocomplete="off"
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
      </header>
      <main id="view" role="tabpanel" aria-labelledby={`tab-${tab}`}>
        {fault === '' || tab === 'Live' ? null : (
          <p class="bad" role="alert">
            {fault}
          </p>
        )}
        {/* Both stay, so that a conversation is there when one comes back. */}
        <div hidden={tab !== 'Playground'}>
          <Playground apiKey={key} models={models} />
        </div>
        {tab === 'Live' ? <Live apiKey={key} /> : null}
      </main>
    </>
  )
}

render(<App />, document.getElementById('app')!)
