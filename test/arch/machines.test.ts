import { describe, expect, test } from 'vitest';
import { fails, returned, safe, scenario } from '../../src/index.ts';
import * as machines from '../../src/arch/index.ts';
import type { MachineSpec } from '../../src/arch/index.ts';
import * as linux from '../../src/kernel/index.ts';
import { Machine } from '../../src/machine/machine.ts';
import { hardwareWalk, walk } from '../../src/machine/walk.ts';
import { checkVariant } from '../../src/scenario/check.ts';
import type { VariantResult } from '../../src/scenario/result.ts';

/** The same protocol on every machine: what an empty entry looks like, and where the bits are, is its own. */

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

const { arm64, powerpc_radix, riscv, s390, x86_64, x86_pae } = machines;
const BROADCAST: [string, MachineSpec][] = [
  ['arm64', arm64({ cpus: 2 })],
  ['powerpc_radix', powerpc_radix({ cpus: 2 })],
  ['s390', s390({ cpus: 2 })],
  ['riscv', riscv({ cpus: 2 })],
];

function gup_vs_munmap(machine: MachineSpec, rcu: boolean): VariantResult {
  const question = scenario<{ mm: linux.Mm }>('machines', {
    machine,
    config: { MMU_GATHER_RCU_TABLE_FREE: rcu },
    setup: (m) => {
      const pages = { [ADDR]: linux.new_page(m, 'X'), [NEIGHBOUR]: linux.new_page(m, 'Y') };
      return { mm: linux.new_mm(m, 'mm', pages) };
    },
    foreign: 1,
    run: {
      CPU0: ({ mm }) => linux.get_user_pages_fast(mm, ADDR),
      CPU1: ({ mm }) => linux.munmap(mm, ADDR, linux.PAGE_SIZE),
    },
    sometimes: { done: returned(linux.munmap, undefined) },
    variants: { only: rcu ? safe() : fails('use-after-free') },
  });
  return checkVariant(question, 'only', { limits: {}, now: () => 0 });
}

describe('GUP-fast against munmap()', () => {
  const runs = new Map<boolean, number>();

  test.each(BROADCAST)(
    '%s: safe with RCU, a use-after-free without; as many runs as arm64',
    (_name, machine) => {
      for (const rcu of [true, false]) {
        const result = gup_vs_munmap(machine, rcu);
        expect(result.verdict).toBe(rcu ? 'safe' : 'fails');
        expect(result.ok).toBe(true);
        if (!runs.has(rcu)) runs.set(rcu, result.explored.runs);
        expect(result.explored.runs).toBe(runs.get(rcu));
      }
    },
  );

  test.each([
    ['3 levels', riscv({ cpus: 2, mode: 'sv39' })],
    ['5 levels', riscv({ cpus: 2, mode: 'sv57' })],
  ])('%s: folded levels are no accesses, and one more is no conflict', (_name, machine) => {
    for (const rcu of [true, false]) {
      const result = gup_vs_munmap(machine, rcu);
      expect(result.ok).toBe(true);
      expect(result.explored.runs).toBe(runs.get(rcu));
    }
  });

  test('x86_pae: entries in two halves, and still the interrupt of the flush is enough', () => {
    expect(gup_vs_munmap(x86_pae({ cpus: 2 }), true).verdict).toBe('safe');
  });

  test('x86_64: the interrupt of the flush is enough, with 5 levels as with 4', () => {
    const five = gup_vs_munmap(x86_64({ cpus: 2, levels: 5 }), true);
    expect(five.verdict).toBe('safe');
    expect(five.explored.runs).toBe(gup_vs_munmap(x86_64({ cpus: 2 }), true).explored.runs);
  });
});

test.each([
  ['arm64, 64 KiB', arm64({ cpus: 2, granule: '64k' }), 'pages of 64 KiB'],
  ['powerpc, 64 KiB', powerpc_radix({ cpus: 2, page: '64k' }), 'pages of 64 KiB'],
])('%s: the protocols refuse tables that they do not walk', (_name, machine, reason) => {
  const m = new Machine({ arch: machine.arch, cpus: machine.cpus, sanitizers: [] });
  const page = linux.new_page(m, 'X');
  try {
    linux.new_mm(m, 'mm', { 0x10000: page });
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({ code: 'E130' });
    expect(JSON.stringify(error)).toContain(reason);
  }
});

