import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { register } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { MissingFileError, SourceError, placeIn } from './source-error.ts';
import type { SourcePlace } from './source-error.ts';

/** Where the hooks tell which files they loaded; undefined until they are registered. */
let loadedFiles: MessagePort | undefined;

/**
 * Imports a TypeScript or JavaScript file of the user's; its exports are those of the module. A path
 * is relative to the working directory. Asking again for the same file gives the same module.
 *
 * Works only from dist: the hooks map `gracewalk` to dist, and Node cannot load them from src.
 *
 * @throws MissingFileError if it, or what it imports, is not there
 * @throws SourceError if it, or what it imports, is not TypeScript, needs more than the removal of
 *   types (an enum, a parameter property), or imports a name that is not exported
 * @throws whatever the file itself throws when it runs
 */
export async function loadModule(path: string): Promise<Record<string, unknown>> {
  const file = resolve(path);
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true)
    throw new MissingFileError(file);
  registerOnce();
  try {
    return (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  } catch (error) {
    throw await typed(error);
  }
}

function registerOnce(): void {
  if (loadedFiles !== undefined) return;
  const { port1, port2 } = new MessageChannel();
  port1.unref();
  loadedFiles = port1;
  register('./hooks.js', import.meta.url, { data: { port: port2 }, transferList: [port2] });
}

interface Crossed {
  readonly message: string;
  readonly sourceError?: SourcePlace;
  readonly missingFile?: { readonly file: string; readonly importer: string };
}

/** The error that the hooks meant, or that V8 meant; otherwise what was thrown. */
async function typed(error: unknown): Promise<unknown> {
  const files = drain();
  if (!(error instanceof Error)) return error;
  const { message, sourceError, missingFile } = error as Crossed;
  if (sourceError !== undefined) return new SourceError(sourceError, message);
  if (missingFile !== undefined)
    return new MissingFileError(missingFile.file, missingFile.importer);
  if (!(error instanceof SyntaxError)) return error;
  return fromArrow(error) ?? (await fromCheck(files)) ?? error;
}

/** The files loaded since the last call, in order. */
function drain(): string[] {
  const files: string[] = [];
  while (loadedFiles !== undefined) {
    const received = receiveMessageOnPort(loadedFiles);
    if (received === undefined) break;
    files.push(received.message);
  }
  return files;
}

/**
 * Node puts the place of an import that names no export in front of the stack:
 * `file:///x.ts:3`, the source line, a line with carets, `SyntaxError: ...`.
 */
function fromArrow(error: SyntaxError): SourceError | undefined {
  const arrow = /^(file:\S+):(\d+)\n.*\n( *)\^/.exec(error.stack ?? '');
  if (arrow === null) return undefined;
  const [, url = '', line = '', indent = ''] = arrow;
  return sourceError(fileURLToPath(url), Number(line), indent.length + 1, error.message);
}

/**
 * What amaro's parser lets pass and V8 refuses (a name declared twice) comes without a place when it
 * is caught, but not when `node --check` prints it. Slow, and only on the way to an error message.
 */
async function fromCheck(files: readonly string[]): Promise<SourceError | undefined> {
  // Megabytes, which only the hooks' thread needs otherwise.
  const { stripTypes } = await import('./strip.ts');
  for (const file of files) {
    const { stderr } = spawnSync(process.execPath, ['--input-type=module', '--check', '-'], {
      input: stripTypes(readFileSync(file, 'utf8'), file),
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const report = /^\[stdin\]:(\d+)\n.*\n( *)\^+\n\s*SyntaxError: (.*)/m.exec(stderr);
    if (report === null) continue;
    const [, line = '', indent = '', message = ''] = report;
    return sourceError(file, Number(line), indent.length + 1, message);
  }
  return undefined;
}

function sourceError(file: string, line: number, column: number, message: string): SourceError {
  return new SourceError(placeIn(file, readFileSync(file, 'utf8'), line, column), message);
}
