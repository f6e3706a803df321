import type { RunReport, SourceLines, Step } from '../scenario/result.ts';
import { withFlushes } from './flushes.ts';
import { statementText } from './statement.ts';

/** A run with its name: what the forms for other programs (HTML, SVG, traces) are made from. */
export interface RunView {
  readonly scenario: string;
  readonly variant: string;
  readonly token: string;
  readonly run: RunReport;
}

/** A step that is shown, with its text. */
export interface ShownStep extends Step {
  readonly text: string;
}

/** Every step that is one for people: a sanitizer's own only if it found something. */
export function shownSteps(run: RunReport, source: SourceLines): ShownStep[] {
  let column = run.columns[0] ?? '';
  return withFlushes(run.steps, source)
    .filter(({ ghost, violation }) => !ghost || violation !== null)
    .map((step) => {
      if (step.column !== '') column = step.column;
      return { ...step, column, text: textOf(step, source) };
    });
}

function textOf(step: Step, source: SourceLines): string {
  if (step.event !== null) return `<${step.event}>`;
  return step.ghost ? `[ ${step.comment ?? step.op} ]` : statementText(step, source);
}

/** What the run shows, in a sentence. */
export function sentence({ violation }: RunReport): string {
  return violation ? `${violation.kind}: ${violation.message}` : 'no violation';
}

/** Text for HTML and SVG, in elements and in quoted attributes. */
export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
