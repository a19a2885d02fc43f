// What machine code of a GPU says of its kernels: registers, shared memory, instructions by the unit that executes them. Reads the ELF
// files that ptxas makes, alone or, not compressed, in nvcc's fat binaries (cuda/fake/fatbin.cpp); no disassembler is needed. Since
// compute capability 7.0 an instruction has 16 bytes; its lowest 9 bits are the operation, the 3 above say which operands are
// constants. The encoding is not documented: read off code whose PTX is known.

/** Operations by unit. Those that are not here count as `other`: branches, the uniform datapath, moves between register files. */
const units = {
  fp32: [0x020, 0x021, 0x023], // FMUL FADD FFMA
  tensor: [0x037, 0x03c], // IMMA HMMA
  // MOV SEL FSEL FMNMX FSET FSETP ISETP IADD3 LEA LOP3 IABS PRMT IMNMX SHF SGXT; IMAD, which copies registers too; VIADD FMNMX F2FP
  integer: [
    0x002, 0x007, 0x008, 0x009, 0x00a, 0x00b, 0x00c, 0x010, 0x011, 0x012, 0x013, 0x016, 0x017, 0x019, 0x01a, 0x024,
    0x025, 0x027, 0x036, 0x03e, 0x046, 0x048, 0x049,
  ],
  half: [0x030, 0x031, 0x032, 0x034, 0x035], // HADD2 HFMA2 HMUL2
  fp64: [0x028, 0x029, 0x02a, 0x02b], // DMUL DADD DSETP DFMA
  convert: [0x100, 0x101, 0x104, 0x105, 0x106, 0x107, 0x108, 0x109, 0x110, 0x111, 0x112], // FLO BREV F2I I2F FRND MUFU POPC
  global: [0x181, 0x186, 0x1a8, 0x1a9, 0x18e, 0x1ae], // LDG STG ATOMG RED LDGSTS
  shared: [0x03b, 0x184, 0x188, 0x18c, 0x18d], // LDSM LDS STS ATOMS
  warp: [0x006, 0x11d, 0x148, 0x189, 0x1a1], // VOTE BAR WARPSYNC SHFL MATCH
}
export const unitNames = [...Object.keys(units), 'other']
const unitOf = new Map(Object.entries(units).flatMap(([unit, operations]) => operations.map((at) => [at, unit])))
const nop = 0x118
const local = [0x183, 0x187] // LDL STL: spilled registers, arrays on the stack

const fatbin = { magic: 0xba55ed50, elf: 2, compressed: 0xa000n }
/** Of .nv.info: an attribute with a value of its own size; the registers of a function. */
const info = { sized: 4, registers: 0x2f }
/** Since capability 9.0 the first bytes of a block's shared memory are the system's. */
const reservedShared = 1024

/** The machine code in a fat binary: { arch, bytes: an ELF file } for each architecture. */
export function machineCode(bytes) {
  if (bytes.readUInt32LE(0) !== fatbin.magic) throw new Error('not a fat binary')
  const found = []
  const begin = bytes.readUInt16LE(6)
  const end = begin + Number(bytes.readBigUInt64LE(8))
  for (let at = begin; at < end; ) {
    const body = at + bytes.readUInt32LE(at + 4)
    const next = body + Number(bytes.readBigUInt64LE(at + 8))
    if (bytes.readUInt16LE(at) === fatbin.elf) {
      if ((bytes.readBigUInt64LE(at + 40) & fatbin.compressed) !== 0n) throw new Error('its machine code is compressed')
      found.push({ arch: bytes.readUInt32LE(at + 28), bytes: bytes.subarray(body, next) })
    }
    at = next
  }
  return found
}

/** Each kernel of an ELF file: { kernel, registers, shared, local, units: { fp32: 12, ... } }; `local`: instructions. */
export function kernelsOf(elf) {
  const sections = readSections(elf)
  const named = new Map(sections.map((section) => [section.name, section]))
  const registers = registersByName(elf, sections, named.get('.nv.info'))
  return sections
    .filter(({ name }) => name.startsWith('.text.'))
    .map(({ name, offset, size }) => {
      const kernel = name.slice('.text.'.length)
      const shared = named.get(`.nv.shared.${kernel}`)?.size ?? 0
      const own = named.has('.nv.shared.reserved.0') ? Math.max(0, shared - reservedShared) : shared
      return {
        kernel,
        registers: registers.get(kernel),
        shared: own,
        ...countCode(elf.subarray(offset, offset + size)),
      }
    })
}

function countCode(text) {
  const counted = { local: 0, units: Object.fromEntries(unitNames.map((name) => [name, 0])) }
  for (let at = 0; at < text.length; at += 16) {
    const operation = text.readUInt16LE(at) & 0x1ff
    if (operation === nop) continue
    if (local.includes(operation)) counted.local++
    counted.units[unitOf.get(operation) ?? 'other']++
  }
  return counted
}

function readSections(elf) {
  const table = Number(elf.readBigUInt64LE(40))
  const sections = Array.from({ length: elf.readUInt16LE(60) }, (_, i) => {
    const at = table + i * elf.readUInt16LE(58)
    const [offset, size] = [24, 32].map((field) => Number(elf.readBigUInt64LE(at + field)))
    return { at: elf.readUInt32LE(at), offset, size, link: elf.readUInt32LE(at + 40) }
  })
  const names = sections[elf.readUInt16LE(62)].offset
  for (const section of sections) section.name = textAt(elf, names + section.at)
  return sections
}

const textAt = (elf, begin) => elf.toString('latin1', begin, elf.indexOf(0, begin))

function registersByName(elf, sections, { offset, size, link }) {
  const symbols = sections[link]
  const names = sections[symbols.link].offset
  const found = new Map()
  for (let at = offset; at < offset + size; ) {
    const bytes = elf[at] === info.sized ? elf.readUInt16LE(at + 2) : 0
    if (elf[at + 1] === info.registers) {
      const symbol = symbols.offset + 24 * elf.readUInt32LE(at + 4)
      found.set(textAt(elf, names + elf.readUInt32LE(symbol)), elf.readUInt32LE(at + 8))
    }
    at += 4 + bytes
  }
  return found
}
