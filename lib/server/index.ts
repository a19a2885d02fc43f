/** octavo/server: models behind HTTP, as OpenAI's API has it; a server of its own, or routes in an application that exists. */

export { octavo } from './plugin.ts'
export { createServer, type Server } from './server.ts'
export { newKey } from './service/keys.ts'
export type {
  HttpLimits,
  KeyFunction,
  KeyOption,
  ModelOption,
  ServerOptions,
  ServiceOptions,
  TenantOptions,
} from './service/options.ts'
