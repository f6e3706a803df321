import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tableKindNamed } from '../../src/arch/kinds.ts';
import { core } from '../walk/core.ts';
import { guestCore } from '../walk/fixture.ts';
import { ROOT, complaint as complaintOf, gracewalk } from './in-process.ts';

const FIXTURE = 'test/fixtures/walk/guest.core';
const EPT = ['--arch', 'ept', '--root', '0x1000', FIXTURE];
const BOTH = [
  ...['--arch', 'x86_64', '--stage2', 'ept', '--root', 'eptp=0x101e', '--guest-root', 'cr3=0x1003'],
  FIXTURE,
];
const ROOT_ONLY = ['--arch', 'x86_64', '--root', '0x1000'];
const ROOTS = ['--root', '0x1000', '--guest-root', '0x1000'];
const x86 = tableKindNamed('x86_64');

let folder = '';
/** A flat image: a page, one with a reserved bit, one table that is not there, and a map of itself. */
let flat = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gracewalk-'));
  const image = Buffer.alloc(0x4000);
  const put = (at: number, value: bigint): unknown => image.writeBigUInt64LE(value, at);
  put(0x0000, x86.link(3, 0x1000n));
  put(0x0ff8, x86.link(3, 0n));
  put(0x1000, x86.link(2, 0x2000n));
  put(0x2000, x86.link(1, 0x3000n));
  put(0x2008, x86.map(1, 0x200000n, { writable: true }) | (1n << 13n));
  put(0x2010, x86.link(1, 0x77000n));
  put(0x3000, x86.map(0, 0x9000n, { writable: false }));
  flat = join(folder, 'flat.bin');
  writeFileSync(flat, image);
});
afterAll(() => rmSync(folder, { recursive: true }));

const walk = (...args: string[]): ReturnType<typeof gracewalk> => gracewalk(['walk', ...args]);
const complaint = (...args: string[]): Promise<string> => complaintOf(['walk', ...args], folder);
const x86Flat = (...args: string[]): string[] => ['--arch', 'x86_64', '--root', '0', flat, ...args];

test('the fixture is what its maker makes', () => {
  if (process.env['UPDATE_DOCS']) writeFileSync(join(ROOT, FIXTURE), guestCore());
  expect(readFileSync(join(ROOT, FIXTURE)).equals(guestCore())).toBe(true);
});

