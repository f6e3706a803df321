/**
 * Module hooks of the benchmark: the programs in test/zoo are TypeScript, and Node 20 has no type stripping
 * of its own. What they import from src is what was built into dist.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'amaro';

const src = new URL('../src/', import.meta.url).href;
const dist = new URL('../dist/', import.meta.url).href;

/** @type {import('node:module').ResolveHook} */
export async function resolve(specifier, context, next) {
  if (/^\.\.?\/.*\.ts$/.test(specifier)) {
    const { href } = new URL(specifier, context.parentURL);
    if (href.startsWith(src)) {
      return next(`${dist}${href.slice(src.length, -'.ts'.length)}.js`, context);
    }
  }
  return next(specifier, context);
}

/** @type {import('node:module').LoadHook} */
export async function load(url, context, next) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context);
  const { code } = transformSync(await readFile(fileURLToPath(url), 'utf8'), {
    mode: 'strip-only',
  });
  return { format: 'module', source: code, shortCircuit: true };
}
