import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Finds the terminal transcripts in a Markdown page, runs them, and gives the page as it should be. */

export const ROOT: string = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const BLOCK =
  /^```console\n\$ (npx )?gracewalk ([^\n]*)\n([\s\S]*?)^```$|^```(?:ts|text)\n(?:\/\/ )?([a-z-]+\.(?:ts|txt))\b([\s\S]*?)^```$/gm;

/** Words of a command line in the quoting that our pages use. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

/** `input`: what the program reads from stdin. */
export function runGracewalk(args: readonly string[], input = '', cwd: string = ROOT): Ran {
  return spawnSync('node', [join(ROOT, 'dist/cli/main.js'), ...args], {
    encoding: 'utf8',
    cwd,
    input,
    maxBuffer: 2 ** 28, // all built-in scenarios in JSON are more than the default, 1 MiB
  });
}

/** As a shell would: `gracewalk ask FILE - < mail.txt`. Where nothing is on stdout, errors are shown. */
function transcript(command: string, cwd: string): string {
  const args = words(command);
  const at = args.indexOf('<');
  const input = at < 0 ? '' : readFileSync(join(ROOT, args[at + 1] ?? ''), 'utf8');
  const { stdout, stderr } = runGracewalk(at < 0 ? args : args.slice(0, at), input, cwd);
  return stdout === '' ? stderr : stdout;
}

/** Times differ between machines, and nothing else may. */
export function withoutTimes(text: string): string {
  return text.replace(/\(\d+\.\d+ s\)/g, '(... s)').replace(/"ms": \d+/g, '"ms": ...');
}

/**
 * The page with every transcript as the program prints it now. A token is that of the run shown before. A page
 * with a folder of its own has its files (blocks that begin with `// name.ts` or `name.txt`) written there first.
 */
export function executed(page: string, folder: string | null = null): string {
  let token = '';
  return page.replace(BLOCK, (block, npx = '', command = '', _body, file?: string) => {
    if (file !== undefined) {
      if (folder !== null)
        writeFileSync(join(folder, file), block.split('\n').slice(1, -1).join('\n'));
      return block;
    }
    const line = command.replace(
      /'TOKEN'|'[^' ]*\/[^' ]*@[0-9a-f]{6}\/[^' ]*'/,
      () => `'${token}'`,
    );
    const stdout = transcript(line, folder ?? ROOT);
    token = /gracewalk replay '([^']+)'/.exec(stdout)?.[1] ?? token;
    return `\`\`\`console\n$ ${npx}gracewalk ${line}\n${withoutTimes(stdout).replace(/\n+$/, '')}\n\`\`\``;
  });
}

export function page(name: string): string {
  return readFileSync(join(ROOT, name), 'utf8');
}
