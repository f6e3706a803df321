/**
 * src/**\/*.ts -> dist/**\/*.js and .d.ts.
 *
 * Types are stripped in place: what is removed becomes spaces, and `.ts` becomes `.js` in relative
 * specifiers, which is as long. So line L, column C of dist/x.js is line L, column C of src/x.ts, and
 * the program can turn a stack position into a line of its own source without source maps.
 *
 *   node tools/build.mjs [--js-only]
 *
 * Files are replaced by rename and only if they changed, so that a build beside a running test or a
 * second build is harmless.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformSync } from 'amaro';
import { moduleUses } from './lexer.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * One module: types stripped, specifiers of neighbours rewritten, every position kept.
 *
 * @param {string} source @param {string} filename for messages
 */
export function compile(source, filename) {
  // The JavaScript parser in amaro takes a shebang for a comment, as it should.
  let code = transformSync(source, { mode: 'strip-only', module: true, filename }).code;
  for (const use of moduleUses(code)) {
    if (!/^\.\.?\/.*\.m?ts$/.test(use.specifier)) continue;
    code = `${code.slice(0, use.end - 2)}js${code.slice(use.end)}`;
  }
  if (code.length !== source.length) throw new Error(`${filename}: positions moved in the build`);
  return code;
}

/** Declarations have no positions to keep, but the same specifiers to rewrite. @param {string} text */
function rewriteDeclaration(text) {
  let out = text;
  for (const use of moduleUses(text)) {
    if (/^\.\.?\/.*\.m?ts$/.test(use.specifier)) {
      out = `${out.slice(0, use.end - 2)}js${out.slice(use.end)}`;
    }
  }
  return out;
}

/** @param {string} dir @returns {string[]} files, relative to dir, with '/' */
function filesBelow(dir) {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)).split(sep).join('/'));
}

/** @param {string} file @param {string} text */
function replaceFile(file, text) {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  mkdirSync(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, text);
  renameSync(temporary, file);
}

/** @param {string} src @param {string} dist @returns {string[]} messages of files that do not parse */
function buildJavaScript(src, dist) {
  const failures = [];
  for (const path of filesBelow(src)) {
    if (!/\.m?ts$/.test(path) || /\.d\.m?ts$/.test(path)) continue;
    const file = join(src, path);
    try {
      const target = join(dist, path.replace(/ts$/, 'js'));
      const code = compile(readFileSync(file, 'utf8'), file);
      replaceFile(target, code);
      if (code.startsWith('#!')) chmodSync(target, 0o755);
    } catch (error) {
      failures.push(explain(error, relative(ROOT, file)));
    }
  }
  return failures;
}

/** @param {unknown} error amaro throws a plain object @param {string} file */
function explain(error, file) {
  if (error instanceof Error) return `${file}: ${error.message}`;
  const { startLine, startColumn, message, snippet } = /** @type {Record<string, string>} */ (
    error
  );
  return `${file}:${startLine}:${Number(startColumn) + 1}: ${message}\n${snippet}`;
}

/** Whatever has no source any more, and folders left empty. @param {string} src @param {string} dist */
function removeStale(src, dist) {
  const sources = new Set(filesBelow(src));
  for (const path of filesBelow(dist)) {
    // Another build's temporary file; it renames it in a moment.
    if (path.endsWith('.tmp')) continue;
    const source = path.replace(/(?:\.d\.(m?)ts|\.(m?)js)$/, '.$1$2ts');
    if (!sources.has(source)) rmSync(join(dist, path), { force: true });
  }
  const folders = existsSync(dist)
    ? readdirSync(dist, { withFileTypes: true, recursive: true }).filter((e) => e.isDirectory())
    : [];
  for (const folder of folders.reverse()) {
    const path = join(folder.parentPath, folder.name);
    if (existsSync(path) && readdirSync(path).length === 0) rmdirSync(path);
  }
}

/** @param {string} dist @returns {boolean} whether tsc was content */
function buildDeclarations(dist) {
  // Into a folder of its own, so that nobody sees a declaration before its specifiers are rewritten.
  const temporary = join(ROOT, 'node_modules', '.cache', `gracewalk-types-${process.pid}`);
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const options = ['--emitDeclarationOnly', '--noCheck', '--outDir', temporary];
  const result = spawnSync(
    process.execPath,
    [tsc, '-p', join(ROOT, 'tsconfig.build.json'), ...options],
    { cwd: ROOT, stdio: 'inherit' },
  );
  for (const path of filesBelow(temporary)) {
    replaceFile(join(dist, path), rewriteDeclaration(readFileSync(join(temporary, path), 'utf8')));
  }
  rmSync(temporary, { recursive: true, force: true });
  return result.status === 0;
}

/** @param {{ jsOnly: boolean }} options @returns {boolean} */
function build({ jsOnly }) {
  const src = join(ROOT, 'src');
  const dist = join(ROOT, 'dist');
  removeStale(src, dist);
  const failures = buildJavaScript(src, dist);
  for (const failure of failures) console.error(failure);
  return (jsOnly || buildDeclarations(dist)) && failures.length === 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const unknown = process.argv.slice(2).filter((arg) => arg !== '--js-only');
  if (unknown.length > 0) {
    console.error(`build: unknown argument ${unknown.join(' ')} (there is only --js-only)`);
    process.exit(2);
  }
  process.exitCode = build({ jsOnly: process.argv.includes('--js-only') }) ? 0 : 1;
}
