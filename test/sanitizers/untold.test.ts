import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { x86_64 } from '../../src/arch/index.ts';
import { explore } from '../../src/explore/explore.ts';
import { nop, patch, safe, scenario } from '../../src/index.ts';
import * as linux from '../../src/kernel/index.ts';
import type { Mm, Page, Pmdp, Ptep } from '../../src/kernel/mm/types.ts';
import type { Machine } from '../../src/machine/machine.ts';
import type { Steps } from '../../src/machine/op.ts';
import { and_entry } from '../../src/machine/ops/memory.ts';
import { buildVariant } from '../../src/scenario/program.ts';
import { ROOT } from '../cli/gracewalk.ts';

/**
 * Every operation of the primary MMU that takes pages or permissions away, with a subscriber: none is reported. The
 * same without its hooks: each is. So whoever forgets the hooks of a further operation learns of it.
 */

const ADDR = 0x1000;
const HUGE = 2 ** 30;

interface State {
  readonly mm: Mm;
  readonly child: Mm;
  readonly X: Page;
  readonly K: Page;
  readonly file: linux.AddressSpace;
  readonly ptep: Ptep;
  readonly pmdp: Pmdp;
}

/** What the process maps at ADDR: a page of its own, one that others share, one of a file; or a huge one. */
type Kind = 'own' | 'shared' | 'file' | 'huge';

function mapped(m: Machine, kind: Kind, isSubscribed: boolean): State {
  const file = linux.new_file(m, 'F', { shmem: true });
  const X =
    kind === 'file'
      ? linux.new_page_of_file(m, 'X', file)
      : kind === 'own'
        ? linux.new_anon_page(m, 'X')
        : linux.new_page(m, 'X', 1);
  const at = kind === 'huge' ? HUGE : ADDR;
  const mm = linux.new_mm(
    m,
    'mm',
    { [at]: X },
    {
      on: [],
      tables: [ADDR],
      writable: kind !== 'shared',
      ...(kind === 'file' && { rwsem: file.i_mmap_rwsem }),
      ...(kind === 'huge' && { huge: { [HUGE]: 2 as const } }),
    },
  );
  const child = linux.new_mm(m, 'child', {}, { on: [], tables: [ADDR] });
  const mn = linux.new_mmu_notifier(m, mm, 'mn', {});
  if (isSubscribed) linux.registered(m, mn);
  const [ptep, pmdp] = [linux.pte_off(m, mm, ADDR), linux.pmd_off(m, mm, ADDR)];
  return { mm, child, X, K: linux.new_page(m, 'K', 1), file, ptep, pmdp };
}

interface Options {
  readonly kind?: Kind;
  readonly hooks?: 'there' | 'missing';
  readonly isSubscribed?: boolean;
}

/** What the check says of the operation; other checks are not asked. */
function said(run: (s: State) => Steps<unknown>, options: Options = {}): string[] {
  const { kind = 'own', hooks = 'there', isSubscribed = true } = options;
  const question = scenario<State>('question', {
    machine: x86_64({ cpus: 1 }),
    config: { MMU_NOTIFIER: true },
    setup: (m) => mapped(m, kind, isSubscribed),
    run: { CPU0: run },
    sometimes: { 'it is asked': () => true },
    variants: {
      there: safe(),
      missing: safe({
        patches: [
          patch(linux.mmu_notifier_invalidate_range_start, function* () {
            return true;
          }),
          patch(linux.mmu_notifier_invalidate_range_end, nop),
        ],
      }),
    },
  });
  const { runs, violations } = explore(buildVariant(question, hooks, { traced: false }).program);
  expect(runs).toBeGreaterThan(0);
  return [...violations.values()]
    .map(({ violation }) => violation.message)
    .filter((message) => message.includes('invalidation'));
}

const TAKEN = 'CPU0 takes X away from 0x1000 of mm and has not begun an invalidation of it.';
const READ_ONLY = 'CPU0 makes 0x1000 of mm read-only and has not begun an invalidation of it.';

type Operation = readonly [run: (s: State) => Steps<unknown>, kind?: Kind, message?: string];

