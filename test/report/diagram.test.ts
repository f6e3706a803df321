import { describe, expect, it } from 'vitest';
import { renderDiagram, type DiagramOptions } from '../../src/report/diagram.ts';
import type { RunReport, Step } from '../../src/scenario/result.ts';
import { event, frames, report, sourceOf, statement, step } from './make.ts';
import { SAMPLE, SAMPLE_COLUMNS, SAMPLE_SOURCE, SAMPLE_TAGGED, USE_AFTER_FREE } from './sample.ts';

const OPTIONS: DiagramOptions = {
  width: 75,
  layout: 'columns',
  detail: 'auto',
  source: SAMPLE_SOURCE,
};

function draw(
  run: RunReport,
  sources: readonly string[],
  more: Partial<DiagramOptions> = {},
): string {
  return renderDiagram(run, { ...OPTIONS, source: sourceOf(sources), ...more });
}

describe('the sample of the specification', () => {
  it('is drawn byte for byte in columns', () => {
    expect(renderDiagram(SAMPLE, OPTIONS)).toBe(SAMPLE_COLUMNS);
  });

  it('is drawn byte for byte with tags', () => {
    expect(renderDiagram(SAMPLE, { ...OPTIONS, layout: 'tagged' })).toBe(SAMPLE_TAGGED);
  });

  it('is shown whole, for it has less than 40 rows', () => {
    expect(renderDiagram(SAMPLE, { ...OPTIONS, detail: 'full' })).toBe(SAMPLE_COLUMNS);
  });

  it('names functions only, if the sources are not there', () => {
    const text = renderDiagram(SAMPLE, { ...OPTIONS, source: () => null });
    expect(text).toContain('\n    pmdp_get_lockless();  // -> pteA\n');
    expect(text).toContain('\n    ptep_get_lockless();  // !!! use-after-free\n');
  });
});

describe('columns', () => {
  it('puts the second one as far left as its longest line needs', () => {
    const sources: string[] = [];
    const notifier = frames('zap_page_range', 'kvm_mmu_notifier_invalidate_range_start');
    const run = report(
      ['vCPU0', 'CPU1'],
      [
        statement(sources, 'vCPU0', 'yield* f(x);'),
        statement(sources, 'CPU1', 'yield* kvm_unmap_gfn_range();', {
          frames: notifier,
          comment: 'SPTE cleared, TLB flushed',
        }),
      ],
    );
    expect(draw(run, sources)).toBe(`
  vCPU0                         CPU1
  -----                         ----
  f(x);

                                zap_page_range()
                                  kvm_mmu_notifier_invalidate_range_start()
                                    kvm_unmap_gfn_range();
                                      // SPTE cleared, TLB flushed
`);
  });

  it('puts it no further right than 39 and no further left than 28', () => {
    const sources: string[] = [];
    const short = report(
      ['A', 'B'],
      [statement(sources, 'A', 'yield* f(x);'), statement(sources, 'B', 'yield* g(x);')],
    );
    expect(draw(short, sources).split('\n')[1]).toBe(`  A${' '.repeat(36)}B`);
    const long = `yield* g(${'abc, '.repeat(20)}d);`;
    const wide = report(
      ['A', 'B'],
      [statement(sources, 'A', 'yield* f(x);'), statement(sources, 'B', long)],
    );
    expect(draw(wide, sources)).toBe(`
  A                         B
  -                         -
  f(x);

                            g(abc, abc, abc, abc, abc, abc, abc, abc, abc,
                                abc, abc, abc, abc, abc, abc, abc, abc,
                                abc, abc, abc, d);
`);
  });

  it('keeps scenario order and leaves out who does nothing', () => {
    const sources: string[] = [];
    const run = report(
      ['CPU0', 'CPU1', 'khugepaged'],
      [
        statement(sources, 'khugepaged', 'yield* f(x);'),
        statement(sources, 'CPU0', 'yield* g(x);'),
      ],
    );
    expect(draw(run, sources).split('\n')[1]).toBe(`  CPU0${' '.repeat(33)}khugepaged`);
  });

  it('starts three at 2, 26 and 50', () => {
    const sources: string[] = [];
    const run = report(
      ['CPU0', 'CPU1', 'CPU2'],
      [
        statement(sources, 'CPU0', 'yield* f(first, second, third, fourth, fifth, sixth);'),
        statement(sources, 'CPU2', 'const val = yield* READ_ONCE(src.flag);', { comment: '1' }),
        statement(sources, 'CPU1', 'yield* g(first, second, third, fourth, fifth, sixth);'),
      ],
    );
    expect(draw(run, sources)).toBe(`
  CPU0                    CPU1                    CPU2
  ----                    ----                    ----
  f(first, second, third, fourth, fifth, sixth);

                                                  val =
                                                      READ_ONCE(src->flag);
                                                    // 1

                          g(first, second, third, fourth, fifth, sixth);
`);
  });

  it('draws a single one at 2', () => {
    const sources: string[] = [];
    const run = report(['CPU0'], [statement(sources, 'CPU0', 'yield* f(x);')]);
    expect(draw(run, sources)).toBe('\n  CPU0\n  ----\n  f(x);\n');
  });

  it('are all printable ASCII, whatever the source says', () => {
    const sources: string[] = [];
    const run = report(
      ['CPU0'],
      [statement(sources, 'CPU0', "yield* f('\u00e9\t\u{1f600}');", { comment: '\u2192 x\n' })],
    );
    expect(draw(run, sources)).toBe('\n  CPU0\n  ----\n  f("? ?");  // ? x\n');
  });
});

