import { renderDiagram, type DiagramOptions } from './diagram.ts';
import { renderError, type PrintableError } from './error-text.ts';
import { counted, grouped, seconds } from './numbers.ts';
import { fold } from './wrap.ts';
import type { LimitHit, RunReport, VariantResult } from '../scenario/result.ts';

/** Colours verdict words, the failing row and nothing else; the text is the same without. */
export interface Painter {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly warn: (text: string) => string;
}

export const PLAIN: Painter = { good: (text) => text, bad: (text) => text, warn: (text) => text };

export interface TextOptions extends DiagramOptions {
  readonly painter: Painter;
  /** Show the diagrams of failures that were expected, too (somebody asked for that variant). */
  readonly showExpected: boolean;
  /** How messages call a file. */
  readonly shorten: (file: string) => string;
}

/** The text of `check`: one block per scenario, then what is not as expected. */
export function renderCheck(results: readonly VariantResult[], options: TextOptions): string {
  const blocks: string[] = [];
  for (const id of new Set(results.map(({ scenario }) => scenario))) {
    const own = results.filter(({ scenario }) => scenario === id);
    blocks.push(summary(own, options), ...own.flatMap((result) => detail(result, options)));
  }
  if (results.length > 0) blocks.push(prose(closing(results), options));
  return blocks.join('\n');
}

function summary(results: readonly VariantResult[], { painter, width: most }: TextOptions): string {
  const [first] = results;
  if (!first) return '';
  const common = commonAssumptions(results);
  const width = Math.max(...results.map(({ variant }) => variant.length));
  const wordWidth = Math.max(...results.map(({ verdict }) => verdict.length));
  const counts = results.map(({ explored }) => counted(explored.runs, 'run'));
  const runsWidth = Math.max(...counts.map((count) => count.length));
  const rows = results.map((result, at) => {
    const word = verdictWord(result, painter, wordWidth);
    const start = `  ${result.variant.padEnd(width)}   ${word}   ${counts[at]?.padEnd(runsWidth)}  `;
    const column = 2 + width + 3 + wordWidth + 3 + runsWidth + 2;
    const own = remark(result, common);
    const other = result.machineTitle === first.machineTitle ? '' : `(${result.machineTitle})`;
    return [start, ...remarkLines(own, other, column, most)].join('').replace(/ +$/gm, '');
  });
  return [
    `${first.scenario}    ${first.machineTitle}, SC`,
    '',
    ...rows,
    '',
    ...assumptionLines(common, most),
  ].join('\n');
}

/** A remark has at least so much room, or it stands below its row. */
const REMARK_WIDTH = 20;

/** What stands behind the number of runs, up to the width; the rest on lines of its own below the remark. */
function remarkLines(own: string, machine: string, column: number, width: number): string[] {
  const whole = [own, machine].filter((part) => part !== '').join('   ');
  if (whole === '') return [];
  if (column + whole.length <= width) return [whole];
  const beside = width - column >= REMARK_WIDTH;
  const indent = beside ? column : 6;
  const lines = foldList(own, width - indent);
  const last = lines.at(-1) ?? '';
  const fits = indent + last.length + 3 + machine.length <= width;
  if (machine !== '' && fits && own !== '') lines[lines.length - 1] = `${last}   ${machine}`;
  else if (machine !== '') lines.push(...fold(machine, width - indent).split('\n'));
  const [head = '', ...more] = lines.filter((line) => line !== '');
  const below = `\n${' '.repeat(indent)}`;
  return [beside ? head : `${below}${head}`, ...more.map((line) => `${below}${line}`)];
}

/** Kinds and assumptions stay in one piece if they can. */
function foldList(text: string, width: number): string[] {
  const items = text.replace(/(?<![,;]) /g, '\u00a0');
  const whole = items.split(' ').every((item) => item.length <= width);
  return fold(whole ? items : text, width)
    .replaceAll('\u00a0', ' ')
    .split('\n');
}

/** Sentences, folded. Two of them have two spaces between them, which must not end a line. */
function prose(text: string, { width }: TextOptions): string {
  return fold(text, width).replace(/ +$/gm, '');
}