describe('a list', () => {
  test('of one stage', async () => {
    expect(await walk(...EPT)).toEqual({
      code: 0,
      stderr: '',
      stdout: `0000000000000000-0000000000200000  0000000000200000    2 MiB  urwx
0000000000400000-0000000000600000  0000000000800000    2 MiB  ur-x

2 pages, 4 MiB, in 2 ranges.
`,
    });
  });

  test('of two stages', async () => {
    expect(await walk(...BOTH)).toEqual({
      code: 0,
      stderr: '',
      stdout: `0000000000400000-0000000000404000  0000000000210000    4 KiB  ur-x
0000000000404000-0000000000408000  0000000000214000    4 KiB  urwx
0000000000600000-0000000000800000  0000000000800000    2 MiB  ur-x

9 pages, 2 MiB, in 3 ranges.
4 KiB more are mapped by the guest but not by the second stage.
`,
    });
  });

  test('--merge mem is by permissions, none is by page', async () => {
    const mem = await walk(...BOTH, '--merge', 'mem');
    expect(mem.stdout).toContain('0000000000400000-0000000000404000  0000000000004000  ur-x\n');
    const none = await walk(...BOTH, '--merge', 'none');
    expect(none.stdout).toContain('in 9 ranges.');
    expect(none.stdout).toMatch(/^0+401000-0+402000 {2}0+211000 {4}4 KiB {2}ur-x {2}A-$/m);
  });

  test('--limit ends it, with its own exit code', async () => {
    const ranges = await walk(...BOTH, '--limit', 'ranges=2');
    expect(ranges.code).toBe(3);
    expect(ranges.stdout).toContain('Stopped at ranges=2: there is more.  Raise --limit ranges=.');
    expect((await walk(...BOTH, '--limit', 'ranges=3')).code).toBe(0);
    expect((await walk(...BOTH, '--limit', 'pages=8')).stdout).toContain('Stopped at pages=8');
    expect((await walk(...BOTH, '--limit', 'pages=9')).code).toBe(0);
    expect((await walk(...BOTH, '--limit', 'tables=3')).stdout).toContain('Stopped at tables=3');
  });

  test('--json and --json=lines tell the same', async () => {
    const [one, many] = await Promise.all([walk(...BOTH, '--json'), walk(...BOTH, '--json=lines')]);
    const document = JSON.parse(one.stdout) as { ranges: object[] } & Record<string, unknown>;
    expect(document).toMatchObject({
      schema: 'gracewalk.walk/1',
      arch: 'x86_64',
      stage2: 'ept',
      pages: 9,
      rangeCount: 3,
      unbackedBytes: '0x1000',
      limit: null,
      problems: [],
    });
    expect(document.ranges[2]).toEqual({
      start: '0x600000',
      end: '0x800000',
      physical: '0x800000',
      pageSize: 2097152,
      pages: 1,
      readable: true,
      writable: false,
      executable: true,
      user: true,
    });
    const lines = many.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string });
    expect(lines.map(({ type }) => type)).toEqual(['start', 'range', 'range', 'range', 'end']);
    expect(lines.slice(1, 4)).toEqual(document.ranges.map((it) => ({ type: 'range', ...it })));
  });

  test('an empty one is a document, too', async () => {
    const empty = join(folder, 'empty.bin');
    writeFileSync(empty, Buffer.alloc(4096));
    const { stdout } = await walk('--arch', 'x86_64', '--root', '0', empty, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ ranges: [], pages: 0 });
  });

  test('--base and --upper', async () => {
    const args = ['--arch', 'arm64', '--root', '0x40000000', '--base', '0x40000000', '--upper'];
    const image = Buffer.alloc(4096);
    const arm64 = tableKindNamed('arm64');
    image.writeBigUInt64LE(arm64.link(3, 0x40000000n), 8);
    const file = join(folder, 'upper.bin');
    writeFileSync(file, image);
    const { stdout, code } = await walk(...args, file);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ffff008040201000-ffff008040202000 {2}0000000040000000 /);
    const { stdout: one } = await walk(...args, file, '0xffff008040201004');
    expect(one).toContain('0xffff008040201004 -> 0x40000004, 4 KiB page');
  });
});

describe('one address', () => {
  test('level by level', async () => {
    expect(await walk(...x86Flat('0x123'))).toEqual({
      code: 0,
      stderr: '',
      stdout: `pgd[0] at 0x0: 0x0000000000001067
    root table at 0x1000: D A US RW
pud[0] at 0x1000: 0x0000000000002067
    table at 0x2000: D A US RW
pmd[0] at 0x2000: 0x0000000000003067
    table at 0x3000: D A US RW
pte[0] at 0x3000: 0x0000000000009025
    4 KiB page at 0x9000: A US

0x123 -> 0x9123, 4 KiB page, ur-x
`,
    });
  });

  test('of a guest: the second stage is walked for each table and for the page', async () => {
    const { stdout, code } = await walk(...BOTH, '0x404567');
    expect(code).toBe(0);
    expect(stdout.match(/guest-physical/g)).toHaveLength(5);
    expect(stdout).toContain(`    guest-physical 0x4020 by ept:
        pgd[0] at 0x1000: 0x0000000000002107
            table at 0x2000: A X W R
`);
    expect(stdout).toContain('        -> 0x204020\npte[4] at 0x204020: 0x0000000000014027\n');
    expect(stdout).toMatch(/\n0x404567 -> 0x214567, 4 KiB page, urwx\n$/);
  });

  test('that is not mapped is an answer', async () => {
    const { stdout, code, stderr } = await walk(...x86Flat('0x1000'));
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/\n0x1000 is not mapped: empty entry\n$/);
    const second = await walk(...BOTH, '0x409000');
    expect(second.code).toBe(0);
    expect(second.stdout).toMatch(/\n0x409000 is not mapped: empty entry, in the second stage\n$/);
  });

  test('--json', async () => {
    const { stdout } = await walk(...BOTH, '0x404567', '--json');
    const document = JSON.parse(stdout) as { entries: object[] };
    expect(document).toMatchObject({
      schema: 'gracewalk.translation/1',
      mapped: true,
      physical: '0x214567',
      pageSize: 4096,
      secondStage: { mapped: true, physical: '0x214567', pageSize: 2097152 },
    });
    expect(document.entries).toHaveLength(4);
    expect(document.entries[0]).toMatchObject({
      level: 'pgd',
      index: 0,
      at: '0x1000',
      value: '0x2067',
      secondStage: { physical: '0x201000' },
    });
  });
});

