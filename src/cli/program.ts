import { Command, Option } from 'commander';
import { check, type CheckOptions } from './check-command.ts';
import type { ExitCode } from './exit-code.ts';
import { parseLimits } from './limits.ts';
import {
  COLOR_MODES,
  DETAILS,
  LAYOUTS,
  USUAL_WIDTH,
  oneOf,
  parseProgress,
  parseWidth,
} from './options.ts';
import { ENGINE_VERSION } from './package.ts';
import { replay, type ReplayOptions } from './replay-command.ts';

export const VERBS: readonly string[] = ['check', 'replay', 'help'];

const AFTER_HELP = `
No verb and a file means check.  stdout carries the result and nothing else.

Exit codes: 0 as declared, 1 violation or other unexpected verdict, 2 bad
input, 3 inconclusive, 4 vacuous, 5 engine fault; of several the worst, in the
order 5, 2, 1, 3, 4, 0.`;

/** The verbs and their options. `finished` gets the exit code, `print` the text of --help and --version. */
export function commands(
  finished: (code: ExitCode) => void,
  print: (text: string) => void,
): Command {
  const program = new Command('gracewalk')
    .description('Explores every interleaving that matters of kernel memory-management protocols.')
    .version(ENGINE_VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help; also for a verb')
    .addHelpText('after', AFTER_HELP)
    .exitOverride()
    // Errors are caught and printed in our own form.
    .configureOutput({ writeOut: print, writeErr: () => {} });

  common(program.command('check', { isDefault: true }))
    .description('explore every variant and compare it with what is expected of it')
    .argument('[file...]', 'scenario files, or names of built-in scenarios; none: all of these')
    .addOption(
      new Option('--variant <name>', 'only this variant; may be repeated')
        .argParser(collect)
        .default([], 'all'),
    )
    .addOption(
      new Option('--limit <list>', 'runs=1e6,steps=1e8,time=60s,switches=3,memory=2G')
        .argParser((text: string, previous: object) => parseLimits(text, previous))
        .default({}, 'memory: 75 % of the heap'),
    )
    .option(
      '--progress <seconds|off>',
      'a line on stderr; on by itself on a terminal',
      parseProgress,
    )
    .action(async (files: string[], options: CheckOptions) =>
      finished(await check(files, options)),
    );

  common(program.command('replay'))
    .description('print the diagram of one run')
    .argument('<token>', 'as printed by check after `Replay:`')
    .argument('[file]', 'the scenario file, if the scenario is not a built-in one')
    .action(async (token: string, file: string | undefined, options: ReplayOptions) =>
      finished(await replay(token, file, options)),
    );
  return program;
}

/** Options that every verb has. */
function common(command: Command): Command {
  return command
    .option('--json', 'one JSON document instead of text')
    .option('--width <n>', 'columns of a diagram', parseWidth, USUAL_WIDTH)
    .option(...choice('--layout', 'tagged survives where spaces collapse', LAYOUTS))
    .option(...choice('--detail', 'auto leaves out what the violation does not touch', DETAILS))
    .option(...choice('--color', 'colours, which never carry meaning alone', COLOR_MODES))
    .option('--debug', 'print the stack of an error');
}

/** The arguments of `option()` for an option that takes one of a few words, the first if it is not given. */
function choice<T extends string>(
  flag: string,
  description: string,
  words: readonly [T, ...T[]],
): [string, string, (text: string) => T, T] {
  return [`${flag} <${words.join('|')}>`, description, oneOf(flag, words), words[0]];
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}