function verdictWord({ verdict, ok }: VariantResult, painter: Painter, width: number): string {
  const word = verdict === 'safe' ? verdict : verdict.toUpperCase();
  const padded = word.padEnd(width);
  if (ok) return painter.good(padded);
  return verdict === 'inconclusive' || verdict === 'vacuous'
    ? painter.warn(padded)
    : painter.bad(padded);
}

function remark(result: VariantResult, common: readonly string[]): string {
  const { verdict, kinds, ok } = result;
  if (verdict === 'fails') return `${kinds.join(', ')}${ok ? ', as expected' : ''}`;
  if (verdict === 'inconclusive') return result.limit ? stoppedBy(result.limit) : '';
  if (!ok) return `expected ${expectation(result)}`;
  return result.assumptions.filter((each) => !common.includes(each)).join('; ');
}

function expectation({ expected }: VariantResult): string {
  return expected.verdict === 'safe' ? 'safe' : `to fail with ${expected.kinds.join(', ')}`;
}

/** What every safe variant assumes. */
function commonAssumptions(results: readonly VariantResult[]): string[] {
  const safe = results.filter(({ verdict }) => verdict === 'safe');
  return (safe[0]?.assumptions ?? []).filter((each) =>
    safe.every(({ assumptions }) => assumptions.includes(each)),
  );
}

/** U19, and the promise behind `safe`: under which environment was everything explored? */
function assumptionLines(common: readonly string[], width: number): string[] {
  return common.length === 0 ? [] : [fold(`Assumed: ${common.join('; ')}.`, width), ''];
}

/** Patches that nothing calls, and bounds that were reached, in the form of errors: they have a place. */
function located(result: VariantResult, options: TextOptions): string[] {
  const { limit, variant } = result;
  const errors = result.neverCalled.map(({ name, site }): PrintableError => ({
    code: 'E201',
    what: `patched function ${name}() is never called`,
    details: {
      site: site ?? undefined,
      variant,
      notes: ['no actor of this variant calls it, so the patch changes nothing'],
      help: 'patch a function that is called, or remove the patch',
      verdict: 'vacuous (exit 4), not safe',
    },
  }));
  if (limit?.name === 'bounded') {
    errors.push({
      code: 'E302',
      what: `the bound of ${counted(limit.value, 'round')} was reached`,
      details: {
        site: limit.site ?? undefined,
        variant,
        notes: [
          `${counted(limit.runs ?? 0, 'run')} stopped here; nothing is known about a further round`,
        ],
        help: 'raise the bound, or use spin_until',
        verdict: 'inconclusive (exit 3)',
      },
    });
  }
  return errors.map((error) => renderError(error, options.source, options.shorten));
}

function stoppedBy(limit: LimitHit): string {
  if (limit.name === 'interrupt') return 'interrupted';
  if (limit.name === 'switches') {
    return `only runs of up to ${counted(limit.value, 'context switch').replace(/hs$/, 'hes')} were tried`;
  }
  if (limit.name === 'bounded') return `the bound of ${counted(limit.value, 'round')} was reached`;
  return `stopped at ${limit.name}=${limitValue(limit)}`;
}

function limitValue({ name, value }: LimitHit): string {
  if (name === 'time') return `${value / 1000}s`;
  if (name === 'memory') return `${Math.round(value / 2 ** 20)}M`;
  return grouped(value);
}

function detail(result: VariantResult, options: TextOptions): string[] {
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
    ...run.waiting.map((line) => prose(`${line}.`, options)),
    ...(run.waiting.length > 0 ? [''] : []),
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

function closing(results: readonly VariantResult[]): string {
  const ok = results.filter((result) => result.ok).length;
  const ms = results.reduce((sum, { explored }) => sum + explored.ms, 0);
  // True of what is listed, and of nothing else.
  const all = results.every(({ explored }) => explored.exhaustive)
    ? 'Every run was explored.  '
    : '';
  return `${all}${ok} of ${results.length} as expected (${seconds(ms)}).\n`;
}
