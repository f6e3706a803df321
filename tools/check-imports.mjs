/**
 * The layers of design.md, section 2, enforced.
 *
 *   node tools/check-imports.mjs     prints file:line and the rule for each offence; exit 1 if any
 *
 * Imports of types count: a layer that names another's types knows of it.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { lineAt, moduleUses, tokenize } from './lexer.mjs';

/**
 * Each folder of src/ and what it may import besides itself. `index` is src/index.ts, what users get
 * as 'gracewalk'; only cli and web may start from there.
 *
 * @type {Record<string, readonly string[]>}
 */
export const LAYERS = {
  base: [],
  machine: ['base'],
  arch: ['base', 'machine'],
  // Page tables in images of memory: it knows no machine that steps.
  walk: ['base', 'arch'],
  kernel: ['base', 'machine', 'arch'],
  sanitizers: ['base', 'machine', 'arch', 'kernel'],
  // The search knows steps and footprints; no protocol and no architecture by name.
  explore: ['base', 'machine', 'sanitizers'],
  // The authoring API; the protocols come from the scenario file, through 'gracewalk/linux'.
  scenario: ['base', 'machine', 'arch', 'sanitizers', 'explore'],
  // What carries the weight: explorations of a variant with something taken away.
  why: ['base', 'machine', 'explore', 'scenario'],
  // Questions about the runs of a scenario; what they speak of is steps and states, no protocol by name.
  ask: ['base', 'machine', 'explore', 'scenario'],
  // A view of one result, not of how it was found; see TYPES_ONLY.
  report: ['base'],
  cli: 'base machine arch walk kernel sanitizers explore scenario why ask report index'.split(' '),
  web: 'base machine arch walk kernel sanitizers explore scenario why ask report index'.split(' '),
  index: ['base', 'machine', 'scenario', 'explore'],
};

/**
 * What a layer may import with `import type` only: a folder, or a single file. A result has steps of
 * the machine in it, and its shape is declared beside the check that fills it in.
 *
 * @type {Record<string, readonly string[]>}
 */
export const TYPES_ONLY = {
  report: ['src/machine/', 'src/scenario/result.ts', 'src/why/result.ts', 'src/ask/result.ts'],
};

/** Layers that may use Node; everything else also runs in a browser's worker. */
const NODE = new Set(['cli']);

/** Packages, by layer. The core has none. @type {Record<string, readonly string[]>} */
const PACKAGES = {
  cli: ['commander', 'amaro'],
  // Scenario files are read on their own, mailed and pasted: no neighbours either.
  scenarios: ['gracewalk', 'gracewalk/linux', 'gracewalk/arch'],
};

/** Architectures by name, and anything that begins so: only src/arch/ may ask which one it is. */
const ARCHITECTURE = /^(?:x86|arm64|ept|npt|powerpc|s390|riscv)(?:_\w+)?$/;
/** Layers that people call architectures by name in, but never decide by one. */
const NAMES_ARCHITECTURES = new Set(['arch', 'scenarios']);

/** @typedef {{ file: string, line: number, message: string }} Offence */

/** @param {string} file from the root, with '/' @returns {string} */
function layerOf(file) {
  const [top, second] = file.split('/');
  if (top !== 'src') return top ?? '';
  return second === 'index.ts' ? 'index' : (second ?? '');
}

/**
 * @param {string} file from the root of the package, with '/'
 * @param {string} source
 * @returns {Offence[]}
 */
