/**
 * Module customisation hooks (node:module `register`) that let Node 20 import a scenario file as it
 * was written. They run in a thread of their own, so nothing here is shared with the program but the
 * port over which the files loaded are told.
 *
 * - `gracewalk`, `gracewalk/linux`, `gracewalk/arch` are the modules of the running program, under the
 *   very URLs by which it imports them itself: a file anywhere on disk needs no node_modules, and a
 *   `patch(f, ...)` patches the same `f`.
 * - `.ts` and `.mts` files outside dist have their types stripped in place.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { LoadHook, ResolveHook } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { MessagePort } from 'node:worker_threads';
import { MissingFileError, SourceError } from './source-error.ts';
import { stripTypes } from './strip.ts';

const DIST = new URL('../../', import.meta.url).href;

const OWN: ReadonlyMap<string, string> = new Map([
  ['gracewalk', new URL('index.js', DIST).href],
  ['gracewalk/linux', new URL('kernel/index.js', DIST).href],
  ['gracewalk/arch', new URL('arch/index.js', DIST).href],
]);

let port: MessagePort | undefined;

export function initialize(data: { readonly port: MessagePort }): void {
  port = data.port;
}

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  const own = OWN.get(specifier);
  if (own !== undefined) return { url: own, format: 'module', shortCircuit: true };
  const importer = context.parentURL;
  if (importer === undefined || !isUserTypeScript(importer)) return nextResolve(specifier, context);
  if (/^\.\.?(?:\/|$)|^\/|^file:/.test(specifier)) {
    const url = neighbour(new URL(specifier, importer));
    if (url === undefined) {
      throw across(new MissingFileError(pathOf(new URL(specifier, importer)), pathOf(importer)));
    }
    return nextResolve(url.href, context);
  }
  try {
    return await nextResolve(specifier, context);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw across(new MissingFileError(specifier, pathOf(importer)));
  }
};

export const load: LoadHook = async (url, context, nextLoad) => {
  if (!isUserTypeScript(url)) return nextLoad(url, context);
  const file = pathOf(url);
  try {
    const source = stripTypes(readFileSync(file, 'utf8'), file);
    port?.postMessage(file);
    return { format: 'module', source, shortCircuit: true };
  } catch (error) {
    throw across(error);
  }
};

/** As written, or with the extension that a bundler would have accepted: none, or that of the output. */
function neighbour(url: URL): URL | undefined {
  const candidates = [
    url.pathname,
    `${url.pathname}.ts`,
    `${url.pathname}.mts`,
    url.pathname.replace(/\.(m?)js$/, '.$1ts'),
    `${url.pathname.replace(/\/$/, '')}/index.ts`,
  ];
  for (const pathname of candidates) {
    const candidate = new URL(url);
    candidate.pathname = pathname;
    if (/\.\w+$/.test(pathname) && existsSync(candidate)) return candidate;
  }
  return undefined;
}

function isUserTypeScript(url: string): boolean {
  return /^file:[^?#]*\.m?ts(?:[?#]|$)/.test(url) && !url.startsWith(DIST);
}

function pathOf(url: string | URL): string {
  return fileURLToPath(new URL(url));
}

function isNotFound(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ERR_MODULE_NOT_FOUND' || code === 'ERR_PACKAGE_PATH_NOT_EXPORTED';
}

/**
 * Node copies errors from the hooks' thread field by field and forgets their class: what
 * load-scenario.ts needs to make the error again travels as data.
 */
function across(error: unknown): unknown {
  if (error instanceof SourceError) {
    const { file, line, column, lines, message } = error;
    return Object.assign(new Error(message), { sourceError: { file, line, column, lines } });
  }
  if (error instanceof MissingFileError) {
    const { file, importer, message } = error;
    return Object.assign(new Error(message), { missingFile: { file, importer } });
  }
  return error;
}
