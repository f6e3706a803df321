import { Option, type Command } from 'commander';
import { decode, parseWidthOfAddresses, type DecodeOptions } from './decode-command.ts';
import type { ExitCode } from './exit-code.ts';
import { explain, type ExplainOptions } from './explain-command.ts';
import { AFTER_DECODE, AFTER_EXPLAIN } from './help.ts';
import { COLOR_MODES, oneOf, parseJsonForm } from './options.ts';

export const ARCH_VERBS: readonly string[] = ['decode', 'explain'];

/** The verbs that are about page tables and not about scenarios. */
export function archCommands(program: Command, finished: (code: ExitCode) => void): void {
  const decoding = program
    .command('decode')
    .description('say what page-table entries mean')
    .argument('<arch>', 'x86_64, arm64, ept, ...: `gracewalk explain` lists them')
    .argument('<value...>', 'entries, decimal or hexadecimal with 0x')
    .addHelpText('after', AFTER_DECODE)
    .optionsGroup('What is decoded:')
    .option('--level <name>', 'pte, pmd, ..., or a register; else each where it fits')
    .option('--maxphyaddr <n>', 'width of physical addresses', parseWidthOfAddresses);
  form(decoding).action(async (arch: string, values: string[], options: DecodeOptions) =>
    finished(await decode(arch, values, options)),
  );

  const explaining = program
    .command('explain')
    .description('levels, bits, flush and walker rules of an architecture')
    .argument('[name]', 'an architecture; none: what can be explained')
    .addHelpText('after', AFTER_EXPLAIN);
  form(explaining).action(async (name: string | undefined, options: ExplainOptions) =>
    finished(await explain(name, options)),
  );
}

function form(command: Command): Command {
  return command
    .optionsGroup('Form of the result:')
    .option('--json [=lines]', 'a document; with =lines on one line', parseJsonForm)
    .optionsGroup('Other:')
    .addOption(
      new Option(`--color <${COLOR_MODES.join('|')}>`, 'colours of errors')
        .argParser(oneOf('--color', COLOR_MODES))
        .default('auto'),
    )
    .option('--debug', 'print the stack of an error')
    .helpOption('-h, --help', 'print this');
}
