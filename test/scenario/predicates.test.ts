import { describe, expect, test } from 'vitest';
import { arm64, x86_64 } from '../../src/arch/index.ts';
import {
  fails,
  safe,
  scenario,
  touched,
  type Page,
  type Scenario,
  type Steps,
  type Word,
} from '../../src/index.ts';
import {
  get_user_pages_fast,
  munmap,
  new_mm,
  new_page,
  pte_table,
  type Mm,
} from '../../src/kernel/index.ts';
import { spin_trylock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE } from '../../src/machine/ops/memory.ts';
import { checkVariant } from '../../src/scenario/check.ts';

function sometimes(question: Scenario): Record<string, 'seen' | 'never'> {
  return checkVariant(question, 'only', { limits: {}, now: () => 0 }).sometimes;
}

describe('touched', () => {
  const K = 0x1000;
  interface State {
    readonly mm: Mm;
    readonly pteA: Page;
  }
  const of = ({ pteA }: State): Page => pteA;
  const unmapping = (machine: ReturnType<typeof x86_64>): Scenario =>
    scenario<State>('unmapping', {
      machine,
      setup: (m) => {
        const mm = new_mm(m, 'mm', { [K]: new_page(m, 'X'), 0x200000: new_page(m, 'Y') });
        return { mm, pteA: pte_table(m, mm, K) };
      },
      run: {
        CPU0: ({ mm }) => get_user_pages_fast(mm, K),
        CPU1: ({ mm }) => munmap(mm, K, 0x1000),
      },
      sometimes: {
        'the walker, live': touched('CPU0', of, 'live'),
        'the walker, unlinked': touched('CPU0', of, 'unlinked'),
        'the walker, pending': touched('CPU0', of, 'pending'),
        'the unmapper, live': touched('CPU1', of, 'live'),
        'the unmapper, unlinked': touched('CPU1', of, 'unlinked'),
        'the unmapper, pending': touched('CPU1', of, 'pending'),
        'the unmapper, freed': touched('CPU1', of, 'freed'),
      },
      variants: { only: safe() },
    });

  test.each([
    // Its walker has interrupts off, and the table is handed over only when it has taken the IPI.
    [x86_64({ cpus: 2 }), 'never'],
    [arm64({ cpus: 2 }), 'seen'],
  ] as const)(
    'is an access by the actor itself, not the handing over of a table: $0.name',
    (machine, pending) => {
      expect(sometimes(unmapping(machine))).toEqual({
        'the walker, live': 'seen',
        'the walker, unlinked': 'seen',
        'the walker, pending': pending,
        'the unmapper, live': 'seen',
        'the unmapper, unlinked': 'never',
        'the unmapper, pending': 'never',
        'the unmapper, freed': 'never',
      });
    },
  );

  test('is a step that follows a pointer to a freed frame, and one that tries a lock there', () => {
    const question = scenario<{ page: Page; word: Word; elsewhere: Word }>('inside', {
      machine: x86_64({ cpus: 2 }),
      setup: (m) => {
        const page = new_page(m, 'P');
        const other = new_page(m, 'Q');
        m.cells.values[m.memory.info(page.frame).life] = (page.generation << 2) | 0;
        const at = ({ frame, generation }: Page): Word => m.memory.at(frame * 4096, generation);
        return { page, word: at(page), elsewhere: at(other) };
      },
      run: {
        *CPU0({ word, elsewhere }): Steps<void> {
          yield* READ_ONCE(elsewhere);
          yield* READ_ONCE(word);
        },
        *CPU1({ word }): Steps<void> {
          yield* spin_trylock(word);
        },
      },
      sometimes: {
        read: touched('CPU0', ({ page }) => page, 'freed'),
        locked: touched('CPU1', ({ page }) => page, 'freed'),
        'as live': touched('CPU0', ({ page }) => page, 'live'),
      },
      variants: { only: fails('use-after-free') },
    });
    expect(sometimes(question)).toEqual({ read: 'seen', locked: 'seen', 'as live': 'never' });
  });
});