const WALKED: [string, MachineSpec][] = [
  ...BROADCAST,
  ['x86_64', x86_64({ cpus: 2 })],
  ['x86_64, 5 levels', x86_64({ cpus: 2, levels: 5 })],
  ['riscv, sv39', riscv({ cpus: 2, mode: 'sv39' })],
  ['x86_pae', x86_pae({ cpus: 2 })],
];

describe.each(WALKED)('%s', (_name, spec) => {
  const top = spec.arch.levels.length - 1;
  const m = new Machine({ arch: spec.arch, cpus: spec.cpus, sanitizers: [] });
  const addresses = [0, 0x1000, 0x200000, 0x201000, 0x400000];
  const pages = new Map(addresses.map((at, n) => [at, linux.new_page(m, `P${n}`)]));
  const mm = linux.new_mm(m, 'mm', Object.fromEntries(pages), { on: ['CPU0'] });

  test('a walk reads one entry per level and ends at the page', () => {
    for (const [address, page] of pages) {
      const steps = [...walk(m, mm.pgd, address)];
      expect(steps.map(({ level }) => top - level)).toEqual([...steps.keys()]);
      expect(steps.at(-1)?.entry).toMatchObject({ present: true, table: false, frame: page.frame });
    }
  });

  test('a walk ends where nothing is mapped, at an entry that is none', () => {
    const steps = [...walk(m, mm.pgd, 0x3000)];
    expect(steps).toHaveLength(top + 1);
    expect(steps.at(-1)?.entry).toMatchObject({ none: true, present: false });
    expect([...walk(m, mm.pgd, 0x80000000)].at(-1)?.entry.none).toBe(true);
  });

  test('what a CPU may hold is what walks of hardware leave, and nothing else', () => {
    const left = new Set(
      [...addresses, 0x2000, 0x3000, 0x600000].flatMap((address) =>
        [...hardwareWalk(m, mm.pgd, address)].map(({ source, base }) => `${source} ${base}`),
      ),
    );
    const [first, second] = m.cpus;
    if (!first || !second) throw new Error('two CPUs');
    const held = m.translations.all(first).map(({ source, base }) => `${source} ${base}`);
    expect(new Set(held)).toEqual(left);
    expect(held).toHaveLength(left.size);
    expect(m.translations.all(second)).toEqual([]);
  });
});

test.each([
  [x86_64({ cpus: 2 }), 'x86_64', 'x86-64, 2 CPUs'],
  [x86_64.kvm_guest({ vcpus: 2, levels: 5 }), 'x86_64_la57.kvm_guest'],
  [x86_pae({ cpus: 1 }), 'x86_pae', 'x86-32 with PAE, 1 CPU'],
  [arm64({ cpus: 2 }), 'arm64', 'arm64, 2 CPUs'],
  [arm64({ cpus: 2, granule: '16k' }), 'arm64_16k', 'arm64 with 16 KiB pages, 2 CPUs'],
  [powerpc_radix({ cpus: 2 }), 'powerpc_radix', 'powerpc radix, 2 CPUs'],
  [s390({ cpus: 2 }), 's390', 's390, 2 CPUs'],
  [riscv({ cpus: 2 }), 'riscv_sv48', 'RISC-V Sv48, 2 CPUs'],
])('machines have short names', (spec, name, title = spec.title) => {
  expect([spec.name, spec.arch.name.length <= name.length, spec.title]).toEqual([
    name,
    true,
    title,
  ]);
});

test('RCU freeing without table freeing is no configuration', () => {
  for (const [, { arch }] of BROADCAST) {
    expect(arch.impossible?.(arch.config)).toBe(null);
    expect(arch.impossible?.({ ...arch.config, MMU_GATHER_TABLE_FREE: false })).toContain(
      'selects',
    );
  }
});

test('entries beyond what the machine keeps of a table are refused', () => {
  const { arch, cpus } = s390({ cpus: 1 });
  const m = new Machine({ arch, cpus, sanitizers: [] });
  const far = { [513 * 2 ** 20]: linux.new_page(m, 'X') };
  expect(() => linux.new_mm(m, 'mm', far)).toThrow('entry 513 of its table');
});
