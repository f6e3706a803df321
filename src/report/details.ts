import { renderDiagram } from './diagram.ts';
import { renderError, type PrintableError } from './error-text.ts';
import { counted } from './numbers.ts';
import { prose, type Painter, type TextOptions } from './text-options.ts';
import { waitingLines } from './waiting.ts';
import { stoppedBy, withoutEffect } from './verdict.ts';
import type { LimitHit, RunReport, VariantResult } from '../scenario/result.ts';

/** What is to be said of a variant beyond its line in the table: blocks of text, none if all is well. */
export function details(result: VariantResult, options: TextOptions): string[] {
  const { verdict, ok, run } = result;
  const parts: string[] = [];
  if (verdict === 'fails' && run && (!ok || options.showExpected)) {
    parts.push(failure(result, run, options));
  }
  if (!ok && verdict === 'inconclusive' && result.limit)
    parts.push(prose(inconclusive(result, result.limit), options));
  if (!ok && verdict === 'vacuous' && saysNothing(result))
    parts.push(prose(vacuous(result), options));
  const missing = result.expected.kinds.filter((kind) => !result.kinds.includes(kind));
  // Under a limit the rest was not tried, so nothing can be said of what never happens.
  if (!ok && verdict === 'fails' && missing.length > 0 && result.limit === null) {
    const what = `expected ${missing.join(', ')} as well, which never happened`;
    parts.push(prose(`${result.scenario} / ${result.variant}: ${what}\n`, options));
  }
  return [...parts, ...(ok ? [] : located(result, options))];
}

/** The body is meant to be selected and pasted. */
function failure(result: VariantResult, run: RunReport, options: TextOptions): string {
  const { violation } = run;
  const waiting = waitingLines(run);
  const kind = options.painter.bad(violation?.kind ?? 'violation');
  const minimal =
    run.minimal === 'global'
      ? `Fewest context switches: ${run.switches}, and with these fewest steps: ${run.steps.length}.`
      : `Minimal within this run only: ${run.switches} context switches, ${run.steps.length} steps.`;
  return [
    `${result.scenario} / ${result.variant}: ${kind}`,
    '',
    prose(violation?.message ?? '', options),
    paintFailing(renderDiagram(run, options), options.painter),
    ...waiting.map((line) => prose(line, options)),
    ...(waiting.length > 0 ? [''] : []),
    ...leftBehind(run, options).map((line) => prose(line, options)),
    prose(minimal, options),
    '',
    `Replay: gracewalk replay ${shellWord(result.token ?? '')}`,
    '',
  ].join('\n');
}

function paintFailing(diagram: string, painter: Painter): string {
  return diagram.replace(/\S.*!!! .*/g, (row) => painter.bad(row));
}

/** Variants are named freely; the line is meant to be pasted into a shell. */
function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** E401: for interrupts left off, the step that turned them off. */
function leftBehind(run: RunReport, options: TextOptions): string[] {
  const { violation } = run;
  if (violation?.kind !== 'irq-leak') return [];
  const off = run.steps.findLast(
    (step) => step.op === 'irq_save' && step.actor === violation.actor,
  );
  const at = off?.site
    ? `${options.shorten(off.site.file)}:${off.site.line}:${off.site.column}`
    : 'somewhere';
  return [`${off?.leaf?.name ?? 'local_irq_save'}() at ${at} is never undone.  [E401]`];
}

function inconclusive(result: VariantResult, limit: LimitHit): string {
  const { runs, steps } = result.explored;
  const advice: Readonly<Record<string, string>> = {
    interrupt: 'It was interrupted; run it again to the end.',
    bounded: 'What is beyond the bound is unknown.',
    random: 'Chance proves nothing: ask for more runs, another --seed, or for all runs.',
    pct: 'Chance proves nothing: ask for more runs, another --seed, or for all runs.',
    switches: 'All runs up to there were tried, without reduction; drop the limit for the others.',
  };
  const lines = [
    `${result.scenario} / ${result.variant}: inconclusive, ${stoppedBy(limit)}`,
    limit.name === 'switches'
      ? `No violation in ${counted(steps, 'state')}.`
      : `No violation in ${counted(runs, 'run')}, ${counted(steps, 'step')}; other runs were not tried.`,
  ];
  lines.push(
    `This is not a pass.  ${advice[limit.name] ?? `Raise --limit ${limit.name}= or drop the limit.`}`,
    '',
  );
  return lines.join('\n');
}

function saysNothing({ explored, sometimes }: VariantResult): boolean {
  return explored.runs === 0 || Object.values(sometimes).includes('never');
}

function vacuous(result: VariantResult): string {
  const never = Object.keys(result.sometimes).filter((name) => result.sometimes[name] === 'never');
  const lines = [`${result.scenario} / ${result.variant}: vacuous`];
  if (result.explored.runs === 0) {
    lines.push(
      `No run was completed: ${counted(result.explored.blocked, 'run')} were given up by assume().`,
    );
  } else if (never.length > 0) {
    lines.push(
      `No violation in ${counted(result.explored.runs, 'run')}, but never seen:`,
      ...never.map((name) => `  '${name}'`),
      'The result says nothing about what these would have shown.',
    );
  }
  return [...lines, ''].join('\n');
}

/** E302. */
function boundReached(limit: LimitHit, variant: string): PrintableError {
  const { site, message } = limit;
  const runs = counted(limit.runs ?? 0, 'run');
  return {
    code: 'E302',
    what: stoppedBy(limit),
    details: {
      site: site ?? undefined,
      variant,
      notes: [
        message ?? `${runs} stopped here; nothing is known about a further round`,
        ...(message === undefined ? [] : [`so it was in ${runs}`]),
      ],
      help:
        message === undefined
          ? 'raise the bound, or use spin_until'
          : 'say what the loop waits for with spin_until, or let who looks take the lock',
      verdict: 'inconclusive (exit 3)',
    },
  };
}

/** Patches that nothing calls, and bounds that were reached, in the form of errors: they have a place. */
function located(result: VariantResult, options: TextOptions): string[] {
  const { limit, variant } = result;
  const errors = result.neverCalled.map((change): PrintableError => ({
    code: 'E201',
    what: withoutEffect(change),
    details: {
      site: change.site ?? undefined,
      variant,
      ...(change.protection
        ? {
            notes: ['no actor of this variant comes by it, so nothing has changed'],
            help: 'gracewalk why lists the protections of a variant',
          }
        : {
            notes: ['no actor of this variant calls it, so the patch changes nothing'],
            help: 'patch a function that is called, or remove the patch',
          }),
      // With a patch that does nothing a variant fails for another reason than its author thinks.
      verdict: result.verdict === 'vacuous' ? 'vacuous (exit 4), not safe' : 'unexpected (exit 1)',
    },
  }));
  if (limit?.name === 'bounded') errors.push(boundReached(limit, variant));
  return errors.map((error) => renderError(error, options.source, options.shorten));
}
