import type { TextOptions } from './text-options.ts';
import { fold } from './wrap.ts';
import type { VariantResult } from '../scenario/result.ts';

/** The promise behind `safe`: under which environment was everything explored? */

/** What every safe variant assumes. */
export function commonAssumptions(results: readonly VariantResult[]): string[] {
  const safe = results.filter(({ verdict }) => verdict === 'safe');
  return (safe[0]?.assumptions ?? []).filter((each) =>
    safe.every(({ assumptions }) => assumptions.includes(each)),
  );
}

/** The one line under every `safe`. */
export function assumptionLine(common: readonly string[], width: number): string[] {
  return common.length === 0 ? [] : [fold(`Assumed: ${common.join('; ')}.`, width), ''];
}

/** `--assumptions`: for each variant the machine, the kernel's configuration, and what is said of the rest. */
export function assumptionBlock(results: readonly VariantResult[], options: TextOptions): string {
  const blocks = results.map((result) =>
    [`  ${result.variant}`, ...allAssumptions(result).flatMap((each) => item(each, options))].join(
      '\n',
    ),
  );
  return `What each variant assumes:\n\n${blocks.join('\n\n')}\n`;
}

export function allAssumptions({ machineTitle, config, assumptions }: VariantResult): string[] {
  return [`machine ${machineTitle}`, ...assumptions, ...Object.entries(config).map(setting)];
}

/** As in a kernel's .config. */
function setting([name, value]: readonly [string, boolean | number]): string {
  return `${name}=${typeof value === 'number' ? value : value ? 'y' : 'n'}`;
}

function item(text: string, { width }: TextOptions): string[] {
  const [first = '', ...more] = fold(text, width - 6).split('\n');
  return [`    - ${first}`, ...more.map((line) => `      ${line}`)];
}
