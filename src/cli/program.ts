import { Command, Option } from 'commander';
import { ARCH_VERBS, archCommands } from './arch-commands.ts';
import type { AskOptions } from './ask-command.ts';
import type { CheckOptions } from './check-command.ts';
import type { ExitCode } from './exit-code.ts';
import { parseExpectation } from './expectation.ts';
import { AFTER_ASK, AFTER_CHECK, AFTER_PROGRAM, AFTER_REPLAY, optionTerm } from './help.ts';
import { parseLimits } from './limits.ts';
import {
  COLOR_MODES,
  DETAILS,
  LAYOUTS,
  MODELS,
  RUN_FORMS,
  USUAL_WIDTH,
  oneOf,
  parseJsonForm,
  parseProgress,
  parseWidth,
  whole,
} from './options.ts';
import { ENGINE_VERSION } from './package.ts';
import { VIEW_VERBS, viewCommands } from './view-commands.ts';
import type { ReplayOptions } from './replay-command.ts';
import { WHY_VERBS, whyVerb } from './why-verb.ts';

/** Of a hunt. */
const MOST_RUNS = 1e12;

export const VERBS: readonly string[] = [
  'check',
  'ask',
  ...WHY_VERBS,
  'replay',
  ...VIEW_VERBS,
  ...ARCH_VERBS,
  'help',
];

/**
 * The verbs and their options. `finished` gets the exit code, `print` the text of --help and --version. What a
 * verb does is loaded when it is asked for: most of them need neither the kernel's functions nor the drawings.
 */