export function checkImports(file, source) {
  const layer = layerOf(file);
  const tokens = tokenize(source);
  /** @type {Offence[]} */
  const offences = [];
  const offend = (/** @type {number} */ offset, /** @type {string} */ message) =>
    offences.push({ file, line: lineAt(source, offset), message });

  if (layer !== 'scenarios' && LAYERS[layer] === undefined) {
    offend(0, `src/${layer} is not a layer; add it to the table in tools/check-imports.mjs`);
    return offences;
  }
  for (const use of moduleUses(source, tokens)) {
    // The URL of a folder, or of a page, is no module.
    if (use.kind === 'url' && !/\.m?[jt]s$/.test(use.specifier)) continue;
    const message = /^\.\.?(?:\/|$)/.test(use.specifier)
      ? checkRelative(layer, posix.join(posix.dirname(file), use.specifier), use.typeOnly)
      : checkPackage(layer, use.specifier);
    if (message !== undefined) offend(use.start, message);
  }
  if (!NAMES_ARCHITECTURES.has(layer)) {
    tokens.forEach((token, i) => {
      if (asksArchitecture(tokens, i)) {
        offend(token.start, `${layer} may not ask which architecture it is: ask the descriptor`);
      }
    });
  }
  if (!NODE.has(layer)) {
    tokens.forEach((token, i) => {
      if (token.text !== 'process' || token.kind !== 'word') return;
      const [owner, dot, next] = [tokens[i - 2], tokens[i - 1], tokens[i + 1]];
      const isGlobal = dot?.text === '.' ? owner?.text === 'globalThis' : true;
      if (isGlobal && next !== undefined && ['.', '[', '?'].includes(next.text)) {
        offend(token.start, `${layer} may not use process: it also runs in a browser`);
      }
    });
  }
  return offences;
}

/**
 * An architecture's name as a string, or `arch` or its name compared.
 *
 * @param {readonly import('./lexer.mjs').Token[]} tokens @param {number} i
 */
function asksArchitecture(tokens, i) {
  const token = tokens[i];
  if (token?.kind === 'string') return ARCHITECTURE.test(token.text.slice(1, -1));
  if (token?.kind !== 'word' || token.text !== 'arch') return false;
  const named =
    tokens[i + 1]?.text === '.' && ['name', 'title'].includes(tokens[i + 2]?.text ?? '');
  const [first, second] = named ? [tokens[i + 3], tokens[i + 4]] : [tokens[i + 1], tokens[i + 2]];
  const compared = (first?.text === '=' || first?.text === '!') && second?.text === '=';
  // `arch.name.startsWith(...)`
  return compared || (named && first?.text === '.');
}

/** @param {string} layer @param {string} target @param {boolean} typeOnly */
function checkRelative(layer, target, typeOnly) {
  if (layer === 'scenarios') return `scenarios may import only ${PACKAGES.scenarios?.join(', ')}`;
  const other = layerOf(target);
  if (!target.startsWith('src/')) return `${layer} may not import ${target}, outside src`;
  if (other === layer || LAYERS[layer]?.includes(other)) return undefined;
  const listed = TYPES_ONLY[layer]?.some((prefix) => target.startsWith(prefix)) ?? false;
  if (listed) return typeOnly ? undefined : `${layer} may import only types of ${other}`;
  const allowed = [
    ...(LAYERS[layer] ?? []),
    ...(TYPES_ONLY[layer] ?? []).map((t) => `types of ${t}`),
  ];
  return `${layer} may not import ${target}; it may import ${allowed.join(', ') || 'nothing'}`;
}

/** @param {string} layer @param {string} specifier */
function checkPackage(layer, specifier) {
  if (PACKAGES[layer]?.includes(specifier)) return undefined;
  if (specifier.startsWith('node:')) {
    return NODE.has(layer)
      ? undefined
      : `${layer} may not import ${specifier}: it also runs in a browser`;
  }
  const allowed = PACKAGES[layer]?.join(', ') ?? 'no package';
  return `${layer} may not import the package ${specifier}; it may import ${allowed}`;
}

/** @param {string} root @returns {string[]} */
function sourceFiles(root) {
  return ['src', 'scenarios'].flatMap((folder) => {
    let entries;
    try {
      entries = readdirSync(join(root, folder), { withFileTypes: true, recursive: true });
    } catch {
      return [];
    }
    return entries
      .filter((entry) => entry.isFile() && /\.m?ts$/.test(entry.name))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
      .sort((a, b) => (a < b ? -1 : 1));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const offences = sourceFiles(root).flatMap((file) =>
    checkImports(file, readFileSync(join(root, file), 'utf8')),
  );
  for (const { file, line, message } of offences) console.error(`${file}:${line}: ${message}`);
  process.exitCode = offences.length > 0 ? 1 : 0;
}
