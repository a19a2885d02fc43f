/**
 * Bodies of JSON, read as Fastify reads them, and refused with its errors, but sooner: as a rule a body comes with its head, and is there as a whole
 * when Node has looked through both; it need not go the way of a stream of pieces, whose end is told a turn later.
 */
import type { IncomingMessage } from 'node:http'
import { errorCodes, type FastifyInstance } from 'fastify'

type Done = (error: Error | null, body?: unknown) => void

/** `limit`: bytes of a body at most. */
export function readJsonBodies(app: FastifyInstance, limit: number): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', (request, payload, done: Done) => {
    const told = Number(request.headers['content-length'])
    if (told > limit) return done(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
    const read = (body: Buffer) => parse(request, body.toString(), done)
    process.nextTick(() => {
      const first: Buffer | null = payload.read()
      // What a hook of the application put in its place has another length.
      if (first?.length === told && payload === request.raw) read(first)
      else collect(payload, first, limit, read, done)
    })
  })
}

/** `first`: what was read already. */
function collect(
  payload: IncomingMessage,
  first: Buffer | null,
  limit: number,
  read: (body: Buffer) => void,
  done: Done,
): void {
  const pieces: Buffer[] = []
  let bytes = 0
  const leave = () => payload.off('data', take).off('end', end).off('error', fail)
  const fail = (error: Error) => {
    leave()
    done(Object.assign(error, { statusCode: 400 }))
  }
  const end = () => {
    leave()
    read(Buffer.concat(pieces))
  }
  const take = (piece: Buffer) => {
    pieces.push(piece)
    bytes += piece.length
    if (bytes <= limit) return
    leave()
    done(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
  }
  payload.on('data', take).on('end', end).on('error', fail)
  if (first !== null) take(first)
}
