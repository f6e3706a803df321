import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, runGracewalk } from '../cli/gracewalk.ts';
import { gracewalk } from '../cli/in-process.ts';

/** Finds the terminal transcripts in a Markdown page, runs them, and gives the page as it should be. */

const BLOCK =
  /^```console\n\$ (npx )?gracewalk ([^\n]*)\n([\s\S]*?)^```$|^```(?:ts|text)\n(?:\/\/ )?([a-z-]+\.(?:ts|txt))\b([\s\S]*?)^```$/gm;

/** Words of a command line in the quoting that our pages use. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

/**
 * As a shell would: `gracewalk ask FILE - < mail.txt`. Where nothing is on stdout, errors are shown. A page with a
 * folder of its own changes its files between two commands, which takes a process for each.
 */
async function transcript(command: string, folder: string | null): Promise<string> {
  const args = words(command);
  const at = args.indexOf('<');
  const input = at < 0 ? '' : readFileSync(join(ROOT, args[at + 1] ?? ''), 'utf8');
  const { stdout, stderr } =
    at < 0 && folder === null
      ? await gracewalk(args)
      : runGracewalk(at < 0 ? args : args.slice(0, at), input, folder ?? ROOT);
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
export async function executed(page: string, folder: string | null = null): Promise<string> {
  let token = '';
  let text = '';
  let end = 0;
  for (const found of page.matchAll(BLOCK)) {
    const [block, npx = '', command = '', _body, file] = found;
    text += page.slice(end, found.index);
    end = found.index + block.length;
    if (file !== undefined) {
      if (folder !== null)
        writeFileSync(join(folder, file), block.split('\n').slice(1, -1).join('\n'));
      text += block;
      continue;
    }
    const line = command.replace(
      /'TOKEN'|'[^' ]*\/[^' ]*@[0-9a-f]{6}\/[^' ]*'/,
      () => `'${token}'`,
    );
    const said = await transcript(line, folder);
    token = /gracewalk replay '([^']+)'/.exec(said)?.[1] ?? token;
    text += `\`\`\`console\n$ ${npx}gracewalk ${line}\n${withoutTimes(said).replace(/\n+$/, '')}\n\`\`\``;
  }
  return text + page.slice(end);
}

export function page(name: string): string {
  return readFileSync(join(ROOT, name), 'utf8');
}
