import { entryText } from '../arch/entry-text.ts';
import type { TableKind } from '../arch/table-kind.ts';
import { EXECUTE, READ, USER, WRITE, type Access } from '../walk/access.ts';
import type { Problem } from '../walk/mappings.ts';
import type { Range } from '../walk/ranges.ts';
import { levelOf, type End, type Step } from '../walk/tables.ts';
import type { Walk } from '../walk/translate.ts';
import type { Listed, Translated } from './walk-result.ts';

/** What `gracewalk walk --json` says. Addresses and values are text: they have up to 64 bits. */

export const WALK_SCHEMA = 'gracewalk.walk/1';
export const TRANSLATION_SCHEMA = 'gracewalk.translation/1';

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function accessJson(access: Access): object {
  return {
    readable: (access & READ) !== 0,
    writable: (access & WRITE) !== 0,
    executable: (access & EXECUTE) !== 0,
    user: (access & USER) !== 0,
  };
}

export function rangeJson({ start, end, physical, shift, pages, access, ...it }: Range): object {
  return {
    start: hex(start),
    end: hex(end),
    ...(physical === null ? {} : { physical: hex(physical) }),
    ...(shift === null ? {} : { pageSize: 2 ** shift }),
    pages,
    ...accessJson(access),
    ...(it.accessed === null ? {} : { accessed: it.accessed }),
    ...(it.dirty === null ? {} : { dirty: it.dirty }),
  };
}

export function problemJson({ kind, tables, level, at, bits, why, virtual }: Problem): object {
  return {
    code: kind === 'missing' ? 'E813' : 'E814',
    tables: tables.name,
    level: levelOf(tables, level).name,
    at: hex(at),
    value: bits === null ? null : hex(bits),
    why,
    address: hex(virtual),
  };
}

export function listedJson({ pages, bytes, ranges, unbacked, stopped }: Listed): object {
  return {
    pages,
    bytes: hex(bytes),
    rangeCount: ranges,
    unbackedBytes: hex(unbacked),
    limit: stopped,
  };
}

export function translationJson(translated: Translated): object {
  const { kind, second, address, translation, result } = translated;
  const walkJson = (walk: Walk | null): object | null =>
    second && walk
      ? { entries: walk.steps.map((step) => stepJson(second, step)), ...endJson(walk.end) }
      : null;
  return {
    schema: TRANSLATION_SCHEMA,
    arch: kind.name,
    stage2: second?.name ?? null,
    address: hex(address),
    ...endJson(result),
    entries: translation.visits
      .filter(({ step }) => step !== null)
      .map(({ step, second: walk }) => ({
        ...(step ? stepJson(kind, step) : {}),
        ...(second ? { secondStage: walkJson(walk) } : {}),
      })),
    ...(second ? { secondStage: walkJson(translation.second) } : {}),
  };
}

function stepJson(kind: TableKind, { level, index, at, bits, entry }: Step): object {
  return {
    level: levelOf(kind, level).name,
    index,
    at: hex(at),
    value: hex(bits),
    kind: entry.format.kind,
    meaning: entryText(entry, bits),
    fault: entry.fault,
  };
}

function endJson(end: End): object {
  if (end.kind === 'mapped') {
    const { physical, shift, access } = end;
    return {
      mapped: true,
      physical: hex(physical),
      pageSize: 2 ** shift,
      ...accessJson(access),
    };
  }
  return { mapped: false, why: end.kind === 'missing' ? end.missing.why : end.why };
}
