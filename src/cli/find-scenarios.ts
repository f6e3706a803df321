import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';
import { GracewalkError } from '../base/errors.ts';
import { displayName } from './source-lines.ts';
import { suggest } from '../base/suggest.ts';

/** A scenario that ships with the package: scenarios/<subject>/<name>.ts. */
export interface BuiltIn {
  readonly name: string;
  readonly path: string;
}

/** All built-in scenarios, sorted by path; names with a leading `_` are helpers of scenarios. */
export function builtInScenarios(folder: string): BuiltIn[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /^[^_.].*(?<!\.d)\.ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort((a, b) => (relative(folder, a) < relative(folder, b) ? -1 : 1))
    .map((path) => ({ name: basename(path, '.ts'), path }));
}

/** Anything with a folder or an ending is a path, everything else a built-in scenario's name. */
export function looksLikePath(operand: string): boolean {
  return /\.[cm]?[jt]sx?$/.test(operand) || operand.includes('/') || operand.includes(sep);
}

/**
 * What the operands stand for: absolute paths without repetition. A folder stands for the scenarios in it and
 * below; no operands for every built-in scenario.
 */
export function findScenarios(
  operands: readonly string[],
  folder: string,
  cwd: string = process.cwd(),
): string[] {
  const builtIns = builtInScenarios(folder);
  if (operands.length === 0 && builtIns.length === 0) {
    // Nothing to check must not look like everything is well.
    throw new GracewalkError('E114', `no built-in scenarios in ${folder}`, {
      help: 'the package is incomplete: install it again',
    });
  }
  const paths =
    operands.length === 0
      ? builtIns.map(({ path }) => path)
      : operands.flatMap(
          (operand) => scenariosIn(operand, cwd) ?? [findScenario(operand, builtIns, cwd)],
        );
  return [...new Set(paths)];
}

/** The scenarios of a folder, or null if the operand is none. */
function scenariosIn(operand: string, cwd: string): string[] | null {
  const path = resolve(cwd, operand);
  if (!looksLikePath(operand) || !existsSync(path) || !statSync(path).isDirectory()) return null;
  const found = builtInScenarios(path);
  if (found.length > 0) return found.map((scenario) => scenario.path);
  throw new GracewalkError('E114', `no scenarios in ${operand}`, {
    help: 'name a folder with scenario files: scenarios/mm',
  });
}

export function findScenario(operand: string, builtIns: readonly BuiltIn[], cwd: string): string {
  if (!looksLikePath(operand)) return findBuiltIn(operand, builtIns, cwd);
  const path = resolve(cwd, operand);
  checkReadable(operand, path, builtIns);
  return path;
}

function findBuiltIn(name: string, builtIns: readonly BuiltIn[], cwd: string): string {
  const found = builtIns.filter((scenario) => scenario.name === name);
  const [first, second] = found;
  if (first && !second) return first.path;
  if (first) {
    throw new GracewalkError(
      'E110',
      `'${name}' is the name of ${found.length} built-in scenarios`,
      {
        help: `name the file: ${found.map(({ path }) => displayName(path, cwd)).join(' or ')}`,
      },
    );
  }
  throw unknownName(name, builtIns, cwd);
}

function unknownName(name: string, builtIns: readonly BuiltIn[], cwd: string): GracewalkError {
  const names = builtIns.map((scenario) => scenario.name);
  const meant = suggest(name, names);
  const help = existsSync(resolve(cwd, `${name}.ts`))
    ? `there is a file here: ${name}.ts`
    : meant !== null
      ? `did you mean ${meant}?`
      : 'a file needs its ending: my-race.ts';
  return new GracewalkError('E110', `no built-in scenario '${name}'`, {
    notes: names.length > 0 && meant === null ? [`there are ${names.join(', ')}`] : [],
    help,
  });
}

function checkReadable(operand: string, path: string, builtIns: readonly BuiltIn[]): void {
  if (!existsSync(path)) {
    const name = basename(operand).replace(/\.[cm]?[jt]sx?$/, '');
    const builtIn = builtIns.some((scenario) => scenario.name === name);
    throw new GracewalkError('E114', `no file ${operand}`, {
      notes: [`looked for ${path}`],
      help: builtIn ? `the built-in scenario is called ${name}, without .ts` : 'check the path',
    });
  }
  if (statSync(path).isDirectory()) {
    throw new GracewalkError('E114', `${operand} is a folder`, {
      help: `name the files: ${operand.replace(/\/*$/, '')}/*.ts`,
    });
  }
  try {
    accessSync(path, constants.R_OK);
  } catch {
    throw new GracewalkError('E114', `${operand} cannot be read`, {
      help: `you have no permission to: chmod +r ${operand}`,
    });
  }
}
