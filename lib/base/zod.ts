/**
 * The part of zod that octavo uses. zod's own entries also load the messages of fifty languages, each a file of its own: in dist/
 * this module is a bundle without them (scripts/library/bundle-zod.mjs), which loads in a fifth of the time and opens one file. What else is
 * wanted of zod is added to the list.
 */
export type { core, output, ZodSafeParseResult, ZodType } from 'zod'
export {
  array,
  boolean,
  custom,
  enum,
  int,
  literal,
  looseObject,
  NEVER,
  number,
  record,
  strictObject,
  string,
  toJSONSchema,
  union,
  unknown,
  ZodArray,
  ZodDefault,
  ZodObject,
  ZodOptional,
  ZodPrefault,
} from 'zod'
