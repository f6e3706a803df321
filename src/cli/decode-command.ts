import { compile, setBits, type Decoded } from '../arch/decode.ts';
import { draw } from '../arch/drawing.ts';
import { read, type EntryFormat } from '../arch/entry-format.ts';
import { entryText, fieldText, setFields } from '../arch/entry-text.ts';
import { tableKindNamed } from '../arch/kinds.ts';
import type { TableKind } from '../arch/table-kind.ts';
import { citationText } from '../base/citation.ts';
import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import { fold } from '../report/wrap.ts';
import type { ExitCode } from './exit-code.ts';
import { jsonText, type JsonForm } from './options.ts';
import { Session, type CommonOptions } from './session.ts';

export interface DecodeOptions extends CommonOptions {
  readonly level?: string;
  readonly maxphyaddr?: number;
  readonly json?: JsonForm;
}

export const DECODE_SCHEMA = 'gracewalk.decode/1';

/** `gracewalk decode ARCH VALUE...`: what entries mean, at one level or at all where they fit. */
export async function decode(
  arch: string,
  values: readonly string[],
  options: DecodeOptions,
): Promise<ExitCode> {
  const kind = tableKindNamed(arch);
  const decoded = values.map((text) => {
    const bits = parseEntry(text);
    return { bits, meanings: meanings(kind, bits, options) };
  });
  const session = new Session(options);
  for (const text of values.filter(looksHexadecimal)) {
    session.warn(`warning: ${text} was read as a decimal number; kernels print 0x${text} so`);
  }
  await session.output.write(
    options.json
      ? jsonText(decodeJson(kind, decoded), options.json)
      : decoded.map((one) => decodeText(kind, one)).join('\n'),
  );
  return session.finish();
}

/** One reading of a value, and the places where it reads so. */
interface Meaning {
  readonly places: readonly string[];
  readonly kernels: readonly string[];
  readonly entry: Decoded;
}

interface DecodedValue {
  readonly bits: bigint;
  readonly meanings: readonly Meaning[];
}

const MAX = (1n << 64n) - 1n;

export function parseEntry(text: string): bigint {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) {
    const value = BigInt(text);
    if (value <= MAX) return value;
    throw new GracewalkError('E803', `${text} has more than 64 bits`, {
      help: 'an entry is one number below 2^64',
    });
  }
  const hex = /^[0-9a-f]+$/i.test(text);
  throw new GracewalkError('E803', `'${text}' is not a page-table entry`, {
    notes: ['an entry is a whole number, decimal or hexadecimal with 0x'],
    ...(hex ? { help: `did you mean 0x${text}?` } : {}),
  });
}

/** Sixteen digits are what a kernel prints of an entry, without 0x. */
function looksHexadecimal(text: string): boolean {
  return /^\d{16}$/.test(text);
}

/** Readings at the named place, or wherever hardware does not refuse the value (or everywhere, if it does). */
function meanings(kind: TableKind, bits: bigint, { level, maxphyaddr }: DecodeOptions): Meaning[] {
  const places = level === undefined ? kind.levels.map(({ name }) => name) : [level];
  const all = places
    .flatMap((place) => at(kind, bits, place))
    .map((meaning) => ({ ...meaning, entry: within(meaning.entry, maxphyaddr) }));
  if (level !== undefined) return all;
  const fitting = all.filter(({ entry }) => entry.fault === null);
  return merged(fitting.length > 0 ? fitting : all, bits);
}

/** The entry on a processor whose physical addresses have so many bits: higher ones are reserved. */
function within(entry: Decoded, physBits: number | undefined): Decoded {
  if (physBits === undefined || !entry.present) return entry;
  const beyond = (entry.address >> BigInt(physBits)) << BigInt(physBits);
  if (beyond === 0n) return entry;
  const fault = `address bits ${setBits(beyond)} are beyond ${physBits} bits`;
  return { ...entry, present: false, fault };
}

function at(kind: TableKind, bits: bigint, name: string): Meaning[] {
  const level = kind.levels.findIndex((it) => it.name === name);
  const roots = kind.roots.filter((it) => it.name.toLowerCase() === name.toLowerCase());
  const entries =
    level >= 0
      ? kind.readings(level, bits)
      : roots.map((it) => compile(it, kind.pageShift).decode(bits));
  if (entries.length === 0) throw noLevel(kind, name);
  return entries.map((entry) => ({
    places: [level >= 0 ? name : entry.format.name],
    kernels: entry.format.only === undefined ? [] : [entry.format.only],
    entry,
  }));
}