test('a reader that has seen enough ends a list that would be long', async () => {
  const image = Buffer.alloc(4096);
  for (let at = 0; at < 4096; at += 8) image.writeBigUInt64LE(x86.link(3, 0n), at);
  const file = join(folder, 'bomb.bin');
  writeFileSync(file, image);
  const { code, stderr } = await gracewalk(['walk', '--arch', 'x86_64', '--root', '0', file], {
    watch: (child) => void child.stdout?.once('data', () => child.stdout?.destroy()),
  });
  expect([code, stderr]).toEqual([0, '']);
});

describe('errors', () => {
  test('E813 and E814: what is missing and what is refused, once each', async () => {
    expect(await complaint(...x86Flat())).toMatchInlineSnapshot(`
      "error: 1 table of this walk cannot be read
      note: page table at 0x77000, for addresses from 0x400000: the image holds
            0x0 to 0x3fff
      help: the image is cut off, or its --base, the root or the architecture is
            another                                                       [E813]
      error: hardware refuses 1 entry of this walk
      note: pmd entry 0x2020a7 at 0x2008, for addresses from 0x200000: reserved
            bit 13 is set
      help: gracewalk decode x86_64 0x2020a7 --level pmd shows the bits; if many
            are refused, the root or the architecture is another          [E814]
      exit 2"
    `);
    const { stdout } = await walk(...x86Flat());
    expect(stdout).toMatch(/^0+-0+1000 {2}0+9000 {4}4 KiB {2}ur-x\n/);
  });

  test('E813: a guest table that the second stage does not map', async () => {
    const args = ['--arch', 'x86_64', '--stage2', 'ept', '--root', '0x1000'];
    expect(await complaint(...args, '--guest-root', '0x300000', FIXTURE)).toMatchInlineSnapshot(`
      "error: 1 table of this walk cannot be read
      note: PML4 table at 0x300000, for addresses from 0x0: guest-physical
            0x300000 is not mapped: empty entry
      help: the image is cut off, or its --base, the root or the architecture is
            another                                                       [E813]
      exit 2"
    `);
  });

  test('E814: an address whose entry is refused', async () => {
    expect(await complaint(...x86Flat('0x200000'))).toMatchInlineSnapshot(`
      "error: hardware refuses 1 entry of this walk
      note: pmd entry 0x2020a7 at 0x2008, for addresses from 0x200000: reserved
            bit 13 is set
      help: gracewalk decode x86_64 0x2020a7 --level pmd shows the bits; if many
            are refused, the root or the architecture is another          [E814]
      exit 2"
    `);
  });

  test('what is asked makes no sense', async () => {
    const asked = [
      ['--arch', 'x86_64', '--root', '0x1003', FIXTURE],
      ['--arch', 'x86_64', '--root', 'cr4=0x1000', FIXTURE],
      ['--arch', 'ept', '--root', 'eptp=0x1f1e', FIXTURE],
      [...ROOT_ONLY, FIXTURE, '0x800000000000'],
      [...ROOT_ONLY, FIXTURE, 'ffff8000'],
      [...ROOT_ONLY, FIXTURE, '--limit', 'runs=3'],
      [...ROOT_ONLY, '--guest-root', '0', FIXTURE],
      ['--arch', 'ept', '--stage2', 'x86_64', ...ROOTS, FIXTURE],
      [...ROOT_ONLY, '--upper', FIXTURE],
      [...ROOT_ONLY, '--base', '0x1000', FIXTURE],
      ['--root', '0', FIXTURE],
    ];
    const told: string[] = [];
    for (const args of asked) told.push(await complaint(...args));
    expect(told.join('\n')).toMatchInlineSnapshot(`
      "error: --root 0x1003 is not aligned
      note: a PML4 table of x86_64 begins at a multiple of 0x1000
      help: if it is the value of a register: --root cr3=0x1003           [E812]
      exit 2
      error: x86_64 has no register 'cr4'
      note: its root is in cr3
      help: did you mean cr3?                                             [E812]
      exit 2
      error: --root eptp=0x1f1e: reserved bits 11..8 are set
      help: gracewalk decode ept 0x1f1e --level eptp shows its bits       [E812]
      exit 2
      error: VA 0x800000000000 is not canonical
      note: x86_64 translates 48 bits: bits 63..48 must be copies of bit 47
      help: did you mean 0xffff800000000000?                              [E812]
      exit 2
      error: bad VA 'ffff8000'
      note: an address is a number below 2^64, decimal or hexadecimal with 0x
      help: did you mean 0xffff8000?                                      [E107]
      exit 2
      error: bad --limit 'runs=3'
      note: 'runs=3' is no limit
      help: limits of a walk are tables=1e6, pages=1e9, ranges=1000       [E107]
      exit 2
      error: --guest-root needs --stage2
      note: guest tables have guest-physical addresses, which a second stage
            translates
      help: --arch x86_64 --stage2 ept --root EPTP --guest-root CR3       [E115]
      exit 2
      error: ept is a second stage
      note: --arch is the guest's own kind of tables, --stage2 that of the
            hypervisor
      help: --arch x86_64 --stage2 ept --root EPTP --guest-root CR3       [E115]
      exit 2
      error: --upper is not for x86_64
      note: its one root translates all addresses
      help: leave --upper out                                             [E115]
      exit 2
      error: --base is not for test/fixtures/walk/guest.core, an ELF core
      note: a core says itself where its memory is
      help: leave --base out                                              [E115]
      exit 2
      error: required option '--arch <name>' not specified
      help: gracewalk help walk lists what it takes                       [E115]
      exit 2"
    `);
  });

  test('E114 and E811: images that are not there, damaged, or no memory', async () => {
    const file = join(folder, 'image');
    const outcomes = [
      await complaint(...ROOT_ONLY, join(folder, 'gone')),
      await complaint(...ROOT_ONLY, folder),
    ];
    const content = Buffer.alloc(64);
    for (const image of [
      core([{ start: 0n, content }], { width: 64, order: 'big' }).subarray(0, 90),
      core([{ start: 0n, content }], { width: 64, order: 'little', type: 3 }),
      Buffer.from('KDUMP   and more'),
      Buffer.alloc(0),
    ]) {
      writeFileSync(file, image);
      outcomes.push(await complaint('--arch', 'x86_64', '--root', '0', file));
    }
    expect(outcomes.join('\n')).toMatchInlineSnapshot(`
      "error: no file FOLDER/gone
      help: check the path                                                [E114]
      exit 2
      error: FOLDER is a folder
      help: name an image of memory: a flat file or an ELF core           [E114]
      exit 2
      error: FOLDER/image is a damaged ELF core
      note: it ends before byte 120, inside its headers
      help: it may have been cut off: take or copy the dump again         [E811]
      exit 2
      error: FOLDER/image is a program or library, not a core
      note: its ELF type is 3; memory is in cores, type 4
      help: QEMU's dump-guest-memory and makedumpfile -E write cores      [E811]
      exit 2
      error: FOLDER/image is a compressed kdump
      note: it begins with "KDUMP   and"
      help: QEMU: dump-guest-memory without -z, -l, -s; else crash or
            makedumpfile -E convert it                                    [E811]
      exit 2
      error: FOLDER/image is empty
      help: a flat image has the byte at physical address 0 first; --base says
            otherwise                                                     [E811]
      exit 2"
    `);
  });
});
