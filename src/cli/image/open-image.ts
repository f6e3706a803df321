import { openSync, readSync, statSync } from 'node:fs';
import { GracewalkError } from '../../base/errors.ts';
import { coreSegments, isElf } from './elf-core.ts';
import { FilePieces } from './file-pieces.ts';
import { PhysicalImage } from './physical-image.ts';

export interface OpenImage {
  readonly memory: PhysicalImage;
  readonly pieces: FilePieces;
}

/** Opens a flat file, whose first byte is at physical address `base`, or an ELF core. */
export function openImage(name: string, base: bigint | undefined): OpenImage {
  const descriptor = open(name);
  const pieces = new FilePieces((into, offset) => fill(name, descriptor, into, offset));
  if (isElf(pieces)) {
    if (base !== undefined) throw baseOfCore(name);
    return { memory: new PhysicalImage(pieces, coreSegments(pieces, name)), pieces };
  }
  refuseCompressed(pieces, name);
  const size = sizeOf(name, pieces);
  if (size === 0) {
    throw new GracewalkError('E811', `${name} is empty`, {
      help: 'a flat image has the byte at physical address 0 first; --base says otherwise',
    });
  }
  const segment = { start: base ?? 0n, bytes: BigInt(size), offset: 0 };
  return { memory: new PhysicalImage(pieces, [segment]), pieces };
}

function open(name: string): number {
  const stat = statSync(name, { throwIfNoEntry: false });
  if (stat === undefined) {
    throw new GracewalkError('E114', `no file ${name}`, { help: 'check the path' });
  }
  if (!stat.isFile() && !stat.isBlockDevice()) {
    const what = stat.isDirectory() ? 'a folder' : 'no file that can be read at any place';
    throw new GracewalkError('E114', `${name} is ${what}`, {
      help: 'name an image of memory: a flat file or an ELF core',
    });
  }
  try {
    return openSync(name, 'r');
  } catch (error) {
    throw unreadable(name, error);
  }
}

/** As much as the file has; a read may bring less at a time. */
function fill(name: string, descriptor: number, into: Uint8Array, offset: number): number {
  let done = 0;
  try {
    while (done < into.byteLength) {
      const got = readSync(descriptor, into, done, into.byteLength - done, offset + done);
      if (got === 0) break;
      done += got;
    }
  } catch (error) {
    throw unreadable(name, error);
  }
  return done;
}

function unreadable(name: string, error: unknown): GracewalkError {
  const why = error instanceof Error ? error.message : String(error);
  return new GracewalkError('E114', `${name} cannot be read`, {
    notes: [why],
    help: 'check its permissions, and the disk',
  });
}

/** Block devices have no size of their own: their end is where nothing is read any more. */
function sizeOf(name: string, pieces: FilePieces): number {
  const { size } = statSync(name);
  if (size > 0) return size;
  return pieces.read(0, 1).byteLength === 0 ? 0 : Number.MAX_SAFE_INTEGER;
}

const COMPRESSED = ['KDUMP   ', 'DISKDUMP', 'makedumpfile'];

function refuseCompressed(pieces: FilePieces, name: string): void {
  const head = pieces.read(0, 12);
  const text = String.fromCharCode(
    ...new Uint8Array(head.buffer, head.byteOffset, head.byteLength),
  );
  if (!COMPRESSED.some((magic) => text.startsWith(magic))) return;
  throw new GracewalkError('E811', `${name} is a compressed kdump`, {
    notes: ['it begins with ' + JSON.stringify(text.trim())],
    help: 'QEMU: dump-guest-memory without -z, -l, -s; else crash or makedumpfile -E convert it',
  });
}

function baseOfCore(name: string): GracewalkError {
  return new GracewalkError('E115', `--base is not for ${name}, an ELF core`, {
    notes: ['a core says itself where its memory is'],
    help: 'leave --base out',
  });
}
