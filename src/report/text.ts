import { assumptionBlock, assumptionLine, commonAssumptions } from './assumptions.ts';
import { details } from './details.ts';
import { counted, grouped, seconds } from './numbers.ts';
import { prose, type Painter, type TextOptions } from './text-options.ts';
import { expectation, stoppedBy } from './verdict.ts';
import { fold } from './wrap.ts';
import type { VariantResult } from '../scenario/result.ts';

/** The text of `check`: one block per scenario, then what is not as expected. */
export function renderCheck(results: readonly VariantResult[], options: TextOptions): string {
  const blocks: string[] = [];
  for (const id of new Set(results.map(({ scenario }) => scenario))) {
    const own = results.filter(({ scenario }) => scenario === id);
    blocks.push(summary(own, options));
    if (options.assumptions) blocks.push(assumptionBlock(own, options));
    blocks.push(...own.flatMap((result) => details(result, options)));
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
  const counts = results.map(({ explored: { runs, certificate } }) => {
    if (!certificate) return counted(runs, 'run');
    // Where outcomes of one step touch different things, either may go through a class more than once.
    const relation = certificate.runs === runs ? '=' : '/';
    return `${counted(runs, 'run')} ${relation} ${grouped(certificate.runs)}`;
  });
  const runsWidth = Math.max(...counts.map((count) => count.length));
  const rows = results.map((result, at) => {
    const word = verdictWord(result, painter, wordWidth);
    const start = `  ${result.variant.padEnd(width)}   ${word}   ${counts[at]?.padEnd(runsWidth)}  `;
    const column = 2 + width + 3 + wordWidth + 3 + runsWidth + 2;
    const own = remark(result, common);
    const other = differs(result, first);
    return [start, ...remarkLines(own, other, column, most)].join('').replace(/ +$/gm, '');
  });
  return [
    `${first.scenario}    ${first.machineTitle}, ${MODELS[first.model]}`,
    '',
    ...rows,
    '',
    ...assumptionLine(common, most),
  ].join('\n');
}

const MODELS: Readonly<Record<VariantResult['model'], string>> = { sc: 'SC', tso: 'TSO' };

/** What the headline says of the first variant and is not true of this one. */
function differs({ machineTitle, model }: VariantResult, first: VariantResult): string {
  const parts = [
    ...(machineTitle === first.machineTitle ? [] : [machineTitle]),
    ...(model === first.model ? [] : [MODELS[model]]),
  ];
  return parts.length === 0 ? '' : `(${parts.join(', ')})`;
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
  if (!ok) return `expected ${expectation(result.expected)}`;
  return result.assumptions.filter((each) => !common.includes(each)).join('; ');
}

function closing(results: readonly VariantResult[]): string {
  const ok = results.filter((result) => result.ok).length;
  const ms = results.reduce((sum, { explored }) => sum + explored.ms, 0);
  // True of what is listed, and of nothing else.
  const all = results.every(({ explored }) => explored.exhaustive)
    ? 'Every run was explored.  '
    : '';
  const certified = results.every(({ explored }) => explored.certificate !== null)
    ? 'Wakeup trees find the same classes of runs (the second count).  '
    : '';
  return `${all}${certified}${ok} of ${results.length} as expected (${seconds(ms)}).\n`;
}
