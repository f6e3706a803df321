import { GracewalkError } from '../../base/errors.ts';
import type { FilePieces } from './file-pieces.ts';
import type { Segment } from './physical-image.ts';

/**
 * ELF cores of a machine's memory, as QEMU's dump-guest-memory and makedumpfile -E write them: PT_LOAD
 * segments with physical addresses. Layout from the System V ABI, Object Files, and elf(5).
 */

const MAGIC = 0x7f454c46;
const ET_CORE = 4;
const PT_LOAD = 1;
/** More segments than e_phnum can say: their number is sh_info of section 0. */
const PN_XNUM = 0xffff;
/** /proc/kcore marks memory that is not physical so. */
const NOT_PHYSICAL = 2n ** 64n - 1n;

/** Where the fields are that we need, by class: 32 bits and 64 bits. */
const LAYOUTS = {
  1: { word: 4, phoff: 28, shoff: 32, phentsize: 42, info: 28, offset: 4, paddr: 12, filesz: 16 },
  2: { word: 8, phoff: 32, shoff: 40, phentsize: 54, info: 44, offset: 8, paddr: 24, filesz: 32 },
} as const;

export function isElf(pieces: FilePieces): boolean {
  const head = pieces.read(0, 4);
  return head.byteLength === 4 && head.getUint32(0) === MAGIC;
}

export function coreSegments(pieces: FilePieces, name: string): Segment[] {
  const little = byteOrderOf(pieces, name);
  const layout = LAYOUTS[part(pieces, 4, 1, name).getUint8(0) as 1 | 2];
  const header = part(pieces, 0, layout.phentsize + 4, name);
  const type = header.getUint16(16, little);
  if (type !== ET_CORE) throw notACore(name, type);
  const word = (view: DataView, at: number): bigint =>
    layout.word === 8 ? view.getBigUint64(at, little) : BigInt(view.getUint32(at, little));
  const entryBytes = header.getUint16(layout.phentsize, little);
  if (entryBytes < layout.filesz + layout.word) {
    throw damaged(name, `its program headers have ${entryBytes} bytes each`);
  }
  let count = header.getUint16(layout.phentsize + 2, little);
  if (count === PN_XNUM) {
    const section = offsetIn(word(header, layout.shoff), name);
    count = part(pieces, section + layout.info, 4, name).getUint32(0, little);
  }
  const table = offsetIn(word(header, layout.phoff), name);
  const segments: Segment[] = [];
  for (let i = 0; i < count; i++) {
    const entry = part(pieces, table + i * entryBytes, entryBytes, name);
    const start = word(entry, layout.paddr);
    if (entry.getUint32(0, little) !== PT_LOAD || start === NOT_PHYSICAL) continue;
    const offset = offsetIn(word(entry, layout.offset), name);
    segments.push({ start, bytes: word(entry, layout.filesz), offset });
  }
  const full = segments.filter(({ bytes }) => bytes > 0n);
  if (full.length === 0) throw damaged(name, `none of its ${count} program headers holds memory`);
  if (full.length > 1 && full.every(({ start }) => start === 0n)) {
    throw new GracewalkError('E811', `${name} is the core of a process, not of a machine`, {
      notes: ['its segments have no physical addresses'],
      help: "QEMU's dump-guest-memory writes the memory of a machine",
    });
  }
  return full;
}

function byteOrderOf(pieces: FilePieces, name: string): boolean {
  const ident = part(pieces, 4, 2, name);
  const [width, order] = [ident.getUint8(0), ident.getUint8(1)];
  if (width !== 1 && width !== 2) throw damaged(name, `its class is ${width}`);
  if (order !== 1 && order !== 2) throw damaged(name, `its byte order is ${order}`);
  return order === 1;
}

function part(pieces: FilePieces, offset: number, bytes: number, name: string): DataView {
  const view = pieces.read(offset, bytes);
  if (view.byteLength === bytes) return view;
  throw damaged(name, `it ends before byte ${offset + bytes}, inside its headers`);
}

function offsetIn(offset: bigint, name: string): number {
  if (offset < 1n << 53n) return Number(offset);
  throw damaged(name, `it refers to its byte 0x${offset.toString(16)}`);
}

function notACore(name: string, type: number): GracewalkError {
  const kinds = ['', 'an object file', 'a program', 'a program or library'];
  return new GracewalkError('E811', `${name} is ${kinds[type] ?? 'an ELF file'}, not a core`, {
    notes: [`its ELF type is ${type}; memory is in cores, type ${ET_CORE}`],
    help: "QEMU's dump-guest-memory and makedumpfile -E write cores",
  });
}

function damaged(name: string, why: string): GracewalkError {
  return new GracewalkError('E811', `${name} is a damaged ELF core`, {
    notes: [why],
    help: 'it may have been cut off: take or copy the dump again',
  });
}
