import { Option, type Command } from 'commander';
import type { ExitCode } from './exit-code.ts';
import { AFTER_MATRIX, AFTER_NEW } from './help.ts';
import { parseLimits } from './limits.ts';
import { USUAL_TEMPLATE, newScenario, type NewOptions } from './new-command.ts';
import { matrix, type MatrixOptions } from './matrix-command.ts';
import {
  COLOR_MODES,
  MODELS,
  USUAL_WIDTH,
  oneOf,
  parseJsonForm,
  parseProgress,
  parseWidth,
} from './options.ts';

export const VIEW_VERBS: readonly string[] = ['matrix', 'new'];

/** The verbs around a verdict: tables, the museum, new files. */
export function viewCommands(program: Command, finished: (code: ExitCode) => void): void {
  matrixCommand(program).action(async (files: string[], options: MatrixOptions) =>
    finished(await matrix(files, options)),
  );
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

function jsonOption(): Option {
  return new Option('--json [=lines]', 'a document; with =lines on one line').argParser(
    parseJsonForm,
  );
}

function widthOption(description: string): Option {
  return new Option('--width <n>', description).argParser(parseWidth).default(USUAL_WIDTH);
}

function common(command: Command): Command {
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
