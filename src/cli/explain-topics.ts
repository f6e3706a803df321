import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MACHINE_ARCHS } from '../arch/machines.ts';
import { TABLE_KINDS, tableKindNamed } from '../arch/kinds.ts';
import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import * as authoring from '../index.ts';
import * as linux from '../kernel/index.ts';
import { VIOLATION_KINDS } from '../machine/violation.ts';
import { all_sanitizers } from '../sanitizers/index.ts';
import { ERROR_CODES } from './error-codes.ts';
import { errorText } from './explain-errors.ts';
import { explainText } from './explain-text.ts';
import { VERDICT_MEANINGS, VIOLATION_MEANINGS } from './explain-words.ts';
import { sourceOfFunction, type SourceEntry } from './kernel-source.ts';
import { SCENARIO_FOLDER } from './package.ts';
import { fold } from '../report/wrap.ts';

/** What `gracewalk explain NAME` can explain, and its text. An architecture's page is in explain-text.ts. */
export type TopicKind =
  'architecture' | 'machine' | 'violation' | 'verdict' | 'sanitizer' | 'function' | 'error';

export interface Topic {
  readonly kind: TopicKind;
  readonly name: string;
}

const WIDTH = 75;
const GUEST = '.kvm_guest';

/** All topics, by kind, in a fixed order. */
export function topics(): Topic[] {
  const named = (kind: TopicKind, names: readonly string[]): Topic[] =>
    names.map((name) => ({ kind, name }));
  const functions = { ...authoring, ...linux } as Readonly<Record<string, unknown>>;
  return [
    ...named(
      'architecture',
      TABLE_KINDS.map(({ name }) => name),
    ),
    ...named(
      'machine',
      MACHINE_ARCHS.map(({ name }) => `${name}${GUEST}`),
    ),
    ...named('violation', VIOLATION_KINDS),
    ...named('verdict', Object.keys(VERDICT_MEANINGS)),
    ...named(
      'sanitizer',
      all_sanitizers.map(({ name }) => name).filter((name) => !(name in VIOLATION_MEANINGS)),
    ),
    ...named(
      'function',
      Object.keys(functions)
        .filter((name) => typeof functions[name] === 'function' && isShown(name))
        .sort(),
    ),
    ...named('error', Object.keys(ERROR_CODES)),
  ];
}

/** No classes; and `safe` and `fails` are explained as verdicts. */
function isShown(name: string): boolean {
  return /^(?:[a-z_]|[A-Z_]+$)/.test(name) && !(name in VERDICT_MEANINGS);
}

/** The topic that somebody means: a name, or the text of an error. */
export function topicNamed(typed: string): Topic {
  const wanted = typed.trim().replace(/\(\)$/, '');
  const all = topics();
  const loose = wanted.toLowerCase().replaceAll('-', '_');
  const found =
    all.find(({ name }) => name === wanted) ??
    all.find(({ name }) => name.toLowerCase().replaceAll('-', '_') === loose);
  if (found) return found;
  const code = /\bE\d{3}\b/.exec(wanted)?.[0];
  if (code !== undefined && code in ERROR_CODES) return { kind: 'error', name: code };
  const byMessage = errorText.codeOf(wanted);
  if (byMessage !== null) return { kind: 'error', name: byMessage };
  const meant = suggest(
    wanted,
    all.map(({ name }) => name),
  );
  throw new GracewalkError('E802', `nothing is known of '${typed}'`, {
    notes: [
      'architectures, machines, kinds of violation, functions, errors and their codes can be explained',
    ],
    help: meant === null ? 'gracewalk explain lists all names' : `did you mean ${meant}?`,
  });
}

export function topicText({ kind, name }: Topic): string {
  switch (kind) {
    case 'architecture':
      return [explainText(tableKindNamed(name)), ...machineLines(name)].join('\n');
    case 'machine':
      return page(`${name}: a machine`, machineLines(name.replace(GUEST, '')));
    case 'violation':
      return page(`${name}: a kind of violation`, violationLines(name));
    case 'verdict':
      return page(`${name}: a verdict`, paragraphs([VERDICT_MEANINGS[name] ?? '']));
    case 'sanitizer':
      return page(`${name}: a sanitizer`, functionLines(sanitizerSource(name)));
    case 'function':
      return page(`${name}()`, functionLines(sourceOfFunction(name)));
    case 'error':
      return page(name, errorText.linesOf(name, WIDTH));
  }
}

function page(title: string, lines: readonly string[]): string {
  return `${[title, '', ...lines].join('\n').trimEnd()}\n`;
}

function paragraphs(texts: readonly string[]): string[] {
  return texts.flatMap((text) => [fold(text, WIDTH), '']);
}

/** The machine of an architecture, if the protocols can run on it. */
function machineLines(name: string): string[] {
  const arch = MACHINE_ARCHS.find((each) => each.name === name);
  if (!arch) return [];
  const config = Object.entries(arch.config).map(([key, value]) =>
    typeof value === 'number' ? `${key}=${value}` : `${key}=${value ? 'y' : 'n'}`,
  );
  const flush =
    arch.flush === 'ipi'
      ? 'A TLB shootdown interrupts the other CPUs and waits for them.'
      : 'A TLB shootdown is broadcast: it waits for no CPU, and so for no walker.';
  const order = arch.weaklyOrdered
    ? 'Its processors reorder more than x86-TSO, which is the weakest model here.'
    : 'Its processors order accesses as x86-TSO does (--model tso).';
  return [
    `As a machine (--machine ${name}, or from gracewalk/arch)`,
    '',
    ...paragraphs([
      flush,
      order,
      `Kernel configuration unless a scenario says otherwise: ${config.join(', ')}.`,
    ]),
    ...paragraphs([
      'As a KVM guest (.kvm_guest({ vcpus, preempt })) its CPUs are called vCPU0, vCPU1, ..., and the host may take each of them off its processor as often as `preempt` says, at any moment.',
    ]),
  ];
}

function violationLines(name: string): string[] {
  const { says, look } = VIOLATION_MEANINGS[name as keyof typeof VIOLATION_MEANINGS];
  const shown = examplesOf(name);
  const examples =
    shown.length === 0
      ? []
      : ['Built-in variants that show it:', '', ...shown.map((each) => `    ${each}`), ''];
  const source = sanitizerSource(name);
  return [
    ...paragraphs([says, `Look for: ${look}`]),
    ...examples,
    ...(source
      ? [
          `Found by ${source.file}:`,
          '',
          ...paragraphs(source.says.length > 0 ? source.says : source.protocol),
        ]
      : []),
  ];
}

/** From the pinned results of the built-in scenarios: at most five. */
function examplesOf(kind: string): string[] {
  const text = readFileSync(join(SCENARIO_FOLDER, 'expected.json'), 'utf8');
  const expected = JSON.parse(text) as Record<string, { readonly kinds: readonly string[] }>;
  return Object.keys(expected)
    .filter((key) => expected[key]?.kinds.includes(kind))
    .slice(0, 5);
}

function sanitizerSource(name: string): SourceEntry | null {
  return sourceOfFunction(name.replaceAll('-', '_'));
}

const MOST_LINES = 30;

function functionLines(found: SourceEntry | null): string[] {
  if (!found) return ['It has no description.'];
  const { file, says, protocol, source } = found;
  const shown = source.slice(0, MOST_LINES).map((each) => `    ${each}`.trimEnd());
  return [
    ...paragraphs(says),
    ...shown,
    ...(source.length > MOST_LINES ? ['    ...'] : []),
    '',
    `${file}, of which the head says:`,
    '',
    ...paragraphs(protocol),
  ];
}
