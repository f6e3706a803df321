import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import type { ExitCode } from './exit-code.ts';
import { builtInScenarios } from './find-scenarios.ts';
import { SCENARIO_FOLDER, TEMPLATE_FOLDER } from './package.ts';
import { Session, type CommonOptions } from './session.ts';

export interface NewOptions extends CommonOptions {
  readonly template: string;
  readonly list?: boolean;
}

export const USUAL_TEMPLATE = 'lost-update';

/** `gracewalk new NAME`: a scenario file to begin with, which passes as it is. */
export async function newScenario(
  name: string | undefined,
  options: NewOptions,
): Promise<ExitCode> {
  const text = options.list ? templateList() : write(name, options.template);
  const session = new Session(options);
  await session.output.write(text);
  return session.finish();
}

/** Names of the templates, the usual one first. */
export function templateNames(): string[] {
  const names = readdirSync(TEMPLATE_FOLDER)
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -'.ts'.length));
  return names.sort(
    (a, b) => Number(b === USUAL_TEMPLATE) - Number(a === USUAL_TEMPLATE) || (a < b ? -1 : 1),
  );
}

/** The template as a file of its own name. */
export function fromTemplate(template: string, id: string): string {
  return readTemplate(template)
    .replace(/^\/\/ /, `// ${id}.ts: `)
    .replace(`scenario<State>('${template}'`, `scenario<State>('${id}'`);
}

function readTemplate(name: string): string {
  const names = templateNames();
  if (names.includes(name)) return readFileSync(join(TEMPLATE_FOLDER, `${name}.ts`), 'utf8');
  const meant = suggest(name, names);
  throw new GracewalkError('E124', `no template '${name}'`, {
    notes: [`there are ${names.join(', ')}`],
    help: meant === null ? 'gracewalk new --list says what each is' : `did you mean ${meant}?`,
  });
}

function templateList(): string {
  const names = templateNames();
  const width = Math.max(...names.map((name) => name.length));
  const rows = names.map((name) => {
    const question =
      readTemplate(name)
        .split('\n')[0]
        ?.replace(/^\/\/ /, '') ?? '';
    return `  ${name.padEnd(width)}  ${question}`;
  });
  return `Templates:\n\n${rows.join('\n')}\n\nThe first is used if none is named.\n`;
}

function write(typed: string | undefined, template: string): string {
  const id = checkedName(typed);
  const text = fromTemplate(template, id);
  const file = resolve(process.cwd(), `${id}.ts`);
  if (existsSync(file)) {
    throw new GracewalkError('E124', `there is a ${id}.ts here already`, {
      help: 'choose another name, or remove it first',
    });
  }
  try {
    writeFileSync(file, text, { flag: 'wx' });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new GracewalkError('E124', `${id}.ts could not be written`, {
      notes: [why],
      help: 'go to a folder that you may write to',
    });
  }
  return `${id}.ts is there.  To explore it: gracewalk check ${id}.ts\n`;
}

function checkedName(typed: string | undefined): string {
  if (typed === undefined) {
    throw new GracewalkError('E115', 'a new scenario needs a name', {
      help: 'gracewalk new my-race; gracewalk new --list shows the templates',
    });
  }
  const id = typed.replace(/\.ts$/, '');
  if (!/^[a-z0-9][a-z0-9-]*$/.test(id)) {
    throw new GracewalkError('E108', `'${typed}' is no scenario id`, {
      help: 'use lower-case letters, digits and dashes: gracewalk new my-race',
    });
  }
  if (builtInScenarios(SCENARIO_FOLDER).some(({ name }) => name === id)) {
    throw new GracewalkError('E124', `'${id}' is the name of a built-in scenario`, {
      help: 'tokens name a scenario by its id: choose another',
    });
  }
  return id;
}