/** By the file of src/kernel/mm that changes the entry. */
const OPERATIONS: Readonly<Record<string, Readonly<Record<string, Operation>>>> = {
  'memory.ts': {
    madvise: [({ mm }) => linux.madvise_dontneed(mm, ADDR, linux.PAGE_SIZE)],
    munmap: [({ mm }) => linux.munmap(mm, ADDR, linux.PAGE_SIZE)],
    truncate: [({ mm, file, X }) => linux.truncate_inode_folio(mm, file, X), 'file'],
    reaper: [({ mm }) => linux.__oom_reap_task_mm(mm)],
  },
  'mprotect.ts': {
    mprotect: [
      ({ mm, pmdp }) => linux.mprotect(mm, pmdp, ADDR, { writable: true }, { writable: false }),
      'own',
    ],
  },
  'wp-page.ts': {
    userfaultfd: [({ mm }) => linux.mwriteprotect_range(mm, ADDR)],
    copy: [({ mm }) => linux.do_wp_page(mm, ADDR), 'shared'],
  },
  'try_to_unmap.ts': {
    reclaim: [({ mm, X }) => linux.shrink_folio_list(mm, X), 'file'],
    migrate: [({ mm, file, X }) => linux.migrate_folio(mm, file, X), 'file'],
  },
  'anon-share.ts': {
    fork: [({ mm, child }) => linux.dup_mmap(child, mm, ADDR), 'own', READ_ONLY],
  },
  'ksm.ts': {
    'write_protect_page()': [({ mm }) => linux.write_protect_page(mm, ADDR)],
    'replace_page()': [({ mm, pmdp, K }) => linux.replace_page(mm, pmdp, ADDR, K)],
  },
  'rmap-clean.ts': { writeback: [({ mm, X }) => linux.writepage(mm, X), 'file'] },
  'retract.ts': {
    'a table that maps something': [({ mm }) => linux.retract_page_tables(mm, ADDR), 'file'],
  },
  'khugepaged.ts': { collapse: [({ mm }) => linux.collapse_huge_page(mm, ADDR)] },
  'huge_memory.ts': {
    'a huge page': [
      ({ mm }) => linux.unmap_huge_pud(mm, HUGE),
      'huge',
      TAKEN.replace('0x1000', '0x40000000'),
    ],
  },
};

const OTHERS: Readonly<Record<string, string>> = {
  'pgtable-generic.ts': 'ptep_clear_flush(), which the others call',
  'pgtable-set.ts': 'pmdp_collapse_flush(), which the others call',
  'pt_reclaim.ts': 'unlinks empty tables',
  'mmu_notifier-2008.ts': 'invalidate_page() behind the change: no address space that is watched',
};

const CHANGES =
  /yield\* (ptep_get_and_clear|ptep_clear_flush|ptep_set_wrprotect|ptep_modify_prot_start|ptep_xchg_direct|pte_clear|pmd_clear|pmdp_huge_get_and_clear|pmdp_collapse_flush|pmdp_establish|pud_clear)\(/;

test('no file of mm/ changes entries that is not here', () => {
  const folder = join(ROOT, 'src', 'kernel', 'mm');
  const changing = readdirSync(folder).filter((file) =>
    CHANGES.test(readFileSync(join(folder, file), 'utf8')),
  );
  expect(changing.sort()).toEqual([...Object.keys(OPERATIONS), ...Object.keys(OTHERS)].sort());
});

const all = Object.values(OPERATIONS).flatMap((operations) => Object.entries(operations));

describe.each(all)('%s', (_name, [run, kind = 'own', message = TAKEN]) => {
  test('changes entries in an invalidation of its own', () => {
    expect(said(run, { kind })).toEqual([]);
  });

  test('is found if it does not', () => {
    expect(said(run, { kind, hooks: 'missing' })).toContain(message);
  });

  test('may do so while nobody subscribes', () => {
    expect(said(run, { kind, hooks: 'missing', isSubscribed: false })).toEqual([]);
  });
});

describe('what is not asked for', () => {
  test('an accessed mark', () => {
    function* ages({ mm, ptep }: State): Steps<void> {
      const pte = yield* linux.ptep_get(ptep);
      const old = mm.kernel.arch.change(0, pte.bits, { accessed: false });
      yield* and_entry(ptep, ~(pte.bits ^ old));
    }
    expect(said(ages)).toEqual([]);
  });

  test('an entry that permits more', () => {
    const upgrade = ({ mm }: State): Steps<void> => linux.wp_page_reuse(mm, ADDR);
    expect(said(upgrade, { kind: 'shared' })).toEqual([]);
  });

  test('what a fault puts where nothing was', () => {
    function* fault({ mm, pmdp, ptep, K }: State): Steps<void> {
      const range = linux.mmu_notifier_range_init(mm, ADDR, ADDR + linux.PAGE_SIZE);
      yield* linux.mmu_notifier_invalidate_range_start(range);
      yield* linux.ptep_get_and_clear(ptep);
      yield* linux.mmu_notifier_invalidate_range_end(range);
      yield* linux.insert_page(mm, pmdp, ADDR, K);
    }
    expect(said(fault)).toEqual([]);
  });
});

describe('an invalidation that is not the right one', () => {
  const around = (start: number, end: number, when: 'inside' | 'behind') =>
    function* ({ mm, ptep }: State): Steps<void> {
      const range = linux.mmu_notifier_range_init(mm, start, end);
      yield* linux.mmu_notifier_invalidate_range_start(range);
      if (when === 'inside') yield* linux.ptep_get_and_clear(ptep);
      yield* linux.mmu_notifier_invalidate_range_end(range);
      if (when === 'behind') yield* linux.ptep_get_and_clear(ptep);
    };

  test('that covers the address', () => {
    expect(said(around(ADDR, 2 * ADDR, 'inside'))).toEqual([]);
  });

  test('of other addresses', () => {
    expect(said(around(2 * ADDR, 3 * ADDR, 'inside'))).toEqual([TAKEN]);
  });

  test('that is over', () => {
    expect(said(around(ADDR, 2 * ADDR, 'behind'))).toEqual([TAKEN]);
  });
});