export function commands(
  finished: (code: ExitCode) => void,
  print: (text: string) => void,
): Command {
  const program = new Command('gracewalk')
    .description('Explores every interleaving that matters of kernel memory-management protocols.')
    .version(ENGINE_VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help; also for a verb')
    .helpCommand('help [verb]', 'print help for a verb')
    .configureHelp({ optionTerm })
    .addHelpText('after', AFTER_PROGRAM)
    .exitOverride()
    // Errors are caught and printed in our own form.
    .configureOutput({ writeOut: print, writeErr: () => {} });
  checkCommand(program).action(async (files: string[], options: CheckOptions) => {
    const { check } = await import('./check-command.ts');
    finished(await check(files, options));
  });
  askCommand(program).action(
    async (file: string, diagram: string | undefined, options: AskOptions) => {
      const { ask } = await import('./ask-command.ts');
      finished(await ask(file, diagram, options));
    },
  );
  replayCommand(program).action(
    async (token: string, file: string | undefined, options: ReplayOptions) => {
      const { replay } = await import('./replay-command.ts');
      finished(await replay(token, file, options));
    },
  );
  whyVerb(program, finished);
  viewCommands(program, finished);
  archCommands(program, finished);
  return program;
}

function checkCommand(program: Command): Command {
  return program
    .command('check', { isDefault: true })
    .description('explore every variant and compare it with what is expected of it')
    .argument('[file...]', 'scenario files, or names of built-in scenarios; none: all of these')
    .addHelpText('after', AFTER_CHECK)
    .optionsGroup('What is checked:')
    .addOption(variantOption())
    .addOption(modelOption())
    .option(
      '--expect <safe|fails|kinds>',
      'compare with this instead of what is declared',
      parseExpectation,
    )
    .addOption(limitOption())
    .optionsGroup('How:')
    .addOption(
      new Option('-j, --jobs <n>', 'threads that share a large search; the result is the same')
        .argParser(whole('--jobs', 1, 256))
        .default(1),
    )
    .addOption(
      new Option('--certify', 'explore again with another algorithm, and compare').conflicts([
        'random',
        'pct',
      ]),
    )
    .addOption(
      new Option('--random <runs>', 'only so many runs, by chance: a hunt, no proof')
        .argParser(whole('--random', 1, MOST_RUNS))
        .conflicts('pct'),
    )
    .addOption(
      new Option('--pct <runs>', 'the same, by random priorities (PCT)').argParser(
        whole('--pct', 1, MOST_RUNS),
      ),
    )
    .addOption(
      new Option('--seed <n>', 'where chance begins (1): the same seed is the same runs').argParser(
        whole('--seed', 0, 2 ** 32 - 1),
      ),
    )
    .optionsGroup('Form of the result:')
    .addOption(
      jsonOption('a document; with =lines an object per line as it happens').conflicts([
        'ktap',
        'quiet',
        ...TEXT_OPTIONS,
      ]),
    )
    .addOption(new Option('--ktap', "the kernel's test format").conflicts('quiet'))
    .addOption(quietOption('one line per variant that is not as expected'))
    .option('--assumptions', 'print all that each variant assumes')
    .option('--bisect', 'exit codes for `git bisect run`')
    .optionsGroup('Text and diagrams:')
    .addOption(widthOption())
    .addOption(layoutOption())
    .addOption(detailOption())
    .addOption(colorOption())
    .optionsGroup('Other:')
    .option(
      '--progress <seconds|off>',
      'how often to tell how far it is; in a pipe only with this',
      parseProgress,
    )
    .option('--debug', 'print the stack of an error')
    .helpOption('-h, --help', 'print this');
}

function askCommand(program: Command): Command {
  return program
    .command('ask')
    .description('is this interleaving possible?  A run of it, or what stops it')
    .argument('<file>', 'a scenario file, or the name of a built-in scenario')
    .argument(
      '[diagram]',
      "a file, - for stdin, or a question's title; none: all questions of the scenario",
    )
    .addHelpText('after', AFTER_ASK)
    .optionsGroup('What is asked:')
    .addOption(variantOption())
    .addOption(modelOption())
    .addOption(
      new Option('--expect <reachable|unreachable>', 'exit 1 if the answer is another').argParser(
        oneOf('--expect', ANSWERS),
      ),
    )
    .option('--fix-typos', 'take names that come close for what was meant')
    .addOption(limitOption())
    .optionsGroup('Form of the result:')
    .addOption(
      jsonOption('a document; with =lines on one line').conflicts(['quiet', ...TEXT_OPTIONS]),
    )
    .addOption(quietOption('one line per variant without the expected answer'))
    .optionsGroup('Text and diagrams:')
    .addOption(widthOption())
    .addOption(layoutOption())
    .addOption(detailOption())
    .addOption(colorOption())
    .optionsGroup('Other:')
    .option('--progress <seconds|off>', 'how often to tell how far it is', parseProgress)
    .option('--debug', 'print the stack of an error')
    .helpOption('-h, --help', 'print this');
}

const ANSWERS: readonly string[] = ['reachable', 'unreachable'];

function replayCommand(program: Command): Command {
  return program
    .command('replay')
    .description('print the diagram of one run')
    .argument('<token>', 'as printed by check after `Replay:`; or a run as JSON, run.json')
    .argument('[file]', 'the scenario file, if the scenario is not a built-in one')
    .addHelpText('after', AFTER_REPLAY)
    .optionsGroup('What is replayed:')
    .addOption(modelOption())
    .option('--machine <name>', 'this architecture, as for matrix')
    .addOption(
      new Option('--on <variant>', 'follow it in another variant: where does it stop?').conflicts(
        'minimize',
      ),
    )
    .option('--minimize', 'search for the shortest run that violates in the same way')
    .addOption(
      new Option('--step', 'one step after the other, with what each changes').conflicts([
        'json',
        'quiet',
        'as',
        'layout',
        'detail',
      ]),
    )
    .optionsGroup('Form of the result:')
    .addOption(
      jsonOption('a document; with =lines on one line').conflicts(['quiet', ...TEXT_OPTIONS]),
    )
    .addOption(quietOption('print nothing; the exit code says whether the run is still there'))
    .addOption(
      new Option(
        `--as <${RUN_FORMS.join('|')}>`,
        'a form for mail, a page, a picture, a trace viewer',
      )
        .argParser(oneOf('--as', RUN_FORMS))
        .conflicts(['json', 'quiet', 'layout']),
    )
    .optionsGroup('Text and diagrams:')
    .addOption(widthOption())
    .addOption(layoutOption())
    .addOption(detailOption())
    .addOption(colorOption())
    .optionsGroup('Other:')
    .option('--debug', 'print the stack of an error')
    .helpOption('-h, --help', 'print this');
}

/** What says how text looks: meaningless, and so refused, where there is none. */
const TEXT_OPTIONS: readonly string[] = ['width', 'layout', 'detail'];

function jsonOption(description: string): Option {
  return new Option('--json [=lines]', description).argParser(parseJsonForm);
}

function variantOption(): Option {
  return new Option('--variant <name>', 'only this variant; may be repeated')
    .argParser(collect)
    .default([], 'all');
}

function limitOption(): Option {
  return new Option('--limit <list>', 'end the search as inconclusive; see below')
    .argParser((text: string, previous: object) => parseLimits(text, previous))
    .default({}, 'memory only');
}

function modelOption(): Option {
  return new Option('--model <sc|tso>', 'this memory model instead of the declared one').argParser(
    oneOf('--model', MODELS),
  );
}

function quietOption(description: string): Option {
  return new Option('--quiet', description).conflicts(['assumptions', ...TEXT_OPTIONS]);
}

function widthOption(): Option {
  return new Option('--width <n>', 'columns of a diagram')
    .argParser(parseWidth)
    .default(USUAL_WIDTH);
}

function layoutOption(): Option {
  return choice('--layout', 'tagged survives where spaces collapse', LAYOUTS, 'columns');
}

function detailOption(): Option {
  return choice(
    '--detail',
    'every step; what matters; that without its functions',
    DETAILS,
    'auto',
  );
}

function colorOption(): Option {
  return choice('--color', 'colours, which never carry meaning alone', COLOR_MODES, 'auto');
}

/** An option that takes one of a few words. */
function choice<T extends string>(
  flag: string,
  description: string,
  words: readonly T[],
  usual: T,
): Option {
  return new Option(`${flag} <${words.join('|')}>`, description)
    .argParser(oneOf(flag, words))
    .default(usual, usual);
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}
