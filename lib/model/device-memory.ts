/**
 * What a model takes in the memory of a GPU. The numbers are the device's own (cpp/model/device_needs.h), and none has to be there;
 * here they get the form in which the CPU's are given (memory.ts), so that one plan serves both.
 */
import { type KvDtype, type ModelDesc, native } from '../base/native.ts'
import type { Footprint } from './memory.ts'

/** Buffers grow with the pool in proportion: block tables, and what penalties look at. */
const manyBlocks = 2 ** 16

export function cudaFootprint(desc: ModelDesc, kvDtype: KvDtype, stepTokens: number): Footprint {
  const needs = (kvBlocks: number) => native().cudaNeeds(desc, { kvDtype, maxStepTokens: stepTokens, kvBlocks })
  const { weightBytes, blockBytes, bufferBytes } = needs(0)
  const bufferBytesPerBlock = Math.ceil((needs(manyBlocks).bufferBytes - bufferBytes) / manyBlocks)
  return { weightBytes, blockBytes, bufferBytes, bufferBytesPerBlock }
}
