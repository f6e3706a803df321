import type { Surveyed } from '../../src/why/survey.ts';

/** docs/protections.md and what it is made of: see tools/protections.mjs. */

export interface Example {
  readonly scenario: string;
  readonly variant: string;
  readonly kind: string;
  readonly runs: number;
}

export interface Row {
  readonly name: string;
  /** How many safe variants come by it. */
  readonly variants: number;
  /** In how many of them it is needed alone. */
  readonly needed: number;
  /** The one of those that needs the fewest runs to show it. */
  readonly alone: Example | null;
  /** The first set of two that it is needed in, if it is not needed alone. */
  set: (Example & { readonly with: string }) | null;
  /** A broken twin that does without it, if it is not needed alone. */
  readonly twin: string | null;
  /** Experiments that did not come to an end. */
  readonly undecided: {
    readonly scenario: string;
    readonly variant: string;
    readonly with?: string;
    readonly reason: string;
  }[];
}

/** scenarios/protections.json. */
export interface Protections {
  readonly variants: number;
  /** In so many variants, the smallest, pairs were tried. */
  readonly paired: number;
  readonly rows: readonly Row[];
}

/** By name of a protection, or by its kind (the name without the place): why it is there all the same. */
export type Reasons = Readonly<Record<string, string>>;

interface Twin {
  readonly place: string;
  readonly without: readonly string[];
}

export function rowsOf(surveyed: readonly Surveyed[], twins: readonly Twin[]): Row[] {
  const names = surveyed.flatMap(({ protections }) => protections.map(({ name }) => name));
  return [...new Set(names)].sort().map((name) => rowOf(name, surveyed, twins));
}

function rowOf(name: string, surveyed: readonly Surveyed[], twins: readonly Twin[]): Row {
  const met = surveyed.flatMap(({ scenario, variant, protections }) =>
    protections
      .filter((each) => each.name === name)
      .map(({ alone }) => ({ scenario, variant, outcome: alone })),
  );
  const examples = met.flatMap(({ scenario, variant, outcome }) =>
    'kind' in outcome ? [{ scenario, variant, ...outcome }] : [],
  );
  const undecided = met.flatMap(({ scenario, variant, outcome }) =>
    'undecided' in outcome ? [{ scenario, variant, reason: outcome.undecided }] : [],
  );
  const [alone = null] = examples.toSorted((a, b) => a.runs - b.runs);
  const twin = twins.find(({ without }) => without.includes(name))?.place ?? null;
  return {
    name,
    variants: met.length,
    needed: examples.length,
    alone,
    set: null,
    twin: alone ? null : twin,
    undecided,
  };
}

export function isSpare({ alone, set, twin }: Row): boolean {
  return alone === null && set === null && twin === null;
}

/** The reason why a protection is there: its own, or that of its kind. */
function reasonOf({ name }: Row, reasons: Reasons): string | undefined {
  return reasons[name] ?? reasons[kindOf(name)];
}

function kindOf(name: string): string {
  const at = name.lastIndexOf(' in ');
  return at < 0 ? name : name.slice(0, at);
}

/** What is wrong with the reasons: none for one that is needed nowhere, or one that gives none. */
export function problems(rows: readonly Row[], reasons: Reasons): string[] {
  const spare = rows.filter(isSpare);
  const speaks = (key: string): boolean =>
    spare.some((row) => row.name === key || (!(row.name in reasons) && kindOf(row.name) === key));
  return [
    ...spare
      .filter((row) => reasonOf(row, reasons) === undefined)
      .map(
        ({ name }) => `${name}: needed nowhere, and scenarios/spare-protections.json says not why`,
      ),
    ...Object.keys(reasons)
      .filter((key) => !speaks(key))
      .map((key) => `${key}: scenarios/spare-protections.json has a reason, and it is needed`),
  ];
}

export function protectionsPage({ variants, paired, rows }: Protections, reasons: Reasons): string {
  const alone = rows.filter((row) => row.alone);
  const shared = rows.filter((row) => !row.alone && row.set);
  const twins = rows.filter((row) => !row.alone && !row.set && row.twin);
  const spare = rows.filter(isSpare);
  const undecided = rows.filter((row) => row.undecided.length > 0);
  return [
    '# Which protections are needed',
    '',
    '<!-- Written by `npm run protections`; the reasons are in scenarios/spare-protections.json. -->',
    '',
    'Every protection that a safe variant of the built-in scenarios comes by ([why.md](why.md) says what that is)',
    'was taken away from that variant, and what remained was explored until something went wrong, or to its end.',
    `Of ${rows.length} protections in ${variants} safe variants, ${alone.length} are needed alone somewhere,`,
    `${shared.length} only together with another one, and ${twins.length + spare.length} in no variant.`,
    '',
    '## Needed alone',
    '',
    table(
      ['protection', 'variants', 'needed in', 'for example', 'what happens', 'runs'],
      alone.map(({ name, variants: met, needed, alone: example }) => [
        name,
        String(met),
        String(needed),
        ...exampleCells(example),
      ]),
    ),
    '## Needed together with another one',
    '',
    'Each of the two is enough by itself.',
    '',
    table(
      ['protection', 'or', 'variants', 'for example', 'what happens', 'runs'],
      shared.map(({ name, variants: met, set }) => [
        name,
        set?.with ?? '',
        String(met),
        ...exampleCells(set),
      ]),
    ),
    ...(twins.length === 0
      ? []
      : [
          '## Needed in a broken twin',
          '',
          'Missing in a variant that fails, besides other things.',
          '',
          table(
            ['protection', 'variants', 'twin'],
            twins.map(({ name, variants: met, twin }) => [name, String(met), twin ?? '']),
          ),
        ]),
    '## Not needed in any variant',
    '',
    'Proven in all variants that come by it for the protection alone, and together with each other one in the',
    `${paired} of them that have the fewest runs. Why it is there:`,
    '',
    table(
      ['protection', 'variants', 'why it is there'],
      spare.map((row) => [row.name, String(row.variants), reasonOf(row, reasons) ?? '']),
    ),
    ...(undecided.length === 0
      ? []
      : [
          '## Not decided',
          '',
          'Explorations that came to a bound before anything went wrong.',
          '',
          table(
            ['protection', 'and', 'variant', 'bound'],
            undecided.flatMap(({ name, undecided: all }) =>
              all.map((one) => [
                name,
                one.with ?? '',
                `${one.scenario} / ${one.variant}`,
                one.reason,
              ]),
            ),
          ),
        ]),
  ].join('\n');
}

function exampleCells(example: Example | null): string[] {
  if (!example) return [];
  return [`${example.scenario} / ${example.variant}`, example.kind, String(example.runs)];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n');
}
