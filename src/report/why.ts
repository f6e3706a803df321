import type { Answer, Failure, WhyResult } from '../why/result.ts';
import { renderDiagram } from './diagram.ts';
import { counted, seconds } from './numbers.ts';
import { runJson } from './json.ts';
import { statementText } from './statement.ts';
import type { TextOptions } from './text-options.ts';
import { stoppedBy } from './verdict.ts';
import { fold, wrap } from './wrap.ts';
import type { SourceLines, Step } from '../scenario/result.ts';

/** What `why` found, as text. */
export function renderWhy(result: WhyResult, options: TextOptions): string {
  const parts =
    result.verdict === 'safe'
      ? whySafe(result, options)
      : result.verdict === 'fails'
        ? whyFails(result, options)
        : [inconclusive(result)];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function whySafe(result: WhyResult, options: TextOptions): string[] {
  const { answers, items } = result;
  const name = `${title(result)} is ${options.painter.good('safe')}.`;
  const against = result.kind === null ? '' : ` from ${result.kind}`;
  const head =
    items.length === 0
      ? `${name}  It has no protection that could be taken away.`
      : answers.length === 0
        ? `${name}  Taking ${upTo(result)} of its protections away changes nothing${against}.`
        : `${name}  It stops being safe${against} without`;
  return [
    fold(head, options.width),
    ...effects(answers).map((effect) => sets(effect, result, options)),
    fold(meaning(answers), options.width),
    spare(result, options),
    vacuous(result, options),
    unknown(result, options),
    ...diagrams(answers, options),
    closing(result, options, 'taken away, and each variant that was left explored'),
  ];
}

function whyFails(result: WhyResult, options: TextOptions): string[] {
  const { failure, answers, items } = result;
  const head = `${title(result)} ${options.painter.bad('fails')}: ${failure?.effect ?? ''}`;
  const back =
    answers.length > 0
      ? 'It is safe without'
      : items.length === 0
        ? 'It is the scenario as it is: there is nothing of its own that could be taken back.'
        : `It still fails without ${upTo(result)} of what is its own: ${items.map(({ name }) => name).join(', ')}.`;
  return [
    head,
    failure ? failed(failure, options) : '',
    fold(back, options.width),
    ...effects(answers).map((effect) => sets(effect, result, options, false)),
    unknown(result, options),
    closing(result, options, 'taken back, and each variant that was left explored'),
  ];
}

function inconclusive(result: WhyResult): string {
  const why = result.limit ? `: ${stoppedBy(result.limit)}` : '';
  return `${title(result)} was not explored to its end${why}.\nWithout that nothing can be said of what carries it.`;
}

function title({ scenario, variant }: WhyResult): string {
  return `${scenario} / ${variant}`;
}

function upTo({ size }: WhyResult): string {
  return size === 1 ? 'any one' : `up to ${size}`;
}

function effects(answers: readonly Answer[]): string[] {
  return [...new Set(answers.map(({ effect }) => effect))];
}

const ITEM = 8;

/** The sets that have one effect, numbered. */
function sets(
  effect: string,
  { answers }: WhyResult,
  { width }: TextOptions,
  titled = true,
): string {
  const lines = answers
    .filter((answer) => answer.effect === effect)
    .flatMap(({ n, without, minimal }) =>
      without.flatMap((name, at) => {
        const last = at === without.length - 1;
        const text = `${name}${last ? '' : '  AND'}${last && !minimal ? '  (one of them may do)' : ''}`;
        const indented = wrap(text, ITEM, width) ?? [' '.repeat(ITEM) + text];
        const [first = '', ...rest] = indented;
        return at > 0 ? indented : [`${`${n}.`.padStart(ITEM - 2)}  ${first.trimStart()}`, ...rest];
      }),
    );
  return titled ? `  ${effect}\n${lines.join('\n')}` : lines.join('\n');
}

function meaning(answers: readonly Answer[]): string {
  const several = answers.filter(({ without }) => without.length > 1);
  if (several.length === 0) return '';
  const most = Math.max(...several.map(({ without }) => without.length));
  return most === 2 ? 'AND: either of the two is enough.' : 'AND: any one of them is enough.';
}

/** Protections that are in no set: proven, as far as sets go. */
function spare(result: WhyResult, { width }: TextOptions): string {
  const open = new Set(result.undecided.flatMap(({ without }) => without));
  const none = result.items.filter(({ name, needed }) => !needed && !open.has(name));
  if (none.length === 0 || result.untried > 0) return '';
  const how =
    result.size === 1
      ? 'alone'
      : `alone or with ${result.size === 2 ? 'one other' : `${result.size - 1} others`}`;
  const lines = none.flatMap(({ name, unseen }) => {
    const lost = unseen.map((witness) => `'${witness}'`).join(', ');
    const text = lost === '' ? name : `${name}  (without it never seen: ${lost})`;
    return wrap(text, 4, width) ?? [`    ${text}`];
  });
  return [
    fold(`Not needed in this variant: with it gone, ${how}, nothing more goes wrong.`, width),
    ...lines,
  ].join('\n');
}

/** A variant that never does what it is about may do without anything. */
function vacuous({ unseen }: WhyResult, { width }: TextOptions): string {
  if (unseen.length === 0) return '';
  const list = unseen.map((witness) => `'${witness}'`).join(', ');
  return fold(
    `Vacuous: never seen in it ${list}.  What protects against what comes then, this does not tell.`,
    width,
  );
}

/** What could not be decided. Never silently dropped. */
function unknown({ undecided, untried, limit }: WhyResult, { width }: TextOptions): string {
  const lines = undecided.flatMap(({ without, reason }) => {
    const text = `${without.join(' AND ')}: ${reason}`;
    return wrap(text, 4, width) ?? [`    ${text}`];
  });
  const parts = lines.length > 0 ? [`Undecided:`, ...lines] : [];
  if (untried > 0) {
    const why = limit ? `, ${stoppedBy(limit)}` : '';
    parts.push(`Not tried: ${counted(untried, 'set')}${why}.`);
  }
  if (parts.length > 0)
    parts.push('Of these nothing is known.  Raise --limit, or ask for a smaller --size.');
  return parts.map((line) => (line.startsWith(' ') ? line : fold(line, width))).join('\n');
}

function diagrams(answers: readonly Answer[], options: TextOptions): string[] {
  return answers.flatMap(({ n, run, message, without }) => {
    if (!run) return [];
    const list = without.map((name) => `'${name}'`).join(',\n              ');
    return [
      fold(`${n}.  ${message}`, options.width),
      `${renderDiagram(run, options).trimEnd().replace(/^\n/, '')}`,
      `As a variant of its own:\n    without: [${list}],`,
    ];
  });
}

function failed({ run, order }: Failure, options: TextOptions): string {
  const { violation } = run;
  const diagram = renderDiagram(run, options).trimEnd().replace(/^\n/, '');
  const pairs = order.flatMap(([first, second]) => pair(run.steps, first, second, options));
  return [
    ...(violation ? [fold(violation.message, options.width), ''] : []),
    diagram,
    ...(pairs.length > 0
      ? ['', 'Every run in this order fails, whatever comes in between:', ...pairs]
      : []),
  ].join('\n');
}

function pair(
  steps: readonly Step[],
  first: number,
  second: number,
  { width, source }: TextOptions,
): string[] {
  const line = (n: number, indent: number, lead: string): string[] => {
    const step = steps[n - 1] as Step;
    const text = `${lead}${step.column}: ${stepText(step, source)}`;
    return wrap(text, indent, width) ?? [' '.repeat(indent) + text];
  };
  return [...line(first, 4, ''), ...line(second, 6, 'before ')];
}

function stepText(step: Step, source: SourceLines): string {
  return step.event === null ? statementText(step, source) : `<${step.event}>`;
}

function closing(result: WhyResult, { width }: TextOptions, how: string): string {
  const { explored, assumptions, items, verdict } = result;
  const what = verdict === 'safe' ? 'protection' : 'difference';
  const tried =
    explored.sets === 0
      ? `${counted(explored.runs, 'run')} explored`
      : `${counted(explored.sets, 'set')} of ${result.size === 1 ? 'one' : upTo(result)} of ${counted(items.length, what)} ${how}: ${counted(explored.runs, 'run')}`;
  return fold(
    `${capital(tried)} (${seconds(explored.ms)}).\nAssumed: ${assumptions.join('; ')}.`,
    width,
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The same as one document. */
export function whyJson(
  result: WhyResult,
  engine: string,
  source: SourceLines,
): Record<string, unknown> {
  const { answers, failure, ...rest } = result;
  return {
    schema: 'gracewalk.why/1',
    engine,
    ...rest,
    answers: answers.map(({ run, ...answer }) => ({
      ...answer,
      run: run ? runJson(run, source) : null,
    })),
    failure: failure
      ? { effect: failure.effect, order: failure.order, ...runJson(failure.run, source) }
      : null,
  };
}
