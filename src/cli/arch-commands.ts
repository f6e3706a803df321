import { Option, type Command } from 'commander';
import type { DecodeOptions } from './decode-command.ts';
import type { ExitCode } from './exit-code.ts';
import type { ExplainOptions } from './explain-command.ts';
import { AFTER_DECODE, AFTER_EXPLAIN, AFTER_WALK } from './help.ts';
import { COLOR_MODES, oneOf, parseJsonForm, parseWidthOfAddresses } from './options.ts';
import {
  MERGES,
  USUAL_LIMITS,
  parseAddress,
  parseRoot,
  parseWalkLimits,
  type WalkLimits,
  type WalkOptions,
} from './walk-options.ts';

export const ARCH_VERBS: readonly string[] = ['decode', 'walk', 'explain'];

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
  form(decoding).action(async (arch: string, values: string[], options: DecodeOptions) => {
    const { decode } = await import('./decode-command.ts');
    finished(await decode(arch, values, options));
  });

  const walking = walkCommand(program);
  form(walking).action(async (image: string, address: bigint | undefined, options: WalkOptions) => {
    const { walk } = await import('./walk-command.ts');
    finished(await walk(image, address, options));
  });

  const explaining = program
    .command('explain')
    .description('what an architecture, function, violation or error means')
    .argument('[name]', 'what it is about; none: what can be explained')
    .addHelpText('after', AFTER_EXPLAIN);
  form(explaining).action(async (name: string | undefined, options: ExplainOptions) => {
    const { explain } = await import('./explain-command.ts');
    finished(await explain(name, options));
  });
}

function walkCommand(program: Command): Command {
  return program
    .command('walk')
    .description('page tables in an image of memory: one address, or all mappings')
    .argument('<image>', 'a flat file of physical memory, or an ELF core of a machine')
    .argument('[address]', 'what is translated; without it, everything mapped', parseAddress('VA'))
    .addHelpText('after', AFTER_WALK)
    .optionsGroup('What is walked:')
    .requiredOption('--arch <name>', 'the kind of tables: x86_64, arm64, ept, ...')
    .requiredOption(
      '--root <addr>',
      'top-level table, or a register: cr3=0x...',
      parseRoot('--root'),
    )
    .option('--stage2 <name>', "the hypervisor's tables, below the guest's: ept, npt, ...")
    .option(
      '--guest-root <addr>',
      'root of the guest; --root is then of --stage2',
      parseRoot('--guest-root'),
    )
    .option('--upper', 'the root is that of the upper half (arm64 TTBR1)')
    .option('--base <addr>', 'address of the first byte of a flat file', parseAddress('--base'))
    .optionsGroup('What is listed:')
    .addOption(
      new Option(`--merge <${MERGES.join('|')}>`, 'which neighbours are one range')
        .argParser(oneOf('--merge', MERGES))
        .default('tlb', 'tlb'),
    )
    .addOption(
      new Option('--limit <list>', 'end early: tables=, pages=, ranges=')
        .argParser((text: string, previous: WalkLimits) => parseWalkLimits(text, previous))
        .default(USUAL_LIMITS, 'tables=1e6,pages=1e9'),
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
