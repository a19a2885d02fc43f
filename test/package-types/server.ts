// What a TypeScript application may write with the service; compiled against the installed package, never run.
import { Engine, type LoadOptions, type TokenInfo } from 'octavo'
import { createServer, newKey, octavo, type Server, type ServerOptions, type TenantOptions } from 'octavo/server'

const tenants: Record<string, TenantOptions> = { gold: { weight: 4, models: ['small'] }, '*': { maxRequests: 2 } }
const load: LoadOptions = { model: 'small.gguf', kv: { memory: '512MiB' } }

export async function serve(): Promise<Server> {
  const { key, sha256 } = newKey()
  const options: ServerOptions = {
    models: {
      small: { ...load, aliases: ['gpt-4o-mini'] },
      other: await Engine.load({ model: 'stories' }),
      path: 'a.gguf',
    },
    keys: [{ sha256, tenant: 'gold' }, { key }],
    tenants,
    defaults: { temperature: 0 },
    limits: { headersMs: 1000 },
    cors: ['https://example.org'],
  }
  const server = await createServer(options)
  const url: string = await server.listen()
  await server.loaded
  server.app.get('/own', () => url)
  await server.app.register(octavo, {
    prefix: '/again',
    models: { small: load },
    keys: async (given) => given.slice(3),
  })
  return server
}

export const spelled = (engine: Engine, id: number): TokenInfo => engine.token(id)

// @ts-expect-error an option that does not exist
export const wrong = () => createServer({ models: {}, prot: 1 })
