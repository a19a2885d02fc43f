/** The live view: what runs and waits, how fast tokens come, who uses what, and the last requests as a waterfall. */
import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Recent } from '../server/service/recent.ts'
import { type Counts, counts, type ModelCounts } from './api.ts'
import { Charts, type Sample, sum } from './live-charts.tsx'

const everyMs = 1000
/** Two minutes of samples. */
const kept = 120

export function Live({ apiKey }: { apiKey: string }) {
  const [samples, setSamples] = useState<Sample[]>([])
  const [fault, setFault] = useState('')
  useEffect(() => {
    const look = () =>
      counts(apiKey).then(
        ({ models, recent }: Counts) => {
          setFault('')
          setSamples((all) => [...all, { time: Date.now() / 1000, models, recent }].slice(-kept))
        },
        (error: Error) => setFault(error.message),
      )
    void look()
    const timer = setInterval(look, everyMs)
    return () => clearInterval(timer)
  }, [apiKey])
  const last = samples.at(-1)
  return (
    <section aria-label="Live view">
      {fault === '' ? null : (
        <p class="bad" role="alert">
          {fault}
        </p>
      )}
      {last === undefined ? null : <Views samples={samples} last={last} />}
    </section>
  )
}

function Views({ samples, last: { models, recent } }: { samples: Sample[]; last: Sample }) {
  const prompts = sum(models, ({ promptTokens }) => promptTokens)
  const found = sum(models, ({ cachedTokens }) => cachedTokens) / Math.max(1, prompts)
  const numbers: [string, string | number][] = [
    ['Running', sum(models, ({ requests }) => requests.running)],
    ['Waiting', sum(models, ({ requests }) => requests.waiting)],
    ['Queue empty in', `${(Math.max(0, ...models.map(({ queue }) => queue.drainMs)) / 1000).toFixed(1)} s`],
    ['KV blocks', sum(models, ({ kv }) => kv.totalBlocks)],
    ['Found in cache', `${(100 * found).toFixed(0)}%`],
    ['Preempted', sum(models, ({ preemptions }) => preemptions)],
  ]
  return (
    <>
      <dl class="numbers">
        {numbers.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <Charts samples={samples} />
      <TenantTable models={models} />
      <Waterfall recent={recent} />
    </>
  )
}

interface TableProps {
  name: string
  columns: readonly string[]
  note?: string
  /** Its rows. */
  children: ComponentChildren
}

function Table({ name, columns, note, children }: TableProps) {
  return (
    <section class="panel table" aria-label={name}>
      <h2>{name}</h2>
      {note === undefined ? null : <p class="note">{note}</p>}
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </section>
  )
}

const tenantColumns = ['Model', 'Tenant', 'Weight', 'Running', 'Waiting', 'Requests', 'Generated tokens', 'KV blocks']

function TenantTable({ models }: { models: ModelCounts[] }) {
  const rows = models.flatMap(({ name, tenants }) =>
    Object.entries(tenants).map(([tenant, counts]) => ({ name, tenant, ...counts })),
  )
  return (
    <Table name="Tenants" columns={tenantColumns}>
      {rows.map(({ name, tenant, weight, running, waiting, requests, generatedTokens, kvBlocks }) => (
        <tr key={`${name} ${tenant}`}>
          {[name, tenant || 'everybody', weight, running, waiting, requests, generatedTokens, kvBlocks].map(
            (value, i) => (
              <td key={i}>{value}</td>
            ),
          )}
        </tr>
      ))}
    </Table>
  )
}

const requestColumns = [
  ...['Request', 'Tenant', 'Prompt', 'Cached', 'Answer'],
  ...['Waited ms', 'Prompt ms', 'All ms', 'End', 'When'],
]

function Waterfall({ recent }: { recent: Recent[] }) {
  const shown = recent.slice(-20)
  const from = Math.min(...shown.map(({ endedMs, totalMs }) => endedMs - totalMs))
  const span = Math.max(1, Math.max(...shown.map(({ endedMs }) => endedMs)) - from)
  const bars = ({ endedMs, totalMs, queueMs, prefillMs }: Recent) => {
    const start = endedMs - totalMs - from
    const parts: [string, number, number][] = [
      ['queue', start, queueMs],
      ['prefill', start + queueMs, prefillMs],
      ['decode', start + queueMs + prefillMs, Math.max(0, totalMs - queueMs - prefillMs)],
    ]
    return parts.map(([name, at, ms]) => (
      <rect key={name} class={name} x={at} width={Math.max(ms, span / 400)} y="0" height="1" />
    ))
  }
  return (
    <Table name="Last requests" columns={requestColumns} note="Bars: waiting, prompt, answer.">
      {shown.toReversed().map((request) => (
        <tr key={request.id}>
          {[
            ...[request.id.slice(0, 12), request.tenant || 'everybody', request.promptTokens, request.cachedTokens],
            ...[
              request.completionTokens,
              ...[request.queueMs, request.prefillMs, request.totalMs].map((ms) => ms.toFixed(0)),
            ],
            request.finishReason,
          ].map((value, i) => (
            <td key={i}>{value}</td>
          ))}
          <td>
            <svg viewBox={`0 0 ${span} 1`} preserveAspectRatio="none" aria-hidden="true">
              {bars(request)}
            </svg>
          </td>
        </tr>
      ))}
    </Table>
  )
}
