import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Finds the terminal transcripts in a Markdown page, runs them, and gives the page as it should be. */

export const ROOT: string = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const BLOCK =
  /^```console\n\$ (npx )?gracewalk ([^\n]*)\n([\s\S]*?)^```$|^```ts\n\/\/ ([a-z-]+\.ts)\b([\s\S]*?)^```$/gm;

/** Words of a command line in the quoting that our pages use. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

export function runGracewalk(
  args: readonly string[],
  cwd: string = ROOT,
): { stdout: string; status: number } {
  try {
    const stdout = execFileSync('node', [join(ROOT, 'dist/cli/main.js'), ...args], {
      encoding: 'utf8',
      cwd,
      stdio: ['ignore', 'pipe', 'ignore'],
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

/**
 * The page with every transcript as the program prints it now. A token is that of the run shown before. A page
 * with a folder of its own has its scenario files (blocks that begin with `// name.ts`) written there first.
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
    const { stdout } = runGracewalk(words(line), folder ?? ROOT);
    token = /gracewalk replay '([^']+)'/.exec(stdout)?.[1] ?? token;
    return `\`\`\`console\n$ ${npx}gracewalk ${line}\n${withoutTimes(stdout).replace(/\n+$/, '')}\n\`\`\``;
  });
}

export function page(name: string): string {
  return readFileSync(join(ROOT, name), 'utf8');
}
