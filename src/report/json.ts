import type { RunReport, SourceLines, Step, VariantResult } from '../scenario/result.ts';
import { withFlushes } from './flushes.ts';
import { statementText } from './statement.ts';

/**
 * The result as one JSON document. Removing a field or changing its meaning changes the schema's number;
 * adding one does not.
 */
export const SCHEMA = 'gracewalk.result/1';

export function toJson(
  results: readonly VariantResult[],
  engine: string,
  source: SourceLines,
): Record<string, unknown> {
  return {
    schema: SCHEMA,
    engine,
    ok: results.every(({ ok }) => ok),
    results: results.map((result) => resultJson(result, source)),
  };
}

/** A result as data. */
export function resultJson(result: VariantResult, source: SourceLines): Record<string, unknown> {
  const { expected, run, explored, ...rest } = result;
  return {
    scenario: rest.scenario,
    fingerprint: rest.fingerprint,
    variant: rest.variant,
    machine: rest.machine,
    model: rest.model,
    config: rest.config,
    expected: expected.verdict,
    expectedKinds: expected.kinds,
    shows: rest.shows,
    verdict: rest.verdict,
    ok: rest.ok,
    kinds: rest.kinds,
    violation: run?.violation ?? null,
    explored,
    sometimes: rest.sometimes,
    limit: rest.limit,
    neverCalled: rest.neverCalled.map(({ name }) => name),
    assumptions: rest.assumptions,
    token: rest.token,
    ...(run ? runJson(run, source) : { steps: [] }),
  };
}

/** A run: its steps as data, with the text that diagrams print. */
export function runJson(run: RunReport, source: SourceLines): Record<string, unknown> {
  return {
    switches: run.switches,
    minimal: run.minimal,
    waiting: run.waiting,
    ...(run.retries ? { retries: run.retries } : {}),
    steps: withFlushes(run.steps, source).map((step) => stepJson(step, source)),
  };
}

function stepJson(step: Step, source: SourceLines): Record<string, unknown> {
  const { n, actor, column, op, event, comment, objects, ghost, violation, site } = step;
  return {
    n,
    actor,
    column,
    depth: step.frames.length,
    op,
    frames: step.frames.map(({ name }) => name),
    text: event === null ? statementText(step, source) : `<${event}>`,
    comment,
    objects,
    at: site ? `${baseName(site.file)}:${site.line}` : null,
    ...(step.arrows ? { arrows: step.arrows } : {}),
    ...(step.changes?.length ? { diff: diffJson(step.changes) } : {}),
    ...(step.flushes === undefined ? {} : { flushes: step.flushes }),
    ...(step.refusals ? { refusals: step.refusals } : {}),
    ...(ghost ? { check: true } : {}),
    ...(violation ? { violation: violation.kind } : {}),
  };
}

/** `{ "interrupts of vCPU0": ["on", "off"] }`. */
function diffJson(changes: NonNullable<Step['changes']>): Record<string, readonly string[]> {
  return Object.fromEntries(changes.map(({ what, before, after }) => [what, [before, after]]));
}

/** The build keeps lines, so the name of the TypeScript source is the right one. */
function baseName(file: string): string {
  return (file.split('/').at(-1) ?? file).replace(/\.js$/, '.ts');
}
