/**
 * Formats that are enforced, as patterns of the whole text: written as strictly as their documents, leaving out rare spellings
 * (leap seconds; quoted names before an @; addresses in brackets in URIs; host names in Punycode). Other formats are annotations, as JSON Schema
 * has them by default.
 */
const year = '\\d{4}'
const leap = '(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)'
const date = `(${year}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|${leap}-02-29)`
const time = '([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)'
const byte = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const ipv4 = `(${byte}\\.){3}${byte}`
const [alnum, inner] = ['[a-zA-Z0-9]', '[a-zA-Z0-9-]']
// At most 63, hyphens within; not both the third and the fourth, which are for encoded names. All labels together are not counted.
const label = `${alnum}(${alnum}|${inner}(${alnum}(${inner}{0,59}${alnum})?|-${alnum}(${inner}{0,58}${alnum})?))?`
const part = '[a-zA-Z0-9]+(-+[a-zA-Z0-9]+)*'
const atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+"
const hex = '[0-9a-fA-F]{1,4}'
const ipv6 = [
  `(${hex}:){7}${hex}`,
  `(${hex}:){6}${ipv4}`,
  ...Array.from({ length: 8 }, (_, before) => {
    // :: stands for at least one group of zeros.
    const head = before === 0 ? '' : `${hex}(:${hex}){${before - 1}}`
    const most = 7 - before
    const tail = most === 0 ? '' : `(${hex}(:${hex}){0,${most - 1}})?`
    const mixed = most >= 2 ? `|${head}::(${hex}:){0,${most - 2}}${ipv4}` : ''
    return `${head}::${tail}${mixed}`
  }),
].join('|')
const plain = "[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}"
const host = "([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
const authority = `//(([A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?${host}(:\\d*)?(/(${plain})*)*`
const path = `(/|/?(${plain})+(/(${plain})*)*)`
const rest = `(${plain}|[/?])*`
const more = `(\\?${rest})?(#${rest})?`
const uri = `[A-Za-z][A-Za-z0-9+.-]*:(${authority}|${path})${more}`
// Without a scheme its first segment has no colon.
const segment = plain.replace(':', '')
const relative = `(${authority}|/((${plain})+(/(${plain})*)*)?|(${segment})+(/(${plain})*)*)?${more}`
const pointer = '(/([^/~]|~[01])*)*'
// RFC 3339: no unit is left out between two others.
const months = '\\d+M(\\d+D)?'
const minutes = '\\d+M(\\d+S)?'
const hours = `T(\\d+H(${minutes})?|${minutes}|\\d+S)`
const duration = `P((\\d+D|${months}|\\d+Y(${months})?)(${hours})?|${hours}|\\d+W)`

const patterns: Record<string, string> = {
  date,
  time,
  'date-time': `${date}T${time}`,
  uuid: '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}',
  email: `${atom}(\\.${atom})*@(${part}\\.)+${part}`,
  hostname: `${label}(\\.${label})*`,
  ipv4,
  ipv6: `(${ipv6})`,
  uri,
  'uri-reference': `(${uri}|${relative})`,
  duration,
  'json-pointer': pointer,
  'relative-json-pointer': `(0|[1-9]\\d*)(#|${pointer})`,
}

/** The pattern of a format; undefined: it is not enforced. */
export function formatPattern(format: string): string | undefined {
  return Object.hasOwn(patterns, format) ? `^(${patterns[format]})$` : undefined
}
