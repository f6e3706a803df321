import type { Command } from 'commander';
import { decode, parsePhysBits, type DecodeOptions } from './decode-command.ts';
import type { ExitCode } from './exit-code.ts';
import { explain, type ExplainOptions } from './explain-command.ts';
import { COLOR_MODES, oneOf } from './options.ts';

export const ARCH_VERBS: readonly string[] = ['decode', 'explain'];

/** The verbs that are about page tables and not about scenarios. */
export function archCommands(program: Command, finished: (code: ExitCode) => void): void {
  plain(program.command('decode'))
    .description('say what page-table entries mean')
    .argument('<arch>', 'x86_64, arm64, ept, ...: gracewalk explain lists them')
    .argument('<value...>', 'entries, decimal or with 0x')
    .option('--level <name>', 'pte, pmd, ..., or a register; none: every level where it fits')
    .option('--phys-bits <n>', 'width of physical addresses (MAXPHYADDR)', parsePhysBits)
    .action(async (arch: string, values: string[], options: DecodeOptions) =>
      finished(await decode(arch, values, options)),
    );

  plain(program.command('explain'))
    .description('levels, bits, flush and walker rules of an architecture')
    .argument('[name]', 'an architecture; none: what can be explained')
    .action(async (name: string | undefined, options: ExplainOptions) =>
      finished(await explain(name, options)),
    );
}

function plain(command: Command): Command {
  const modes = `--color <${COLOR_MODES.join('|')}>`;
  return command
    .option('--json', 'one JSON document instead of text')
    .option(modes, 'colours of errors', oneOf('--color', COLOR_MODES), COLOR_MODES[0])
    .option('--debug', 'print the stack of an error');
}
