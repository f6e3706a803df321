import { full, translated } from '../walk/addresses.ts';
import {
  mappings,
  missing,
  refused,
  type Mapping,
  type Problem,
  type Work,
} from '../walk/mappings.ts';
import { both, nested, type Unbacked } from '../walk/nested.ts';
import { merged, type Range } from '../walk/ranges.ts';
import { SecondStage } from '../walk/second-stage.ts';
import type { End, Tables } from '../walk/tables.ts';
import { translate, type Translation } from '../walk/translate.ts';
import type { ExitCode } from './exit-code.ts';
import { openImage } from './image/open-image.ts';
import { jsonText } from './options.ts';
import { reportError } from './report-error.ts';
import { Session } from './session.ts';
import { translationJson } from './walk-json.ts';
import { Problems } from './walk-problems.ts';
import type { WalkOptions } from './walk-options.ts';
import { rootOf, stagesOf } from './walk-stages.ts';
import { Batch, listPrinter } from './walk-printer.ts';
import { translationText } from './walk-text.ts';

/** What is walked: the tables, through a second stage if there is one. */
interface Walked {
  readonly tables: Tables;
  readonly second: SecondStage | null;
}

/** `gracewalk walk IMAGE [VA]`: page tables in an image of memory; one address, or everything mapped. */
export async function walk(
  image: string,
  address: bigint | undefined,
  options: WalkOptions,
): Promise<ExitCode> {
  const walked = open(image, options);
  const session = new Session(options);
  if (address === undefined) await list(walked, options, session);
  else await one(walked, address, options, session);
  return session.finish();
}

function open(image: string, options: WalkOptions): Walked {
  const { kind, second } = stagesOf(options);
  const { root, guestRoot, base } = options;
  const outer = rootOf(second ?? kind, root, '--root');
  if (second === null || guestRoot === undefined) {
    return { tables: { kind, memory: openImage(image, base).memory, root: outer }, second: null };
  }
  const inner = rootOf(kind, guestRoot, '--guest-root');
  const { memory } = openImage(image, base);
  const stage = new SecondStage({ kind: second, memory, root: outer });
  return { tables: { kind, memory: stage, root: inner }, second: stage };
}

async function one(
  { tables, second }: Walked,
  address: bigint,
  options: WalkOptions,
  session: Session,
): Promise<void> {
  const { kind } = tables;
  const translation = translate(tables, translated(kind, address, 'VA'), second);
  const result = resultOf(translation);
  const told = { kind, second: second?.tables.kind ?? null, address, translation, result };
  await session.output.write(
    options.json ? jsonText(translationJson(told), options.json) : translationText(told),
  );
  const problems = new Problems();
  const whose = translation.end.kind === 'mapped' ? (told.second ?? kind) : kind;
  if (result.kind === 'refused') problems.add(refused(whose, result.step, result.why, address));
  if (result.kind === 'missing')
    problems.add(missing(whose, result.table, result.missing, address));
  for (const error of problems.errors()) session.fail(reportError(error));
}

/** Of both stages together. */
function resultOf({ end, second }: Translation): End {
  if (end.kind !== 'mapped' || second === null || second.end.kind !== 'mapped') {
    return end.kind === 'mapped' && second !== null ? second.end : end;
  }
  const { physical, access, shift } = second.end;
  return {
    kind: 'mapped',
    physical,
    shift: Math.min(shift, end.shift),
    access: both(end.access, access),
  };
}

/** Prints while it walks: a list may be longer than memory. */
async function list(walked: Walked, options: WalkOptions, session: Session): Promise<void> {
  const { tables, second } = walked;
  const { limit, merge } = options;
  const work: Work = { tables: 0, most: limit.tables, stopped: false };
  const unbacked: Unbacked = { bytes: 0n };
  const counts: Counts = { pages: 0, bytes: 0n, stopped: false };
  const problems = new Problems();
  const batch = new Batch(session.output);
  const printer = listPrinter(tables.kind, second?.tables.kind ?? null, options, batch);
  const guest = mappings(tables, work);
  const all = second === null ? guest : nested(guest, second, unbacked);
  let stopped: string | null = null;
  let ranges = 0;
  printer.start();
  for (const it of merged(counted(all, counts, limit.pages), merge)) {
    if (it.what === 'problem') {
      if (problems.add(it)) printer.problem(it);
      continue;
    }
    if (ranges === limit.ranges) {
      stopped = `ranges=${limit.ranges}`;
      break;
    }
    ranges++;
    printer.range(placed(it, walked, options));
    if (batch.full) await batch.flush();
    if (session.output.closed || session.output.error !== null) break;
  }
  if (work.stopped) stopped = `tables=${limit.tables}`;
  else if (counts.stopped) stopped ??= `pages=${limit.pages}`;
  const { pages, bytes } = counts;
  const listed = { pages, bytes, ranges, unbacked: unbacked.bytes, stopped };
  printer.end(listed);
  await batch.flush();
  for (const error of problems.errors()) session.fail(reportError(error));
  if (stopped !== null) session.note(3);
}

interface Counts {
  pages: number;
  bytes: bigint;
  stopped: boolean;
}

/** Counts what passes, and lets no more pass than the limit says. */
function* counted(
  all: Iterable<Mapping | Problem>,
  counts: Counts,
  most: number,
): Generator<Mapping | Problem> {
  for (const it of all) {
    if (it.what === 'mapping') {
      counts.stopped = counts.pages >= most;
      if (counts.stopped) return;
      counts.pages++;
      counts.bytes += 1n << BigInt(it.shift);
    }
    yield it;
  }
}

/** With the untranslated bits of its addresses. */
function placed(range: Range, { tables }: Walked, { upper = false }: WalkOptions): Range {
  const start = full(tables.kind, range.start, upper);
  return { ...range, start, end: start + (range.end - range.start) };
}
