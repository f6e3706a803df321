import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Finds the terminal transcripts in a Markdown page, runs them, and gives the page as it should be. */

export const ROOT: string = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const BLOCK = /^```console\n\$ gracewalk ([^\n]*)\n([\s\S]*?)^```$/gm;

/** Words of a command line in the quoting that our pages use. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

export function runGracewalk(args: readonly string[]): { stdout: string; status: number } {
  try {
    const stdout = execFileSync('node', [join(ROOT, 'dist/cli/main.js'), ...args], {
      encoding: 'utf8',
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'ignore'],
      maxBuffer: 2 ** 28, // all built-in scenarios in JSON are more than the default, 1 MiB
    });
    return { stdout, status: 0 };
  } catch (error) {
    const { stdout, status } = error as { stdout: string; status: number };
    return { stdout, status };
  }
}

/** Times differ between machines, and nothing else may. */
export function withoutTimes(text: string): string {
  return text.replace(/\(\d+\.\d+ s\)/g, '(... s)').replace(/"ms": \d+/g, '"ms": ...');
}

/** The page with every transcript as the program prints it now. A token is that of the run shown before. */
export function executed(page: string): string {
  let token = '';
  return page.replace(BLOCK, (_block, command: string) => {
    const line = command.replace(
      /'TOKEN'|'[^' ]*\/[^' ]*@[0-9a-f]{6}\/[^' ]*'/,
      () => `'${token}'`,
    );
    const { stdout } = runGracewalk(words(line));
    token = /gracewalk replay '([^']+)'/.exec(stdout)?.[1] ?? token;
    return `\`\`\`console\n$ gracewalk ${line}\n${withoutTimes(stdout).replace(/\n+$/, '')}\n\`\`\``;
  });
}

export function page(name: string): string {
  return readFileSync(join(ROOT, name), 'utf8');
}