function noLevel(kind: TableKind, name: string): GracewalkError {
  const names = [...kind.levels, ...kind.roots].map((it) => it.name);
  const near = suggest(name, names);
  return new GracewalkError('E803', `${kind.name} has no level '${name}'`, {
    notes: [`it has ${[...new Set(names)].join(', ')}`],
    ...(near === null ? {} : { help: `did you mean ${near}?` }),
  });
}

/** What reads the same at several levels, or by several kernels, is said once. */
function merged(all: readonly Meaning[], bits: bigint): Meaning[] {
  const join = (
    list: readonly Meaning[],
    key: (meaning: Meaning) => string,
    both: (a: Meaning, b: Meaning) => Meaning,
  ): Meaning[] => {
    const byKey = new Map<string, Meaning>();
    for (const meaning of list) {
      const known = byKey.get(key(meaning));
      byKey.set(key(meaning), known ? both(known, meaning) : meaning);
    }
    return [...byKey.values()];
  };
  const text = ({ entry }: Meaning): string => entryText(entry, bits);
  const levels = join(
    all,
    (meaning) => `${text(meaning)} ${meaning.kernels.join()}`,
    (a, b) => ({ ...a, places: [...a.places, ...b.places] }),
  );
  return join(
    levels,
    (meaning) => `${text(meaning)} ${meaning.places.join()} ${meaning.kernels.length > 0}`,
    (a, b) => ({ ...a, kernels: [...a.kernels, ...b.kernels] }),
  );
}

const WIDTH = 75;

/** Folded, with its further lines deeper. */
function hanging(text: string): string[] {
  const [first = '', ...more] = fold(text, WIDTH - 4).split('\n');
  return [first, ...more.map((line) => `    ${line}`)];
}

function decodeText(kind: TableKind, { bits, meanings: all }: DecodedValue): string {
  const lines = [`${hex(bits)} in ${kind.title}`, ''];
  for (const { places, kernels, entry } of all) {
    const who = kernels.length === 0 ? '' : ` (${kernels.join('; ')})`;
    lines.push(...hanging(`${places.join(', ')}${who}: ${entryText(entry, bits)}`));
  }
  // One reading has room for all that there is to say.
  const [only, more] = all;
  if (only && more === undefined) lines.push('', ...details(only.entry.format, bits));
  return `${lines.join('\n')}\n`;
}

function details(format: EntryFormat, bits: bigint): string[] {
  const rows = setFields(format, bits).map((field) => [
    fieldText(format, field, bits),
    field.meaning,
  ]);
  const width = Math.max(0, ...rows.map(([text = '']) => text.length));
  return [
    ...draw(format, WIDTH - 4, bits).map((line) => `    ${line}`),
    '',
    ...rows.map(([text = '', meaning = '']) => `${text.padEnd(width)}  ${meaning}`),
    ...(rows.length > 0 ? [''] : []),
    ...hanging(`Source: ${citationText(format.cite)}`),
  ];
}

function hex(value: bigint): string {
  return `0x${value.toString(16).padStart(16, '0')}`;
}

function decodeJson(kind: TableKind, all: readonly DecodedValue[]): object {
  return {
    schema: DECODE_SCHEMA,
    arch: kind.name,
    values: all.map(({ bits, meanings: readings }) => ({
      value: hex(bits),
      readings: readings.map(({ places, kernels, entry }) => ({
        levels: places,
        kernels,
        format: entry.format.name,
        kind: entry.format.kind,
        present: entry.present,
        fault: entry.fault,
        ...(entry.format.fields.some(({ address }) => address !== undefined)
          ? { address: `0x${entry.address.toString(16)}` }
          : {}),
        ...(entry.present ? permissions(entry) : {}),
        fields: Object.fromEntries(
          Object.entries(read(entry.format, bits)).map(([name, value]) => [
            name,
            `0x${value.toString(16)}`,
          ]),
        ),
        source: citationText(entry.format.cite),
      })),
    })),
  };
}

function permissions(entry: Decoded): object {
  const { readable, writable, executable, user, accessed, dirty } = entry;
  return { readable, writable, executable, user, accessed, dirty };
}
