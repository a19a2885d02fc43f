/** The KV cache's unit of allocation: blocks of 16 tokens (cpp/kv/kv_cache.h), of which only a sequence's last one may be partly filled. */
export const kvBlockTokens = 16

export const blocksFor = (tokens: number): number => Math.ceil(tokens / kvBlockTokens)
