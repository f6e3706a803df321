import { entryText } from '../arch/entry-text.ts';
import type { TableKind } from '../arch/table-kind.ts';
import { grouped } from '../report/numbers.ts';
import { fold } from '../report/wrap.ts';
import { accessText } from '../walk/access.ts';
import type { Range } from '../walk/ranges.ts';
import { levelOf, type End, type Step } from '../walk/tables.ts';
import type { Translation, Walk } from '../walk/translate.ts';
import type { Listed, Translated } from './walk-result.ts';

/** What `gracewalk walk` prints for people. */

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function digits(value: bigint): string {
  return value.toString(16).padStart(16, '0');
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `4 KiB`, `1.5 GiB`. */
export function bytesText(bytes: bigint): string {
  let unit = 0;
  while (unit < UNITS.length - 1 && bytes >> BigInt(10 * (unit + 1)) > 0n) unit++;
  const tenths = Number((bytes * 10n) >> BigInt(10 * unit));
  const amount = tenths % 10 === 0 ? String(tenths / 10) : (tenths / 10).toFixed(1);
  return `${amount} ${UNITS[unit]}`;
}

const PAGE_SIZES = Array.from({ length: 64 }, (_, shift) =>
  bytesText(1n << BigInt(shift)).padStart(7),
);

/** One line of a list, in the manner of QEMU's `info mem`: first address, end, where to, access. */
export function rangeText({ start, end, physical, shift, access, ...it }: Range): string {
  const columns = [`${digits(start)}-${digits(end)}`];
  if (physical === null) columns.push(digits(end - start));
  else columns.push(digits(physical));
  if (shift !== null) columns.push(PAGE_SIZES[shift] ?? '');
  columns.push(accessText(access));
  if (it.accessed !== null || it.dirty !== null) {
    columns.push(`${it.accessed ? 'A' : '-'}${it.dirty ? 'D' : '-'}`);
  }
  return columns.join('  ');
}

/** The last lines of a list: how much there was, and what is missing from it. */
export function totalText({ pages, bytes, ranges, unbacked, stopped }: Listed): string {
  const lines = [`${plural(pages, 'page')}, ${bytesText(bytes)}, in ${plural(ranges, 'range')}.`];
  if (unbacked > 0n) {
    lines.push(`${bytesText(unbacked)} more are mapped by the guest but not by the second stage.`);
  }
  if (stopped !== null) {
    lines.push(`Stopped at ${stopped}: there is more.  Raise --limit ${stopped.split('=')[0]}=.`);
  }
  return `\n${lines.join('\n')}\n`;
}

function plural(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;
}

const WIDTH = 75;

/** An entry: where it is and its value, and below it what that means. */
function stepLines(kind: TableKind, step: Step, place: string, indent: string): string[] {
  const { level, index, bits, entry } = step;
  const meaning = fold(entryText(entry, bits), WIDTH - indent.length - 4).split('\n');
  return [
    `${indent}${levelOf(kind, level).name}[${index}] at ${place}: 0x${digits(bits)}`,
    ...meaning.map((line, i) => `${indent}${i === 0 ? '    ' : '        '}${line}`),
  ];
}

function walkLines(kind: TableKind, { steps, end }: Walk, address: bigint): string[] {
  return [
    `    guest-physical ${hex(address)} by ${kind.name}:`,
    ...steps.flatMap((step) => stepLines(kind, step, hex(step.at), '        ')),
    `        ${end.kind === 'mapped' ? `-> ${hex(end.physical)}` : endText(end)}`,
  ];
}

function endText(end: Exclude<End, { kind: 'mapped' }>): string {
  switch (end.kind) {
    case 'absent':
      return `not mapped: ${end.why}`;
    case 'refused':
      return `faults: ${end.why}`;
    case 'missing':
      return `needs ${hex(end.missing.address)}, which cannot be read: ${end.missing.why}`;
  }
}

export function translationText({
  kind,
  second,
  address,
  translation,
  result,
}: Translated): string {
  const lines: string[] = [];
  for (const { at, step, second: walk } of translation.visits) {
    if (second && walk) lines.push(...walkLines(second, walk, at));
    const place = walk?.end.kind === 'mapped' ? hex(walk.end.physical) : hex(at);
    if (step) lines.push(...stepLines(kind, step, place, ''));
  }
  const { end, second: last } = translation;
  if (second && last && end.kind === 'mapped') lines.push(...walkLines(second, last, end.physical));
  lines.push('', `${hex(address)} ${resultText(translation, result)}`);
  return `${lines.join('\n')}\n`;
}

function resultText({ end, second }: Translation, result: End): string {
  if (result.kind === 'mapped') {
    const size = bytesText(1n << BigInt(result.shift));
    return `-> ${hex(result.physical)}, ${size} page, ${accessText(result.access)}`;
  }
  const text = `is ${endText(result)}`.replace(/^is (?!not)/, '');
  return end.kind === 'mapped' && second !== null ? `${text}, in the second stage` : text;
}
