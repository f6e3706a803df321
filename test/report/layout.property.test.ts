import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renderDiagram } from '../../src/report/diagram.ts';
import type { RunReport, SourceLines, Step } from '../../src/scenario/result.ts';
import { statementText } from '../../src/report/statement.ts';
import { event, report, sourceOf, statement } from './make.ts';

/** What every diagram of any run must be, whatever is in it. */

const name = fc
  .tuple(fc.constantFrom('_', 'f', 'kvm_', 'tlb_flush_'), fc.stringMatching(/^[a-z_]{0,24}$/))
  .map(([first, rest]) => first + rest);
const member = fc.tuple(name, name).map(([object, field]) => `${object}.${field}`);
const argument = fc.oneof(
  name,
  member,
  fc.constantFrom('0x1000', 'state | KVM_VCPU_FLUSH_TLB', "'\u00e9'"),
);
const source = fc
  .tuple(fc.option(name, { nil: null }), name, fc.array(argument, { maxLength: 6 }))
  .map(
    ([left, f, args]) =>
      `${left === null ? '' : `const ${left} = `}yield* ${f}(${args.join(', ')});`,
  );
const comment = fc.option(
  fc.constantFrom('-> pteA', 'vCPU0 leaves flushmask: no IPI', '\u2192 \u2713', ''),
  {
    nil: null,
  },
);

interface Drawn {
  readonly run: RunReport;
  readonly source: SourceLines;
}

function runs(columnCount: number): fc.Arbitrary<Drawn> {
  const columns = ['CPU0', 'vCPU1', 'khugepaged', 'CPU3', 'CPU4'].slice(0, columnCount);
  const draft = fc.record({
    column: fc.constantFrom(...columns),
    source,
    comment,
    path: fc.array(fc.tuple(name, fc.integer({ min: 0, max: 2 })), { maxLength: 7 }),
    isEvent: fc.boolean(),
    meets: fc.boolean(),
  });
  return fc.array(draft, { minLength: 1, maxLength: 60 }).map((drafts) => {
    const sources: string[] = [];
    const steps = drafts.map((each, at): Step => {
      const frames = each.path.map(([frame, call]) => ({ name: frame, call }));
      const { column, meets } = each;
      if (each.isEvent && at % 5 === 0) return event(column, 'schedules out');
      return statement(sources, column, each.source, { frames, meets, comment: each.comment });
    });
    return { run: report(columns, steps), source: sourceOf(sources) };
  });
}

const widths = fc.integer({ min: 48, max: 120 });
const layouts = fc.constantFrom('columns' as const, 'tagged' as const);
const details = fc.constantFrom('auto' as const, 'full' as const);
const anyRun = fc.integer({ min: 1, max: 5 }).chain(runs);

/** Without the spaces that wrapping changes. */
const squeezed = (text: string): string => text.replace(/\s+/g, '');

describe('any run at any width', () => {
  it('fits, in printable ASCII without trailing spaces', () => {
    fc.assert(
      fc.property(
        anyRun,
        widths,
        layouts,
        details,
        ({ run, source: lines }, width, layout, detail) => {
          const text = renderDiagram(run, { width, layout, detail, source: lines });
          for (const line of text.split('\n')) {
            expect(line.length).toBeLessThanOrEqual(width);
            expect(line).toMatch(/^(?: .*[!-~])?$/); // begins with a space, ends without
            expect(line).toMatch(/^[ -~]*$/);
          }
          expect(text.startsWith('\n')).toBe(true);
          expect(text.endsWith('\n')).toBe(true);
        },
      ),
      { numRuns: 400 },
    );
  });

  it('shows every step in order if nothing is elided', () => {
    fc.assert(
      fc.property(anyRun, widths, layouts, ({ run, source: lines }, width, layout) => {
        const text = squeezed(renderDiagram(run, { width, layout, detail: 'full', source: lines }));
        let from = 0;
        for (const step of run.steps) {
          const own = step.event === null ? statementText(step, lines) : `<${step.event}>`;
          const wanted = squeezed(own.replace(/[^ -~]/gu, '?'));
          const at = text.indexOf(wanted, from);
          expect(at, `${wanted} in ${text.slice(from)}`).toBeGreaterThanOrEqual(from);
          from = at + wanted.length;
        }
      }),
      { numRuns: 300 },
    );
  });

  it('has a blank line where the column changes and nowhere else', () => {
    fc.assert(
      fc.property(runs(2), fc.integer({ min: 90, max: 120 }), ({ run, source: lines }, width) => {
        const options = { width, detail: 'full' as const, source: lines };
        const text = renderDiagram(run, { ...options, layout: 'columns' });
        fc.pre(text.includes('\n  ----'));
        const changes = run.steps.filter(
          (step, at) => at > 0 && run.steps[at - 1]?.column !== step.column,
        );
        const blanks = text
          .trim()
          .split('\n')
          .filter((line) => line === '');
        expect(blanks).toHaveLength(changes.length);
      }),
      { numRuns: 200 },
    );
  });

  it('is the same bytes every time', () => {
    fc.assert(
      fc.property(
        anyRun,
        widths,
        layouts,
        details,
        ({ run, source: lines }, width, layout, detail) => {
          const options = { width, layout, detail, source: lines };
          expect(renderDiagram(structuredClone(run), options)).toBe(renderDiagram(run, options));
        },
      ),
      { numRuns: 50 },
    );
  });
});