describe('the tagged layout stands in', () => {
  const isTagged = (text: string): boolean => /^ {2}1 \[/m.test(text) && !text.includes('----');

  it('for four columns', () => {
    const sources: string[] = [];
    const names = ['CPU0', 'CPU1', 'CPU2', 'CPU3'];
    const steps = names.map((name) => statement(sources, name, 'yield* f(x);'));
    expect(draw(report(names, steps), sources)).toBe(
      '\n  1 [CPU0] f(x);\n  2 [CPU1] f(x);\n  3 [CPU2] f(x);\n  4 [CPU3] f(x);\n',
    );
    expect(isTagged(draw(report(names, steps.slice(1)), sources))).toBe(false);
  });

  it('for an identifier that does not fit its column', () => {
    const sources: string[] = [];
    const steps = (length: number): RunReport =>
      report(
        ['CPU0', 'CPU1'],
        [
          statement(sources, 'CPU0', 'yield* f(x);'),
          step({ column: 'CPU1', op: 'x'.repeat(length) }),
        ],
      );
    // 28 columns, the identifier, `();`.
    expect(isTagged(draw(steps(75 - 28 - 3), sources))).toBe(false);
    expect(isTagged(draw(steps(75 - 28 - 2), sources))).toBe(true);
  });

  it('for names that would touch', () => {
    const names = ['a'.repeat(23), 'CPU1', 'CPU2'];
    const steps = names.map((column) => step({ column }));
    expect(isTagged(draw(report(names, steps), []))).toBe(true);
    const shorter = names.map((name) => name.slice(0, 22));
    expect(
      isTagged(
        draw(
          report(
            shorter,
            shorter.map((column) => step({ column })),
          ),
          [],
        ),
      ),
    ).toBe(false);
  });

  it('and gives up indentation, then the line of its tag, before it splits a word', () => {
    const run = report(
      ['CPU0'],
      [
        step({ column: 'CPU0', frames: frames('a', 'b', 'c'), op: 'x'.repeat(32) }),
        step({ column: 'CPU0', op: 'y'.repeat(39) }),
        step({ column: 'CPU0', op: 'z'.repeat(50) }),
      ],
    );
    expect(draw(run, [], { layout: 'tagged', width: 48 })).toBe(`
  1 [CPU0] a()
  2 [CPU0]   b()
  3 [CPU0]     c()
  4 [CPU0]   ${'x'.repeat(32)}();
  5 [CPU0]
      ${'y'.repeat(39)}();
  6 [CPU0]
      ${'z'.repeat(42)}
      ${'z'.repeat(8)}();
`);
  });
});

describe('rows', () => {
  it('indent a handler below what it interrupts, without its own frame and its return', () => {
    const sources: string[] = [];
    const handler = { actor: 'IPI: flush_tlb_func' };
    const own = { ...handler, frames: frames('flush_tlb_func#1') };
    const walk = { frames: frames('gup_fast', 'gup_fast_pte_range') };
    const run = report(
      ['CPU0'],
      [
        statement(sources, 'CPU0', 'yield* f(x);', walk),
        event('CPU0', 'IPI: flush_tlb_func', { ...handler, op: 'irq_enter' }),
        statement(sources, 'CPU0', 'yield* invlpg(addr);', own),
        statement(sources, 'CPU0', 'yield* g(x);', {
          ...handler,
          frames: frames('flush_tlb_func#1', 'inner'),
        }),
        event('CPU0', 'returns from interrupt', { ...handler, op: 'irq_exit' }),
        statement(sources, 'CPU0', 'yield* h(x);', walk),
      ],
    );
    expect(draw(run, sources)).toBe(`
  CPU0
  ----
  gup_fast()
    gup_fast_pte_range()
      f(x);
      <IPI: flush_tlb_func>
        invlpg(addr);
        inner()
          g(x);
      h(x);
`);
  });

  it('show the return from an interrupt if that is what fails', () => {
    const violation = { ...USE_AFTER_FREE, kind: 'irq-leak' as const };
    const leaves = event('CPU0', 'returns from interrupt', { op: 'irq_exit', violation });
    expect(draw(report(['CPU0'], [leaves]), [])).toContain(
      '<returns from interrupt>  // !!! irq-leak',
    );
  });

  it('open each activation of a function once', () => {
    const walk = (call: number): object => ({ frames: frames('walk#0', `level#${call}`) });
    const run = report(
      ['CPU0', 'CPU1'],
      [
        step({ column: 'CPU0', ...walk(1), op: 'first' }),
        step({ column: 'CPU1', op: 'other' }),
        step({ column: 'CPU0', ...walk(1), op: 'second' }),
        step({ column: 'CPU0', ...walk(2), op: 'third' }),
      ],
    );
    expect(draw(run, [], { layout: 'tagged' })).toBe(`
  1 [CPU0] walk()
  2 [CPU0]   level()
  3 [CPU0]     first();
  4 [CPU1] other();
  5 [CPU0]     second();
  6 [CPU0]   level()
  7 [CPU0]     third();
`);
  });

  it('put what happens on no CPU into the active column', () => {
    const elsewhere = event('', 'X is handed to another process', {
      actor: 'owner',
      op: 'foreign_alloc',
    });
    const run = report(
      ['CPU0', 'CPU1'],
      [
        step({ column: 'CPU0' }),
        step({ column: 'CPU1' }),
        elsewhere,
        step({ column: 'CPU1', op: 'write' }),
      ],
    );
    expect(draw(run, [])).toBe(`
  CPU0                                 CPU1
  ----                                 ----
  read();

                                       read();
                                       <X is handed to another process>
                                       write();
`);
  });

  it('say what a store stores, unless its text does', () => {
    const sources: string[] = [];
    const stores = ['yield* WRITE_ONCE(x, seq);', 'yield* WRITE_ONCE(x, 4);'].map((source) =>
      statement(sources, 'CPU0', source, { op: 'write', comment: '4' }),
    );
    const named = statement(sources, 'CPU0', 'yield* WRITE_ONCE(mode, IN_GUEST_MODE);', {
      op: 'write',
      comment: 'IN_GUEST_MODE',
    });
    const read = statement(sources, 'CPU0', 'yield* f(x, 4);', { comment: '4' });
    const run = report(['CPU0'], [...stores, named, read]);
    expect(draw(run, sources).trim().split(/\n */)).toEqual([
      'CPU0',
      '----',
      'WRITE_ONCE(x, seq);  // 4',
      'WRITE_ONCE(x, 4);',
      'WRITE_ONCE(mode, IN_GUEST_MODE);',
      'f(x, 4);  // 4',
    ]);
  });

  it('leave out checks that found nothing and show the one that did as a remark', () => {
    const check = { column: 'CPU0', op: 'settle_claim', ghost: true };
    const violation = { ...USE_AFTER_FREE, kind: 'wrong-page' as const };
    const run = report(
      ['CPU0'],
      [
        step(check),
        step({ column: 'CPU0' }),
        step({ ...check, comment: 'X is returned', violation }),
      ],
    );
    expect(draw(run, [])).toBe(
      '\n  CPU0\n  ----\n  read();\n  [ X is returned ]  // !!! wrong-page\n',
    );
  });
});

describe('a run of more than 40 rows', () => {
  const sources: string[] = [];
  const filler = (name: string, call: number, count: number): ReturnType<typeof step>[] =>
    Array.from({ length: count }, () =>
      statement(sources, 'CPU1', 'yield* spin_lock(mm.ptl);', {
        op: 'lock',
        frames: frames('munmap', `${name}#${call}`),
      }),
    );
  const run = report(
    ['CPU0', 'CPU1'],
    [
      statement(sources, 'CPU0', 'const pmd = yield* pmdp_get(pmdp);', { meets: true }),
      statement(sources, 'CPU1', 'yield* pmd_clear(pmdp);', {
        meets: true,
        frames: frames('munmap'),
      }),
      ...filler('unmap_vmas', 1, 20),
      ...filler('free_pgtables', 2, 20),
      statement(sources, 'CPU1', 'yield* free_frame(table);', {
        op: 'free_page',
        frames: frames(
          'munmap',
          'tlb_flush_mmu#3',
          'tlb_table_flush#4',
          '__tlb_remove_table_free#5',
        ),
        objects: ['pteA'],
        comment: 'pteA freed',
      }),
      statement(sources, 'CPU0', 'const pte = yield* ptep_get(ptep);', {
        violation: USE_AFTER_FREE,
      }),
    ],
  );

  it('keeps what one CPU does that another notices, and elides the rest', () => {
    expect(draw(run, sources)).toBe(`
  CPU0                                CPU1
  ----                                ----
  pmd = pmdp_get(pmdp);

                                      munmap()
                                        pmd_clear(pmdp);
                                        ...
                                        __tlb_remove_table_free()
                                          free_frame(table);  // pteA freed

  pte = ptep_get(ptep);  // !!! use-after-free
`);
  });

  it('is drawn whole if somebody asks for everything', () => {
    const text = draw(run, sources, { detail: 'full' });
    expect(text.match(/spin_lock\(mm->ptl\);/g)).toHaveLength(40);
    expect(text).not.toContain('...');
  });
});

describe('store buffers', () => {
  const sources: string[] = [];
  const store = statement(sources, 'CPU0', 'yield* WRITE_ONCE(x, 1);', { buffered: true });
  const load = statement(sources, 'CPU0', 'const y = yield* READ_ONCE(y);', { comment: '0' });
  const other = statement(sources, 'CPU1', 'const x = yield* READ_ONCE(x);', { comment: '0' });
  const flush = (flushes: number, more: Partial<Step> = {}): Step =>
    event('CPU0', 'reaches memory', {
      actor: 'store buffer of CPU0',
      op: 'flush',
      flushes,
      ...more,
    });
  const both = (...steps: readonly Step[]): RunReport => report(['CPU0', 'CPU1'], steps);

  it('says that a store is in one, and when it reaches memory', () => {
    expect(draw(both(store, other, flush(1)), sources)).toBe(`
  CPU0                                 CPU1
  ----                                 ----
  WRITE_ONCE(x, 1);  // in the store buffer

                                       x = READ_ONCE(x);  // 0

  <WRITE_ONCE(x, 1) reaches memory>
`);
  });

  it('are not mentioned where nobody else does anything in between', () => {
    expect(draw(both(store, load, flush(1), other), sources)).toBe(`
  CPU0                                 CPU1
  ----                                 ----
  WRITE_ONCE(x, 1);
  y = READ_ONCE(y);  // 0

                                       x = READ_ONCE(x);  // 0
`);
  });

  it('a store that never gets to memory stays in one', () => {
    expect(draw(both(store, other), sources)).toContain(
      'WRITE_ONCE(x, 1);  // in the store buffer\n',
    );
  });

  it('what a store took away is said where it does so', () => {
    const took = { comment: 'pteA unlinked' };
    expect(draw(both(store, flush(1, took)), sources)).toContain(
      'WRITE_ONCE(x, 1);  // pteA unlinked\n',
    );
    expect(draw(both(store, other, flush(1, took)), sources)).toMatch(
      /<WRITE_ONCE\(x, 1\) reaches memory>\s+\/\/ pteA unlinked\n/,
    );
  });

  it('a violation is shown where it happens', () => {
    const violation = { kind: 'use-after-free', actor: 'CPU0', object: 'P', message: '' } as const;
    expect(draw(both(store, flush(1, { violation })), sources)).toMatch(
      /<WRITE_ONCE\(x, 1\) reaches memory>\s+\/\/ !!! use-after-free\n/,
    );
  });

  it('stands in the tagged layout, too', () => {
    expect(draw(both(store, other, flush(1)), sources, { layout: 'tagged' })).toContain(
      '<WRITE_ONCE(x, 1) reaches memory>',
    );
  });

  it('in a long diagram, only those stores and flushes that others notice', () => {
    const filler = Array.from({ length: 45 }, () =>
      statement(sources, 'CPU1', 'yield* READ_ONCE(z);', { meets: false }),
    );
    const idle = statement(sources, 'CPU0', 'yield* WRITE_ONCE(w, 1);', { buffered: true });
    const steps = (meets: boolean) => both(store, idle, ...filler, flush(1, { meets }), flush(2));
    const noticed = draw(steps(true), sources);
    expect(noticed).toContain('WRITE_ONCE(x, 1);  // in the store buffer');
    expect(noticed).toContain('<WRITE_ONCE(x, 1) reaches memory>');
    expect(noticed).not.toContain('w, 1');
    expect(draw(steps(false), sources)).not.toContain('x, 1');
  });
});
