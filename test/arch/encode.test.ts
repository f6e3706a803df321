import { describe, expect, test } from 'vitest';
import { FROZEN_SPTE } from '../../src/arch/kvm-spte.ts';
import { addressValues, encode, type EntryFormat } from '../../src/arch/entry-format.ts';
import { TABLE_KINDS, tableKindNamed } from '../../src/arch/kinds.ts';

/** What the kernel makes, what a format refuses, and what hardware writes into entries. */

function formatOf(kind: string, name: string): EntryFormat {
  const found = tableKindNamed(kind).formats.find((it) => it.name === name);
  if (!found) throw new Error(`${kind} has no ${name}`);
  return found;
}

describe('an entry is refused', () => {
  test('with a value that is too long for its field', () => {
    expect(() => encode(formatOf('x86_64', '4 KiB page'), { PKEY: 16n })).toThrow(
      '16 does not fit PKEY of a 4 KiB page',
    );
    expect(() => encode(formatOf('x86_64', '4 KiB page'), { RW: -1n })).toThrow('does not fit RW');
  });

  test('with a field that the format has not', () => {
    expect(() => encode(formatOf('x86_pae', '4 KiB page'), { PKEY: 1n })).toThrow(
      "a 4 KiB page has no field 'PKEY'",
    );
  });

  test('with values that are another entry', () => {
    expect(() => encode(formatOf('ept', '4 KiB page'), { MT: 6n })).toThrow(
      'no 4 KiB page has these values',
    );
    expect(() => encode(formatOf('riscv_sv39', '4 KiB page'), { A: 1n })).toThrow(
      'no 4 KiB page has these values',
    );
  });

  test.each([
    ['x86_64', 0, 0x1800n, 'bits 51:12'],
    ['x86_64', 1, 0x1000n, 'bits 51:21'],
    ['x86_64', 0, 1n << 52n, 'bits 51:12'],
    ['arm64', 0, 1n << 48n, 'bits 47:12'],
    ['arm64_64k', 0, 0x1000n, 'bits 47:16'],
    ['powerpc_radix_64k', 0, 0x1000n, 'bits 56:16'],
    ['riscv_sv39', 1, 0x1000n, 'bits 55:21'],
    ['s390', 1, 0x1000n, 'bits 63:20'],
  ])('%s, level %i: the address 0x%x does not fit', (name, level, address, room) => {
    const error = (): bigint => tableKindNamed(name).map(level, address, { writable: true });
    expect(error).toThrow('cannot hold the address');
    try {
      error();
    } catch (thrown) {
      expect((thrown as { details: { notes: string[] } }).details.notes[0]).toContain(room);
    }
  });

  test('where the level has none', () => {
    expect(() => tableKindNamed('arm64').map(3, 0n, { writable: true })).toThrow(
      'arm64 has no leaf entry at level 3',
    );
    expect(() => tableKindNamed('s390').link(0, 0n)).toThrow('has no table entry at level 0');
  });
});

describe.each(TABLE_KINDS.map((kind) => [kind.name, kind] as const))('%s', (_name, kind) => {
  test('what the kernel makes is what hardware reads', () => {
    for (const [level, { shift }] of kind.levels.entries()) {
      const size = 1n << BigInt(shift);
      if (kind.formats.some((it) => it.kind === 'leaf' && it.levels.includes(level))) {
        for (const writable of [false, true]) {
          const entry = kind.decode(level, kind.map(level, 5n * size, { writable }));
          expect(entry).toMatchObject({ present: true, table: false, writable, readable: true });
          expect(entry.address).toBe(5n * size);
        }
      }
      if (level > 0) {
        const next = BigInt(kind.levels[level - 1]?.align ?? 0);
        const entry = kind.decode(level, kind.link(level, 7n * next));
        expect(entry).toMatchObject({ present: true, table: true, writable: true });
        expect(entry.address).toBe(7n * next);
        const entries = 2 ** (kind.levels[level - 1]?.bits ?? 0);
        expect(entry.window ?? [0, entries]).toEqual([0, entries]);
      }
      expect(kind.decode(level, kind.none(level))).toMatchObject({ none: true, present: false });
    }
  });

  test('hardware adds no permission but that to write, and keeps the address', () => {
    for (const write of [false, true]) {
      const before = kind.map(0, 1n << 20n, { writable: true });
      const after = kind.hardware.touch(0, before, { write });
      if (after === null) throw new Error('a writable page faults');
      const [old, now] = [kind.decode(0, before), kind.decode(0, after)];
      expect({ ...now, accessed: null, dirty: null }).toEqual({
        ...old,
        accessed: null,
        dirty: null,
      });
      if (kind.hardware.accessed !== 'never') expect(now.accessed).toBe(true);
      expect(kind.hardware.touch(0, after, { write })).toBe(after);
    }
    const fixed = kind.map(0, 1n << 20n, { writable: false });
    expect(kind.hardware.touch(0, fixed, { write: true })).toBe(null);
    expect(kind.hardware.touch(0, kind.none(0), { write: false })).toBe(null);
  });
});

