import { describe, expect, it } from 'vitest';
import type { ErrorDetails } from '../../src/base/errors.ts';
import { renderError } from '../../src/report/error-text.ts';

function render(
  code: string | null,
  what: string,
  details: ErrorDetails,
  lines: Readonly<Record<number, string>> = {},
): string {
  const shorten = (file: string): string => file.replace('/folder/', '');
  return renderError({ code, what, details }, (_file, line) => lines[line] ?? null, shorten);
}

const at = (file: string, line: number, column: number): ErrorDetails => ({
  site: { file: `/folder/${file}`, line, column },
});

/** The examples of product.md, section 8. */
describe('renderError', () => {
  it('marks the call and puts the code at the right end of the last line', () => {
    const details = {
      ...at('my-race.ts', 12, 3),
      label: 'an operation does nothing until it is yielded',
      help: 'write `yield* local_irq_save();`',
    };
    expect(
      render('E101', 'local_irq_save() was called but never ran', details, {
        12: '  local_irq_save();',
      }),
    ).toBe(`error: local_irq_save() was called but never ran
  --> my-race.ts:12:3
12 |   local_irq_save();
   |   ^^^^^^^^^^^^^^^^ an operation does nothing until it is yielded
help: write \`yield* local_irq_save();\`                              [E101]
`);
  });

  it('names the variant and the verdict the error stands for', () => {
    const details = {
      ...at('kvm.ts', 71, 19),
      variant: 'no retry',
      notes: ['actors call is_page_fault_stale(), which does not call it'],
      verdict: 'vacuous (exit 4), not safe',
    };
    const what = 'patched function mmu_invalidate_retry_gfn() is never called';
    expect(render('E201', what, details)).toBe(`error: ${what}
  --> kvm.ts:71:19, variant 'no retry'
note: actors call is_page_fault_stale(), which does not call it
verdict: vacuous (exit 4), not safe                                 [E201]
`);
  });

  it('fits a last line of up to 67 characters beside the code, and a longer one above it', () => {
    const fits = 'inconclusive (exit 3).  Raise the bound, or use spin_until';
    expect(render('E302', 'bound', { verdict: fits })).toBe(
      `error: bound\nverdict: ${fits} [E302]\n`,
    );
    expect(render('E302', 'bound', { verdict: `${fits}s` })).toBe(
      `error: bound\nverdict: ${fits}s\n${' '.repeat(68)}[E302]\n`,
    );
  });

  it('keeps the lines of a note and folds long ones below their text', () => {
    const details = {
      notes: [
        'with the same results, CPU0 did different things:\n  first  time, step 7: pmdp_get_lockless()\n  second time, step 7: local_irq_restore()',
      ],
      help: 'an actor may depend only on what its yield*s return, and on nothing that is declared outside',
    };
    expect(render('E303', 'the scenario is not deterministic', details))
      .toBe(`error: the scenario is not deterministic
note: with the same results, CPU0 did different things:
        first  time, step 7: pmdp_get_lockless()
        second time, step 7: local_irq_restore()
help: an actor may depend only on what its yield*s return, and on nothing
      that is declared outside                                      [E303]
`);
  });

  const marks = (text: string, column: number): number =>
    /\^+/.exec(render(null, 'x', { ...at('a.ts', 1, column), label: 'here' }, { 1: text }))?.[0]
      .length ?? 0;

  it.each([
    ['  f(g(x), "(") + 1', 3, 'f(g(x), "(")'],
    ['  yield* f(x);', 3, 'yield* f(x)'],
    ['  const a = 1;', 9, 'a'],
    ['  mm.f(', 3, 'mm.f'],
    ['  (x)', 3, '('],
    ['  x', 9, ' '],
  ])('marks in %j from %i: %j', (text, column, marked) => {
    expect(marks(text, column)).toBe(marked.length);
  });

  it('keeps the marks below tabs', () => {
    const text = render(null, 'x', { ...at('a.ts', 9, 3), label: 'here' }, { 9: '\t\tf();' });
    expect(text).toBe('error: x\n  --> a.ts:9:3\n9 | \t\tf();\n  | \t\t^^^ here\n');
  });

  it('says only what it knows', () => {
    expect(render('E114', 'no file a.ts', {})).toBe(`error: no file a.ts${' '.repeat(49)}[E114]\n`);
    expect(render(null, 'fault in gracewalk', at('a.ts', 1, 1))).toBe(
      'error: fault in gracewalk\n  --> a.ts:1:1\n',
    );
  });
});
