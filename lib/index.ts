// For applications that compile for an older target: `await using engine` is declared there.
/// <reference lib="esnext.disposable" preserve="true" />
/** octavo: large language models inside a Node.js process. */
export type { LoadEvent, LogEvent, RequestEvent, Usage } from './diagnostics.ts'
export type { EngineModel } from './engine.ts'
export { Engine } from './engine.ts'
export type { ErrorCode, ErrorDetails } from './errors.ts'
export { errorCodes, OctavoError } from './errors.ts'
export type { Generation, GenerationPart, GenerationResult } from './generation.ts'
export type {
  EngineStats,
  FinishReason,
  LoadProgress,
  StopMatch,
  TenantStats,
  Timings,
  TokenLogprob,
} from './host/wire/protocol.ts'
export type {
  ChatMessage,
  ConversationOptions,
  FunctionTool,
  KnownMessage,
  RenderedPrompt,
  RenderOptions,
  TextPart,
  Tool,
  ToolCall,
} from './messages.ts'
export type {
  GenerateOptions,
  LoadOptions,
  RequestOptions,
  RestoreOptions,
  SamplingOptions,
  ScoreOptions,
  SessionOptions,
  TokenizeOptions,
  TurnOptions,
} from './options.ts'
export type { Score } from './score.ts'
export type { SavedSession, TurnMessage } from './session.ts'
export { Session } from './session.ts'
export type { Trace, TraceEvent, TraceSummary } from './trace.ts'