describe('what hardware writes', () => {
  test('x86: A in tables and leaves, D in leaves on a write', () => {
    const { touch } = tableKindNamed('x86_64').hardware;
    expect(touch(0, 0x7007n, { write: false })).toBe(0x7027n);
    expect(touch(0, 0x7007n, { write: true })).toBe(0x7067n);
    expect(touch(1, 0x7007n, { write: true })).toBe(0x7027n);
  });

  test('arm64: a write to a clean writable page clears AP[2]; without DBM it faults', () => {
    const { touch } = tableKindNamed('arm64').hardware;
    expect(touch(0, 0x0068000080001fc3n, { write: true })).toBe(0x0068000080001f43n);
    expect(touch(0, 0x0060000080001fc3n, { write: true })).toBe(null);
    expect(touch(0, 0x0068000080001bc3n, { write: false })).toBe(0x0068000080001fc3n);
  });

  test('arm64 stage 2: a write with DBM sets S2AP[1]', () => {
    const { touch } = tableKindNamed('arm64_s2').hardware;
    const clean = 0x000800008000177fn;
    expect(touch(0, clean, { write: true })).toBe(clean | 0x80n);
    expect(touch(0, clean & ~(1n << 51n), { write: true })).toBe(null);
  });

  test('s390: nothing', () => {
    const { touch } = tableKindNamed('s390').hardware;
    expect(touch(0, 0x1000n, { write: true })).toBe(0x1000n);
  });
});

describe('special values contain the bit that marks an access elsewhere', () => {
  const nameOf = (kind: string, bits: bigint, only: string): string | undefined =>
    tableKindNamed(kind)
      .readings(0, bits)
      .find(({ format }) => format.only === only)?.format.name;

  test.each([
    ['v6.1', 'KVM 6.1', 'entry that KVM has removed'],
    ['v6.12', 'KVM 6.12', 'entry that KVM has frozen'],
    ['v7.2', 'KVM 7.2', 'entry that KVM has frozen'],
  ] as const)(
    'frozen entries of %s lose their meaning with the accessed bit',
    (version, only, name) => {
      const frozen = FROZEN_SPTE[version];
      for (const [kind, accessed] of [
        ['ept', 1n << 8n],
        ['npt', 1n << 5n],
      ] as const) {
        expect(nameOf(kind, frozen, only)).toBe(name);
        expect(frozen & accessed).toBe(accessed);
        expect(nameOf(kind, frozen & ~accessed, only)).toBe(undefined);
      }
    },
  );

  test('clearing the access flag of a locked arm64 entry unlocks it in 6.12, not in 7.2', () => {
    const accessed = 1n << 10n;
    expect(nameOf('arm64_s2', 0x400n, 'KVM 6.12')).toBe('locked entry');
    expect(nameOf('arm64_s2', 0x400n & ~accessed, 'KVM 6.12')).toBe(undefined);
    const locked = 1n << 60n;
    expect(nameOf('arm64_s2', locked & ~accessed, 'KVM 7.2')).toBe('locked entry');
  });
});

test('addresses of 52 bits are put together from their parts', () => {
  const address = 0xf_1234_5678_0000n;
  for (const name of ['arm64_64k_lpa', 'arm64_lpa2', 'arm64_16k_lpa2']) {
    const kind = tableKindNamed(name);
    expect(kind.decode(0, kind.map(0, address, { writable: true })).address).toBe(address);
  }
  expect(addressValues(formatOf('arm64_64k_lpa', '64 KiB page'), address)).toEqual({
    'OA@16': 0x12345678n,
    'OA@12': 0xfn,
  });
});
