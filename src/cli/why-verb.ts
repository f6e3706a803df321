import { Option, type Command } from 'commander';
import type { ExitCode } from './exit-code.ts';
import { AFTER_WHY } from './help.ts';
import { parseLimits } from './limits.ts';
import { DETAILS, LAYOUTS, MODELS, oneOf, parseProgress, whole } from './options.ts';
import { common, jsonOption, widthOption } from './view-commands.ts';
import { parseKind, parseShow, whyCommand, type WhyCommandOptions } from './why-command.ts';

export const WHY_VERBS: readonly string[] = ['why'];

/** Larger sets are of no use: hundreds of thousands of explorations, and nobody can read the answer. */
const LARGEST = 4;

/** The verb that asks what a verdict rests on. */
export function whyVerb(program: Command, finished: (code: ExitCode) => void): void {
  const command = program
    .command('why')
    .description('what a variant is safe by, or fails for')
    .argument('<file>', 'a scenario file, or the name of a built-in scenario')
    .argument('<variant>', 'one of its variants')
    .addHelpText('after', AFTER_WHY)
    .optionsGroup('What is asked:')
    .addOption(
      new Option('--size <n>', 'sets of up to so many')
        .argParser(whole('--size', 1, LARGEST))
        .default(2),
    )
    .addOption(
      new Option('--kind <kind>', 'only what leads to this kind of violation').argParser(parseKind),
    )
    .addOption(
      new Option('--show <n>', 'draw the run of a set, by its number; may be repeated')
        .argParser(parseShow)
        .default([], 'none'),
    )
    .addOption(
      new Option('--model <sc|tso>', 'this memory model instead of the declared one').argParser(
        oneOf('--model', MODELS),
      ),
    )
    .addOption(
      new Option('--limit <list>', 'say what is known by then; see below')
        .argParser((text: string, previous: object) => parseLimits(text, previous))
        .default({}, 'time=2m'),
    )
    .optionsGroup('Form of the result:')
    .addOption(jsonOption().conflicts(['width', 'layout', 'detail']))
    .optionsGroup('Text and diagrams:')
    .addOption(widthOption('columns of text and diagrams'))
    .addOption(
      new Option(`--layout <${LAYOUTS.join('|')}>`, 'tagged survives where spaces collapse')
        .argParser(oneOf('--layout', LAYOUTS))
        .default('columns', 'columns'),
    )
    .addOption(
      new Option(`--detail <${DETAILS.join('|')}>`, 'every step; what matters; less still')
        .argParser(oneOf('--detail', DETAILS))
        .default('auto', 'auto'),
    );
  common(command)
    .option(
      '--progress <seconds|off>',
      'how often to tell how far it is; in a pipe only with this',
      parseProgress,
    )
    .action(async (file: string, variant: string, options: WhyCommandOptions) =>
      finished(await whyCommand(file, variant, options)),
    );
}
