import { Option, type Command } from 'commander';
import type { ExitCode } from './exit-code.ts';
import type { BugsOptions } from './bugs-command.ts';
import { AFTER_BUGS, AFTER_MATRIX, AFTER_NEW } from './help.ts';
import { parseLimits } from './limits.ts';
import { USUAL_TEMPLATE, newScenario, type NewOptions } from './new-command.ts';
import type { MatrixOptions } from './matrix-command.ts';
import {
  COLOR_MODES,
  DETAILS,
  LAYOUTS,
  MODELS,
  USUAL_WIDTH,
  oneOf,
  parseJsonForm,
  parseProgress,
  parseWidth,
} from './options.ts';

export const VIEW_VERBS: readonly string[] = ['matrix', 'new', 'bugs'];

/** The verbs around a verdict: tables, the museum, new files. */
export function viewCommands(program: Command, finished: (code: ExitCode) => void): void {
  matrixCommand(program).action(async (files: string[], options: MatrixOptions) => {
    const { matrix } = await import('./matrix-command.ts');
    finished(await matrix(files, options));
  });
  bugsCommand(program).action(async (id: string | undefined, options: BugsOptions) => {
    const { bugs } = await import('./bugs-command.ts');
    finished(await bugs(id, options));
  });
  newCommand(program).action(async (name: string | undefined, options: NewOptions) =>
    finished(await newScenario(name, options)),
  );
}

function matrixCommand(program: Command): Command {
  const command = program
    .command('matrix')
    .description('variants, machines and memory models in one table')
    .argument('[file...]', 'scenario files, or names of built-in scenarios; none: all of these')
    .addHelpText('after', AFTER_MATRIX)
    .optionsGroup('What is explored:')
    .addOption(repeatable('--variant <name>', 'only this variant; may be repeated'))
    .addOption(repeatable('--machine <name>', 'on this one, declared or not; may be repeated'))
    .addOption(
      new Option('--model <sc|tso>', 'only this memory model').argParser(oneOf('--model', MODELS)),
    )
    .addOption(
      new Option('--limit <list>', 'end the search of a cell, as for check')
        .argParser((text: string, previous: object) => parseLimits(text, previous))
        .default({}, 'memory only'),
    )
    .optionsGroup('Form of the result:')
    .addOption(jsonOption().conflicts('width'))
    .optionsGroup('Text and diagrams:')
    .addOption(widthOption('columns of the table'));
  return common(command).option(
    '--progress <seconds|off>',
    'how often to tell how far it is; in a pipe only with this',
    parseProgress,
  );
}

function bugsCommand(program: Command): Command {
  const command = program
    .command('bugs')
    .description('the museum: real bugs, their stories, failing and fixed')
    .argument('[id]', 'the bug to run; none: the list')
    .addHelpText('after', AFTER_BUGS)
    .optionsGroup('Form of the result:')
    .addOption(jsonOption().conflicts(['width', 'layout', 'detail']))
    .optionsGroup('Text and diagrams:')
    .addOption(widthOption('columns of a diagram'))
    .addOption(words('--layout', LAYOUTS, 'columns', 'tagged survives where spaces collapse'))
    .addOption(words('--detail', DETAILS, 'auto', 'as for check'));
  return common(command);
}

function words<T extends string>(
  flag: string,
  allowed: readonly T[],
  usual: T,
  description: string,
): Option {
  return new Option(`${flag} <${allowed.join('|')}>`, description)
    .argParser(oneOf(flag, allowed))
    .default(usual, usual);
}

function newCommand(program: Command): Command {
  const command = program
    .command('new')
    .description('a scenario file to begin with, from a template')
    .argument('[name]', 'of the scenario; its file is NAME.ts, here')
    .addHelpText('after', AFTER_NEW)
    .optionsGroup('What is written:')
    .option('--template <name>', 'what to begin with', USUAL_TEMPLATE)
    .option('--list', 'show the templates instead')
    .optionsGroup('Form of the result:');
  return common(command);
}

function repeatable(flag: string, description: string): Option {
  return new Option(flag, description)
    .argParser((value: string, previous: readonly string[]) => [...previous, value])
    .default([], flag.startsWith('--machine') ? 'as declared' : 'all');
}

export function jsonOption(): Option {
  return new Option('--json [=lines]', 'a document; with =lines on one line').argParser(
    parseJsonForm,
  );
}

export function widthOption(description: string): Option {
  return new Option('--width <n>', description).argParser(parseWidth).default(USUAL_WIDTH);
}

export function common(command: Command): Command {
  return command
    .addOption(
      new Option(`--color <${COLOR_MODES.join('|')}>`, 'colours, which never carry meaning alone')
        .argParser(oneOf('--color', COLOR_MODES))
        .default('auto', 'auto'),
    )
    .optionsGroup('Other:')
    .option('--debug', 'print the stack of an error')
    .helpOption('-h, --help', 'print this');
}
