import { relative, resolve } from 'node:path';
import { EngineFault, GracewalkError, type ErrorDetails, type Site } from '../base/errors.ts';
import { parseStack } from '../base/site.ts';
import { MissingFileError, SourceError } from './load/source-error.ts';
import type { ReportedError } from './protocol.ts';
import { ThrownElsewhere } from './thread-pool.ts';
import { PACKAGE_ROOT, displayName, sourceFile } from './source-lines.ts';

/** What was being done when something was thrown. */
export interface ErrorContext {
  readonly file: string | null;
  readonly variant: string | null;
}

/** Turns whatever was thrown into something that can be sent and printed. */
export function reportError(
  thrown: unknown,
  { file, variant }: ErrorContext = { file: null, variant: null },
): ReportedError {
  if (thrown instanceof ThrownElsewhere) return thrown.report as ReportedError;
  const error = asReported(thrown, file);
  if (variant === null || error.details.variant !== undefined) return error;
  return { ...error, details: { ...error.details, variant } };
}

function asReported(thrown: unknown, file: string | null): ReportedError {
  const stack = thrown instanceof Error ? (thrown.stack ?? null) : null;
  if (thrown instanceof GracewalkError) {
    const details = file === null ? thrown.details : placed(thrown.details, stack);
    return { code: thrown.code, what: thrown.message, details, stack };
  }
  if (thrown instanceof SourceError) return { ...sourceError(thrown), stack };
  if (thrown instanceof MissingFileError) return { ...missingFile(thrown), stack };
  if (isOutOfMemory(thrown)) return { ...outOfMemory(), stack };
  const site = stack === null ? null : authorsSite(stack);
  if (thrown instanceof EngineFault || (stack !== null && site === null)) {
    return engineFault(thrown instanceof Error ? thrown.message : String(thrown), stack);
  }
  return {
    code: 'E112',
    what: `the scenario threw ${describe(thrown)}`,
    details: {
      site: site ?? undefined,
      notes: site === null && file !== null ? [`while ${displayName(file)} was loaded or run`] : [],
      help: 'a scenario must not throw; --debug shows the stack',
    },
    stack,
  };
}

export function outOfMemory(): ReportedError {
  return {
    code: null,
    what: 'the search ran out of memory',
    details: {
      notes: ['the memory limit could not end it in time; nothing is known about the rest'],
      help: '--limit memory=8G gives it more; --limit runs=.. ends it earlier',
      verdict: 'inconclusive (exit 3)',
    },
    stack: null,
    memory: true,
  };
}

export function engineFault(message: string, stack: string | null): ReportedError {
  return {
    code: null,
    what: `fault in gracewalk: ${message}`,
    details: {
      notes: ['this is not about your scenario, and no verdict of this invocation can be trusted'],
      help: 'please report it with the scenario and the output of --debug',
    },
    stack,
  };
}

function sourceError(error: SourceError): Omit<ReportedError, 'stack'> {
  const { file, line, column, message } = error;
  const { what, help } = kindOfSourceError(message, displayName(file));
  return {
    code: 'E103',
    what,
    details: {
      site: line > 0 ? { file, line, column: Math.max(1, column) } : undefined,
      // The parser goes on with everything that it would have liked better.
      label: message.replace(/\. Expected .*$/s, ''),
      help,
    },
  };
}

function kindOfSourceError(message: string, name: string): { what: string; help: string } {
  if (/not supported in strip-only mode/.test(message)) {
    return {
      what: `${name} needs more than the removal of its types`,
      help: 'do without enum, namespace and parameter property',
    };
  }
  if (/does not provide an export named/.test(message)) {
    return {
      what: `${name} imports a name that is not exported`,
      help: 'check the spelling, and which module has it',
    };
  }
  return { what: `syntax error in ${name}`, help: 'an editor marks the same place' };
}

function missingFile({ file, importer }: MissingFileError): Omit<ReportedError, 'stack'> {
  if (importer === undefined) {
    return {
      code: 'E114',
      what: `no file ${displayName(file)}`,
      details: { help: 'check the path' },
    };
  }
  return {
    code: 'E113',
    what: `${displayName(importer)} imports ${displayName(file)}, which is not there`,
    details: {
      notes: ["the library is 'gracewalk', 'gracewalk/linux' and 'gracewalk/arch'"],
      help: 'other files are named relative to the importing one',
    },
  };
}

function describe(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return `${thrown.name}: ${thrown.message}`;
}

/** V8 throws these instead of dying when one object, not the heap, grows too large. */
function isOutOfMemory(thrown: unknown): boolean {
  return (
    thrown instanceof RangeError &&
    /Array buffer allocation failed|Invalid (?:array|typed array) length|maximum size exceeded/.test(
      thrown.message,
    )
  );
}

/** A place in the engine tells an author nothing; where his own file was left does. */
function placed(details: ErrorDetails, stack: string | null): ErrorDetails {
  if (details.site && ownPart(details.site) !== 'engine') return details;
  const sites = stack === null ? [] : parseStack(stack);
  const site = sites.find((each) => ownPart(each) === null && !/node_modules/.test(each.file));
  return { ...details, site };
}

/**
 * The author's line, if the error comes from there: a scenario file itself, or a kernel function that it
 * called with something strange. Null if the innermost frame is the engine's.
 */
function authorsSite(stack: string): Site | null {
  for (const site of parseStack(stack)) {
    const part = ownPart(site);
    if (part === null) return site;
    if (part === 'engine') return null;
  }
  return null;
}

/** Which part of gracewalk a place is in, if in any. */
function ownPart(site: Site): 'kernel' | 'engine' | null {
  const inside = relative(resolve(PACKAGE_ROOT, 'src'), sourceFile(site.file));
  if (inside.startsWith('..')) return null;
  return inside.startsWith('kernel') ? 'kernel' : 'engine';
}
