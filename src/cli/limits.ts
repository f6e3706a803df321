import { GracewalkError } from '../base/errors.ts';
import type { Limits } from '../scenario/check.ts';
import { suggest } from '../base/suggest.ts';

type LimitName = keyof Limits;

interface LimitKind {
  readonly example: string;
  readonly least: number;
  /** Factor per unit; the empty unit is a plain number. */
  readonly units: Readonly<Record<string, number>>;
}

const KIB = 1024;
const SECOND = 1000;
const COUNT = { '': 1 };
const BYTES = { K: KIB, M: KIB ** 2, G: KIB ** 3, T: KIB ** 4 };
const DURATIONS = { ms: 1, s: SECOND, m: 60 * SECOND, h: 3600 * SECOND };

const KINDS: Readonly<Record<LimitName, LimitKind>> = {
  runs: { example: 'runs=1e6', least: 1, units: COUNT },
  steps: { example: 'steps=1e8', least: 1, units: COUNT },
  time: { example: 'time=60s (ms, s, m, h)', least: 1, units: DURATIONS },
  switches: { example: 'switches=3', least: 0, units: COUNT },
  memory: { example: 'memory=2G (K, M, G, T)', least: 64 * KIB ** 2, units: BYTES },
};

const NAMES = Object.keys(KINDS) as LimitName[];

/** Parses `runs=1e6,time=60s` on top of `previous`, so that `--limit` may be given several times. */
export function parseLimits(text: string, previous: Limits = {}): Limits {
  const limits: Record<string, number> = { ...previous };
  for (const part of text.split(',')) {
    const [name = '', value, ...rest] = part.trim().split('=');
    if (!isLimit(name)) throw unknownLimit(text, name);
    if (value === undefined || rest.length > 0) throw bad(text, `'${part}' has no value`);
    limits[name] = parseAmount(text, name, value);
  }
  return limits;
}

function isLimit(name: string): name is LimitName {
  return (NAMES as readonly string[]).includes(name);
}

function parseAmount(text: string, name: LimitName, value: string): number {
  const { units, least, example } = KINDS[name];
  const match = /^(\d+(?:\.\d+)?(?:e\d+)?)([a-z]*)$/i.exec(value);
  if (!match) throw bad(text, `'${value}' is not an amount: ${example}`);
  // `2GB` and `2GiB` mean 2G; time units are told apart by case already.
  const unit = name === 'memory' ? (match[2] ?? '').replace(/i?b$/i, '').toUpperCase() : match[2];
  const factor = units[unit ?? ''];
  if (factor === undefined) throw bad(text, `'${value}' has no unit known here: ${example}`);
  const amount = Number(match[1]) * factor;
  if (!Number.isSafeInteger(amount))
    throw bad(text, `'${value}' is not a whole number: ${example}`);
  if (amount < least)
    throw bad(text, `'${value}' is too small: ${name} is at least ${smallest(name)}`);
  return amount;
}

function smallest(name: LimitName): string {
  if (name === 'memory') return '64M';
  return name === 'time' ? '1ms' : String(KINDS[name].least);
}

function unknownLimit(text: string, name: string): GracewalkError {
  // `states` is what other checkers count.
  const meant = name === 'states' ? 'runs' : suggest(name, NAMES);
  const what = name === '' ? 'a limit has no name' : `there is no limit '${name}'`;
  return bad(text, meant === null ? what : `${what}; did you mean ${meant}?`);
}

function bad(text: string, why: string): GracewalkError {
  return new GracewalkError('E107', `bad --limit '${text}'`, {
    notes: [why],
    help: `limits are ${NAMES.map((name) => KINDS[name].example.replace(/ .*/, '')).join(', ')}`,
  });
}
