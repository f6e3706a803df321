import type { AskResult, Completions } from '../ask/result.ts';
import { renderDiagram, type DiagramOptions } from './diagram.ts';
import { counted } from './numbers.ts';
import type { Painter } from './text-options.ts';
import { stoppedBy } from './verdict.ts';
import { fold } from './wrap.ts';

export interface AskTextOptions extends DiagramOptions {
  readonly painter: Painter;
  /** The scenario's file, if it is no built-in one: replaying a token needs it. */
  readonly file: string | null;
}

/** The answers to a question: one line for each variant, then runs and reasons. */
export function renderAsked(results: readonly AskResult[], options: AskTextOptions): string {
  const titles = [...new Set(results.map(({ title }) => title))];
  return titles
    .map((title) => {
      const own = results.filter((result) => result.title === title);
      return [summary(own, options), ...own.map((result) => answer(result, options))].join('\n');
    })
    .join('\n');
}

function summary(results: readonly AskResult[], { painter, width }: AskTextOptions): string {
  const [first] = results;
  if (!first) return '';
  const names = Math.max(...results.map(({ variant }) => variant.length));
  const words = Math.max(...results.map((result) => result.answer.length));
  const lines = results.map((result) => {
    const word = result.answer.toUpperCase().padEnd(words);
    const painted = result.ok && result.answer !== 'inconclusive' ? painter.good : painter.bad;
    return `  ${result.variant.padEnd(names)}   ${painted(word)}   ${remark(result)}`.trimEnd();
  });
  const model = first.model.toUpperCase();
  return [
    `${first.scenario}    ${first.machineTitle}, ${model}`,
    `asked: ${first.title}`,
    '',
    ...lines,
    '',
    ...fold(`Assumed: ${common(results).join('; ')}.`, width).split('\n'),
    '',
  ].join('\n');
}

/** What all variants assume. */
function common(results: readonly AskResult[]): readonly string[] {
  const [first, ...rest] = results;
  return (first?.assumptions ?? []).filter((each) =>
    rest.every(({ assumptions }) => assumptions.includes(each)),
  );
}

function remark(result: AskResult): string {
  const { answer: word, limit, completions, stopsAt, ok } = result;
  const unexpected = ok ? '' : ', which was not expected';
  if (word === 'inconclusive') return limit ? stoppedBy(limit) : '';
  if (word === 'unreachable') {
    return `after ${counted(stopsAt?.rows ?? 0, 'step')} of ${stopsAt?.of}${unexpected}`;
  }
  if (completions === null) return unexpected.replace(/^, /, '');
  if (completions.kinds.length > 0) {
    return `and then ${completions.kinds.join(', ')} can follow${unexpected}`;
  }
  return `${completions.exhaustive ? 'and harmless' : 'nothing found that follows'}${unexpected}`;
}

function answer(result: AskResult, options: AskTextOptions): string {
  const { width } = options;
  const text = (sentences: string): string => fold(sentences, width).replace(/ +$/gm, '');
  const head = `${result.scenario} / ${result.variant}: ${result.answer.toUpperCase()}`;
  const notes = result.notes.map((note) => text(`${note}.`));
  const known = notes.length === 0 ? [head] : [head, '', ...notes];
  if (result.run === null) return [...known, ...text(nothing(result)).split('\n'), ''].join('\n');
  const diagram = renderDiagram(result.run, options);
  if (result.stopsAt !== null) {
    const { title, row, because } = result.stopsAt;
    return [
      ...known,
      '',
      'The order gets this far, then stops:',
      diagram,
      text(`${title} (row ${row}) cannot come next.  ${because.join('  ')}`),
      '',
    ].join('\n');
  }
  return [
    ...known,
    diagram,
    ...(result.completions ? [text(consequence(result, result.completions))] : []),
    ...harm(result, options),
    ...(result.waits.length > 0
      ? [...(result.completions ? [''] : []), text(result.waits.join('  '))]
      : []),
    ...(result.completions || result.waits.length > 0 ? [''] : []),
    replay(result.token ?? '', options),
    '',
  ].join('\n');
}

function consequence(result: AskResult, { runs, kinds, exhaustive }: Completions): string {
  const have = `${counted(runs, 'run')} with this order`;
  if (kinds.length > 0) {
    const some = exhaustive ? `Of ${have}, some end` : `Some runs end`;
    const only = exhaustive && runs === 1;
    const which = only
      ? 'The only run with this order ends so, or is cut short by it.'
      : `${some} so, or are cut short by it.`;
    return `And then ${kinds.join(', ')} can follow.  ${which}`;
  }
  if (exhaustive) return `Harmless: there are ${have}, and none violates anything.`;
  const limit = result.limit ? ` (${stoppedBy(result.limit)})` : '';
  return `Whether a run with this order can violate anything is not known${limit}.`;
}

/** Where to see what can go wrong, if the run drawn does not show it. */
function harm({ completions, run }: AskResult, options: AskTextOptions): string[] {
  const token = completions?.token ?? null;
  return token === null || run?.violation ? [] : ['', replay(token, options, 'Such a run')];
}

function nothing({ limit }: AskResult): string {
  return `Not all runs were tried${limit ? `: ${stoppedBy(limit)}` : ''}.  This is no answer.  Raise the limit or drop it.`;
}

/** The line is meant to be pasted into a shell. */
function replay(token: string, { file }: AskTextOptions, what = 'Replay'): string {
  const word = `'${token.replaceAll("'", "'\\''")}'`;
  return `${what}: gracewalk replay ${word}${file === null ? '' : ` ${file}`}`;
}
