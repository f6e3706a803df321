import { describe, expect, test } from 'vitest';
import { coreSegments, isElf } from '../../src/cli/image/elf-core.ts';
import { FilePieces } from '../../src/cli/image/file-pieces.ts';
import { PhysicalImage } from '../../src/cli/image/physical-image.ts';
import { Missing } from '../../src/walk/memory.ts';
import { Random } from '../compare/random.ts';
import { core, type CoreShape } from './core.ts';

function piecesOf(file: Buffer): FilePieces {
  return new FilePieces((into, offset) => file.subarray(offset).copy(into));
}

function imageOf(file: Buffer): PhysicalImage {
  const pieces = piecesOf(file);
  return new PhysicalImage(pieces, coreSegments(pieces, 'dump'));
}

function bytes(view: DataView | Missing): Buffer | string {
  if (view instanceof Missing) return view.why;
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

function noise(length: number): Buffer {
  const random = new Random(length);
  return Buffer.from(random.some(length, () => random.below(256)));
}

describe('a file in pieces', () => {
  const file = noise(100_000);

  test('gives the bytes of the file, wherever they are', () => {
    const pieces = piecesOf(file);
    const random = new Random(3);
    for (let i = 0; i < 500; i++) {
      const [at, length] = [random.below(110_000), random.below(40_000)];
      const view = pieces.read(at, length);
      const same = file.subarray(at, at + length).equals(bytes(view) as Buffer);
      expect([at, length, same]).toEqual([at, length, true]);
    }
  });

  test('keeps a bounded part of it, and reads again what it has forgotten', () => {
    const pieces = new FilePieces((into, offset) => {
      into.fill((offset / 16384) % 251);
      return into.length;
    });
    for (let round = 0; round < 2; round++) {
      for (let piece = 0; piece < 3000; piece++) {
        expect(pieces.read(piece * 16384 + 5, 1).getUint8(0)).toBe(piece % 251);
      }
    }
    expect(pieces.peak).toBe(1024);
    expect(pieces.bytesRead).toBe(2 * 3000 * 16384);
    const before = pieces.bytesRead;
    pieces.read(2999 * 16384, 8);
    pieces.read(2500 * 16384, 8);
    expect(pieces.bytesRead).toBe(before);
  });
});

const SHAPES: readonly CoreShape[] = [
  { width: 64, order: 'little' },
  { width: 64, order: 'big' },
  { width: 32, order: 'little' },
  { width: 32, order: 'big' },
];

describe.each(SHAPES)('an ELF core of $width bits, $order-endian', (shape) => {
  const [first, second, third] = [noise(5000), noise(20_000), noise(3000)] as const;
  const file = core(
    [
      { start: 0x100000n, content: second },
      { start: 0x1000n, content: first },
      { start: 0x100000n + 20_000n, content: third },
    ],
    shape,
  );

  test('has its memory where its segments say', () => {
    expect(isElf(piecesOf(file))).toBe(true);
    const image = imageOf(file);
    expect(first.equals(bytes(image.read(0x1000n, 5000)) as Buffer)).toBe(true);
    expect(bytes(image.read(0x100000n + 77n, 8))).toEqual(second.subarray(77, 85));
    const across = Buffer.concat([second.subarray(19_990), third.subarray(0, 6)]);
    expect(bytes(image.read(0x100000n + 19_990n, 16))).toEqual(across);
  });

  test('says what it does not hold', () => {
    const image = imageOf(file);
    const none = 'none of the 3 segments between 0x1000 to 0x1059d7 holds it';
    expect(image.read(0n, 8)).toEqual(new Missing(0n, none));
    expect(image.read(0x1000n + 4996n, 8)).toEqual(new Missing(0x1000n + 5000n, none));
    const cut = imageOf(file.subarray(0, -2900));
    expect(cut.read(0x100000n + 20_000n, 200)).toEqual(
      new Missing(0x100000n + 20_100n, 'the file ends before it: it was cut off'),
    );
  });

  test('cut inside its headers it is damaged, however short', () => {
    for (let length = 4; length < 100; length++) {
      expect(() => imageOf(file.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'E811', message: 'dump is a damaged ELF core' }),
      );
    }
  });

  test('another type of ELF file is no core', () => {
    const program = core([{ start: 0n, content: first }], { ...shape, type: 2 });
    expect(() => imageOf(program)).toThrow('dump is a program, not a core');
  });
});

test('more than 65535 segments: their number is in section 0', () => {
  const segments = Array.from({ length: 70_000 }, (_, i) => ({
    start: BigInt(i) * 32n,
    content: Buffer.alloc(16, i % 251),
  }));
  const image = imageOf(core(segments, { width: 64, order: 'big' }));
  expect(image.segments).toHaveLength(70_000);
  expect(bytes(image.read(69_999n * 32n, 16))).toEqual(Buffer.alloc(16, 69_999 % 251));
  expect(bytes(image.read(69_999n * 32n + 16n, 1))).toMatch(/none of the 70000 segments/);
});

test('memory that is in a dump twice is there once', () => {
  const content = noise(4096);
  const image = imageOf(
    core(
      [
        { start: 0x2000n, content },
        { start: 0x2000n, content },
        { start: 0x2800n, content: content.subarray(2048) },
        { start: 0x2c00n, content },
      ],
      { width: 64, order: 'little' },
    ),
  );
  expect(image.segments.map(({ start, bytes: size }) => [start, size])).toEqual([
    [0x2000n, 4096n],
    [0x3000n, 3072n],
  ]);
  expect(bytes(image.read(0x2fffn, 2))).toEqual(Buffer.from([content[4095]!, content[1024]!]));
});

test('the core of a process is refused', () => {
  const content = noise(64);
  const file = core(
    [
      { start: 0n, content },
      { start: 0n, content },
    ],
    { width: 64, order: 'little' },
  );
  expect(() => imageOf(file)).toThrow('dump is the core of a process, not of a machine');
});

test('any bytes behind the magic: segments, or an error with a code', () => {
  const random = new Random(99);
  for (let i = 0; i < 300; i++) {
    const file = core([{ start: 0n, content: noise(64) }], SHAPES[i % 4]!);
    for (let change = 0; change < 6; change++) file[4 + random.below(170)] = random.below(256);
    let outcome = 'segments';
    try {
      imageOf(file).read(BigInt(random.below(100)), 8);
    } catch (error) {
      outcome = (error as { code?: string }).code ?? String(error);
    }
    expect(['segments', 'E811']).toContain(outcome);
  }
});
