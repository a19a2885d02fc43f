// For applications that compile for an older target: `await using engine` is declared there.
/// <reference lib="esnext.disposable" preserve="true" />
/** octavo: large language models inside a Node.js process. */

export type { DeepPartial } from './answers/partial-json.ts'
export type { GrammarOption, Schema } from './answers/structured.ts'
export type { ErrorCode, ErrorDetails } from './base/errors.ts'
export { errorCodes, OctavoError } from './base/errors.ts'
export type { AnswerEnd as FinishReason, LoadEvent, LogEvent, RequestEvent, Usage } from './diagnostics.ts'
export type { EngineModel } from './engine.ts'
export { Engine } from './engine.ts'
export type { Generation, GenerationPart, GenerationResult, ToolResult } from './generation.ts'
export type {
  EngineStats,
  LoadProgress,
  SpeculationTimings,
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
  DraftModelOptions,
  GenerateOptions,
  LoadOptions,
  RequestOptions,
  RestoreOptions,
  SamplingOptions,
  ScoreOptions,
  SessionOptions,
  SpeculationOptions,
  TokenizeOptions,
  ToolUseOptions,
  TurnOptions,
} from './options.ts'
export type { Score } from './score.ts'
export type { SavedSession, TurnMessage } from './session.ts'
export { Session } from './session.ts'
export type { TokenInfo } from './text/text-service.ts'
export type {
  AnyCall,
  ArgumentsOf,
  CallOf,
  InvalidCall,
  ToolCallDelta,
  ToolChoice,
  ToolContext,
  ToolDefinition,
  ToolSet,
  ToolsOf,
  ValidCall,
} from './tools/tool-call.ts'
export type { Trace, TraceEvent, TraceSummary } from './trace.ts'
